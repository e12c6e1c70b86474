"""Where weights come from, as it is written into their checkpoints."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path


def sha256(annotations: Path) -> str:
    """Of a file's bytes, hexadecimal."""
    return hashlib.sha256(annotations.read_bytes()).hexdigest()


def portable(path: str, kept: int = 2) -> str:
    """A path as it goes into a checkpoint: of one outside the working folder, only the last parts."""
    parts = Path(path).parts
    return "/".join(parts[-kept:]) if Path(path).is_absolute() or ".." in parts else path


def commit() -> str | None:
    """The commit of the checkout this file is in; None where it is not tracked in one."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=True, timeout=10
        )
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # an installed copy may lie inside somebody else's checkout
        return git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None

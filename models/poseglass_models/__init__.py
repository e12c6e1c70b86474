"""The shipped weights: `NAME.onnx` to serve, `NAME.pt` to train on, `NAME.md` to judge them by."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = "hourglass-s"


def names() -> list[str]:
    """Names of the shipped models, the default first."""
    found = sorted(file.stem for file in FOLDER.glob("*.onnx"))
    return sorted(found, key=lambda name: name != DEFAULT)


def path(name: str, suffix: str = ".onnx") -> Path:
    """Where a shipped model lies.

    Args:
        name: e.g. "hourglass-s".
        suffix: ".onnx", ".pt" (checkpoint) or ".md" (model card).

    Raises:
        FileNotFoundError: nothing of that name is shipped; the message lists what is.
    """
    file = FOLDER / f"{name}{suffix}"
    if name in names() and not file.is_file():
        raise FileNotFoundError(f"the {suffix} file of {name!r} is not part of this installation")
    if name not in names():
        raise FileNotFoundError(f"no shipped model is called {name!r}; there are: {', '.join(names())}")
    return file


def resolve(model: str, suffix: str = ".onnx") -> Path:
    """A model named as everywhere on the command line: by shipped name or by path.

    Raises:
        FileNotFoundError: it is neither.
    """
    file = Path(model)
    if file.is_file():
        return file
    if "/" in model or file.suffix in {".onnx", ".pt"}:
        raise FileNotFoundError(f"{model}: no such file")
    return path(model, suffix)

"""The shipped weights: `NAME.onnx` to serve, `NAME.pt` to train on, `NAME.md` to judge them by."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = "hourglass-s"
DETECTOR = "person"
"""The detector of people; every other model is one of poses."""


def names() -> list[str]:
    """Names of the shipped pose models, the default first."""
    found = sorted(file.stem for file in FOLDER.glob("*.onnx") if file.stem != DETECTOR)
    return sorted(found, key=lambda name: name != DEFAULT)


def detector() -> str | None:
    """Name of the shipped detector; None where none is part of this installation."""
    return DETECTOR if (FOLDER / f"{DETECTOR}.onnx").is_file() else None


def path(name: str, suffix: str = ".onnx") -> Path:
    """Where a shipped model lies.

    Args:
        name: of a pose model or of the detector, e.g. "hourglass-s".
        suffix: ".onnx", ".pt" (checkpoint) or ".md" (model card).

    Raises:
        FileNotFoundError: nothing of that name is shipped; the message lists what is.
    """
    file = FOLDER / f"{name}{suffix}"
    shipped = [*names(), *filter(None, [detector()])]
    if name in shipped and not file.is_file():
        others = ", ".join(sorted(other.stem for other in FOLDER.glob(f"*{suffix}"))) or "none"
        raise FileNotFoundError(f"the {suffix} file of {name!r} is not part of this installation; it has: {others}")
    if name not in shipped:
        there = [other for other in shipped if (FOLDER / f"{other}{suffix}").is_file()]
        raise FileNotFoundError(f"no shipped model is called {name!r}; there are: {', '.join(there) or 'none'}")
    return file


def resolve(model: str, suffix: str = ".onnx") -> Path:
    """A model named as everywhere on the command line: by shipped name or by path.

    Raises:
        FileNotFoundError: it is neither.
    """
    file = Path(model)
    try:
        is_file, is_folder = file.is_file(), file.is_dir()
    except OSError as error:  # a name that no file system takes
        raise FileNotFoundError(f"{model[:80]}: cannot be looked for ({error.strerror})") from None
    if is_file:
        return file
    if is_folder and model not in (*names(), detector()):
        raise FileNotFoundError(f"{model}: is a folder; name the {suffix} file in it")
    if "/" in model or file.suffix in {".onnx", ".pt"}:
        raise FileNotFoundError(f"{model}: no such file")
    return path(model, suffix)

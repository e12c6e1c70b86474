"""What commands ask about pictures: whose boxes, where to look, and who answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from poseglass import checks
from poseglass.errors import InvalidRequest
from poseglass.options import LOCATE, as_box
from poseglass_core.geometry import Box
from poseglass_core.poses import Locate


def parse_boxes(texts: Sequence[str]) -> list[Box]:
    """Boxes as they are written on the command line: x,y,width,height[,angle].

    Raises:
        InvalidRequest: naming --box.
    """
    boxes = []
    for text in texts:
        try:
            boxes.append(as_box([float(part) for part in text.split(",")]))
        except InvalidRequest as error:
            side = error.field.partition(".")[2]
            raise InvalidRequest("--box", f"{text!r}: {side} {error.reason}" if side else _BOX.format(text)) from None
        except ValueError:
            raise InvalidRequest("--box", _BOX.format(text)) from None
    return boxes


_BOX = "{!r} must be x,y,width,height or x,y,width,height,angle in pixels and degrees, e.g. 40,20,200,380"


def parse_locate(text: str) -> Locate:
    """Where to look, as `--locate` says it.

    Raises:
        InvalidRequest: naming --locate.
    """
    locate: Locate = checks.choice("--locate", text, LOCATE, "auto, whole or detect")
    return locate


def check_sought(given: Mapping[str, object], but: str) -> None:
    """Refuse options of the search for people where nobody is searched for: they would change nothing.

    Args:
        given: option -> its value; what is empty, None or "auto" was not given.
        but: why nobody is searched for, and how to search.

    Raises:
        InvalidRequest: naming the first that was given.
    """
    for option, value in given.items():
        if value not in ("", None, "auto"):
            raise InvalidRequest(option, f"is about people who are looked for, but {but}; or leave this out")


def check_remote(device: str, model: str, detector: str) -> None:
    """Refuse what cannot be asked of a server: it has its own device, and its models have names.

    Args:
        device, model, detector: as given by options.

    Raises:
        InvalidRequest: naming the option.
    """
    if device != "auto":
        raise InvalidRequest("--device", "is for work in this process; the server chooses its own: leave it out")
    for option, name, what in (("--model", model, "model"), ("--detector", detector, "detector")):
        if Path(name).suffix == ".onnx":
            raise InvalidRequest(option, f"{name} is a file; with --server give the name of a {what} that it serves")

"""A window with what is seen, where OpenCV and the machine have one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from types import TracebackType

import cv2
import numpy as np

from poseglass.errors import FailedPrecondition
from poseglass.video.orientation import Image

QUIT = (ord("q"), ord("Q"), 27)
"""Keys that end it; 27 is Esc."""

_NO_GUI = re.compile(r"GUI:\s+NONE")


def check_window() -> None:
    """Find out whether a window can be shown, before anything is begun: some toolkits end the process otherwise.

    Raises:
        FailedPrecondition: it cannot; the message says what would help.
    """
    if _NO_GUI.search(cv2.getBuildInformation()):
        raise FailedPrecondition(
            "--show: this OpenCV has no windows; put the one that has in its place: "
            "pip uninstall opencv-python-headless; pip install opencv-python"
        )
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise FailedPrecondition(
            "--show: there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); run it in a desktop session, "
            "or leave --show out"
        )


class Window:
    """One window; to be used from one thread, the main one.

    Args:
        title: above it.
        quit_: called when the user has pressed q or Esc, or closed it.

    Raises:
        FailedPrecondition: it cannot be opened.
    """

    def __init__(self, title: str, quit_: Callable[[], None]) -> None:
        check_window()
        self._title, self._quit = title, quit_

    def __enter__(self) -> Window:
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise FailedPrecondition(f"--show: no window opens ({error.err or error}); leave --show out") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyWindow(self._title)

    def show(self, picture: Image) -> None:
        """Show a picture.

        Args:
            picture: uint8 [height, width, 3] RGB.
        """
        cv2.imshow(self._title, np.ascontiguousarray(picture[..., ::-1]))

    def attend(self) -> None:
        """Let the window live; to be called several times a second."""
        if cv2.waitKey(1) & 0xFF in QUIT or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            self._quit()

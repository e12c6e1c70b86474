"""What the C library does with memory that is free; nothing where it is not glibc."""

from __future__ import annotations

import contextlib
import ctypes

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h


def return_large_buffers() -> None:
    """Have large buffers given back to the system whenever they are freed.

    By default glibc raises the size from which it does with every large buffer freed, up to 32 MiB; messages and
    decoded pictures are then carved out of arenas that fragment and stay.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 20)


def return_all() -> None:
    """Give back what is free now; for after something large was freed in small pieces, such as a model."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

"""Where PyTorch computes."""

from __future__ import annotations

import contextlib
import ctypes
import re

import torch


class DeviceError(ValueError):
    """A device that was asked for and is not here."""


def pick_device(name: str) -> torch.device:
    """The device of a name: "cpu"; "cuda" or "cuda:N"; or "auto", CUDA where it works.

    Raises:
        DeviceError: no such device here; nothing else is taken instead.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if match is None:
        raise DeviceError(f"device must be auto, cpu, cuda or cuda:N, not {name!r}")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if there else "cpu")
    if name.startswith("cuda") and int(match[1] or 0) >= there:
        raise DeviceError(f"device {name!r} was asked for, but PyTorch finds {there or 'no'} CUDA devices here")
    return torch.device(name)


def bf16_pays(device: torch.device) -> bool:
    """Whether the processor computes in bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def keep_freed_memory() -> None:
    """Tell glibc to keep the memory of freed tensors for the next ones.

    By default it gives large blocks back to the system and asks for them anew at every step; the system fills each with
    zeros first, which is time a network could have trained in.
    """
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)

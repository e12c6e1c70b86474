"""`poseglass video --ray`: what goes with it, and what actors are told of the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from poseglass.errors import InvalidRequest
from poseglass.video.asking import Question
from poseglass.video.raycluster import check_address, ray_package

DEVICES = {"auto": "cpu", "cpu": "cpu", "cuda": "cuda"}
"""`--device` -> what an actor computes on: a GPU only where it has one to itself."""


def check_ray(address: str, device: str, files: bool) -> str:
    """Refuse what `--ray` cannot do, before any work.

    Args:
        address: as given.
        device: as given.
        files: whether sources are files.

    Returns:
        The address, with the default filled in.

    Raises:
        InvalidRequest: naming the option.
        MissingExtra: Ray is not installed.
    """
    address = check_address(address)
    if not files:
        raise InvalidRequest("--ray", "is for files; a live source or recording stands alone: leave it out")
    if device not in DEVICES:
        raise InvalidRequest("--device", f"must be auto, cpu or cuda with --ray, as Ray gives out GPUs, not {device!r}")
    ray_package()
    return address


def everywhere(question: Question) -> Question:
    """The same question on every machine: files by their whole paths."""

    def named(name: str) -> str:
        return str(Path(name).absolute()) if Path(name).is_file() else name

    return replace(question, model=named(question.model), detector=named(question.detector))

"""A Ray cluster: how this process joins or starts one, and how many actors it has room for."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from poseglass.errors import FailedPrecondition, InvalidRequest, MissingExtra, Unavailable
from poseglass.video.following import LAG

LOCAL, AUTO = "local", "auto"

PATIENCE = 10.0
"""Seconds for which an address may take to answer."""

STORE = 100 << 20
"""Bytes of shared memory of a local Ray: nothing but what became of videos passes through it."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Ray prints what happens to actors on stdout, where results are.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # What no actor of ours needs, older versions give advice about.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A minute instead of many, where nobody answers.
    "RAY_NUM_REDIS_GET_RETRIES": "1",
}
"""Settings of Ray's, where they are not set otherwise; it reads them when it is imported."""

STARTS = 3
"""How often a local Ray is started; it takes a busy machine, on which that lasts half a minute, for a broken one."""


@dataclass(frozen=True)
class Crew:
    """Who works.

    Attributes:
        actors: how many.
        cpus, gpus: that each reserves.
    """

    actors: int
    cpus: float
    gpus: float = 0


def check_address(address: str) -> str:
    """An address of `--ray`, with the default filled in.

    Args:
        address: empty or "local", "auto", or HOST:PORT.

    Raises:
        InvalidRequest: it is none.
    """
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS") or AUTO
    if address in ("", LOCAL, AUTO):
        return address or LOCAL
    if address.startswith("ray://"):
        raise InvalidRequest(
            "--ray",
            f"{address} is for Ray's client, through which Ray Data does not run; run this command on a machine of the "
            "cluster (`ray start --address HOST:6379 --num-cpus 0` makes this one join), with --ray auto",
        )
    if not re.fullmatch(r"(\[[^\s\]]+\]|[^\s/:]+):\d{1,5}", address):
        raise InvalidRequest("--ray", f"must be local, auto or HOST:PORT, not {address!r}; put sources before it")
    return address


def ray_package() -> Any:
    """Ray, imported late and made quiet.

    Raises:
        MissingExtra: it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        ray = import_module("ray")
        import_module("ray.data")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"spreading work over machines ({error.name})", "ray") from None
    for handler in logging.getLogger("ray.data").handlers:
        # Its other handler writes Ray's own log; and whoever else listens there is not ours to make quiet.
        if isinstance(handler, logging.StreamHandler) and type(handler).__module__.partition(".")[0] == "ray":
            handler.setLevel(logging.CRITICAL)
    return ray


@contextmanager
def joined(address: str, workers: int | None) -> Iterator[Any]:
    """Be part of a cluster.

    Args:
        address: as `check_address` gives it.
        workers: actors that are wanted; a cluster that is started has room for them.

    Yields:
        The package.

    Raises:
        MissingExtra: it is not installed.
        Unavailable: nobody answers there.
    """
    ray = ray_package()
    if ray.is_initialized():  # whoever has done so ends it too
        yield ray
        return
    about: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == LOCAL:
        from poseglass_runtime.threads import available_threads

        os.environ.setdefault("RAY_worker_niceness", "0")  # as a run without Ray
        cpus = max(available_threads()[0], workers or 1)
        about |= {"num_cpus": cpus, "object_store_memory": STORE, "include_dashboard": False}
        about["_node_ip_address"] = "127.0.0.1"
    elif address != AUTO:
        _knock(address)
    _init(ray, about)
    try:
        yield ray
    finally:
        ray.shutdown()


def crew(nodes: Sequence[Mapping[str, float]], wanted: int | None, device: str) -> Crew:
    """How many actors work, and what each reserves.

    Args:
        nodes: what each machine of the cluster has, as Ray calls it.
        wanted: how many; None: as many as there is room for. More wait for machines that are still to come.
        device: "cuda": an actor a GPU. Otherwise two processors, as it looks at two frames at once, or at least one.

    Raises:
        FailedPrecondition: there is nothing to work on.
    """
    if device == "cuda":
        gpus = sum(int(node.get("GPU", 0)) for node in nodes)
        if not gpus:
            raise FailedPrecondition("--device cuda: no machine of the Ray cluster has a GPU; leave it out")
        return Crew(wanted or gpus, cpus=0, gpus=1)
    processors = [int(node.get("CPU", 0)) for node in nodes]
    if not any(processors):
        raise FailedPrecondition("--ray: no machine of the cluster offers processors; start one without --num-cpus 0")
    for each in (LAG, 1):
        room = sum(count // each for count in processors)
        if room >= (wanted or 1):
            break
    return Crew(wanted or room, cpus=each)


def cause(error: BaseException) -> str:
    """What is at the bottom of one of Ray's errors, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _knock(address: str) -> None:
    """Whether anybody is at an address; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise Unavailable(
            f"--ray {address}: nobody answers there ({error}); is the cluster running (`ray status`), and is the port "
            "that of `ray start --head`, 6379 unless told otherwise?"
        ) from None


def _init(ray: Any, about: dict[str, Any]) -> None:
    """Join or start it.

    Raises:
        Unavailable: it does not answer.
    """
    local = about["address"] == LOCAL
    for left in reversed(range(STARTS if local else 1)):
        try:
            with _hushed():
                ray.init(**about)
            return
        except Exception as error:  # a bare one among them
            ray.shutdown()
            if not left:
                how = "without --ray the job runs as well" if local else "`ray status` says whether a cluster runs here"
                raise Unavailable(f"--ray {about['address']}: Ray does not answer ({cause(error)}); {how}") from None


@contextmanager
def _hushed() -> Iterator[None]:
    """Nothing on stderr meanwhile, also from Ray's core, which writes past Python; what matters is raised."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (a device)
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

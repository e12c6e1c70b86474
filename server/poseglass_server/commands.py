"""`poseglass serve`."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import cv2
import typer

import poseglass_models
from poseglass_runtime.detector import DetectorEngine, load_detector
from poseglass_runtime.engine import MAX_BATCH, Engine, ModelError, load_engine
from poseglass_runtime.images import DEFAULT_MAX_PIXELS, MOST_PIXELS
from poseglass_runtime.threads import available_threads
from poseglass_server.batcher import Runners
from poseglass_server.limits import DEFAULT_MAX_MESSAGE_MB, Limits
from poseglass_server.models import Models
from poseglass_server.pipeline import DEFAULT_QUEUE
from poseglass_server.served import MOST, DetectorModel, PoseModel
from poseglass_server.server import DEFAULT_GRACE_S, DEFAULT_PORT, AddressError
from poseglass_server.server import serve as serve_models

DEFAULT_PARALLEL = 1

WORKERS_A_THREAD = 4
"""Pictures worked on an inference thread: some decode while the others' crops wait for a batch."""

Loaded = TypeVar("Loaded", Engine, DetectorEngine)


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Shipped name or ONNX file; repeatable, the first is the default. None: all shipped."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE", help="Finds people; repeatable, as --model. None: the shipped one."),
    ] = None,
    no_detector: Annotated[
        bool, typer.Option("--no-detector", help="Serve without one: one person a picture, or boxes.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = DEFAULT_PORT,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N; what is demanded and missing is an error.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Inference threads in all; default: what affinity and quota allow.")
    ] = None,
    parallel: Annotated[
        int, typer.Option(min=1, help="Batches that run at once; they share the threads.")
    ] = DEFAULT_PARALLEL,
    max_batch: Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Crops a batch.")] = MOST,
    batch_delay_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="How long a crop may wait for others; 0: not at all.")
    ] = 0.0,
    queue: Annotated[
        int, typer.Option(min=1, help="Pictures that may wait; what comes then is told when to come again.")
    ] = DEFAULT_QUEUE,
    max_message_mb: Annotated[
        int, typer.Option(min=1, max=1023, help="Largest message in MiB, both ways; set it on the client too.")
    ] = DEFAULT_MAX_MESSAGE_MB,
    max_pixels: Annotated[
        int, typer.Option(min=1, max=MOST_PIXELS, help="Largest picture, width x height.")
    ] = DEFAULT_MAX_PIXELS,
    max_boxes: Annotated[int, typer.Option(min=1, help="Most people in a picture.")] = Limits.max_boxes,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds to finish what is in flight on SIGTERM.")
    ] = DEFAULT_GRACE_S,
) -> None:
    """Serve models over gRPC until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    warnings.filterwarnings("ignore", module=r"PIL\..*")  # of damaged EXIF blocks, which cost nothing here
    _return_large_buffers()
    cv2.setNumThreads(0)  # each picture has one thread; OpenCV's own would fight over the processors
    try:
        if detector and no_detector:
            raise ModelError("--detector and --no-detector exclude each other; leave one out")
        each = max((threads or available_threads()[0]) // parallel, 1)
        engines = _load(load_engine, model or _shipped(), device, each)
        finders = [] if no_detector else detector or list(filter(None, [poseglass_models.detector()]))
        detectors = _load(load_detector, finders, device, each)
        runners = Runners(parallel)
        models = Models(
            [PoseModel(engine, runners, max_batch, batch_delay_ms / 1e3) for engine in engines],
            [DetectorModel(finder, runners) for finder in detectors],
        )
    except (ModelError, FileNotFoundError, ValueError) as error:
        raise _refusal(error) from None
    try:
        asyncio.run(
            serve_models(
                models,
                runners,
                host,
                port,
                Limits(max_message_mb=max_message_mb, max_pixels=max_pixels, max_boxes=max_boxes),
                workers=max(WORKERS_A_THREAD * each * parallel, 2 * max_batch),
                queue=queue,
                grace=grace,
                ready=lambda bound: typer.echo(_ready_line(host, bound, models, each * parallel)),
            )
        )
    except AddressError as error:
        raise _refusal(error) from None


def _load(
    load: Callable[[Path, str, int | None], Loaded], names: list[str], device: str, threads: int | None
) -> list[Loaded]:
    """The engines of some models of one kind.

    Raises:
        ModelError: one cannot be served, or two have the same name and version.
        FileNotFoundError: one is not there.
    """
    loaded: dict[tuple[str, int], Loaded] = {}
    for name in names:
        engine = load(poseglass_models.resolve(name), device, threads)
        other = loaded.setdefault((engine.ref.name, engine.ref.version), engine)
        if other is not engine:
            raise ModelError(
                f"{other.path} and {engine.path} are both {engine.ref.name!r} version {engine.ref.version}; leave one "
                "out, or export it with another --name or --version"
            )
    return list(loaded.values())


def _return_large_buffers() -> None:
    """Tell glibc to give large buffers back when they are freed.

    By default it raises the size from which it does with every large buffer freed, up to 32 MiB; messages and decoded
    pictures are then carved out of arenas that fragment and stay.
    """
    mmap_threshold = -3  # M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(mmap_threshold, 1 << 20)


def _refusal(error: Exception) -> typer.Exit:
    typer.echo(f"poseglass serve: {error}", err=True)
    return typer.Exit(2)


def _shipped() -> list[str]:
    names = poseglass_models.names()
    if not names:
        raise FileNotFoundError("this installation has no weights; name a model with --model FILE")
    return names


def _ready_line(host: str, port: int, models: Models, threads: int) -> str:
    poses, finders = ([model.ref for model in shelf] for shelf in (models, models.detectors))
    named, found = (
        ", ".join(f"{ref.name} version {ref.version}{' (default)' if ref == refs[0] else ''}" for ref in refs)
        for refs in (poses, finders)
    )
    provider = ", ".join(sorted({model.provider for model in (*models, *models.detectors)}))
    return (
        f"serving on {host}:{port}: {named}; {provider}, {threads} thread{'s' if threads > 1 else ''}; "
        f"{f'people found by {found}' if found else 'no detector'}"
    )

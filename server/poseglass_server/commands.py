"""`poseglass serve`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
from pathlib import Path
from typing import Annotated

import cv2
import typer

from poseglass_core.errors import InvalidInput
from poseglass_runtime.engine import MAX_BATCH, ModelError, check_device
from poseglass_runtime.images import DEFAULT_MAX_PIXELS
from poseglass_runtime.threads import available_threads
from poseglass_server.allocator import return_large_buffers
from poseglass_server.batcher import Runners
from poseglass_server.limits import DEFAULT_MAX_MESSAGE_MB, Limits
from poseglass_server.loading import Choice, Loader
from poseglass_server.logs import LogFormat, LogLevel, fields, set_up_logging
from poseglass_server.metrics import Metrics, serving_metrics
from poseglass_server.models import Models
from poseglass_server.options import (
    Insecure,
    LogFormatOption,
    LogLevelOption,
    MaxBoxes,
    MaxConnectionAge,
    MaxMessage,
    MaxPixels,
    MaxRequests,
    MaxStreams,
    MetricsHost,
    MetricsPort,
    TlsCertificate,
    TlsClientCa,
    TlsKey,
    TokenFile,
)
from poseglass_server.pipeline import DEFAULT_QUEUE
from poseglass_server.scanning import RepositoryError
from poseglass_server.security import security
from poseglass_server.served import MOST
from poseglass_server.server import DEFAULT_GRACE_S, DEFAULT_PORT, AddressError
from poseglass_server.server import serve as serve_models

logger = logging.getLogger("poseglass.server")

MOST_THREADS = 1024
"""ONNX Runtime makes as many as it is told, until the machine has no more."""

MOST_PARALLEL = 4
"""Batches at once where nobody says how many: with more, few requests would leave many processors idle."""

WORKERS_A_THREAD = 4
"""Pictures worked on an inference thread: some decode while the others' crops wait for a batch."""


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
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Serve a directory instead: NAME/VERSION/model.onnx, of poses or detectors."),
    ] = None,
    default: Annotated[
        str, typer.Option(metavar="NAME", help="What requests without a model mean; default: the first in --models.")
    ] = "",
    watch: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="Look at --models so often; default: when asked to reload."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: every one, with TLS or --insecure.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = DEFAULT_PORT,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N; what is demanded and missing is an error.")
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="Inference threads in all; default: what affinity and quota allow."),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=1, help="Batches that run at once and share the threads; default: up to 4, 1 on a GPU."),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Crops a batch.")] = MOST,
    batch_delay_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="How long a crop may wait for others; 0: not at all.")
    ] = 0.0,
    queue: Annotated[
        int, typer.Option(min=1, help="Pictures that may wait; what comes then is told when to come again.")
    ] = DEFAULT_QUEUE,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    tls_client_ca: TlsClientCa = None,
    tokens: TokenFile = None,
    insecure: Insecure = False,
    max_message_mb: MaxMessage = DEFAULT_MAX_MESSAGE_MB,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    max_boxes: MaxBoxes = Limits.max_boxes,
    max_streams: MaxStreams = Limits.max_streams,
    max_requests: MaxRequests = Limits.max_requests,
    max_connection_age: MaxConnectionAge = Limits.max_connection_age,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    log_level: LogLevelOption = LogLevel.INFO,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds to finish what is in flight on SIGTERM.")
    ] = DEFAULT_GRACE_S,
) -> None:
    """Serve models over gRPC until SIGTERM or Ctrl-C."""
    set_up_logging(log_format, log_level)
    warnings.filterwarnings("ignore", module=r"PIL\..*")  # of damaged EXIF blocks, which cost nothing here
    return_large_buffers()
    cv2.setNumThreads(0)  # each picture has one thread; OpenCV's own would fight over the processors
    try:
        choice = Choice(model or [], detector or [], no_detector, models, default, watch)
        doors = security(tls_cert, tls_key, tls_client_ca, tokens, insecure)
        doors.check_host(host)
        if metrics_host is not None and metrics_port is None:
            raise InvalidInput("--metrics-host", "is of --metrics-port; add that, or leave it out")
        of_processors, count = check_device(device), threads or available_threads()[0]
        parallel = parallel or (min(count, MOST_PARALLEL) if of_processors else 1)
        metrics = None if metrics_port is None else Metrics()
        runners = Runners(parallel, metrics)
        loader = Loader(runners, device, count, max(count // parallel, 1), max_batch, batch_delay_ms / 1e3)
        catalogue = choice.catalogue(loader)
    except (ModelError, FileNotFoundError, ValueError, RepositoryError) as error:
        raise _refusal(error) from None
    try:
        with contextlib.ExitStack() as outside:
            if metrics is not None and metrics_port is not None:
                metrics.tell_models(lambda: catalogue.models)
                outside.enter_context(serving_metrics(metrics, metrics_host or "127.0.0.1", metrics_port))
            asyncio.run(
                serve_models(
                    catalogue,
                    runners,
                    host,
                    port,
                    Limits(
                        max_message_mb=max_message_mb,
                        max_pixels=max_pixels,
                        max_boxes=max_boxes,
                        max_streams=max_streams,
                        max_requests=max_requests,
                        max_connection_age=max_connection_age,
                    ),
                    workers=max(WORKERS_A_THREAD * count, 2 * max_batch),
                    queue=queue,
                    grace=grace,
                    ready=lambda bound: _tell_ready(host, bound, catalogue.models, count, log_format),
                    security=doors,
                )
            )
    except AddressError as error:
        raise _refusal(error) from None


def _refusal(error: Exception) -> typer.Exit:
    typer.echo(f"poseglass serve: {error}", err=True)
    return typer.Exit(2)


def _tell_ready(host: str, port: int, models: Models, threads: int, log_format: LogFormat) -> None:
    """Say what is served: a line of the standard output or, where programs read the log, an entry there."""
    line = ready_line(host, port, models, threads)
    if log_format is LogFormat.TEXT:
        typer.echo(line)
        return
    served = [
        {"name": model.ref.name, "version": model.ref.version, "sha256": model.ref.sha256, "provider": model.provider}
        for model in (*models, *models.detectors)
    ]
    logger.info("%s", line, extra=fields(models=served))


def ready_line(host: str, port: int, models: Models, threads: int) -> str:
    """What is served, and where, in a line."""
    named, found = (
        ", ".join(
            f"{model.ref.name} version {model.ref.version}{' (default)' if model is shelf.default else ''}"
            for model in shelf
        )
        for shelf in (models, models.detectors)
    )
    provider = ", ".join(sorted({model.provider for model in (*models, *models.detectors)})) or "nothing loaded"
    return (
        f"serving on {f'[{host}]' if ':' in host else host}:{port}: {named or 'no model is ready'}; {provider}, "
        f"{threads} thread{'s' if threads > 1 else ''}; {f'people found by {found}' if found else 'no detector'}"
    )

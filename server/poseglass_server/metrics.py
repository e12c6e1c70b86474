"""What Prometheus sees of the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from poseglass_server.entries import State
from poseglass_server.models import Models
from poseglass_server.observer import Method, Observer
from poseglass_server.served import DetectorModel
from poseglass_server.server import AddressError

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)

STAGES = ("decode", "queue", "inference", "total")
REASONS = ("queue", "deadline", "evicted")

logger = logging.getLogger("poseglass.server")


class Metrics(Observer):
    """Counts what it is told; labels are names of methods, codes, models and the like, never what a caller made up.

    Attributes:
        registry: of the metrics.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a series more a counter, which nobody asks for
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "poseglass_requests", "Calls that are over.", ["service", "method", "code"], registry=registry
        )
        self._request_seconds = Histogram(
            "poseglass_request_seconds",
            "Of calls with one request and one answer, from the message's arrival to the answer.",
            ["method", "code"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "poseglass_stage_seconds",
            "Of pictures that were answered, of streams too.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._pictures = Counter(
            "poseglass_stream_pictures", "Pictures of streams, by the code of each.", ["code"], registry=registry
        )
        self._streams = Gauge("poseglass_streams_open", "Calls that send pictures one by one.", registry=registry)
        self._refused = Counter(
            "poseglass_refused", "Pictures turned away before any work.", ["reason"], registry=registry
        )
        self._batch_size = Histogram(
            "poseglass_batch_size", "Crops run at once.", ["model"], buckets=SIZES, registry=registry
        )
        self._batch_seconds = Histogram(
            "poseglass_batch_seconds", "Of each run of a network.", ["model"], buckets=SECONDS, registry=registry
        )
        # Read when somebody looks: setting them would cost more than all the rest of a picture.
        self._waiting = self._working = 0
        Gauge("poseglass_queue_pictures", "Pictures that wait for a thread.", registry=registry).set_function(
            lambda: self._waiting
        )
        Gauge("poseglass_working_pictures", "Pictures that have one.", registry=registry).set_function(
            lambda: self._working
        )
        ProcessCollector(registry=registry)
        # Looking a series up by its labels takes longer than counting.
        self._stages = [self._stage_seconds.labels(stage) for stage in STAGES]
        for reason in REASONS:
            self._refused.labels(reason)  # so that there is a zero to rise from
        self._calls: dict[tuple[Method, str], tuple[Counter, Histogram | None]] = {}
        self._codes: dict[str, Counter] = {}
        self._batches: dict[str, tuple[Histogram, Histogram]] = {}

    def tell_models(self, models: Callable[[], Models]) -> None:
        """Tell of models, too.

        Args:
            models: gives those of the moment; called whenever somebody looks.
        """
        self.registry.register(_ModelCollector(models))

    def batch(self, model: str, size: int, seconds: float) -> None:
        """A network ran so many crops in so many seconds."""
        of_model = self._batches.get(model)
        if of_model is None:
            of_model = self._batches[model] = self._batch_size.labels(model), self._batch_seconds.labels(model)
        of_model[0].observe(size)
        of_model[1].observe(seconds)

    def stages(self, decode: float, queue: float, inference: float, total: float) -> None:
        """A picture was answered; seconds of its stages."""
        for histogram, seconds in zip(self._stages, (decode, queue, inference, total), strict=True):
            histogram.observe(seconds)

    def queue(self, waiting: int, working: int) -> None:
        """So many pictures wait for a thread, and so many have one."""
        self._waiting, self._working = waiting, working

    def refused(self, reason: str) -> None:
        """A picture was turned away before any work."""
        self._refused.labels(reason).inc()

    def call_began(self, method: Method) -> None:
        """A call came in."""
        if method.streaming_requests:
            self._streams.inc()

    def call_ended(self, method: Method, code: str, seconds: float) -> None:
        """A call is over."""
        if method.streaming_requests:
            self._streams.dec()
        ended = self._calls.get((method, code))
        if ended is None:
            one = not (method.streaming_requests or method.streaming_answers)
            ended = self._calls[method, code] = (
                self._requests.labels(method.service, method.name, code),
                self._request_seconds.labels(method.name, code) if one else None,
            )
        ended[0].inc()
        if ended[1] is not None:
            ended[1].observe(seconds)

    def stream_picture(self, code: str) -> None:
        """A picture of a stream was answered."""
        counter = self._codes.get(code)
        if counter is None:
            counter = self._codes[code] = self._pictures.labels(code)
        counter.inc()


class _ModelCollector(Collector):
    """The models of the moment."""

    def __init__(self, models: Callable[[], Models]) -> None:
        self._models = models

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One series a model, of value 1."""
        labels = ["name", "version", "sha256", "kind", "provider", "state"]
        family = GaugeMetricFamily("poseglass_model_info", "1 for each model that is known.", None, labels)
        models = self._models()
        ready = [
            (
                model.ref.name,
                str(model.ref.version),
                model.ref.sha256,
                "detector" if isinstance(model, DetectorModel) else "pose",
                model.provider,
                State.READY.value,
            )
            for model in (*models, *models.detectors)
        ]
        others = [
            (entry.name, str(entry.version), entry.sha256, entry.kind, "", entry.state.value)
            for entry in models.entries
        ]
        for values in dict.fromkeys([*ready, *others]):  # twice the same series would spoil the whole answer
            family.add_metric([value.encode("utf-8", "replace").decode() for value in values], 1)
        yield family


@contextmanager
def serving_metrics(metrics: Metrics, host: str, port: int) -> Iterator[int]:
    """Answer Prometheus over HTTP, in threads of its own, as long as the context lasts.

    Args:
        metrics: what to tell.
        host: address to listen on.
        port: 0: any that is free.

    Yields:
        The bound port.

    Raises:
        AddressError: the address is taken, or not this machine's.
    """
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        reason = error.strerror or "the address cannot be bound"
        raise AddressError(
            f"cannot listen on {host}:{port}: {reason}; choose another --metrics-port or --metrics-host"
        ) from None
    logger.info("metrics on http://%s:%d/metrics", f"[{host}]" if ":" in host else host, server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""mosec: a Rust front, and processes behind it that take batches; with decoders, a stage of them before."""

from __future__ import annotations

import os
from typing import Any

from mosec import Server, Worker

from peers.work import HOST, TIMEOUT, WAIT, Crop, Cutter, Joints, Settings, Work, unpack
from poseglass_runtime.engine import load_engine


class Decode(Worker):  # type: ignore[misc]
    """Request -> crop, where that has processes of its own."""

    def __init__(self) -> None:
        super().__init__()
        settings = Settings.from_environment()
        manifest = load_engine(settings.model, "cpu", 1).manifest
        self._cut = Cutter(manifest.input_size, manifest.box_padding)
        settings.ready()

    def deserialize(self, data: bytes) -> Crop:
        return self._cut(*unpack(data))

    def forward(self, data: Crop) -> Crop:
        return data


class Infer(Worker):  # type: ignore[misc]
    """Crops -> joints; requests -> crops too, where it is the only stage."""

    def __init__(self) -> None:
        super().__init__()
        settings = Settings.from_environment()
        self._work = Work(settings.model, settings.threads)
        self._batched = settings.batch > 1  # mosec gives lists only then
        settings.ready()

    def deserialize(self, data: bytes) -> Crop:
        return self._work.cut(*unpack(data))

    def forward(self, data: Any) -> Any:
        return self._work.infer(data) if self._batched else self._work.infer([data])[0]

    def serialize(self, data: Joints) -> bytes:
        return data.to_json()


def main() -> None:
    """Serve."""
    settings = Settings.from_environment()
    os.environ.update(
        MOSEC_ADDRESS=HOST, MOSEC_PORT=str(settings.port), MOSEC_TIMEOUT=str(1000 * TIMEOUT), MOSEC_LOG_LEVEL="error"
    )
    server = Server()
    if settings.decoders:
        server.append_worker(Decode, num=settings.decoders)
    server.append_worker(Infer, num=settings.workers, max_batch_size=settings.batch, max_wait_time=round(1000 * WAIT))
    server.run()


if __name__ == "__main__":
    main()

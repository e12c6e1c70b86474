"""PyTriton: Triton's front and batcher, and processes of Python that infer."""

from __future__ import annotations

import os
import signal
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from peers.work import HOST, MODEL, Settings, Work

_JOINTS = -1  # as many as the model has


def infer(work: Work, picture: NDArray[np.bytes_], box: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """All of a batch: `picture` [N, 1] (files) and `box` [N, 4] -> `joints` and `scores`."""
    requests = zip(picture[:, 0], box, strict=True)
    found = work.infer([work.cut(bytes(file), where) for file, where in requests])
    return {
        "joints": np.stack([person.joints for person in found]),
        "scores": np.stack([person.scores for person in found]),
    }


def worker(settings: Settings) -> Callable[..., Any]:
    """A worker with a session of its own."""
    return batch(partial(infer, Work(settings.model, settings.threads)))  # type: ignore[no-any-return]


def main() -> None:
    """Serve."""
    settings = Settings.from_environment()
    # Triton's own Python must be this one, not another of the same version that the system may have.
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(
        filter(None, [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")])
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ctrl-C is what PyTriton puts things in order for
    triton = TritonConfig(
        grpc_address=HOST,
        grpc_port=settings.port,
        allow_http=False,
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=triton, workspace=str(Path(settings.folder) / "triton")) as server:
        server.bind(
            MODEL,
            infer_func=[worker(settings) for _ in range(settings.workers)],
            inputs=[Tensor(name="picture", dtype=bytes, shape=(1,)), Tensor(name="box", dtype=np.float32, shape=(4,))],
            outputs=[
                Tensor(name="joints", dtype=np.float32, shape=(_JOINTS, 2)),
                Tensor(name="scores", dtype=np.float32, shape=(_JOINTS,)),
            ],
            config=ModelConfig(max_batch_size=settings.batch, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
            strict=False,
        )
        server.run()
        for _ in range(settings.workers):
            settings.ready()
        server.serve()


if __name__ == "__main__":
    main()

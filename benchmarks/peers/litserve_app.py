"""LitServe: FastAPI processes, and processes behind queues that take batches."""

# Annotations here must be objects: LitServe hands those of `decode_request` on to FastAPI.

from typing import Annotated, Any

import litserve
from fastapi import Body, Response

from peers.work import HOST, TIMEOUT, Crop, Joints, Settings, Work, unpack


class PoseApi(litserve.LitAPI):  # type: ignore[misc]
    """Requests of raw bytes -> joints."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's signature)
        settings = Settings.from_environment()
        self._work = Work(settings.model, settings.threads)
        self._batched = settings.batch > 1  # LitServe gives lists only then
        settings.ready()

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Crop:
        return self._work.cut(*unpack(request))

    def batch(self, inputs: list[Crop]) -> list[Crop]:
        return inputs

    def predict(self, x: Any) -> Any:
        return self._work.infer(x) if self._batched else self._work.infer([x])[0]

    def unbatch(self, output: list[Joints]) -> list[Joints]:
        return output

    def encode_response(self, output: Joints) -> Response:
        return Response(output.to_json(), media_type="application/json")


def main() -> None:
    """Serve."""
    settings = Settings.from_environment()
    server = litserve.LitServer(
        PoseApi(max_batch_size=settings.batch, batch_timeout=0.0, api_path="/inference"),
        accelerator="cpu",
        devices=1,
        workers_per_device=settings.workers,
        timeout=TIMEOUT,
        fast_queue=True,
    )
    server.run(host=HOST, port=settings.port, log_level="error", generate_client_file=False, access_log=False)


if __name__ == "__main__":
    main()

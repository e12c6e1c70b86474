"""ONNX Runtime sessions, and the pose model in one. The only module that imports onnxruntime."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from poseglass_core.manifest import METADATA_KEY, Manifest, ManifestError, parse_manifest
from poseglass_core.poses import ModelRef
from poseglass_runtime.outputs import RawOutputs
from poseglass_runtime.threads import available_threads

CPU = "CPUExecutionProvider"
"""The provider that every installation has."""

MAX_BATCH = 32
"""Crops a run; more are split, so that memory does not depend on the number of people."""


class ModelError(RuntimeError):
    """A model file that cannot be served, or not as demanded, and why."""


@dataclass(frozen=True)
class Opened:
    """A model file in a session: what pose models and detectors have in common.

    Attributes:
        path: the file.
        session: of ONNX Runtime.
        threads: intra-op threads.
        sha256: of the file's bytes.
        manifest: the text of its manifest, unchecked.
        manifest_at: where that stands: the file, or the side-car beside it.
    """

    path: Path
    session: Any
    threads: int
    sha256: str
    manifest: str
    manifest_at: Path

    @property
    def provider(self) -> str:
        """The ONNX Runtime provider that runs."""
        return str(self.session.get_providers()[0])

    def check_parity(self, parity: Any, remedy: str = "export it with `poseglass export`") -> None:
        """Refuse a file of the project's own contract that the export gate never saw.

        Args:
            parity: the record.
            remedy: what to do without one.

        Raises:
            ModelError: the record is empty.
        """
        if not parity:
            raise ModelError(
                f"{self.manifest_at}: has no parity record, so nobody has shown that it computes what was trained; "
                f"{remedy}"
            )


class Engine:
    """A loaded pose model; `run` may be called from several threads.

    Use `load_engine`.

    Attributes:
        manifest: what the model says of itself.
        ref: name, version and hash of the file.
        provider: the ONNX Runtime provider that runs.
        threads: intra-op threads.
        path: the file.
    """

    def __init__(self, opened: Opened, manifest: Manifest) -> None:
        self._session = opened.session
        self.manifest, self.ref = manifest, ModelRef(manifest.name, manifest.version, opened.sha256)
        self.threads, self.path, self.provider = opened.threads, opened.path, opened.provider

    def run(self, crops: NDArray[np.uint8]) -> RawOutputs:
        """Infer crops.

        Args:
            crops: [N, H, W, 3] RGB at the model's input size, N >= 1.
        """
        parts = [self._run(crops[i : i + MAX_BATCH]) for i in range(0, len(crops), MAX_BATCH)]
        if len(parts) == 1:
            return parts[0]
        heatmaps, joints, scores, presence = zip(*parts, strict=True)
        return RawOutputs(
            np.concatenate(heatmaps),
            np.concatenate(joints),
            np.concatenate(scores),
            None if presence[0] is None else np.concatenate(presence),
        )

    def _run(self, crops: NDArray[np.uint8]) -> RawOutputs:
        names = self.manifest.outputs
        values = dict(zip(names, self._session.run(list(names), {"image": crops}), strict=True))
        return RawOutputs(values["heatmaps"], values["joints"], values["scores"], values.get("presence"))


def load_engine(path: str | Path, device: str = "auto", threads: int | None = None) -> Engine:
    """Load a pose model, check its manifest and parity record, and run it once.

    Args:
        path: ONNX file. A side-car `NAME.manifest.json` beside it replaces the manifest in its metadata.
        device: "cpu"; "cuda" or "cuda:N", an error where it is not what runs; or "auto", CUDA where it works.
        threads: intra-op threads; default: what affinity and cgroup quota allow.

    Raises:
        ModelError: the file, its manifest or the device will not do; the message says why.
    """
    return engine_of(open_model(path, device, threads))


def engine_of(opened: Opened) -> Engine:
    """The pose model in an opened file, checked and run once.

    Raises:
        ModelError: it is none, or will not do.
    """
    try:
        manifest = parse_manifest(opened.manifest)
    except ManifestError as error:
        raise ModelError(f"{opened.manifest_at}: {error}") from None
    opened.check_parity(manifest.parity)
    _check_graph(opened, manifest)
    engine = Engine(opened, manifest)
    engine.run(np.zeros((1, *manifest.input_size, 3), np.uint8))
    return engine


def open_model(path: str | Path, device: str = "auto", threads: int | None = None) -> Opened:
    """Read a model file of any kind into a session.

    Threads of a session do not spin: those of a model that waits for another one's answer cost nothing, so a detector
    and a pose model need no more processors than one of them.

    Args:
        path, device, threads: as for `load_engine`.

    Raises:
        ModelError: the file or the device will not do, or there is no manifest.
    """
    path = Path(path)
    if threads is not None and threads < 1:
        raise ModelError(f"threads must be at least 1, not {threads}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    count = threads or available_threads()[0]
    session = _session(path, data, device, count)
    manifest, where = _manifest(path, session)
    return Opened(path, session, count, hashlib.sha256(data).hexdigest(), manifest, where)


def _session(path: Path, data: bytes, device: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would steal the cores that decode pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    last: Exception | None = None
    for provider in _providers(device):
        try:
            session = onnxruntime.InferenceSession(data, options, providers=[provider])
        except Exception as error:  # onnxruntime raises many kinds, none of them public
            last = error
            continue
        wanted = provider[0] if isinstance(provider, tuple) else provider
        if session.get_providers()[0] == wanted:  # a session falls back to the CPU in silence
            return session
        last = RuntimeError(f"{wanted} did not start; {session.get_providers()[0]} would have run instead")
    if device.startswith("cuda"):
        raise ModelError(
            f"device {device!r} was asked for and does not run ({last}); "
            'install "poseglass[gpu]" with its CUDA libraries, or use --device cpu'
        )
    raise ModelError(f"{path}: not a model that ONNX Runtime can load ({type(last).__name__})")


def check_device(device: str) -> bool:
    """Make sure that a device can be asked for, before models are loaded.

    Returns:
        Whether it is the processors, and no other will be tried.

    Raises:
        ModelError: there is none of that name, or this onnxruntime cannot use it.
    """
    return _providers(device) == [CPU]


def _providers(device: str) -> list[Any]:
    match = re.fullmatch(r"cpu|auto|cuda(?::(\d+))?", device)
    if match is None:
        raise ModelError(f"device must be auto, cpu, cuda or cuda:N, not {device!r}")
    cuda = (
        "CUDAExecutionProvider",
        {"device_id": match[1] or "0", "cudnn_conv_algo_search": "HEURISTIC"},
    )
    if device == "cpu":
        return [CPU]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        if device == "auto":
            return [CPU]
        raise ModelError(
            f"device {device!r} was asked for, but this onnxruntime has no CUDA provider (it has "
            f'{", ".join(onnxruntime.get_available_providers())}); install "poseglass[gpu]" instead of [cpu]'
        )
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN from the wheels that [gpu] installs
    return [cuda, CPU] if device == "auto" else [cuda]


def _manifest(path: Path, session: Any) -> tuple[str, Path]:
    """The text of a file's manifest, and where it stands."""
    side_car = path.with_name(f"{path.stem}.manifest.json")
    if side_car.is_file():
        try:
            return side_car.read_text("utf-8"), side_car
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{side_car}: cannot be read ({error})") from None
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{path}: has no manifest; export it with `poseglass export`, or add {side_car.name}")
    return str(text), path


def _check_graph(opened: Opened, manifest: Manifest) -> None:
    """The graph has the inputs and outputs that the manifest promises."""
    path = opened.path
    inputs = {tensor.name: tensor for tensor in opened.session.get_inputs()}
    height, width = manifest.input_size
    image = inputs.get("image")
    if len(inputs) != 1 or image is None or image.type != "tensor(uint8)" or image.shape[1:] != [height, width, 3]:
        raise ModelError(f"{path}: must take one input `image`, uint8 [N, {height}, {width}, 3], as its manifest says")
    outputs = {tensor.name: tensor for tensor in opened.session.get_outputs()}
    for name, shape in manifest.output_shapes.items():
        if name not in outputs:
            raise ModelError(f"{path}: the manifest promises output `{name}`, which the graph does not have")
        if outputs[name].type != "tensor(float)" or outputs[name].shape[1:] != list(shape):
            raise ModelError(f"{path}: output `{name}` must be float32 [N, {', '.join(map(str, shape))}]")


def describe_devices() -> dict[str, Any]:
    """What this process can infer with: runtime version, providers, threads and where their number came from."""
    threads, source = available_threads()
    return {
        "onnxruntime": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
        "threads": threads,
        "threads_from": source,
    }

"""Fixtures that several packages' tests share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile(  # how fast this machine is now is not what a test is to find out
    "poseglass", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("poseglass")

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # tests are of the CPU path unless they say otherwise

if TYPE_CHECKING:
    from poseglass_runtime.engine import Engine
    from poseglass_training.checkpoint import Checkpoint


def tiny_checkpoint(seed: int = 0, size: tuple[int, int] = (64, 64)) -> Checkpoint:
    """An untrained hourglass of the LSP skeleton: its answers are arbitrary, but always the same."""
    import torch

    from poseglass_core.skeleton import LSP
    from poseglass_training.checkpoint import Checkpoint
    from poseglass_training.networks import HourglassConfig, build

    torch.manual_seed(seed)
    config = HourglassConfig(joints=14, stacks=1, features=16, depth=3, input_size=size)
    network = build(config)
    for head in network.heads:  # untrained heads are almost flat; peaks make decoding meaningful
        torch.nn.init.normal_(head.weight, std=0.5)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    training = {"data": [{"name": "none", "licence": "none"}], "preset": "test", "seed": seed, "epochs": 0}
    return Checkpoint(config, LSP, weights, "softmax", 1.25, training=training)


@pytest.fixture(scope="session")
def tiny_checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny random checkpoint."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    tiny_checkpoint().save(path)
    return path


@pytest.fixture(scope="session")
def tiny_model_path(tiny_checkpoint_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random pose model (64 px, 14 joints), exported for real."""
    from poseglass_export.exporting import export_model

    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    export_model(tiny_checkpoint_path, path)
    return path


@pytest.fixture(scope="session")
def tiny_engine(tiny_model_path: Path) -> Engine:
    """The tiny model, loaded."""
    from poseglass_runtime.engine import load_engine

    return load_engine(tiny_model_path, device="cpu", threads=1)


def write_detector(
    path: Path,
    outputs: dict[str, Any],
    size: tuple[int, int] = (64, 64),
    adapter: str = "poseglass",
    dynamic: bool = False,
    **manifest: Any,
) -> Path:
    """A detector that gives the same for every picture, and its manifest: inside, or beside it where it is foreign.

    Args:
        path: of the ONNX file.
        outputs: name -> array of one picture's answer, with its batch axis.
        size: (height, width) of the input.
        adapter: decides the input's type.
        dynamic: the graph does not declare the outputs' sizes.
        **manifest: what stands in it other than the least.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    own = adapter == "poseglass"
    shape = ["N", *size, 3] if own else ["N", 3, *size]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8 if own else TensorProto.FLOAT, shape)
    constants = [numpy_helper.from_array(value, f"{name}_") for name, value in outputs.items()]
    if dynamic:  # a shape that is computed from the batch size, which is free
        nodes = [
            helper.make_node("Shape", ["image"], ["batch"], start=0, end=1),
            helper.make_node("Sub", ["batch", "batch"], ["zero"]),
        ]
        for name, value in outputs.items():
            constants.append(numpy_helper.from_array(np.array(value.shape, np.int64), f"{name}_shape"))
            nodes.append(helper.make_node("Add", [f"{name}_shape", "zero"], [f"{name}_size"]))
            nodes.append(helper.make_node("Reshape", [f"{name}_", f"{name}_size"], [name]))
    else:
        nodes = [helper.make_node("Identity", [f"{name}_"], [name]) for name in outputs]
    results = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(value.dtype),
            ["N", *(f"{name}{i}" for i in range(1, value.ndim))] if dynamic else ["N", *value.shape[1:]],
        )
        for name, value in outputs.items()
    ]
    graph = helper.make_graph(nodes, "detector", [image], results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    text = {
        "format": "poseglass.manifest/1",
        "kind": "detector",
        "name": path.stem,
        "version": 1,
        "input": {"height": size[0], "width": size[1]},
        "threshold": 0.5,
        "adapter": adapter,
        **({"parity": {"boxes": 0.0}} if own else {}),
    } | manifest
    if own:
        model.metadata_props.add(key="poseglass.manifest", value=json.dumps(text))
    else:
        path.with_name(f"{path.stem}.manifest.json").write_text(json.dumps(text))
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def make_detector() -> Callable[..., Path]:
    """`write_detector`."""
    return write_detector


@pytest.fixture(scope="session")
def tiny_detector_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that finds two people in every picture: the left and the right half of a square one."""
    boxes = np.array([[[0, 0, 32, 64], [32, 0, 64, 64]]], np.float32)
    outputs = {"boxes": boxes, "scores": np.array([[0.9, 0.8]], np.float32)}
    return write_detector(tmp_path_factory.mktemp("detector") / "halves.onnx", outputs)


class Authority:
    """Signs certificates for 127.0.0.1 and localhost.

    Args:
        folder: where they are written.
        name: of the authority.

    Attributes:
        certificate: its own, a PEM file.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self._issuer: tuple[Any, Any] | None = None
        self.certificate, self._key = self.sign(name)

    def sign(self, name: str, begins_in: float = -1.0, ends_in: float = 1.0) -> tuple[Path, Path]:
        """PEM files of a certificate and its key.

        Args:
            name: the certificate's common name; the files are called after it.
            begins_in, ends_in: days from now between which it is valid.
        """
        import ipaddress
        from datetime import UTC, datetime, timedelta

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        itself = self._issuer is None
        issuer, issuer_key = self._issuer or (subject, key)
        now = datetime.now(UTC)
        addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now + timedelta(days=begins_in))
            .not_valid_after(now + timedelta(days=ends_in))
            .add_extension(x509.BasicConstraints(ca=itself, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        if itself:
            self._issuer = subject, key
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(pem))
        files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        files[1].chmod(0o600)
        return files


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Signs certificates."""
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Signs certificates that nobody trusts."""
    return Authority(tmp_path, "stranger")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data sets beside the checkout; tests that need them are skipped where they are absent."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (path / "lspet" / "val.json").is_file():
        pytest.skip("the data sets (../shared/data) are not here")
    return path

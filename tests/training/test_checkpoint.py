"""Checkpoints: what goes in comes out, what is not ours is refused; and the engine and manifest made of one."""

import hashlib
import json

import numpy as np
import pytest
import torch

from poseglass_core.manifest import parse_manifest
from poseglass_core.poses import Locate, PoseRequest
from poseglass_core.skeleton import LSP
from poseglass_runtime.predictor import Predictor
from poseglass_training.checkpoint import FORMAT, Checkpoint, CheckpointError, load_checkpoint
from poseglass_training.devices import DeviceError, pick_device
from poseglass_training.manifests import manifest_of
from poseglass_training.networks import CnnConfig, HourglassConfig, build
from poseglass_training.torch_engine import TorchEngine

pytestmark = pytest.mark.usefixtures("one_thread")


def random_checkpoint(loss="softmax", kind="hourglass"):
    torch.manual_seed(0)
    config = (
        HourglassConfig(joints=14, stacks=2, features=8, depth=2, input_size=(64, 96))
        if kind == "hourglass"
        else CnnConfig(joints=14, widths=(4, 8), convolutions=(1, 1), hidden=8, input_size=(64, 96))
    )
    training = {"data": [{"name": "figures", "licence": "Apache-2.0", "people": 3}], "preset": "test", "seed": 4}
    return Checkpoint(config, LSP, build(config).state_dict(), loss, 1.25, epoch=3, training=training)


@pytest.mark.parametrize("kind", ["hourglass", "cnn"])
def test_what_goes_in_comes_out(tmp_path, kind):
    before = random_checkpoint(kind=kind)
    before.save(tmp_path / "a.pt")
    after = load_checkpoint(tmp_path / "a.pt")
    for name in ("config", "skeleton", "loss", "box_padding", "epoch", "training", "evaluation", "resume"):
        assert getattr(after, name) == getattr(before, name)
    picture = torch.randn(1, 3, 64, 96)
    assert torch.equal(after.network()(picture)[-1], before.network()(picture)[-1])
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


class Foreign:
    """Something that only unpickling with code execution would give."""


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"hello"),
        lambda path: path.write_bytes(b"text"),
        lambda path: torch.save({"state_dict": {}}, path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"json": "{}", "weights": {}, "resume": {}}, path),
        lambda path: torch.save({"json": "{", "weights": {}, "resume": {}}, path),
        lambda path: torch.save(Foreign(), path),
        lambda path: path.mkdir(),
    ],
)
def test_foreign_files_are_refused(tmp_path, write):
    path = tmp_path / "foreign.pt"
    write(path)
    with pytest.raises(CheckpointError, match=r"foreign\.pt: not a Poseglass checkpoint"):
        load_checkpoint(path)


def test_missing_files_and_other_versions_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "gone.pt")
    torch.save({"json": json.dumps({"format": "poseglass.checkpoint/9"}), "weights": {}}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match=f"'poseglass.checkpoint/9', where this version reads '{FORMAT}'"):
        load_checkpoint(tmp_path / "new.pt")


@pytest.mark.parametrize(("loss", "activation"), [("softmax", "softmax"), ("sigmoid", "sigmoid"), ("mse", "clip")])
def test_the_manifest_is_valid_and_says_where_it_comes_from(loss, activation):
    manifest = manifest_of(random_checkpoint(loss), "mine", 3)
    again = parse_manifest(manifest.dumps())
    assert (again.name, again.version, again.architecture) == ("mine", 3, "hourglass")
    assert again.input_size == (64, 96)
    assert again.heatmap_activation == activation
    assert again.training["seed"] == 4
    assert "figures: Apache-2.0" in again.weights_licence
    assert not again.parity


@pytest.fixture(scope="module", params=["softmax", "sigmoid", "mse"])
def engine(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("engine") / "some run.pt"
    random_checkpoint(request.param).save(path)
    return TorchEngine(path), path


def test_the_engine_keeps_the_contract_of_the_models(engine):
    engine, path = engine
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), np.uint8)
    raw = engine.run(crops)
    assert raw.heatmaps.shape == (3, 14, 16, 24)
    assert raw.joints.shape == (3, 14, 2)
    assert raw.scores.shape == (3, 14)
    assert raw.presence is None
    assert raw.heatmaps.min() >= 0
    assert raw.heatmaps.max() <= 1
    assert np.allclose(raw.scores, raw.heatmaps.max(axis=(2, 3)))
    assert engine.provider == "PyTorch"
    assert engine.ref.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert engine.ref.name == "some-run"
    many = engine.run(np.repeat(crops[:1], 40, axis=0))  # more than one pass
    assert many.joints.shape == (40, 14, 2)
    assert np.allclose(many.joints, raw.joints[0], atol=1e-3)


def test_the_engine_serves_the_runtimes_predictor(engine):
    picture = np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8)
    answer = Predictor(engine[0]).predict(picture, PoseRequest(locate=Locate.WHOLE_IMAGE, flip_test=True))
    assert len(answer.poses) == 1
    assert answer.poses[0].names == LSP.joints


def test_a_device_that_is_not_here_is_an_error():
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(DeviceError, match="PyTorch finds"):
        pick_device("cuda:99")
    with pytest.raises(DeviceError, match="must be auto, cpu, cuda or cuda:N"):
        pick_device("tpu")


def test_rounded_weights_make_a_smaller_file_and_come_back_bit_for_bit(tmp_path, tiny_checkpoint_path):
    checkpoint = load_checkpoint(tiny_checkpoint_path)
    rounded = checkpoint.rounded()
    rounded.save(tmp_path / "half.pt")
    again = load_checkpoint(tmp_path / "half.pt")
    assert all(torch.equal(tensor, again.weights[name]) for name, tensor in rounded.weights.items())
    assert all(again.weights[name].dtype == tensor.dtype for name, tensor in checkpoint.weights.items())
    assert (tmp_path / "half.pt").stat().st_size < tiny_checkpoint_path.stat().st_size
    largest = max((rounded.weights[k] - v).abs().max().item() for k, v in checkpoint.weights.items() if v.dim() > 1)
    assert 0 < largest < 1e-2


def test_the_first_stacks_answer_as_they_did_among_the_others():
    two = random_checkpoint()
    one = two.first_stacks(1)
    assert one.config.stacks == 1
    picture = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(one.network()(picture)[-1], two.network()(picture)[0])
    assert one.training["stacks"] == "1 of 2"
    assert two.first_stacks(2) is two
    with pytest.raises(CheckpointError, match="3 stacks cannot be taken of this network, which has 2"):
        two.first_stacks(3)
    with pytest.raises(CheckpointError, match="is no stacked hourglass"):
        random_checkpoint(kind="cnn").first_stacks(1)

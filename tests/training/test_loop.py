"""The training loop: it learns, goes on exactly where it stopped, and stops when it should."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from poseglass_core.skeleton import skeleton_from_names
from poseglass_training.annotations import load_coco
from poseglass_training.checkpoint import CheckpointError, load_checkpoint
from poseglass_training.crops import PhotoCrops
from poseglass_training.loop import Diverged, train, train_epoch
from poseglass_training.networks import CnnConfig, HourglassConfig, build
from poseglass_training.presets import PRESETS, Phase, Preset
from poseglass_training.schedule import average_decay, learning_rate
from poseglass_training.synthetic import SyntheticCrops, Variety
from poseglass_training.warmstart import warm_start

pytestmark = pytest.mark.usefixtures("one_thread")

CALM = Variety(facing=20, turn=5, turned=0, movement=0.3)


def sources(preset, count=16):
    return (
        SyntheticCrops(count, preset.box_padding, 1, preset.augmentation, CALM),
        SyntheticCrops(4, preset.box_padding, 2, variety=CALM),
    )


def run(preset, out, **settings):
    return train(preset, *sources(preset), out, {"data": []}, workers=0, **settings)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run of three epochs, and what it reported."""
    preset = Preset(
        HourglassConfig(joints=1, stacks=1, features=8, depth=2, input_size=(64, 64)),
        phases=(Phase(64, 2), Phase(64, 1)),
        batch_size=8,
        ema=0.9,
    )
    out, seen = tmp_path_factory.mktemp("unbroken"), []
    torch.set_num_threads(1)
    best = run(preset, out, on_progress=seen.append)
    return preset, out, best, seen


def test_a_run_leaves_what_it_says(unbroken):
    _, out, best, seen = unbroken
    assert sorted(file.name for file in out.iterdir()) == ["best.pt", "last.pt", "metrics.jsonl"]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(0 < row["waiting"] < 1 for row in rows)
    assert rows[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)
    assert best.training["best_dev_pck"] == max(row["dev_pck"] for row in rows)
    assert best.evaluation[0]["pck"] == best.training["best_dev_pck"]
    assert not best.resume
    assert best.config.joints == 14
    done = [progress for progress in seen if progress.epoch_done]
    assert [progress.epoch for progress in done] == [1, 2, 3]
    assert [progress.dev_pck for progress in done] == [row["dev_pck"] for row in rows]
    assert seen[0].dev_pck is None
    assert done[-1].seconds_left == pytest.approx(0, abs=1e-6)
    assert seen[0].seconds_left > 0


def test_a_run_killed_inside_an_epoch_goes_on_to_the_same_weights_bit_for_bit(unbroken, tmp_path):
    preset, whole, _, _ = unbroken

    def kill(progress):
        if progress.epoch > 2.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(preset, tmp_path, on_progress=kill)
    assert load_checkpoint(tmp_path / "last.pt").epoch == 2
    run(preset, tmp_path, resume=True)
    expected, got = load_checkpoint(whole / "last.pt"), load_checkpoint(tmp_path / "last.pt")
    assert got.epoch == expected.epoch
    for name, weight in expected.weights.items():
        assert torch.equal(got.weights[name], weight), name
    for name, weight in expected.resume["weights"].items():
        assert torch.equal(got.resume["weights"][name], weight), name
    moments = (run.resume["optimizer"]["state"].values() for run in (expected, got))
    assert all(torch.equal(a["exp_avg_sq"], b["exp_avg_sq"]) for a, b in zip(*moments, strict=True))
    assert figures(whole) == figures(tmp_path)
    best = [load_checkpoint(out / "best.pt") for out in (whole, tmp_path)]
    assert best[0].epoch == best[1].epoch
    assert all(torch.equal(weight, best[1].weights[name]) for name, weight in best[0].weights.items())


def figures(out):
    """What does not depend on the clock of a run's metrics."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [[row["epoch"], row["size"], row["loss"], row["dev_pck"], row["learning_rate"]] for row in rows]


def test_a_finished_run_resumes_to_its_result(unbroken):
    preset, out, best, _ = unbroken
    assert run(preset, out, resume=True).training == best.training


def test_a_folder_that_holds_a_run_is_not_overwritten(unbroken):
    preset, out, _, _ = unbroken
    with pytest.raises(CheckpointError, match="holds a run already: add --resume"):
        run(preset, out)


def test_a_run_from_before_a_setting_existed_is_resumed_with_its_default(unbroken, tmp_path):
    preset, out, _, _ = unbroken
    old = load_checkpoint(out / "last.pt")
    recipe = old.training["recipe"]
    del recipe["network"]["pooling"], recipe["augmentation"]["coarse"], recipe["nobody"]
    old.save(tmp_path / "last.pt")
    best = load_checkpoint(out / "best.pt")
    best.save(tmp_path / "best.pt")
    assert run(preset, tmp_path, resume=True).epoch == best.epoch
    with pytest.raises(CheckpointError, match="another preset or seed"):
        run(replace(preset, nobody=0.5), tmp_path, resume=True)


def test_only_the_run_that_was_begun_is_resumed(unbroken, tmp_path):
    preset, out, best, _ = unbroken
    with pytest.raises(CheckpointError, match="there is no run to resume"):
        run(preset, tmp_path / "empty", resume=True)
    with pytest.raises(CheckpointError, match="another preset or seed"):
        run(replace(preset, learning_rate=1e-4), out, resume=True)
    with pytest.raises(CheckpointError, match="another preset or seed"):
        run(preset, out, resume=True, seed=7)
    best.save(tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="weights only"):
        run(preset, tmp_path, resume=True)


def test_other_joints_are_not_resumed(unbroken, tmp_path, figures_file):
    preset, out, _, _ = unbroken
    data = load_coco(figures_file)
    skeleton = replace(data.skeleton, joints=data.skeleton.joints[::-1])
    source = PhotoCrops(data.people, skeleton, 1.25)
    with pytest.raises(CheckpointError, match="other joints"):
        train(preset, source, source, out, {}, resume=True, workers=0)


def test_photographs_are_trained_on_in_worker_processes(figures_file, micro_preset, tmp_path):
    data = load_coco(figures_file)
    crops = PhotoCrops(data.people, data.skeleton, 1.25, micro_preset.augmentation)
    dev = PhotoCrops(data.people[:2], data.skeleton, 1.25)
    preset = replace(micro_preset, phases=(Phase(64, 1),), loss="mse")
    best = train(preset, crops, dev, tmp_path, {"data": []}, workers=1)
    assert best.loss == "mse"
    assert best.epoch == 1


def one_epoch(network, preset, batch):
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0)
    average = build(network.config)
    return train_epoch(
        network, average, optimizer, iter([batch]), preset, lambda _: 1e-2, 0, torch.device("cpu"), lambda *_: None
    )


def one_batch():
    source = SyntheticCrops(2, 1.25, variety=CALM)
    samples = [source.sample(None, i, (64, 64)) for i in range(2)]
    return tuple(torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))


@pytest.mark.parametrize("intermediate", [True, False])
def test_intermediate_supervision_is_a_switch(micro_preset, intermediate):
    torch.manual_seed(0)
    network = build(HourglassConfig(joints=14, stacks=2, features=8, depth=2, input_size=(64, 64)))
    torch.nn.init.zeros_(network.merge_heatmaps[0].weight)  # the only way from the first head to the last stack
    before = network.heads[0].weight.clone()
    one_epoch(network, replace(micro_preset, intermediate_supervision=intermediate), one_batch())
    assert torch.equal(network.heads[0].weight, before) != intermediate


def test_nobody_teaches_heatmaps_to_be_flat(micro_preset):
    torch.manual_seed(0)
    network = build(HourglassConfig(joints=14, stacks=1, features=8, depth=2, input_size=(64, 64)))
    torch.nn.init.normal_(network.heads[0].weight, std=2)
    images, joints, visible, _ = one_batch()
    hidden = torch.zeros_like(visible)
    before = network.heads[0].weight.clone()
    one_epoch(network, micro_preset, (images, joints, hidden, torch.zeros(2, dtype=torch.bool)))
    assert torch.equal(network.heads[0].weight, before)  # nothing known, nothing learned
    losses = [
        one_epoch(network, micro_preset, (images, joints, hidden, torch.ones(2, dtype=torch.bool))) for _ in range(40)
    ]
    uniform = float(np.log(16 * 16))
    assert losses[0] > uniform + 0.5
    assert losses[-1] < uniform + 0.1


def test_a_loss_that_is_not_finite_stops_the_run(micro_preset):
    network = build(HourglassConfig(joints=14, stacks=1, features=8, depth=2, input_size=(64, 64)))
    with torch.no_grad():
        network.heads[0].bias.fill_(float("nan"))
    weights = {name: value.clone() for name, value in network.named_parameters()}
    with pytest.raises(Diverged, match="nan at step 0: lower the learning rate"):
        one_epoch(network, micro_preset, one_batch())
    for name, value in network.named_parameters():  # stopped before the step
        assert torch.equal(value.nan_to_num(), weights[name].nan_to_num())


def test_nobody_to_measure_on_is_said(micro_preset, tmp_path):
    class Unlabelled(SyntheticCrops):
        def sample(self, epoch, index, size):
            sample = super().sample(epoch, index, size)
            return sample._replace(visible=np.zeros_like(sample.visible))

    learn, _ = sources(micro_preset)
    with pytest.raises(ValueError, match="no person has a reference length"):
        train(micro_preset, learn, Unlabelled(2, 1.25), tmp_path, {}, workers=0)


def test_the_schedule_is_one_cycle():
    rates = [learning_rate(t, 2e-3) for t in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(2e-3)
    assert np.argmax(rates) == 5
    assert (np.diff(rates[:6]) > 0).all()
    assert (np.diff(rates[5:]) < 0).all()
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_the_running_mean_has_a_short_memory_at_first():
    assert average_decay(0, 0.999) == pytest.approx(0.1)
    assert average_decay(10**6, 0.999) == 0.999


TINY = HourglassConfig(joints=1, stacks=1, features=8, depth=2, input_size=(64, 64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"phases": ()}, "at least one phase"),
        ({"phases": (Phase(64, 0),)}, "at least one epoch"),
        ({"phases": (Phase(48, 1),)}, "last phase is at 48 px"),
        ({"phases": (Phase(50, 1), Phase(64, 1))}, "multiples of 16"),
        ({"loss": "l1"}, "loss must be one of softmax, sigmoid, mse"),
        ({"sigma": 0}, "sigma must be greater than 0"),
        ({"learning_rate": -1}, "learning_rate must be greater than 0"),
        ({"batch_size": 0}, "batch_size must be greater than 0"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative"),
        ({"ema": 1.0}, "ema must be"),
    ],
)
def test_recipes_that_cannot_train_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Preset(**{"network": TINY, "phases": (Phase(64, 1),), **settings})


def test_the_presets_are_of_both_kinds():
    assert {"hourglass-s", "cnn", "tiny"} <= set(PRESETS)
    assert isinstance(PRESETS["cnn"].network, CnnConfig)


def test_weights_are_gone_on_from_in_a_larger_network(unbroken, tmp_path):
    preset, _, best, _ = unbroken
    larger = replace(preset, network=replace(preset.network, extra=(16,)), phases=(Phase(64, 1),), learning_rate=1e-5)
    network = build(replace(larger.network, joints=14))
    fresh = warm_start(network, best.skeleton, best)
    assert fresh
    assert all("extra" in name for name in fresh)
    assert torch.equal(network.state_dict()["stem.0.weight"], best.weights["stem.0.weight"])
    run(larger, tmp_path, init=best)
    started = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    scratch = json.loads((unbroken[1] / "metrics.jsonl").read_text().splitlines()[0])
    assert started["loss"] < scratch["loss"]


def test_a_deeper_network_answers_at_first_as_the_one_it_grew_out_of(unbroken):
    _, _, best, _ = unbroken
    crops = torch.rand(2, 3, 64, 64) * 2 - 1
    deeper = build(replace(best.config, stacks=3)).eval()
    assert warm_start(deeper, best.skeleton, best) == []
    expected = best.network()(crops)[-1]
    for answer in deeper(crops):
        assert torch.equal(answer, expected)


def test_stacks_that_the_checkpoint_has_are_taken_as_they_are(unbroken):
    _, _, best, _ = unbroken
    two = replace(best, config=replace(best.config, stacks=2))
    deeper = build(two.config)
    warm_start(deeper, best.skeleton, best)
    torch.nn.init.constant_(deeper.merge_features[0].weight, 0.5)
    torch.nn.init.constant_(deeper.heads[1].weight, 0.25)
    two = replace(two, weights=deeper.state_dict())
    three, one = build(replace(best.config, stacks=3)), build(best.config)
    assert warm_start(three, best.skeleton, two) == warm_start(one, best.skeleton, two) == []
    assert (three.merge_features[0].weight == 0.5).all()
    assert (three.merge_features[1].weight == 0).all()
    assert (three.heads[2].weight == 0.25).all()
    assert torch.equal(one.heads[0].weight, best.weights["heads.0.weight"])


def test_weights_for_other_joints_keep_what_is_not_about_joints(unbroken):
    _, _, best, _ = unbroken
    network = build(replace(best.config, joints=5))
    fresh = warm_start(network, skeleton_from_names(["a", "b", "c", "d", "e"], []), best)
    assert fresh == ["heads.0.bias", "heads.0.weight"]


def test_weights_of_another_kind_of_network_are_refused(unbroken):
    _, _, best, _ = unbroken
    with pytest.raises(CheckpointError, match="are of a hourglass, but the preset is a cnn"):
        warm_start(build(CnnConfig(joints=14)), best.skeleton, best)
    with pytest.raises(CheckpointError, match="tensors fit"):
        warm_start(build(replace(best.config, features=16)), best.skeleton, best)

"""Networks: shapes, settings that cannot be, and stages that can be looked at."""

import dataclasses

import pytest
import torch

from poseglass_training.networks import CnnConfig, HourglassConfig, architecture, build, config_from_json

SMALL = {"features": 8, "depth": 2}


@pytest.mark.parametrize("stacks", [1, 2])
@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_an_hourglass_gives_heatmaps_at_every_stack(stacks, size):
    network = build(HourglassConfig(joints=5, stacks=stacks, input_size=size, **SMALL))
    heatmaps = network(torch.zeros(2, 3, *size))
    assert len(heatmaps) == stacks
    assert all(maps.shape == (2, 5, size[0] // 4, size[1] // 4) for maps in heatmaps)


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_the_plain_network_gives_heatmaps_of_the_same_shape(size):
    network = build(CnnConfig(joints=5, widths=(4, 8, 8, 16, 16), hidden=16, input_size=size))
    (heatmaps,) = network(torch.zeros(2, 3, *size))
    assert heatmaps.shape == (2, 5, size[0] // 4, size[1] // 4)


def test_the_plain_network_does_not_look_beyond_its_features():
    """A cell's heatmap patch is decoded from that cell's features alone: a far corner cannot change it."""
    torch.manual_seed(0)
    network = build(CnnConfig(joints=1, widths=(4, 4), convolutions=(1, 1), hidden=8, input_size=(64, 64))).eval()
    picture = torch.randn(1, 3, 64, 64)
    changed = picture.clone()
    changed[..., 32:, 32:] += 1
    before, after = network(picture)[0], network(changed)[0]
    assert torch.equal(before[..., :6, :6], after[..., :6, :6])
    assert not torch.equal(before, after)


def test_an_hourglass_sees_the_whole_picture():
    torch.manual_seed(0)
    network = build(HourglassConfig(joints=1, stacks=1, features=8, depth=4, input_size=(64, 64))).eval()
    picture = torch.randn(1, 3, 64, 64, requires_grad=True)
    network(picture)[-1][0, 0, 0, 0].backward()
    assert picture.grad is not None
    assert picture.grad[..., -4:, -4:].any()


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (HourglassConfig(joints=2, stacks=2, input_size=(32, 32), **SMALL), ["stack 1 middle", "stack 2 heatmaps"]),
        (CnnConfig(joints=2, widths=(4, 4), convolutions=(1, 1), input_size=(32, 32)), ["stage 1", "heatmaps"]),
    ],
)
def test_stages_can_be_looked_at(config, names):
    network = build(config).eval()
    picture = torch.randn(1, 3, 32, 32)
    stages = network.stages(picture)
    assert set(names) <= set(stages)
    assert all(maps.ndim == 4 for maps in stages.values())
    assert torch.equal(list(stages.values())[-1], network(picture)[-1])


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (HourglassConfig, {"joints": 0}, "at least 1"),
        (HourglassConfig, {"joints": 1, "features": 30}, "divisible by 4"),
        (HourglassConfig, {"joints": 1, "input_size": (100, 64)}, "multiples of 64"),
        (CnnConfig, {"joints": 1, "widths": (4, 4), "convolutions": (1,)}, "same number of stages"),
        (CnnConfig, {"joints": 1, "input_size": (33, 64)}, "multiples of 32"),
        (CnnConfig, {"joints": 1, "hidden": 0}, "hidden units"),
        (HourglassConfig, {"joints": 1, "activation": "gelu"}, "activation must be one of relu, tanh, sigmoid"),
        (HourglassConfig, {"joints": 1, "pooling": "min"}, "pooling must be one of max, average, not 'min'"),
        (CnnConfig, {"joints": 1, "activation": "ReLU"}, "activation must be one of relu, tanh, sigmoid, not 'ReLU'"),
        (CnnConfig, {"joints": 1, "pooling": ""}, "pooling must be one of max, average"),
    ],
)
def test_impossible_settings_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_settings_come_back_from_json():
    config = config_from_json("cnn", {"joints": 3, "widths": [4, 8], "convolutions": [1, 1], "input_size": [32, 64]})
    assert config == CnnConfig(joints=3, widths=(4, 8), convolutions=(1, 1), input_size=(32, 64))
    with pytest.raises(ValueError, match="unknown architecture 'transformer'"):
        config_from_json("transformer", {})
    with pytest.raises(ValueError, match="has no setting heads"):
        config_from_json("cnn", {"joints": 3, "heads": 2})


OPERATIONS = [
    HourglassConfig(joints=2, stacks=2, input_size=(32, 32), extra=(4,), **SMALL),
    CnnConfig(joints=2, widths=(4, 4), convolutions=(1, 1), hidden=8, input_size=(32, 32)),
]


@pytest.mark.parametrize("config", OPERATIONS)
def test_settings_from_before_there_was_a_choice_of_operations_load(config):
    old = {key: v for key, v in dataclasses.asdict(config).items() if key not in ("activation", "pooling")}
    loaded = config_from_json(architecture(config), old)
    assert loaded == config
    assert (loaded.activation, loaded.pooling) == ("relu", "max")


@pytest.mark.parametrize("config", OPERATIONS)
@pytest.mark.parametrize(
    ("activation", "pooling", "used"),
    [
        ("relu", "max", {torch.nn.ReLU, torch.nn.MaxPool2d}),
        ("tanh", "average", {torch.nn.Tanh, torch.nn.AvgPool2d}),
        ("sigmoid", "average", {torch.nn.Sigmoid, torch.nn.AvgPool2d}),
    ],
)
def test_only_the_chosen_operations_are_used(config, activation, pooling, used):
    """Whatever is computed between convolutions and normalisation, with the same weights under the same names."""
    network = build(dataclasses.replace(config, activation=activation, pooling=pooling)).eval()
    assert network.state_dict().keys() == build(config).state_dict().keys()
    called = set()
    for module in network.modules():
        module.register_forward_hook(lambda m, *_: called.add(type(m)))
    picture = torch.randn(1, 3, 32, 32)
    assert network(picture)[-1].isfinite().all()
    choices = {torch.nn.ReLU, torch.nn.Tanh, torch.nn.Sigmoid, torch.nn.MaxPool2d, torch.nn.AvgPool2d}
    assert called & choices == used


def test_pooling_in_the_stem_can_be_looked_at_whatever_it_is():
    for pooling, name in (("max", "stem.4 MaxPool2d"), ("average", "stem.4 AvgPool2d")):
        assert name in build(dataclasses.replace(OPERATIONS[0], pooling=pooling)).stages(torch.zeros(1, 3, 32, 32))


def test_the_operations_compute_what_they_are_called():
    """A cell of the plain network's first stage, by hand."""
    torch.manual_seed(0)
    picture = torch.randn(1, 3, 32, 32)
    for activation, bend in (("relu", torch.relu), ("tanh", torch.tanh), ("sigmoid", torch.sigmoid)):
        for pooling, of_four in (("max", torch.amax), ("average", torch.mean)):
            network = build(dataclasses.replace(OPERATIONS[1], activation=activation, pooling=pooling)).eval()
            stage = network.stages_[0]
            bent = bend(stage.norms[0](stage.convolutions[0](picture)))
            assert torch.allclose(stage(picture)[..., 3, 5], of_four(bent[..., 6:8, 10:12], dim=(2, 3)))


def test_extra_modules_begin_as_the_identity():
    torch.manual_seed(0)
    plain = build(HourglassConfig(joints=2, stacks=1, input_size=(64, 64), **SMALL)).eval()
    grown = build(HourglassConfig(joints=2, stacks=1, input_size=(64, 64), extra=(4, 16), **SMALL)).eval()
    fresh = set(grown.state_dict()) - set(plain.state_dict())
    assert any("extra_up" in name for name in fresh)
    grown.load_state_dict(plain.state_dict(), strict=False)
    picture = torch.randn(1, 3, 64, 64)
    assert torch.allclose(plain(picture)[-1], grown(picture)[-1], atol=1e-6)
    for module in grown.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, std=0.1)
    assert not torch.allclose(plain(picture)[-1], grown(picture)[-1], atol=1e-3)


@pytest.mark.parametrize("extra", [(4, 4, 4), (-1,)])
def test_extra_modules_that_cannot_be(extra):
    with pytest.raises(ValueError, match="extra"):
        HourglassConfig(joints=2, input_size=(64, 64), extra=extra, **SMALL)

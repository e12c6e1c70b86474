"""Targets, losses, and the decoder that reads heatmaps back."""

import numpy as np
import pytest
import torch

from poseglass_core.decode import decode as numpy_decode
from poseglass_training.decoder import EPSILON, decode
from poseglass_training.targets import LOSSES, activate, gaussian_targets, mse_loss, sigmoid_loss, smooth, softmax_loss


def some_joints(count=200, side=128.0):
    return torch.from_numpy(np.random.default_rng(0).uniform(12, side - 13, (count, 3, 2)).astype(np.float32))


@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_targets_are_exact_to_the_sub_pixel(size, sigma):
    joints = some_joints()
    targets = gaussian_targets(joints, size, sigma)
    assert targets.shape == (200, 3, *size)
    assert float(targets.max()) <= 1
    decoded, peaks = numpy_decode(targets.numpy(), 1e-12)
    assert np.abs(decoded - joints.numpy()).max() < 0.05
    assert peaks.min() > 0.7  # the joint is at most half a cell from the peak's cell, along each axis


@pytest.mark.parametrize("loss", list(LOSSES))
def test_the_best_heatmap_of_each_loss_decodes_to_the_joint(loss):
    joints = some_joints()
    targets = gaussian_targets(joints, (32, 32), 1.5)
    raw = {"softmax": targets.clamp(min=1e-30).log(), "sigmoid": targets.logit(1e-7), "mse": targets}[loss]
    decoded, _ = decode(activate(raw, loss), EPSILON[loss])
    assert (decoded - joints).abs().max() < 0.05


def test_the_decoder_in_the_graph_equals_its_numpy_twin():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand((6, 5, 16, 24), generator=generator)
    maps[0, 0] = 0.5  # a plateau
    maps[0, 1, 0, 0] = 2.0  # a corner
    maps[0, 2, 7, 23] = 2.0  # an edge
    ours, scores = decode(maps, 1e-3)
    twin, twin_scores = numpy_decode(maps.numpy(), 1e-3)
    assert np.abs(ours.numpy() - twin).max() < 1e-3
    assert np.array_equal(scores.numpy(), twin_scores)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_joints_without_a_label_do_not_count(loss):
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn((2, 3, 8, 8), generator=generator)
    targets = gaussian_targets(some_joints(2, 32.0), (8, 8), 1.5)
    visible = torch.tensor([[True, False, True], [False, False, True]])
    before = LOSSES[loss](maps, targets, visible)
    spoilt_maps, spoilt_targets = maps.clone(), targets.clone()
    spoilt_maps[~visible], spoilt_targets[~visible] = 100.0, 0.5
    assert torch.allclose(LOSSES[loss](spoilt_maps, spoilt_targets, visible), before)
    changed = maps.clone()
    changed[0, 0, 0, 0] += 3
    assert not torch.allclose(LOSSES[loss](changed, targets, visible), before)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_a_batch_without_any_label_has_no_loss_and_no_gradient(loss):
    maps = torch.randn((2, 3, 8, 8), requires_grad=True)
    targets = gaussian_targets(some_joints(2, 32.0), (8, 8), 1.5)
    value = LOSSES[loss](maps, targets, torch.zeros((2, 3), dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert maps.grad is not None
    assert not maps.grad.any()


def test_losses_are_what_they_say():
    targets = gaussian_targets(some_joints(2, 32.0), (8, 8), 1.5)
    seen = torch.ones((2, 3), dtype=torch.bool)
    assert mse_loss(targets, targets, seen).item() == 0
    assert mse_loss(targets + 0.5, targets, seen).item() == pytest.approx(0.25, rel=1e-5)
    uniform = softmax_loss(torch.zeros_like(targets), targets, seen)
    assert uniform.item() == pytest.approx(np.log(64), rel=1e-5)  # nothing known: the entropy of 64 cells
    assert softmax_loss(targets.clamp(min=1e-30).log(), targets, seen) < uniform
    undecided = sigmoid_loss(torch.zeros_like(targets), targets, seen)
    assert undecided.item() == pytest.approx(64 * np.log(2), rel=1e-5)  # a bit a cell
    assert sigmoid_loss(targets.logit(1e-7), targets, seen) < undecided


def test_activated_heatmaps_keep_the_contract():
    raw = 5 * torch.randn((2, 3, 8, 8))
    softmax, sigmoid, clipped = (activate(raw, loss) for loss in LOSSES)
    assert torch.allclose(softmax.sum(dim=(2, 3)), torch.ones(2, 3), atol=1e-5)
    for maps in (softmax, sigmoid, clipped):
        assert maps.min() >= 0
        assert maps.max() <= 1


@pytest.mark.parametrize("loss", list(LOSSES))
def test_a_target_of_zeros_is_met_by_a_flat_heatmap(loss):
    flat, counts = torch.zeros((1, 2, 8, 8)), torch.ones((1, 2), dtype=torch.bool)
    peaked = flat.clone()
    peaked[..., 3, 4] = 5
    assert LOSSES[loss](flat, flat, counts) < LOSSES[loss](peaked, flat, counts)
    raw = torch.randn((1, 2, 8, 8), requires_grad=True)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(LOSSES[loss](raw, flat, counts), raw)
        raw = (raw - 30 * gradient).detach().requires_grad_()
    heatmaps = activate(raw.detach(), loss)
    assert float(heatmaps.amax() - heatmaps.amin()) < 0.01


def test_smoothing_keeps_every_sum_and_what_is_not_smoothed():
    maps = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    assert smooth(maps, 0) is maps
    for sigma in (0.5, 2.0):
        smoothed = smooth(maps, sigma)
        assert torch.allclose(smoothed.sum(dim=(2, 3)), maps.sum(dim=(2, 3)), rtol=1e-5)
        assert (smoothed >= 0).all()
        assert smoothed.std() < maps.std()


def test_smoothing_prefers_the_middle_of_doubt_to_a_lonely_peak():
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, 3, 3] = 0.3
    maps[0, 0, 10, 9] = maps[0, 0, 10, 11] = 0.25
    assert divmod(int(maps.flatten().argmax()), 16) == (3, 3)
    assert divmod(int(smooth(maps, 1.5).flatten().argmax()), 16) == (10, 10)


def test_smoothing_moves_nothing():
    maps = gaussian_targets(torch.tensor([[[31.3, 24.8]]]), (16, 16), 1.5)
    before, after = (decode(smooth(maps, sigma), EPSILON["softmax"])[0] for sigma in (0.0, 1.5))
    assert torch.allclose(before, after, atol=0.05)

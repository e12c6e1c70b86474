"""What is fitted to a trained network's heatmaps, its own weights untouched: smoothing, and scores as probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poseglass_core.calibration import Calibration, log_mass
from poseglass_core.metrics import pck, reference_lengths
from poseglass_core.reliability import Reliability, reliability
from poseglass_training.batches import CropDataset, crop_batches
from poseglass_training.checkpoint import Checkpoint
from poseglass_training.crops import SampleSource
from poseglass_training.decoder import EPSILON, decode
from poseglass_training.loop import normalise
from poseglass_training.targets import activate, smooth

WINDOW = 5
"""Heatmap cells a side whose sum the scores are made of."""

RIDGE = 20.0
"""Pull of a joint's own numbers towards those fitted to all joints together."""

RIGHT = 0.2
"""Share of the reference length within which a joint is right, as in PCK@0.2."""

SMOOTHINGS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
"""Cells; tried on dev."""

BATCH = 8
"""Crops a pass: few, so that the allocator keeps the memory instead of giving it back each time."""


def fit_smoothing(checkpoint: Checkpoint, dev: SampleSource) -> tuple[Checkpoint, dict[float, float]]:
    """Choose how far heatmaps are smoothed before they are decoded.

    Args:
        checkpoint: the network; its weights stay as they are.
        dev: people that were not trained on.

    Returns:
        The checkpoint with its smoothing; and sigma in cells -> PCK@0.2 on dev, percent.

    Raises:
        ValueError: nobody in dev has a reference length.
    """
    predicted: dict[float, list[NDArray[np.float32]]] = {sigma: [] for sigma in SMOOTHINGS}
    truth, seen = [], []
    for heatmaps, joints, visible in _answers(checkpoint, dev):
        for sigma, found in predicted.items():
            found.append(decode(smooth(heatmaps, sigma), EPSILON[checkpoint.loss])[0].numpy())
        truth.append(joints)
        seen.append(visible)
    labels, mask = np.concatenate(truth), np.concatenate(seen)
    lengths = _lengths(checkpoint, labels, mask)
    rates = {
        sigma: pck(checkpoint.skeleton, np.concatenate(found), labels, mask, lengths, RIGHT, resamples=0).pck
        for sigma, found in predicted.items()
    }
    best = max(rates, key=lambda sigma: rates[sigma])
    return replace(checkpoint, smoothing=best), {sigma: round(rate, 2) for sigma, rate in rates.items()}


def calibrate(checkpoint: Checkpoint, dev: SampleSource, name: str) -> tuple[Checkpoint, Reliability]:
    """Fit scores that are probabilities of a right joint, given that the joint is in the picture.

    Args:
        checkpoint: the network; its weights stay as they are.
        dev: people that were not trained on.
        name: of dev, for the record.

    Returns:
        The checkpoint with its calibration; and how reliable the scores are on the half of dev that was not fitted to,
        both halves taken in turn.

    Raises:
        ValueError: nobody in dev has a reference length.
    """
    features, right, counted = _joint_outcomes(checkpoint, dev)
    halves = np.arange(len(features)) % 2
    scores = np.zeros(right.shape)
    for half in (0, 1):
        part = _fit(features[halves != half], right[halves != half], counted[halves != half], "")
        scores[halves == half] = part.scores_of_mass(features[halves == half])
    joint = np.broadcast_to(np.arange(right.shape[1]), right.shape)
    fitted = _fit(features, right, counted, f"{name}, {len(features)} people")
    return replace(checkpoint, calibration=fitted), reliability(scores[counted], right[counted], joint[counted])


@torch.inference_mode()
def _joint_outcomes(
    checkpoint: Checkpoint, dev: SampleSource
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Log masses [P, J], whether each joint is right, and whether it can be said at all."""
    features, predicted, truth, seen = [], [], [], []
    for heatmaps, joints, visible in _answers(checkpoint, dev):
        maps = smooth(heatmaps, checkpoint.smoothing)
        features.append(log_mass(maps.numpy(), WINDOW))
        predicted.append(decode(maps, EPSILON[checkpoint.loss])[0].numpy())
        truth.append(joints)
        seen.append(visible)
    labels, mask = np.concatenate(truth), np.concatenate(seen)
    lengths = _lengths(checkpoint, labels, mask)
    distance = np.linalg.norm(np.concatenate(predicted) - labels, axis=2)
    right = distance <= RIGHT * lengths[:, None]
    return np.concatenate(features).astype(np.float64), right, mask & np.isfinite(lengths)[:, None]


@torch.inference_mode()
def _answers(
    checkpoint: Checkpoint, dev: SampleSource
) -> Iterator[tuple[Tensor, NDArray[np.float32], NDArray[np.bool_]]]:
    """Unsmoothed heatmaps, labelled joints and which are labelled, in batches."""
    network, size = checkpoint.fast_network(), checkpoint.config.input_size
    for images, joints, visible, _ in crop_batches(CropDataset(dev, None, size), BATCH, None, 0):
        yield activate(network(normalise(images))[-1], checkpoint.loss), joints.numpy(), visible.numpy()


def _lengths(checkpoint: Checkpoint, labels: NDArray[np.float32], visible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """People's reference lengths in crop pixels."""
    side = max(checkpoint.config.input_size) / checkpoint.box_padding
    lengths = reference_lengths(checkpoint.skeleton, labels, visible, np.full((len(labels), 4), side))
    if not np.isfinite(lengths).any():
        raise ValueError("nobody to calibrate on has a reference length")
    return lengths


def _fit(
    features: NDArray[np.float64], right: NDArray[np.bool_], counted: NDArray[np.bool_], fitted_on: str
) -> Calibration:
    mean = features.mean(axis=1, keepdims=True)
    design = np.stack([np.ones_like(features), features, np.broadcast_to(mean, features.shape)], axis=2)  # [P, J, 3]
    shared = _logistic(design[counted], right[counted], np.zeros(3), 1e-3)
    own = [
        _logistic(design[counted[:, j], j], right[counted[:, j], j], shared, RIDGE) for j in range(features.shape[1])
    ]
    bias, slope, common = (tuple(round(float(v), 6) for v in column) for column in np.array(own).T)
    return Calibration(WINDOW, bias, slope, common, fitted_on)


def _logistic(
    design: NDArray[np.float64], right: NDArray[np.bool_], prior: NDArray[np.float64], strength: float
) -> NDArray[np.float64]:
    """Logistic regression by Newton's method, held to a prior by a ridge; [K, D] and [K] -> [D]."""
    weights = prior.copy()
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (p - right) + strength * (weights - prior)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + strength * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 5 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return weights

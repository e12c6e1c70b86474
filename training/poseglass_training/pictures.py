"""Pictures of a training run: its curves, what it is fed, and what a network's layers see."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from poseglass_core.drawing import Image, contact_sheet, overlay_heatmap, side_colour
from poseglass_core.geometry import heatmap_affine
from poseglass_core.skeleton import Skeleton
from poseglass_training.checkpoint import Checkpoint
from poseglass_training.crops import Sample, SampleSource
from poseglass_training.detection.scenes import DetectionScenes
from poseglass_training.loop import normalise
from poseglass_training.manifests import STRIDE
from poseglass_training.pasting import encode_png
from poseglass_training.targets import activate

CHANNELS = 24
"""Feature maps shown of a stage: those that vary most over the crop."""


def curve_picture(metrics: Path, out: Path) -> None:
    """Loss, PCK on dev and learning rate by epoch.

    Args:
        metrics: the run's `metrics.jsonl`.
        out: PNG to write.
    """
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    epochs = [row["epoch"] for row in rows]
    changes = [row for i, row in enumerate(rows) if i == 0 or row["size"] != rows[i - 1]["size"]]
    figure = Figure(figsize=(9, 7), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
    for axes, key, label, colour in zip(
        panels,
        ("loss", "dev_pck", "learning_rate"),
        ("training loss", "PCK@0.2 on dev (%)", "learning rate"),
        ("tab:blue", "tab:orange", "tab:grey"),
        strict=True,
    ):
        axes.plot(epochs, [row.get(key, np.nan) for row in rows], marker="o", markersize=3, color=colour)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        for row in changes[1:]:  # dev is measured at the phase's size: figures jump where it changes
            axes.axvline(row["epoch"] - 0.5, color="black", linewidth=0.8, linestyle=":")
    for row in changes:
        panels[0].annotate(f"{row['size']} px", (row["epoch"], 1.02), xycoords=("data", "axes fraction"), ha="center")
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(out, dpi=100)


def batch_picture(source: SampleSource, size: tuple[int, int], count: int = 20, epoch: int | None = 0) -> Image:
    """Samples from all over a source, as the network gets them, with their joints drawn.

    Left and right have the colours of `poseglass_core.drawing`; joints that are not labelled, hidden or out of the crop
    are left out. A wrong flip pair shows here as limbs whose colours change sides.

    Args:
        source: of samples.
        size: (height, width) of the crops.
        count: at most this many.
        epoch: whose augmentation; None: unaugmented.

    Returns:
        A contact sheet, RGB.
    """
    indices = np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int).tolist()
    samples = [source.sample(epoch, index, size) for index in indices]
    return contact_sheet([(str(i), draw_sample(s, source.skeleton)) for i, s in zip(indices, samples, strict=True)])


def detection_picture(source: DetectionScenes, side: int, out: Path, count: int = 20) -> None:
    """Training pictures of the first epoch, as a detector gets them.

    Boxes are drawn; what is not known to be empty is reddened, and nobody is asked what is there.

    Args:
        source: of training pictures.
        side: theirs, in pixels.
        out: PNG to write.
        count: pictures.
    """
    tiles = []
    for index in range(min(count, len(source))):
        image, boxes, known = source.sample(0, index, side)
        unknown = ~cv2.resize(known.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST).astype(bool)
        shown = image.copy()
        shown[unknown] = shown[unknown] // 2 + np.array([90, 0, 0], np.uint8)
        for x1, y1, x2, y2 in boxes.round().astype(int).tolist():
            cv2.rectangle(shown, (x1, y1), (x2 - 1, y2 - 1), (0, 255, 0), 1)
        tiles.append((str(index), shown))
    out.write_bytes(encode_png(contact_sheet(tiles)))


def draw_sample(sample: Sample, skeleton: Skeleton, side: int = 220) -> Image:
    """A crop, enlarged to about `side` pixels, with its limbs and joints."""
    factor = max(1, round(side / max(sample.image.shape[:2])))
    canvas = cv2.resize(sample.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    points = np.round(((sample.joints + 0.5) * factor - 0.5) * 16).astype(int).tolist()
    for a, b in skeleton.limb_index:
        if sample.visible[a] and sample.visible[b]:
            colour = side_colour(skeleton.joints[a])
            cv2.line(canvas, points[a], points[b], colour, 2, cv2.LINE_AA, 4)
    for name, point, seen in zip(skeleton.joints, points, sample.visible, strict=True):
        if seen:
            cv2.circle(canvas, point, 3 << 4, side_colour(name), -1, cv2.LINE_AA, 4)
            cv2.circle(canvas, point, 3 << 4, (0, 0, 0), 1, cv2.LINE_AA, 4)
    return np.asarray(canvas, dtype=np.uint8)


def layer_sheets(checkpoint: Checkpoint, crop: Image) -> dict[str, Image]:
    """What a network's layers make of a crop.

    Args:
        checkpoint: of the network.
        crop: [H, W, 3] uint8 RGB at the network's input size.

    Returns:
        Name -> contact sheet (RGB), in the order they are computed: the first layer's filters, then every named stage:
        its feature maps that vary most, each scaled to its own range; for heatmaps, every joint's over the crop.

    Raises:
        ValueError: the crop has another size.
    """
    if crop.shape != (*checkpoint.config.input_size, 3):
        raise ValueError(f"the crop must be {(*checkpoint.config.input_size, 3)}, not {crop.shape}")
    network = checkpoint.network()
    sheets = {"first layer filters": _filters(network)}
    stages = network.stages(normalise(torch.from_numpy(np.ascontiguousarray(crop)[None])))
    for name, maps in stages.items():
        if name.endswith("heatmaps"):
            heatmaps = activate(maps.float(), checkpoint.loss)[0].numpy()
            tiles = [
                (joint, overlay_heatmap(crop, heatmap, heatmap_affine(STRIDE)))
                for joint, heatmap in zip(checkpoint.skeleton.joints, heatmaps, strict=True)
            ]
            sheets[name] = contact_sheet(tiles)
        else:
            sheets[name] = _features(maps[0].float().numpy())
    return sheets


def _filters(network: nn.Module) -> Image:
    """The first convolution's filters as little RGB pictures, grey being zero."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    weights = first.weight.detach().permute(0, 2, 3, 1).numpy()  # [outputs, k, k, 3]
    scaled = 127.5 + 127.5 * weights / np.abs(weights).max(axis=(1, 2, 3), keepdims=True).clip(min=1e-12)
    tiles = np.pad(scaled.astype(np.uint8), ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=24)  # a gap between them
    return contact_sheet([(str(i), tile) for i, tile in enumerate(tiles)], tile=96, columns=8)


def _features(maps: NDArray[np.float32]) -> Image:
    """Some feature maps [C, h, w], bright where high."""
    vary = maps.std(axis=(1, 2))
    chosen = np.sort(np.argsort(-vary, kind="stable")[:CHANNELS])
    tiles = []
    for channel in chosen.tolist():
        low, high = maps[channel].min(), maps[channel].max()
        grey = (255 * (maps[channel] - low) / max(high - low, 1e-12)).astype(np.uint8)
        tiles.append((f"channel {channel}", np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[..., ::-1])))
    return contact_sheet(tiles, tile=128, columns=8)

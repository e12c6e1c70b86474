"""The files that commands write about pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poseglass.commands.files import output_folder
from poseglass.errors import InvalidRequest
from poseglass.pictures import heatmap_sheet, read_picture, save_picture, write_file
from poseglass_core.drawing import Image, draw_poses
from poseglass_core.poses import Pose, Prediction


@dataclass(frozen=True)
class Outputs:
    """Where files go.

    Attributes:
        overlay: folder for pictures with poses drawn on them.
        heatmaps: folder for heatmap sheets and arrays.
        names: input -> name of what is written about it, without suffix.
    """

    overlay: Path | None
    heatmaps: Path | None
    names: dict[Path, str]

    def overlay_path(self, file: Path) -> Path | None:
        """The picture with poses of an input: a JPEG stays one, everything else becomes a PNG."""
        suffix = file.suffix if file.suffix.lower() in (".jpg", ".jpeg") else ".png"
        return None if self.overlay is None else self.overlay / f"{self.names[file]}{suffix}"


def prepare(files: Sequence[Path], outputs: Outputs) -> None:
    """Make the folders.

    Raises:
        InvalidRequest: one cannot be made, or an overlay would overwrite an input.
    """
    inputs = {file.resolve() for file in files}
    for file in files:
        path = outputs.overlay_path(file)
        if path is not None and path.resolve() in inputs:
            raise InvalidRequest("--overlay", f"would overwrite {path}; choose a folder other than the pictures' own")
    for folder in (outputs.overlay, outputs.heatmaps):
        if folder is not None:
            output_folder(folder)


def write_files(file: Path, prediction: Prediction, outputs: Outputs) -> dict[str, Any]:
    """Write what was asked for about one picture; returns the paths, by kind.

    Raises:
        PoseglassError, OSError: the picture cannot be read, or a file cannot be written.
    """
    overlay = outputs.overlay_path(file)
    if overlay is None and outputs.heatmaps is None:
        return {}
    image = read_picture(file)
    if image.shape[:2] != prediction.image_size:
        raise InvalidRequest(
            "image", f"{file}: is turned differently here and where it was decoded; re-save it upright"
        )
    written: dict[str, Any] = {}
    if overlay is not None:
        save_picture(overlay, draw_poses(image, prediction.poses))
        written["overlay"] = str(overlay)
    if outputs.heatmaps is not None:
        stems = [outputs.heatmaps / f"{outputs.names[file]}-person{i + 1}" for i in range(len(prediction.poses))]
        written["heatmaps"] = [
            path
            for stem, pose in zip(stems, prediction.poses, strict=True)
            for path in write_heatmaps(stem, image, pose)
        ]
    return written


def write_heatmaps(stem: Path, image: Image, pose: Pose) -> list[str]:
    """Write a person's heatmaps: `STEM-heatmaps.png` to look at, `STEM-heatmaps.npz` to compute with.

    The arrays: `values` [J, rows, columns] float32, `to_image` [2, 3] (heatmap column, row, 1 -> image x, y) and
    `names` [J].
    """
    if pose.heatmaps is None:
        return []
    sheet, arrays = (stem.with_name(f"{stem.name}-heatmaps{suffix}") for suffix in (".png", ".npz"))
    save_picture(sheet, heatmap_sheet(image, pose))
    content = io.BytesIO()
    maps = pose.heatmaps
    np.savez_compressed(content, values=maps.values, to_image=maps.to_image, names=np.array(pose.heatmap_names))
    write_file(arrays, content.getvalue())
    return [str(sheet), str(arrays)]

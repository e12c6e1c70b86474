"""How detectors of other makers are fed and read. The manifest names one; a graph that does not fit it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from poseglass_core.detector_manifest import OWN, DetectorManifest


class Tensor(NamedTuple):
    """An input or output of a graph.

    Attributes:
        name: empty: any will do.
        dtype: as ONNX Runtime writes it, e.g. "tensor(float)"; several where any of them will do.
        shape: sizes; text or None: free.
    """

    name: str
    dtype: str | tuple[str, ...]
    shape: tuple[int | str | None, ...]

    def fits(self, found: Any) -> bool:
        """Whether a graph's tensor (with `name`, `type` and `shape`) is such a one, as far as it says."""
        kinds = (self.dtype,) if isinstance(self.dtype, str) else self.dtype
        return (
            self.name in ("", found.name)
            and found.type in kinds
            and len(found.shape) == len(self.shape)
            and all(
                wanted == size or not isinstance(wanted, int) or not isinstance(size, int)
                for wanted, size in zip(self.shape, found.shape, strict=True)
            )
        )

    def describe(self) -> str:
        """In words: `name`, type and shape."""
        kinds = (self.dtype,) if isinstance(self.dtype, str) else self.dtype
        words = " or ".join(_DTYPES.get(kind, kind) for kind in kinds)
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{f'`{self.name}` ' if self.name else ''}{words} [{sizes}]"


_DTYPES = {
    "tensor(float)": "float32",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}

Candidates = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes [K, 4] (x1, y1, x2, y2: edges in pixels of the input) and scores [K]."""


class Adapter(Protocol):
    """Between pictures and one shape of detector."""

    @property
    def takes(self) -> Tensor:
        """The graph's one input."""
        ...

    @property
    def gives(self) -> tuple[Tensor, ...]:
        """The outputs that are read, in order."""
        ...

    def feed(self, picture: NDArray[np.uint8]) -> NDArray[Any]:
        """The input for one letterboxed RGB picture [H, W, 3]."""
        ...

    def read(self, outputs: Sequence[NDArray[Any]]) -> Candidates:
        """The candidates among the outputs for one picture.

        Raises:
            ValueError: their shapes are not those promised, which a graph with free sizes shows only when it runs.
        """
        ...


class OwnDetector:
    """The project's contract: uint8 RGB in, `boxes` [N, K, 4] and `scores` [N, K] out."""

    def __init__(self, manifest: DetectorManifest) -> None:
        self.takes = Tensor("image", "tensor(uint8)", ("N", *manifest.input_size, 3))
        boxes, scores = manifest.outputs
        self.gives = (Tensor(boxes, "tensor(float)", ("N", "K", 4)), Tensor(scores, "tensor(float)", ("N", "K")))

    def feed(self, picture: NDArray[np.uint8]) -> NDArray[Any]:
        """[1, H, W, 3]; normalisation is inside the graph."""
        return picture[None]

    def read(self, outputs: Sequence[NDArray[Any]]) -> Candidates:
        """As they are."""
        boxes, scores = outputs[0][0], outputs[1][0]
        if boxes.shape != (len(scores), 4):
            raise ValueError(f"boxes {list(boxes.shape)} do not go with scores {list(scores.shape)}")
        return boxes, scores


class Foreign:
    """What foreign detectors have in common: float32 [N, 3, H, W] in, normalised outside."""

    def __init__(self, manifest: DetectorManifest) -> None:
        self._settings = manifest.adapter_settings
        self.takes = Tensor("", "tensor(float)", ("N", 3, *manifest.input_size))
        self._mean = np.array(self._settings.mean, np.float32)[:, None, None]
        self._std = np.array(self._settings.std, np.float32)[:, None, None]

    def feed(self, picture: NDArray[np.uint8]) -> NDArray[Any]:
        """[1, 3, H, W] float32, channels and values as the settings say."""
        ordered = picture if self._settings.channels == "rgb" else picture[..., ::-1]
        return np.ascontiguousarray(((ordered.transpose(2, 0, 1) - self._mean) / self._std)[None], np.float32)


class Yolox(Foreign):
    """YOLOX's raw outputs [N, A, 5 + classes]: x, y, width, height, objectness and one score a class, a cell each.

    Ge et al., YOLOX (2021): a cell's centre is (offset + cell) x stride, its sides are exp(size) x stride; the cells
    are those of the grids of all strides, one after the other, row by row. Scores are probabilities already.
    """

    def __init__(self, manifest: DetectorManifest) -> None:
        super().__init__(manifest)
        height, width = manifest.input_size
        cells, strides = [], []
        for stride in self._settings.strides:
            rows, columns = np.mgrid[: height // stride, : width // stride]
            cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
            strides.append(np.full((rows.size, 1), stride))
        self._cells = np.concatenate(cells).astype(np.float32)  # [A, 2]
        self._strides = np.concatenate(strides).astype(np.float32)  # [A, 1]
        self.gives = (Tensor(manifest.outputs[0], "tensor(float)", ("N", len(self._cells), "5 + classes")),)

    def read(self, outputs: Sequence[NDArray[Any]]) -> Candidates:
        """Every cell's box and its score as a person."""
        raw = outputs[0][0]
        column = 5 + self._settings.class_index
        if len(raw) != len(self._cells):
            raise ValueError(
                f"{len(raw):,} cells are not the {len(self._cells):,} of strides {list(self._settings.strides)}; "
                "set adapter_settings.strides or input"
            )
        if raw.shape[1] <= column:
            raise ValueError(f"{raw.shape[1]} values a cell have no class {self._settings.class_index}")
        centre, size = raw[:, :2], raw[:, 2:4]
        if not self._settings.decoded:
            centre = (centre + self._cells) * self._strides
            with np.errstate(over="ignore"):  # boxes without end are dropped like other broken ones
                size = np.exp(size) * self._strides
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1), raw[:, 4] * raw[:, column]


class MMDeploy(Foreign):
    """MMDeploy's end-to-end detectors: `dets` [N, K, 5] (x1, y1, x2, y2, score) and `labels` [N, K]."""

    def __init__(self, manifest: DetectorManifest) -> None:
        super().__init__(manifest)
        dets, labels = manifest.outputs
        self.gives = (
            Tensor(dets, "tensor(float)", ("N", "K", 5)),
            Tensor(labels, ("tensor(int64)", "tensor(int32)"), ("N", "K")),
        )

    def read(self, outputs: Sequence[NDArray[Any]]) -> Candidates:
        """Those whose label is a person's; what pads the list has a label below 0."""
        dets, labels = outputs[0][0], outputs[1][0]
        if dets.shape != (len(labels), 5):
            raise ValueError(f"dets {list(dets.shape)} do not go with labels {list(labels.shape)}")
        people = dets[labels == self._settings.class_index]
        return people[:, :4], people[:, 4]


_ADAPTERS: dict[str, type[OwnDetector] | type[Yolox] | type[MMDeploy]] = {
    OWN: OwnDetector,
    "yolox": Yolox,
    "mmdeploy": MMDeploy,
}


def adapter_of(manifest: DetectorManifest) -> Adapter:
    """The adapter that a manifest names."""
    return _ADAPTERS[manifest.adapter](manifest)

"""Smoothed joints beside the raw ones: a second, recorded layer."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from poseglass.video.butterworth import Butterworth, butterworth
from poseglass.video.euro import OneEuro, one_euro
from poseglass.video.gaps import joint_weights
from poseglass.video.table import PoseTable

FILTERS: dict[str, type[OneEuro] | type[Butterworth]] = {"one-euro": OneEuro, "butterworth": Butterworth}
"""Settings by the name that the command line and the header use."""


def smooth(table: PoseTable, settings: OneEuro | Butterworth) -> PoseTable:
    """The table with `smoothed` joints and the filter's settings in its header; raw joints stay as they are.

    Every track is filtered alone, over its true times.

    Args:
        table: of one video, tracked.
        settings: of the filter to use.

    Raises:
        ValueError: the table has no tracks.
    """
    if table.track is None:
        raise ValueError("the table has no tracks: track it first")
    result = np.full(table.joints.shape, np.nan, np.float32)
    for number in range(int(table.track.max(initial=-1)) + 1):
        rows = np.flatnonzero(table.track == number)
        if len(rows):
            result[rows] = _smooth_person(table, rows, settings)
    name = next(name for name, kind in FILTERS.items() if isinstance(settings, kind))
    return replace(table, smoothed=result, header={**table.header, "smoothing": {"filter": name, **asdict(settings)}})


def _smooth_person(table: PoseTable, rows: NDArray[np.int64], settings: OneEuro | Butterworth) -> NDArray[np.float64]:
    points = table.joints[rows].astype(np.float64)
    # A file's times may stumble; filters only ever go forwards.
    times = np.maximum.accumulate(table.time[rows])
    weights = joint_weights(points, table.joint_scores[rows], settings.low_scores, settings.min_score)
    if isinstance(settings, OneEuro):
        return one_euro(points, times, weights, table.box[rows, 2:].max(axis=1).astype(np.float64), settings)
    return butterworth(points, times, weights, settings)

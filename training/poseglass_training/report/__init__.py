"""The report of an evaluation: one page to look at, one file to compute with. Needs matplotlib, not torch."""

from __future__ import annotations

import json
from pathlib import Path

from poseglass_core.files import write_whole
from poseglass_training.evaluation import Evaluation
from poseglass_training.pasting import Pasting
from poseglass_training.report.analysis import analyse
from poseglass_training.report.page import render
from poseglass_training.report.tiles import worst_tiles


def write_report(evaluation: Evaluation, folder: Path, subset: str, pasting: Pasting | None = None) -> Path:
    """Write `report.html`, which opens without a network, and `report.json` with all its figures.

    The page holds pictures of the data set: whoever may not have those may not have the page.

    Args:
        evaluation: what `evaluate` measured.
        folder: made where it is missing.
        subset: which people of the file these are, in a word.
        pasting: as `evaluate` was given it, so that the worst pictures are those that were shown.

    Returns:
        The page's path.

    Raises:
        AnnotationError: a picture is gone since, or there is nothing to report.
        OSError: the folder cannot be written to.
    """
    analysis = analyse(evaluation)
    tiles = worst_tiles(evaluation, analysis.worst, pasting)
    figures = {**evaluation.to_json(), "subset": subset, **analysis.to_json()}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.json", (json.dumps(figures, indent=2, allow_nan=False) + "\n").encode())
    page = folder / "report.html"
    write_whole(page, render(evaluation, analysis, tiles, subset).encode())
    return page

"""PCK@0.2 and speed of MediaPipe Pose (full) beside this project's models: same people, same run, same protocol.

    python benchmarks/mediapipe_pck.py --mediapipe-python runs/venv-mediapipe/bin/python --data ANN.json

`peers.md` beside this file says how to make that Python. Every picture is shown to all contestants before the next one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import poseglass_models
from machine import processor
from mediapipe_peer import PADDING, MediaPipe, WorkerError
from poseglass.commands.connection import Connection
from poseglass_core.errors import NotSupported
from poseglass_core.files import write_whole
from poseglass_core.metrics import LIMB_JOINTS, PckResult
from poseglass_core.poses import PoseRequest, Prediction
from poseglass_runtime.detector import load_detector
from poseglass_runtime.engine import ModelError, load_engine
from poseglass_runtime.predictor import Predictor
from poseglass_training.annotations import AnnotationError, KeypointData, load_coco
from poseglass_training.commands.evaluating import Mode
from poseglass_training.commands.models import ModelUnusable, predictor
from poseglass_training.evaluation import THRESHOLD, Evaluation, Predict, evaluate
from poseglass_training.reporting import evaluation_bar
from serving import ServerError, running_server


class SideBySide:
    """Shows each picture to every contestant in turn, and keeps what they answer.

    Attributes:
        answers: contestant's name -> its answers, in the pictures' order.
        views: persons' crops shown, or whole pictures.
    """

    def __init__(self, contestants: Mapping[str, Predict]) -> None:
        self._contestants = contestants
        self.answers: dict[str, list[Prediction]] = {name: [] for name in contestants}
        self.views = 0

    def __call__(self, picture: NDArray[np.uint8], request: PoseRequest) -> Prediction:
        """The last contestant's answer."""
        for name, predict in self._contestants.items():
            if not self.answers[name]:
                predict(picture, request)  # the first answer is slower than all others: not timed
            self.answers[name].append(predict(picture, request))
        self.views += len(request.boxes) or 1
        return self.answers[name][-1]


@dataclass(frozen=True)
class Score:
    """How one contestant did.

    Attributes:
        name: of the contestant.
        evaluation: over all joints that it shares with the data.
        limbs: PCK over the limb joints.
        found: people for whom it gave joints.
        per_second: persons (with boxes) or whole pictures a second.
    """

    name: str
    evaluation: Evaluation
    limbs: PckResult
    found: int
    per_second: float

    def limb_errors(self) -> NDArray[np.float64]:
        """[P, 12] over the counted people, as `Comparison.errors`: NaN where there is no label."""
        comparison = self.evaluation.comparison
        return comparison.errors[comparison.counted][:, [comparison.joints.index(name) for name in LIMB_JOINTS]]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "sha256": self.evaluation.model.sha256 if self.evaluation.model else None,
            "pck": round(self.limbs.pck, 2),
            "interval": [round(side, 2) for side in self.limbs.interval],
            "per_joint": {name: round(rate, 2) for name, rate in self.limbs.per_joint.items()},
            "found": self.found,
            "per_second": round(self.per_second, 3),
        }


@dataclass(frozen=True)
class Difference:
    """How much more `first` has than `second`.

    Attributes:
        first, second: contestants' names.
        pck: percentage points.
        interval: bootstrap 95 % interval of `pck`, by person.
        speed: views a second of the first over those of the second.
    """

    first: str
    second: str
    pck: float
    interval: tuple[float, float]
    speed: float


def compare(
    contestants: Mapping[str, Predict],
    data: KeypointData,
    mode: Mode,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Score]:
    """Measure contestants over the same people, picture by picture.

    Raises:
        AnnotationError: as `evaluate` does, or a limb joint is not named.
    """
    side_by_side = SideBySide(contestants)
    evaluate(side_by_side, data, mode.value, on_progress=on_progress)
    scores = []
    for name, answers in side_by_side.answers.items():
        kept = iter(answers)
        result = evaluate(lambda _picture, _request, kept=kept: next(kept), data, mode.value)  # type: ignore[misc]
        if result.limbs is None:
            raise AnnotationError(f"{data.name} and {name} must both name the limb joints: {', '.join(LIMB_JOINTS)}")
        found = int(np.isfinite(result.comparison.predicted).any(axis=(1, 2)).sum())
        seconds = sum(answer.timings.total for answer in answers) / 1e3
        scores.append(Score(name, result, result.limbs, found, side_by_side.views / seconds))
    return scores


def difference(first: Score, second: Score, resamples: int = 1000) -> Difference:
    """The paired difference of two contestants over the same people.

    Args:
        first, second: contestants.
        resamples: of the bootstrap, which draws people and takes both contestants' answers for them.
    """
    errors = first.limb_errors()
    labelled, gain = ~np.isnan(errors), (errors <= THRESHOLD).astype(np.int64) - (second.limb_errors() <= THRESHOLD)
    people = len(errors)
    drawn = np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), resamples)
    weights = np.vstack([np.ones(people, np.int64), drawn])
    counts = (weights @ labelled).astype(np.float64)
    counts[counts == 0] = np.nan  # joints that nobody drawn has labelled have no rate
    means = 100 * np.nanmean(weights @ gain / counts, axis=1)
    low, high = np.percentile(means[1:], [2.5, 97.5])
    ratio = first.per_second / second.per_second
    return Difference(first.name, second.name, float(means[0]), (float(low), float(high)), ratio)


def pin(threads: int) -> None:
    """Leave this process, and those it starts, that many processors.

    Raises:
        ValueError: there are fewer.
    """
    here = sorted(os.sched_getaffinity(0))
    if threads > len(here):
        raise ValueError(f"--threads {threads}: this process may use {len(here)} processors")
    os.sched_setaffinity(0, here[:threads])


@contextmanager
def ours(names: Sequence[str], threads: int, serve: bool) -> Iterator[dict[str, Predict]]:
    """This project's models, each with the shipped detector at hand, in this process or through a server."""
    if not serve or not names:
        finder = None
        if names and (detector := poseglass_models.detector()):
            finder = load_detector(poseglass_models.resolve(detector), "cpu", threads)
        yield {
            name: partial(
                Predictor(load_engine(poseglass_models.resolve(name), "cpu", threads)).predict, detector=finder
            )
            for name in names
        }
        return
    with running_server(names, threads) as server, ExitStack() as stack:
        yield {
            f"{name}, served": stack.enter_context(predictor(Path(name).stem, Connection(server.address), "cpu"))[0]
            for name in names
        }


def with_flip_test(predict: Predict) -> Predict:
    """A contestant that looks at each crop's mirror image too."""

    def both(picture: NDArray[np.uint8], request: PoseRequest) -> Prediction:
        return predict(picture, replace(request, flip_test=True))

    return both


@dataclass(frozen=True)
class Report:
    """All of a run.

    Attributes:
        mode: what was shown.
        padding: of the crops that MediaPipe was shown; None where it saw whole pictures.
        scores: of the contestants, MediaPipe's last.
        differences: each of the others less MediaPipe.
        machine: the processor.
        threads: processors that whoever's turn it was could use.
    """

    mode: Mode
    padding: float | None
    scores: Sequence[Score]
    differences: Sequence[Difference]
    machine: str
    threads: int

    def show(self, console: Console) -> None:
        """For people."""
        evaluation, limbs = self.scores[0].evaluation, self.scores[0].limbs
        crops = "" if self.padding is None else f"; MediaPipe's crops {self.padding:g} times the box"
        console.print(
            f"{evaluation.data}: {limbs.people} people, {limbs.left_out} left out for want of a reference length\n"
            f"{evaluation.protocol}, {len(LIMB_JOINTS)} limb joints{crops}",
            markup=False,
        )
        table = Table("", "PCK@0.2", "95 % interval", "found", f"{self.mode.value}/s")
        for score in self.scores:
            low, high = score.limbs.interval
            interval, speed = f"{low:.1f} – {high:.1f}", f"{score.per_second:.1f}"
            table.add_row(score.name, f"{score.limbs.pck:.1f}", interval, str(score.found), speed)
        console.print(table)
        for d in self.differences:
            console.print(
                f"{d.first} less {d.second}: {d.pck:+.1f} points (95 % interval {d.interval[0]:+.1f} … "
                f"{d.interval[1]:+.1f}, paired by person), {d.speed:.2f} times as fast"
            )
        console.print(f"{self.machine}; {self.threads} of them for whoever's turn it is", markup=False)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        evaluation, limbs = self.scores[0].evaluation, self.scores[0].limbs
        return {
            "data": evaluation.data,
            "protocol": evaluation.protocol,
            "mediapipe_padding": self.padding,
            "joints": list(LIMB_JOINTS),
            "people": limbs.people,
            "left_out": limbs.left_out,
            "machine": self.machine,
            "threads": self.threads,
            "contestants": [score.to_json() for score in self.scores],
            "differences": [asdict(d) for d in self.differences],
        }


def main(
    mediapipe_python: Annotated[Path, typer.Option(metavar="PATH", help="A Python that has mediapipe 0.10.14.")],
    data: Annotated[Path, typer.Option(metavar="ANN.json", help="COCO keypoint file that names the 12 limb joints.")],
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="The pictures; default as `poseglass`.")] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            help="Show each person's box, padded, or the whole picture; `detect`: ours look for everybody in it, and "
            "whoever is nearest to the label counts."
        ),
    ] = Mode.box,
    padding: Annotated[
        float, typer.Option(min=1.0, help="Size of MediaPipe's crops over the box's. Our models keep their own.")
    ] = PADDING,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME|FILE", help="To compare; again for more. Default: all shipped.")
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="MediaPipe alone, without models of this project.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="The first N people only.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Ask ours through a server, which this starts.")] = False,
    flip: Annotated[bool, typer.Option("--flip", help="Ours once more, with the flip test.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Processors that each contestant may use, one at a time.")] = 1,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")] = None,
) -> None:
    """Compare MediaPipe Pose with this project's models."""
    try:
        pin(threads)
        labelled = load_coco(data, images)
        people = replace(labelled, people=labelled.people[:limit])
        names = [] if alone else model or poseglass_models.names()
        with ExitStack() as stack:
            contestants = stack.enter_context(ours(names, threads, serve))
            if flip:
                contestants |= {f"{name}, flip test": with_flip_test(ask) for name, ask in contestants.items()}
            mediapipe = stack.enter_context(MediaPipe(mediapipe_python, padding))
            contestants[mediapipe.name] = mediapipe.predict
            progress = stack.enter_context(evaluation_bar(Console(stderr=True)))
            scores = compare(contestants, people, mode, progress)
    except (
        AnnotationError,
        FileNotFoundError,
        ModelError,
        ModelUnusable,
        NotSupported,
        ServerError,
        ValueError,
        WorkerError,
    ) as error:
        typer.echo(f"mediapipe_pck: {error}", err=True)
        raise typer.Exit(2) from None
    differences = [difference(score, scores[-1]) for score in scores[:-1]]
    report = Report(mode, padding if mode is Mode.box else None, scores, differences, processor(), threads)
    report.show(Console(soft_wrap=True, highlight=False))
    if as_json is not None:
        write_whole(as_json, (json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)

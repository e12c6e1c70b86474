"""Jitter: how steady joints are before and after smoothing, on videos of a figure whose joints are known.

    python benchmarks/jitter.py            # the figures; the plot goes to jitter.png
    python benchmarks/jitter.py --write    # the plot goes to docs/images

Of every figure two videos are rendered: in one it stands still, in the other its arms swing twice a second. Each frame
has a camera's noise of its own, and is encoded as H.264. `poseglass video` extracts the joints, as of any video.
A figure that the network does not see as it is would only show how lost it is, and is passed over.
"""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import poseglass
from machine import processor
from poseglass.video.butterworth import Butterworth
from poseglass.video.euro import OneEuro
from poseglass.video.reading import pyav
from poseglass.video.smoothing import smooth
from poseglass_core.files import write_whole
from poseglass_core.geometry import box_around
from poseglass_core.skeleton import LSP
from poseglass_training.figures.anatomy import paint_body
from poseglass_training.figures.backgrounds import background
from poseglass_training.figures.bodies import SIDES, Body, Camera, Variety, sample_body
from poseglass_training.figures.clothes import Look, sample_look
from poseglass_training.figures.painting import Painter

Array = NDArray[np.float64]

RATE, SECONDS = 30, 5.0
"""Frames a second, and length, of each video."""

SIZE, TALL = (480, 640), 400.0
"""(height, width) of the pictures, and height of the figure, in pixels."""

SWING, DEGREES = 2.0, 20.0
"""Hz, and how far the arms turn about the shoulders, to either side."""

PHOTONS, READING = 6.0, 2.0
"""Of the noise: grey levels squared a hundred grey levels, as light comes in grains, and grey levels everywhere."""

QUALITY = 23
"""Constant rate factor of H.264: the encoder's own default."""

SEEN = 0.07
"""Of the figure's height: a figure is seen where no joint is farther off."""

SETTLED = 1.0
"""Seconds after which joints are judged: filters start at the first position."""

FILTERS: dict[str, OneEuro | Butterworth] = {"One Euro": OneEuro(), "Butterworth": Butterworth()}

ARMS = tuple(LSP.index(f"{side}_{joint}") for side in SIDES for joint in ("elbow", "wrist"))

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "jitter.png"

COLOURS = {"truth": "#4d4d4d", "raw": "#cc79a7", "One Euro": "#0072b2", "Butterworth": "#d55e00"}
"""Of Okabe and Ito: told apart by colour-blind readers."""


@dataclass(frozen=True)
class Scene:
    """A figure, its surroundings, and the camera before it."""

    canvas: NDArray[np.uint8]
    light: Array
    body: Body
    look: Look
    camera: Camera


@dataclass(frozen=True)
class Tracked:
    """The joints of one video; J of the skeleton.

    Attributes:
        times: [N] seconds.
        truth: [N, J, 2] pixels.
        found: "raw" or filter -> [N, J, 2].
    """

    times: Array
    truth: Array
    found: dict[str, Array]


def scene(seed: int) -> Scene:
    """An upright figure that is seen from the front, before a background."""
    rng = np.random.default_rng(seed)
    body = sample_body(rng, Variety(facing=15, turn=4, turned=0, movement=0.25))
    joints = Camera(6.0, 1.0, np.zeros(2)).project(body.joints)
    scale = TALL / float(np.ptp(joints[:, 1]))
    offset = np.array(SIZE[::-1]) / 2 - scale * (joints.min(axis=0) + joints.max(axis=0)) / 2
    return Scene(background(rng, *SIZE), np.array([-0.4, -0.4]), body, sample_look(rng), Camera(6.0, scale, offset))


def swung(body: Body, degrees: float) -> Body:
    """The body with both arms raised from the shoulders, in the picture's plane, by so much."""
    points = dict(body.points)
    for side, sign in SIDES.items():
        turn = np.radians(-sign * degrees)
        matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        shoulder = points[f"{side}_shoulder"]
        for name in ("elbow", "wrist", "hand"):
            points[f"{side}_{name}"] = shoulder + matrix @ (points[f"{side}_{name}"] - shoulder)
    return replace(body, points=points)


def drawn(scene: Scene, body: Body) -> tuple[NDArray[np.float32], Array]:
    """(light [height, width, 3] in grey levels, joints [J, 2] in pixels) of the scene with a body."""
    painter = Painter(scene.canvas.copy(), scene.light)
    paint_body(painter, body, scene.look, scene.camera)
    lens = cv2.GaussianBlur(painter.canvas.astype(np.float32), (0, 0), 1.0)
    return np.asarray(lens, np.float32), scene.camera.project(body.joints)


def exposed(light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A frame as a sensor gives it: noise that grows with the light, and some everywhere."""
    spread = np.sqrt(PHOTONS * light / 100 + READING**2)
    noise = rng.standard_normal(light.shape, np.float32)
    return np.clip(np.round(light + spread * noise), 0, 255).astype(np.uint8)


def record(path: Path, scene: Scene, bodies: Sequence[Body], seed: int) -> Array:
    """Write an H.264 video of the scene with one body a frame.

    Returns:
        [N, J, 2] where the joints are.
    """
    av: Any = pyav()
    rng, truth, last = np.random.default_rng(seed), [], None
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options={"crf": str(QUALITY)})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for i, body in enumerate(bodies):
            if body is not last:
                (light, joints), last = drawn(scene, body), body
            frame = av.VideoFrame.from_ndarray(exposed(light, rng), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            file.mux(stream.encode(frame))
            truth.append(joints)
        file.mux(stream.encode(None))
    return np.stack(truth)


def seen(scene: Scene, predictor: poseglass.LocalPredictor) -> bool:
    """Whether the network finds all joints of the figure about where they are."""
    light, joints = drawn(scene, scene.body)
    pose = predictor.predict(exposed(light, np.random.default_rng(0)), boxes=[box_around(joints)]).poses[0]
    return bool(np.linalg.norm(pose.points - joints, axis=1).max() <= SEEN * TALL)


def extract(path: Path, out: Path, model: str, truth: Array) -> Tracked:
    """The joints of a video's first person, as `poseglass video` finds and smooths them."""
    command = [sys.executable, "-m", "poseglass", "video", str(path), "--out", str(out), "--model", model]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    table = poseglass.load(out / path.stem / f"{path.stem}.parquet").table
    assert table.track is not None
    first = np.flatnonzero(table.track == np.bincount(table.track[table.people]).argmax())
    found = {"raw": table.joints[first].astype(np.float64)}
    for name, settings in FILTERS.items():
        smoothed = smooth(table, settings).smoothed
        assert smoothed is not None
        found[name] = smoothed[first].astype(np.float64)
    return Tracked(table.time[first], truth[table.frame[first]], found)


def acceleration(videos: Sequence[Tracked], name: str) -> float:
    """Root mean square of second differences, in pixels a frame squared, of figures that stand still."""
    steps = [np.diff(video.found[name][video.times >= SETTLED], 2, axis=0).ravel() for video in videos]
    return float(np.sqrt(np.nanmean(np.concatenate(steps) ** 2)))


def error(videos: Sequence[Tracked], name: str, joints: Sequence[int]) -> float:
    """Root mean square distance from the truth, in pixels.

    Less the mean of what each raw joint is off by: where on a shoulder the network puts the joint is not jitter.
    """
    squares = []
    for video in videos:
        inside = _periods(video.times)
        truth, raw, points = (x[inside][:, joints] for x in (video.truth, video.found["raw"], video.found[name]))
        squares.append((((points - np.nanmean(raw - truth, axis=0)) - truth) ** 2).sum(axis=2).ravel())
    return float(np.sqrt(np.nanmean(np.concatenate(squares))))


def lag(videos: Sequence[Tracked], name: str) -> float:
    """Frames by which the swing of the arms comes later than in raw joints, from the phases of its frequency."""
    together = 0j
    for video in videos:
        inside = _periods(video.times)
        before, after = (_wave(video.found[x][inside][:, ARMS], video.times[inside]) for x in ("raw", name))
        together += complex((before * after.conj()).sum())
    return float(np.angle(together) / (2 * np.pi * SWING) * RATE)


def _wave(points: Array, times: Array) -> NDArray[np.complex128]:
    """Size and phase of the swing's frequency in positions [N, K, 2]."""
    centred = np.nan_to_num(points - np.nanmean(points, axis=0))
    wave: NDArray[np.complex128] = np.tensordot(np.exp(-2j * np.pi * SWING * times), centred, 1)
    return wave


def report(still: Sequence[Tracked], swing: Sequence[Tracked]) -> list[str]:
    """The figures in lines of Markdown."""
    everything = range(len(LSP.joints))
    rows = [
        "| | standing: acceleration | of each figure | error | swinging: lag | error of the arms |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("raw", *FILTERS):
        share = acceleration(still, name) / acceleration(still, "raw")
        each = ", ".join(f"{acceleration([one], name) / acceleration([one], 'raw'):.0%}" for one in still)
        standing = f"{share:.0%} | {each} | {error(still, name, everything):.2f} px"
        swinging = f"{lag(swing, name):.2f} frames | {error(swing, name, ARMS):.2f} px"
        rows.append(f"| {name} | {standing} | {swinging} |")
    base = ", ".join(f"{acceleration([one], 'raw'):.2f}" for one in still)
    return [f"raw acceleration of each figure, standing: {base} px a frame squared", "", *rows]


def _periods(times: Array) -> NDArray[np.bool_]:
    """Frames of whole swings, after filters have settled: so that nothing but the swing has its frequency."""
    length = np.floor((times[-1] - SETTLED) * SWING) / SWING
    inside: NDArray[np.bool_] = (times >= SETTLED) & (times < SETTLED + length - 0.5 / RATE)
    return inside


def plot(still: Tracked, swing: Tracked) -> bytes:
    """One joint over time, at rest and on the swing, as PNG."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    wrist = LSP.index("left_wrist")
    titles = ("A left wrist at rest", f"The same wrist on a {SWING:g} Hz swing")
    for axes, tracked, title, length in zip(figure.subplots(2, 1), (still, swing), titles, (3.0, 1.5), strict=True):
        shown = (tracked.times >= SETTLED) & (tracked.times <= SETTLED + length)
        truth = tracked.truth + np.nanmean(tracked.found["raw"] - tracked.truth, axis=0)
        for name, points in {"truth": truth, **tracked.found}.items():
            _line(axes, tracked.times[shown], points[shown, wrist, 0], name)
        axes.set(xlim=(SETTLED, SETTLED + length), ylabel="x (px)", title=title)
    figure.axes[-1].set(xlabel="seconds")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _line(axes: Axes, times: Array, values: Array, name: str) -> None:
    label = "truth, moved by the network's mean offset" if name == "truth" else name
    style, width = "--" if name == "truth" else "-", 1.8 if name in FILTERS else 1.0
    marker = "." if name == "raw" else ""  # where a filter follows closely, its line hides that of raw
    axes.plot(times, values, style, marker=marker, color=COLOURS[name], linewidth=width, label=label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def main(
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="What finds joints.")] = "hourglass-s",
    figures: Annotated[int, typer.Option(min=1, help="How many, of those that the network sees.")] = 3,
    seconds: Annotated[float, typer.Option(min=3, help="Length of each video.")] = SECONDS,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep videos and results there, and go on.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the plot into docs/images.")] = False,
) -> None:
    """Render, extract, smooth, and say how steady and how late joints are."""
    count = round(seconds * RATE)
    turns = DEGREES * np.sin(2 * np.pi * SWING * np.arange(count) / RATE)
    tracked: dict[str, list[Tracked]] = {"still": [], "swing": []}
    with tempfile.TemporaryDirectory() as temporary, poseglass.LocalPredictor(model, detector=None) as predictor:
        chosen = islice((seed for seed in itertools.count(1) if seen(scene(seed), predictor)), figures)
        for seed in chosen:
            what, folder = scene(seed), (keep or Path(temporary)) / f"figure-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            bodies = {"still": [what.body] * count, "swing": [swung(what.body, turn) for turn in turns.tolist()]}
            for i, (name, sequence) in enumerate(bodies.items()):
                truth = record(folder / f"{name}.mp4", what, sequence, seed + i)
                tracked[name].append(extract(folder / f"{name}.mp4", folder / "poses", model, truth))
            typer.echo(f"figure {seed} is done", err=True)
    typer.echo(f"{processor()}; {model}, {figures} figures, {count} frames each at {RATE} a second, CRF {QUALITY}")
    typer.echo("\n".join(report(**tracked)))
    target = OUT if write else Path("jitter.png")
    write_whole(target, plot(tracked["still"][0], tracked["swing"][0]))
    typer.echo(str(target))


if __name__ == "__main__":
    typer.run(main)

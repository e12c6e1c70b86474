"""One page about one video: counts, who was there when, scores, paths, angles and a few frames; readable offline."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from poseglass.pictures import write_file
from poseglass.video.angles import joint_angles
from poseglass.video.annotate import track_colour
from poseglass.video.charts import Array, Line, band_chart, line_chart, path_chart
from poseglass.video.table import PoseTable
from poseglass.video.thumbnails import thumbnails

LONGEST = 8
"""People with charts of their own: those who are there for the most frames. The table lists everybody."""

LISTED = 40
"""Lost stretches and people that are listed."""

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#222;background:#fff;max-width:760px;margin:2em auto;padding:0 1em}
h1{font-size:1.4em;margin-bottom:0}h2{font-size:1.1em;margin:1.6em 0 .4em}p{margin:.3em 0}
table{border-collapse:collapse}td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right}svg{max-width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:#555}
.pictures{display:flex;flex-wrap:wrap;gap:6px}figure{margin:0}figcaption{font-size:.8em;color:#555}
.bad{color:#b00020}.swatch{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}
"""


def write_report(table: PoseTable, path: Path, source: Path | None = None, pictures: int = 8) -> None:
    """Write the page, whole or not at all; pictures and charts are inside it.

    Args:
        table: rows of one video.
        path: of the HTML file.
        source: the video, for frames with the poses on them; None: no pictures.
        pictures: how many, evenly over the video.

    Raises:
        OSError: it cannot be written.
    """
    write_file(path, render(table, source, pictures).encode())


def render(table: PoseTable, source: Path | None = None, pictures: int = 8) -> str:
    """The page as text; see `write_report`."""
    name = source.name if source else str(dict(table.header.get("source") or {}).get("name", "video"))
    parts = [f"<h1>{escape(name)}</h1>", _facts(table)]
    if len(table):
        parts += _pictures(table, source, pictures)
        parts += _sections(table)
    title = f"<title>{escape(name)}: poses</title>"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{title}<style>{_STYLE}</style></head>'
    return f"{head}<body>{''.join(parts)}</body></html>"


def _facts(table: PoseTable) -> str:
    """The header, in short, and what does not add up in it."""
    header = table.header
    counts = header.get("counts") or {}
    rows = [
        ("Frames in the result", f"{table.frame_count}"),
        ("Frames with somebody", f"{int((table.person == 0).sum())}"),
    ]
    if len(table):
        rows.append(("Time", f"{table.time[0]:.3f} to {table.time[-1]:.3f} s"))
    named = {
        "promised": "Frames, as the container says",
        "decoded": "Frames decoded",
        "selected": "Frames wanted",
        "corrupt_packets": "Corrupt packets",
        "damaged_frames": "Damaged frames",
        "repaired_times": "Times that the file lacks or mistakes",
    }
    rows += [(words, str(counts[key])) for key, words in named.items() if counts.get(key) not in (None, "")]
    for what in ("model", "detector"):
        if isinstance(used := header.get(what), Mapping):
            rows.append((what.capitalize(), f"{used.get('name', '')} version {used.get('version', '')}"))
    if isinstance(used := header.get("smoothing"), Mapping):
        settings = ", ".join(f"{key} {value}" for key, value in used.items() if key != "filter")
        rows.append(("Smoothing", f"{used.get('filter', '')} ({settings})"))
    body = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows)
    lines = [str(line) for line in counts.get("disagreements", ())]
    return f"<table>{body}</table>" + "".join(f'<p class="bad">{escape(line)}</p>' for line in lines)


def _pictures(table: PoseTable, source: Path | None, count: int) -> Iterator[str]:
    shown = []
    for time, picture in thumbnails(table, source, count) if source else ():
        done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 82])
        if done:
            text = base64.b64encode(data.tobytes()).decode()
            image = f'<img alt="frame at {time:.2f} s" src="data:image/jpeg;base64,{text}">'
            shown.append(f"<figure>{image}<figcaption>{time:.2f} s</figcaption></figure>")
    if shown:
        yield f'<h2>Frames</h2><div class="pictures">{"".join(shown)}</div>'


def _sections(table: PoseTable) -> Iterator[str]:
    span = (float(table.time[0]), float(table.time[-1]))
    people = _people(table)
    some = dict(list(people.items())[:LONGEST])
    more = len(people) - len(some)
    who = "" if not more else f"<p>Charts are of the {len(some)} people who are there longest; {more} more are not.</p>"
    lost = lost_stretches(table)
    yield f"<h2>Who is there</h2>{who}"
    bands = [(name, _colour(number), _stretches(table, rows)) for number, (name, rows) in some.items()]
    yield band_chart([*bands, ("nobody", "#b00020", lost)], span)
    yield _lost_list(lost)
    yield _people_list(table, people)
    yield "<h2>Scores over time</h2>"
    scores = [_line(table, rows, table.score, name, number) for number, (name, rows) in some.items()]
    yield line_chart(scores, span, 0, 1)
    yield "<h2>Paths of people's centres</h2>"
    yield path_chart([(name, _colour(n), _path(table, rows)) for n, (name, rows) in some.items()], _size(table))
    for angle, values in joint_angles(table).items():
        if np.isfinite(values).any():
            lines = [_line(table, rows, values, name, number) for number, (name, rows) in some.items()]
            yield f"<h2>Angle: {escape(angle.replace('_', ' '))}</h2>{line_chart(lines, span, 0, 180, '°')}"


def _people(table: PoseTable) -> dict[int, tuple[str, NDArray[np.int64]]]:
    """Number -> (name, rows), the longest there first; without tracks, by place in the frame."""
    ids = table.person if table.track is None else table.track
    found = {int(number): np.flatnonzero(ids == number) for number in np.unique(ids[ids >= 0])}
    what = "person " if table.track is None else "#"
    return {number: (f"{what}{number}", found[number]) for number in sorted(found, key=lambda n: (-len(found[n]), n))}


def _colour(number: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(round(0.8 * part) for part in track_colour(number)))


def lost_stretches(table: PoseTable) -> list[tuple[float, float]]:
    """Stretches of frames without anybody: from the first one's time to that of the next frame with somebody."""
    starts = table.frame_starts
    times, empty = table.time[starts], table.person[starts] < 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], empty, [False]]).astype(int)))
    ends = np.append(times[1:], times[-1:])
    return [(float(times[a]), float(ends[b - 1])) for a, b in edges.reshape(-1, 2).tolist()]


def _stretches(table: PoseTable, rows: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Stretches of successive frames in which somebody is there."""
    order = np.searchsorted(table.frame[table.frame_starts], table.frame[rows])  # which frame of the table it is
    breaks = np.flatnonzero(np.diff(order) > 1) + 1
    return [(float(table.time[run[0]]), float(table.time[run[-1]])) for run in np.split(rows, breaks)]


def _line(table: PoseTable, rows: NDArray[np.int64], values: NDArray[np.float32], name: str, number: int) -> Line:
    """Of one person, broken where they are away."""
    times, shown = table.time[rows], values[rows].astype(np.float64)
    order = np.searchsorted(table.frame[table.frame_starts], table.frame[rows])
    away = np.flatnonzero(np.diff(order) > 1) + 1
    return Line(name, _colour(number), np.insert(times, away, times[away]), np.insert(shown, away, np.nan))


def _path(table: PoseTable, rows: NDArray[np.int64]) -> Array:
    """[N, 2] the mean of a person's joints, of the filtered ones where there are any; NaN where none is known."""
    points = (table.joints if table.smoothed is None else table.smoothed)[rows].astype(np.float64)
    known = np.isfinite(points)
    counts = known.sum(axis=1)
    centres: Array = np.where(counts > 0, np.where(known, points, 0).sum(axis=1) / np.maximum(counts, 1), np.nan)
    return centres


def _size(table: PoseTable) -> tuple[float, float]:
    """(height, width) of the picture; where the header does not know it, of what the boxes cover."""
    video = table.header.get("video")
    if isinstance(video, Mapping) and video.get("height") and video.get("width"):
        return float(video["height"]), float(video["width"])
    if not table.people.any():
        return 1.0, 1.0
    corner = (table.box[:, :2] + table.box[:, 2:])[table.people].max(axis=0)
    return max(float(corner[1]), 1.0), max(float(corner[0]), 1.0)


def _lost_list(lost: list[tuple[float, float]]) -> str:
    if not lost:
        return "<p>Somebody is in every frame.</p>"
    longest = sorted(sorted(lost, key=lambda s: s[0] - s[1])[:LISTED])
    items = "; ".join(f"{start:.2f} to {end:.2f} s" for start, end in longest)
    rest = f" (the {LISTED} longest of {len(lost)})" if len(lost) > LISTED else ""
    return f"<p>Nobody{rest}: {items}.</p>"


def _people_list(table: PoseTable, people: Mapping[int, tuple[str, NDArray[np.int64]]]) -> str:
    heads: list[Any] = ["person", "frames", "first seen", "last seen", "mean score"]
    rows = []
    for number, (name, at) in list(people.items())[:LISTED]:
        cells = [
            len(at),
            f"{table.time[at[0]]:.2f} s",
            f"{table.time[at[-1]]:.2f} s",
            f"{np.mean(table.score[at]):.2f}",
        ]
        swatch = f'<span class="swatch" style="background:{_colour(number)}"></span>'
        rows.append(
            f"<tr><td>{swatch}{escape(name)}</td>" + "".join(f'<td class="n">{c}</td>' for c in cells) + "</tr>"
        )
    head = "".join(f'<th class="{"n" if i else ""}">{h}</th>' for i, h in enumerate(heads))
    rest = f"<p>{len(people) - LISTED} more people are not listed.</p>" if len(people) > LISTED else ""
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>{rest}" if rows else ""

"""Annotated videos: the same frames at the same times, upright, with the same sound."""

from __future__ import annotations

import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from poseglass import Cancelled, InvalidRequest, Unavailable
from poseglass.video.annotate import score_colour
from poseglass.video.euro import OneEuro
from poseglass.video.overlay import write_overlay
from poseglass.video.reading import VideoReader
from poseglass.video.smoothing import smooth
from poseglass.video.table import PoseTable
from poseglass.video.tracking import track
from poseglass_core.geometry import box_around
from poseglass_core.poses import Pose
from poseglass_core.skeleton import LSP

SIZE = (96, 128)


def record(path: Path, times: list[float], size=SIZE, sound: str = "", codec="libx264") -> Path:
    """A grey video whose frames are at those times, with a tone under it."""
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=25, options={"bf": "0"} if codec == "libx264" else {})
        video.height, video.width, video.pix_fmt = *size, "yuv420p" if size[0] % 2 == 0 else "yuv444p"
        video.codec_context.time_base = video.time_base = Fraction(1, 10_000)
        audio = file.add_stream(sound, rate=8000 if sound.startswith("pcm") else 44100) if sound else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 90, np.uint8))
            frame.pts, frame.time_base = round(time * 10_000), Fraction(1, 10_000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio is not None:
            rate, step = audio.rate, 1024
            for i in range(int(times[-1] * rate) // step + 1):
                wave = (3000 * np.sin(np.arange(i * step, (i + 1) * step) * 0.1)).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, i * step, Fraction(1, rate)
                file.mux(audio.encode(frame))
            file.mux(audio.encode(None))
    return path


def poses_for(path: Path, every: int = 1, size=SIZE) -> PoseTable:
    rng = np.random.default_rng(0)
    points = rng.uniform((30, 20), (size[1] - 30, size[0] - 10), (14, 2)).astype(np.float32)
    with VideoReader(path) as reader:
        rows = [
            (frame.index, frame.time, [Pose(LSP, LSP.joints, points, np.linspace(0, 1, 14), box_around(points), 0.8)])
            for frame in reader
            if frame.index % every == 0
        ]
    return track(PoseTable.from_frames(LSP, rows))


def times_of(path: Path) -> list[float]:
    with VideoReader(path) as reader:
        return [frame.time for frame in reader]


def sound_of(path: Path) -> tuple[str, int, float]:
    """(codec, packets, first time)."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        packets = [packet for packet in file.demux(stream) if packet.pts is not None]
        return stream.codec_context.codec.canonical_name, len(packets), float(packets[0].pts * packets[0].time_base)


def read(path: Path) -> list:
    with VideoReader(path) as reader:
        return list(reader)


UNEVEN = [0.0, 0.04, 0.081, 0.2, 0.2333, 0.5, 0.54, 1.0]


def test_times_are_kept_and_somebody_is_drawn(tmp_path):
    source = record(tmp_path / "walk.mp4", UNEVEN)
    table = poses_for(source)
    write_overlay(table, source, tmp_path / "out.mp4")
    assert times_of(tmp_path / "out.mp4") == pytest.approx(UNEVEN, abs=1e-4)
    with VideoReader(tmp_path / "out.mp4") as reader:
        picture = next(iter(reader)).image().astype(int)
    assert picture.shape == (*SIZE, 3)
    assert (np.ptp(picture, axis=2) > 40).sum() > 50  # colours, on grey
    assert [file.name for file in tmp_path.iterdir() if "tmp" in file.name] == []


def test_the_same_rows_make_the_same_bytes(blobs, tmp_path):
    source = blobs.write_video(tmp_path / "walk.mkv", blobs.walk(55, people=2))
    ask = blobs.BlobAsk()
    with VideoReader(source) as reader:
        rows = [(frame.index, frame.time, ask(frame.image(), ())) for frame in reader]
    table = track(PoseTable.from_frames(LSP, rows))
    written = set()
    for _ in range(25):
        write_overlay(table, source, tmp_path / "out.mp4")
        written.add((tmp_path / "out.mp4").read_bytes())
    assert len(written) == 1


def test_an_ffmpeg_without_h264_writes_mpeg4(tmp_path, monkeypatch):
    source = record(tmp_path / "walk.mp4", UNEVEN)
    table = poses_for(source)
    known = av.codec.Codec

    def lacking(name, mode="r"):
        if name == "libx264":
            raise av.codec.codec.UnknownCodecError(name)
        return known(name, mode)

    monkeypatch.setattr(av.codec, "Codec", lacking)
    write_overlay(table, source, tmp_path / "out.mp4")
    monkeypatch.undo()
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert reader.facts["codec"] == "mpeg4"
    assert times_of(tmp_path / "out.mp4") == pytest.approx(UNEVEN, abs=1e-4)


@pytest.mark.parametrize(("container", "sound", "expected"), [("mp4", "aac", "aac"), ("mkv", "pcm_s16le", "pcm_s16le")])
def test_sound_is_copied(tmp_path, container, sound, expected):
    source = record(tmp_path / f"walk.{container}", UNEVEN, sound=sound)
    out = tmp_path / f"out.{container}"
    write_overlay(poses_for(source), source, out)
    assert sound_of(out)[0] == expected
    assert sound_of(out)[1:] == pytest.approx(sound_of(source)[1:], abs=1e-3)


def test_sound_that_the_container_cannot_hold_is_encoded_anew(tmp_path):
    source = record(tmp_path / "walk.mov", UNEVEN, sound="pcm_mulaw")
    write_overlay(poses_for(source), source, tmp_path / "out.mp4")
    assert sound_of(tmp_path / "out.mp4")[0] == "aac"


def test_times_below_zero_move_up_together_with_the_sound(tmp_path):
    source = record(tmp_path / "walk.mkv", UNEVEN)
    table = poses_for(source)
    from dataclasses import replace

    early = replace(table, time=table.time - 0.3)
    with VideoReader(source) as reader:
        frames = list(reader)
    assert len(frames) == early.frame_count
    import poseglass.video.overlay as module

    class Early(VideoReader):
        def __iter__(self):
            for frame in super().__iter__():
                frame.time -= 0.3
                yield frame

    original, module.VideoReader = module.VideoReader, Early
    try:
        write_overlay(early, source, tmp_path / "out.mkv")
    finally:
        module.VideoReader = original
    assert times_of(tmp_path / "out.mkv") == pytest.approx(UNEVEN, abs=2e-3)


def test_only_frames_with_rows_are_written(tmp_path):
    source = record(tmp_path / "walk.mp4", UNEVEN)
    write_overlay(poses_for(source, every=3), source, tmp_path / "out.mp4")
    assert times_of(tmp_path / "out.mp4") == pytest.approx(UNEVEN[::3], abs=1e-4)


def test_odd_sizes_gain_a_row_or_column(tmp_path):
    source = record(tmp_path / "odd.mkv", UNEVEN[:3], size=(95, 127), codec="ffv1")
    write_overlay(poses_for(source), source, tmp_path / "out.mp4")
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert next(iter(reader)).size == (96, 128)


def test_smoothed_joints_are_drawn_where_there_are_any(tmp_path):
    source = record(tmp_path / "walk.mp4", UNEVEN)
    table = poses_for(source)
    with pytest.raises(ValueError, match="smooth it first"):
        write_overlay(table, source, tmp_path / "out.mp4", smoothed=True)
    write_overlay(smooth(table, OneEuro()), source, tmp_path / "out.mp4")
    assert len(times_of(tmp_path / "out.mp4")) == len(UNEVEN)


def test_heatmaps_are_drawn_under_the_poses(blobs, tmp_path):
    source = blobs.write_video(tmp_path / "walk.mkv", blobs.walk(6, people=2))
    ask = blobs.BlobAsk()
    with VideoReader(source) as reader:
        table = PoseTable.from_frames(
            LSP, [(frame.index, frame.time, ask(frame.image(), ()) if frame.index else []) for frame in reader]
        )
    ask.asked.clear()
    write_overlay(table, source, tmp_path / "plain.mkv")
    assert ask.asked == []
    write_overlay(table, source, tmp_path / "maps.mkv", heatmaps=ask.heatmaps)
    assert ask.asked == [2] * 5  # not where nobody is
    assert times_of(tmp_path / "maps.mkv") == times_of(source)
    plain, maps = ([frame.image().astype(int) for frame in read(tmp_path / name)] for name in ("plain.mkv", "maps.mkv"))
    changed = [np.abs(without - within).mean() for without, within in zip(plain, maps, strict=True)]
    assert 5 * changed[0] < min(changed[1:])  # nobody is in the first; the encoder changes little


def test_an_error_of_the_model_leaves_no_overlay(tmp_path):
    def failing(image, boxes):
        raise Unavailable("gone")

    source = record(tmp_path / "walk.mp4", UNEVEN)
    with pytest.raises(Unavailable):
        write_overlay(poses_for(source), source, tmp_path / "out.mp4", heatmaps=failing)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        write_overlay(poses_for(source), source, tmp_path / "out.mp4", stop=stop)
    assert [file.name for file in tmp_path.iterdir()] == ["walk.mp4"]


def test_what_cannot_be_written_is_refused_by_name(tmp_path):
    source = record(tmp_path / "walk.mp4", UNEVEN)
    table = poses_for(source)
    with pytest.raises(InvalidRequest, match=r"\.mp4, \.mkv"):
        write_overlay(table, source, tmp_path / "out.gif")
    with pytest.raises(InvalidRequest, match="would overwrite"):
        write_overlay(table, source, source)
    with pytest.raises(InvalidRequest, match="no frame 5"):
        write_overlay(table, record(tmp_path / "short.mp4", UNEVEN[:5]), tmp_path / "out.mp4")
    with pytest.raises(InvalidRequest, match="nothing to draw"):
        write_overlay(PoseTable.empty(LSP), source, tmp_path / "out.mp4")
    with pytest.raises(OSError, match="out.mp4"):
        write_overlay(table, source, tmp_path / "absent" / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_turned_video_is_written_upright(tmp_path):
    source = record(tmp_path / "walk.mp4", UNEVEN)
    data = source.read_bytes()
    plain = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    turned = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    at = data.index(plain, data.index(b"tkhd"))
    source.write_bytes(data[:at] + turned + data[at + len(plain) :])
    table = poses_for(source, size=SIZE[::-1])
    write_overlay(table, source, tmp_path / "out.mp4")
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert next(iter(reader)).size == SIZE[::-1]
        assert reader.facts["height"] == SIZE[1]


def test_scores_go_from_red_to_green():
    assert score_colour(0) == (220, 40, 40)
    assert score_colour(0.5) == (250, 210, 40)
    assert score_colour(1) == (60, 200, 80)
    assert score_colour(float("nan")) == (160, 160, 160)

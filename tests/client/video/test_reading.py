"""Every kind of file that is hard to read."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from poseglass.errors import InvalidRequest  # noqa: E402
from poseglass.video.clock import Clock  # noqa: E402
from poseglass.video.counts import Counts  # noqa: E402
from poseglass.video.orientation import upright  # noqa: E402
from poseglass.video.reading import Selection, VideoReader  # noqa: E402


def read(path):
    with VideoReader(path) as reader:
        frames = [(frame.index, frame.time, frame.image()) for frame in reader]
        return frames, reader.counts


def need(codec):
    """Skip where the wheel of PyAV cannot write it."""
    try:
        av.codec.Codec(codec, "w")
    except Exception:
        pytest.skip(f"this PyAV has no encoder {codec}")


def quarters(height=32, width=48):
    """A frame whose corners tell each other apart."""
    image = np.zeros((height, width, 3), np.uint8)
    half, middle = height // 2, width // 2
    image[:half, :middle], image[:half, middle:] = (230, 20, 20), (20, 230, 20)
    image[half:, :middle], image[half:, middle:] = (20, 20, 230), (230, 230, 230)
    return image


def close(image, expected, tolerance=30):
    assert image.shape == expected.shape
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    # Edges are left aside: chroma is coarser than pixels.
    assert np.median(np.abs(image.astype(int) - expected)) <= 6
    assert (np.abs(image.astype(int) - expected) > tolerance).mean() < 0.2


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_video_is_read_upright(blobs, tmp_path, rotation):
    need("libx264")
    path = blobs.write_video(tmp_path / "turned.mp4", [quarters()] * 3, "libx264", rotation=rotation)
    with VideoReader(path) as reader:
        frames = list(reader)
        expected = np.rot90(quarters(), rotation // 90)  # the matrix turns counterclockwise, as rot90 does
        close(frames[0].image(), expected)
        assert frames[0].size == reader.size == expected.shape[:2]
        assert (reader.facts["height"], reader.facts["width"]) == expected.shape[:2]


def test_a_mirrored_display_matrix_is_applied():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    mirror = struct.pack("=9i", -65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    transpose = struct.pack("=9i", 0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30)
    assert (upright(image, mirror) == image[:, ::-1]).all()
    assert (upright(image, transpose) == image.transpose(1, 0, 2)).all()


def test_times_of_a_variable_frame_rate_are_those_of_presentation(blobs, tmp_path):
    times = [0, 40, 45, 300, 301, 1000]
    path = blobs.write_video(tmp_path / "vfr.mkv", blobs.walk(6), times=times, unit=Fraction(1, 1000))
    frames, counts = read(path)
    assert [time for _, time, _ in frames] == [time / 1000 for time in times]
    assert counts.repaired_times == 0


@pytest.mark.parametrize("size", [(47, 63), (33, 48), (32, 49)])
def test_odd_sizes(blobs, tmp_path, size):
    path = blobs.write_video(tmp_path / "odd.mkv", [quarters(*size)])
    ((_, _, image),) = read(path)[0]
    assert (image == quarters(*size)).all()


def test_one_frame(blobs, tmp_path):
    need("libx264")
    frames, counts = read(blobs.write_video(tmp_path / "one.mp4", [quarters()], "libx264"))
    assert [(index, time) for index, time, _ in frames] == [(0, 0.0)]
    assert (counts.promised, counts.decoded, counts.disagreements()) == (1, 1, [])


def test_b_frames_with_negative_times_come_in_the_order_of_presentation(blobs, tmp_path):
    need("libx264")
    images = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(12)]
    path = blobs.write_video(
        tmp_path / "negative.ts",
        images,
        "libx264",
        times=range(-4, 8),
        codec_options={"bf": "3", "b-adapt": "0"},
        options={"avoid_negative_ts": "disabled"},
    )
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stamps != sorted(stamps), "the encoder made no B-frames"
    frames, counts = read(path)
    assert [time for _, time, _ in frames] == [i / 10 for i in range(-4, 8)]
    assert np.allclose([image.mean() for _, _, image in frames], [20 * i for i in range(12)], atol=4)
    assert counts.repaired_times == 0


def test_frames_that_the_container_hides_are_accounted_for(blobs, tmp_path):
    need("libx264")
    path = blobs.write_video(tmp_path / "hidden.mp4", blobs.walk(10), "libx264", times=range(-3, 7))
    frames, counts = read(path)
    assert (counts.promised, counts.decoded, counts.hidden) == (10, 7, 3)
    assert counts.disagreements() == []
    assert frames[0][1] == 0


def test_a_header_that_promises_too_many_frames_is_found_out(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "lie.avi", blobs.walk(10), "mjpeg", "yuvj420p")
    data = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 16), (b"strh", 32)):
        struct.pack_into("<I", data, data.find(chunk) + 8 + offset, 20)
    path.write_bytes(data)
    frames, counts = read(path)
    assert len(frames) == 10
    assert counts.disagreements() == ["the container promises 20 frames, and 10 decode"]


@pytest.mark.parametrize(("suffix", "options"), [(".mp4", {"movflags": "faststart"}), (".mkv", {}), (".ts", {})])
def test_a_file_cut_in_half_is_read_up_to_the_break(blobs, tmp_path, suffix, options):
    need("libx264")
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3)).astype(np.uint8)
    path = blobs.write_video(tmp_path / f"cut{suffix}", noise, "libx264", codec_options={"g": "10"}, options=options)
    whole, _ = read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    half, counts = read(path)
    assert 10 <= len(half) < 30
    sound = len(half) - 2  # the last ones may be damaged
    assert all((a[2] == b[2]).all() and a[:2] == b[:2] for a, b in zip(half[:sound], whole[:sound], strict=True))
    if suffix != ".ts":  # which promises nothing
        assert counts.disagreements()


@pytest.mark.parametrize(("frames", "missing"), [(40, False), (39, False), (37, True), (20, True)])
def test_a_second_that_is_missing_is_found_out_where_only_seconds_are_promised(frames, missing):
    counts = Counts(promised_seconds=1.6, decoded=frames, first_time=0.5, last_time=0.5 + (frames - 1) / 25, ended=True)
    counts.selected = counts.written = frames
    assert bool(counts.disagreements()) == missing


def test_a_file_of_which_the_end_is_missing_is_found_out(blobs, tmp_path):
    path = blobs.write_video(tmp_path / "cut.mkv", blobs.walk(20), rate=25)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    frames, counts = read(path)
    assert len(frames) < 18
    counts.selected = counts.written = len(frames)
    (line,) = counts.disagreements()
    assert "the container promises 0.8 s" in line


def test_a_name_that_is_no_text_is_refused(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/walk\xff.mkv"))
    path.write_bytes(b"video")
    with pytest.raises(InvalidRequest, match="its name is not UTF-8"):
        VideoReader(path)


def test_an_index_that_is_missing_is_named(blobs, tmp_path):
    need("libx264")
    path = blobs.write_video(tmp_path / "cut.mp4", blobs.walk(20), "libx264")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InvalidRequest, match=r"cut\.mp4: its index is missing.*MKV"):
        VideoReader(path)


def test_corrupt_packets_are_counted_and_passed_over(blobs, tmp_path):
    need("libx264")
    noise = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3)).astype(np.uint8)
    path = blobs.write_video(tmp_path / "hit.mkv", noise, "libx264", codec_options={"g": "5"})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    path.write_bytes(data)
    frames, counts = read(path)
    assert len(frames) >= 15
    assert counts.corrupt_packets + counts.damaged_frames > 0
    times = [time for _, time, _ in frames]
    assert times == sorted(set(times))


def test_damage_looks_the_same_whatever_the_number_of_processors(blobs, tmp_path):
    need("libx264")
    noise = np.random.default_rng(0).integers(0, 255, (4, 12, 16, 3)).astype(np.uint8)
    frames = [np.kron(noise[i // 8], np.ones((16, 16, 1), np.uint8)) for i in range(32)]
    path = blobs.write_video(
        tmp_path / "hit.mkv", frames, "libx264", codec_options={"g": "8", "slices": "4", "qp": "12"}
    )
    data = bytearray(path.read_bytes())
    for start in range(len(data) // 10, len(data) - 100, len(data) // 30):
        data[start : start + 40] = bytes(40)
    path.write_bytes(data)
    ours, counts = read(path)
    assert counts.damaged_frames + counts.corrupt_packets > 0
    with VideoReader(path) as reader:
        reader._stream.codec_context.thread_count = 4
        reader._stream.thread_type = "SLICE"
        several = [frame.image() for frame in reader]
    one = [image for _, _, image in ours]
    if len(one) == len(several) and all((a == b).all() for a, b in zip(one, several, strict=True)):
        pytest.skip("this FFmpeg makes the same of these damages with four threads")
    again, _ = read(path)
    assert all((image == other).all() for image, (_, _, other) in zip(one, again, strict=True))
    with VideoReader(path) as reader:
        assert reader._stream.codec_context.thread_count == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"bad\.mp4: is empty \(0 bytes\)"),
        (bytes(50_000), r"bad\.mp4: holds zeros"),
        (b"no video at all " * 500, r"bad\.mp4: is no video that FFmpeg can open"),
    ],
)
def test_what_is_no_video_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=message):
        VideoReader(path)
    with pytest.raises(InvalidRequest, match="no such file"):
        VideoReader(tmp_path / "absent.mp4")
    with pytest.raises(InvalidRequest, match="is no video file"):
        VideoReader(tmp_path)


def test_sound_alone_is_refused_by_name(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InvalidRequest, match=r"sound\.wav: there is only sound in it"):
        VideoReader(path)


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        (".mkv", "ffv1", "gray"),
        (".mkv", "ffv1", "gray16le"),
        (".mp4", "libx264", "yuv420p10le"),
        (".mov", "prores_ks", "yuva444p10le"),
        (".mov", "qtrle", "argb"),
        (".webm", "libvpx-vp9", "yuva420p"),
        (".mkv", "ffv1", "bgra"),
    ],
)
def test_grey_deep_and_transparent_pixels(blobs, tmp_path, suffix, codec, pixels):
    need(codec)
    path = blobs.write_video(tmp_path / f"pixels{suffix}", [quarters()] * 2, codec, pixels)
    frames, counts = read(path)
    assert counts.decoded == 2
    expected = quarters()
    if pixels.startswith("gray"):
        expected = np.repeat(np.rint(expected @ [0.299, 0.587, 0.114])[..., None], 3, axis=2).astype(np.uint8)
    close(frames[0][2], expected)


def test_4k(blobs, tmp_path):
    image = np.repeat(np.repeat(quarters(216, 384), 10, axis=0), 10, axis=1)
    path = blobs.write_video(tmp_path / "4k.avi", [image], "mjpeg", "yuvj420p")
    ((_, _, big),) = read(path)[0]
    assert big.shape == (2160, 3840, 3)
    close(np.ascontiguousarray(big[::10, ::10]), quarters(216, 384))


def test_a_raw_stream_without_times_has_its_rate(blobs, tmp_path):
    need("libx264")
    frames, counts = read(blobs.write_video(tmp_path / "raw.h264", blobs.walk(6), "libx264", rate=30))
    assert np.allclose([time for _, time, _ in frames], np.arange(6) / 30)
    assert counts.repaired_times == 6


class Stamped:
    def __init__(self, pts, dts=None):
        self.pts, self.dts, self.time_base = pts, dts, Fraction(1, 10)


@pytest.mark.parametrize(
    ("stamps", "times", "repaired"),
    [
        ([0, 1, 5, 6], [0, 0.1, 0.5, 0.6], 0),  # a gap is a gap
        ([0, 1, 900, 3, 4], [0, 0.1, 0.2, 0.3, 0.4], 1),  # a leap that is taken back
        ([0, 1, None, 3], [0, 0.1, 0.2, 0.3], 1),
        ([0, 1, 1, 2], [0, 0.1, 0.15, 0.2], 1),
        ([None, None, None], [0, 0.1, 0.2], 3),
        ([-3, -2, -1, 0], [-0.3, -0.2, -0.1, 0], 0),
    ],
)
def test_times_rise_whatever_the_stamps_say(stamps, times, repaired):
    clock = Clock(10)
    given = [time for _, time in clock.timed(map(Stamped, stamps), Fraction(1, 10))]
    assert np.allclose(given, times)
    assert clock.repaired == repaired


def test_a_selection():
    selection = Selection(every=3, start=1.0, end=2.0)
    assert [i for i in range(30) if selection.holds(i, i / 10)] == [12, 15, 18]
    assert selection.over(2.0)
    for wrong, field in (({"every": 0}, "--every"), ({"start": 2.0, "end": 2.0}, "--end")):
        with pytest.raises(InvalidRequest, match=field):
            Selection(**wrong)

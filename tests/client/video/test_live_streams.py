"""Network streams, read: what comes, what is lost, what is not there, and what is said of it."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

pytest.importorskip("av")

from poseglass.errors import InvalidRequest, Unavailable
from poseglass.video.livesource import Kind, LiveSource
from poseglass.video.livestream import StreamReader

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track0\r\n"
ANSWERS = {
    "OPTIONS": ("Public: DESCRIBE, SETUP, PLAY\r\n", ""),
    "DESCRIBE": ("Content-Type: application/sdp\r\n", SDP),
    "SETUP": ("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""),
    "PLAY": ("Session: 1\r\n", ""),
}


def opened(address, patience=10.0):
    return StreamReader(LiveSource(Kind.STREAM, address), lambda: False, patience)


@contextmanager
def serving(server, scheme):
    """Its address."""
    server.daemon_threads = True
    server.over = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{scheme}://user:secret@127.0.0.1:{server.server_address[1]}"
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Streams(BaseHTTPRequestHandler):
    """Sends `server.data` whole, or two thirds of it and then nothing, or breaks off there."""

    def do_GET(self):
        data = self.server.data
        if self.path == "/absent":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.path == "/page":
            data = b"<html>log in first</html>" + bytes(len(data))
        self.wfile.write(data if self.path in ("/whole", "/page", "/list.m3u8") else data[: len(data) * 2 // 3])
        if self.path == "/held":
            self.server.over.wait(60)
        return None

    def log_message(self, *_):
        pass


class Camera(socketserver.StreamRequestHandler):
    """A network camera: RTSP, with MPEG-TS in RTP packets on the same connection."""

    def handle(self):
        while request := self.rfile.readline().decode():
            lines = iter(lambda: self.rfile.readline().decode().strip(), "")
            number = next(line.split()[1] for line in lines if line.lower().startswith("cseq"))
            for _ in lines:
                pass
            method = request.split()[0]
            head, body = ANSWERS[method]
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
            self.wfile.write(answer.encode())
            if method == "PLAY":
                self.play()
                return

    def play(self):
        data, step = self.server.data, 7 * 188
        for number, start in enumerate(range(0, len(data), step)):
            packet = struct.pack(">BBHII", 0x80, 33, number, 900 * number, 7) + data[start : start + step]
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
        self.server.over.wait(60)


@pytest.fixture
def http(blobs, tmp_path):
    """The address of a server of 25 frames."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Streams)
    server.data = blobs.write_video(tmp_path / "walk.mkv", blobs.walk(25)).read_bytes()
    with serving(server, "http") as address:
        yield address


@pytest.fixture
def camera(blobs, tmp_path):
    """The address of a network camera that gives 50 frames, and then holds back."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Camera)
    server.data = blobs.write_video(tmp_path / "a.ts", blobs.walk(50), "mpeg2video", "yuv420p", rate=25).read_bytes()
    with serving(server, "rtsp") as address:
        yield address


def test_a_recording_over_http(blobs, http):
    with opened(f"{http}/whole") as reader:
        frames = [(frame.index, frame.time, frame.image()) for frame in reader]
        assert reader.ends  # so that no frame of it need be dropped
    assert [index for index, _, _ in frames] == list(range(25))
    np.testing.assert_allclose([time for _, time, _ in frames], np.arange(25) / 10)
    assert all(np.array_equal(image, truth) for (_, _, image), truth in zip(frames, blobs.walk(25), strict=True))
    assert reader.counts.disagreements() == []
    assert "secret" not in reader.name


@pytest.mark.parametrize(("path", "why"), [("/cut", ""), ("/held", "nothing came for 0.5 s")])
def test_a_stream_that_is_lost(http, path, why):
    with opened(http + path, patience=0.5) as reader:
        frames = list(reader)
    assert 10 < len(frames) == reader.counts.decoded < 25
    assert reader.counts.broken_off
    assert why in reader.counts.broken_off


def test_a_network_camera(camera):
    with opened(f"{camera}/live", patience=0.5) as reader:
        times = [frame.time for frame in reader]
        assert not reader.ends
    assert len(times) >= 48  # what MPEG-TS holds back until the next packet never comes
    np.testing.assert_allclose(times, np.arange(len(times)) / 25, atol=1e-6)
    assert reader.times == "presentation"
    assert reader.facts["container"] == "rtsp"
    assert reader.started is not None
    assert reader.counts.broken_off == "nothing came for 0.5 s"


def test_streams_that_are_not_there(http):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"rtsp://me:secret@127.0.0.1:{taken.getsockname()[1]}/x"
        with pytest.raises(Unavailable, match="Connection refused") as caught:
            opened(address)
    assert "secret" not in str(caught.value)
    with pytest.raises(Unavailable, match="404"):
        opened(f"{http}/absent")
    with pytest.raises(InvalidRequest, match="no video that FFmpeg can read"):
        opened(f"{http}/page")


def test_a_server_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(Unavailable, match=r"nothing came for 0\.2 s; check the address"):
            opened(address, patience=0.2)


def test_a_playlist_does_not_reach_into_this_machine(blobs, tmp_path):
    inside = blobs.write_video(tmp_path / "a.ts", blobs.walk(12), "mpeg2video", "yuv420p", rate=25)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{inside}\n#EXT-X-ENDLIST\n"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Streams)
    server.data = playlist.encode()
    with serving(server, "http") as address, pytest.raises((InvalidRequest, Unavailable)):
        list(opened(f"{address}/list.m3u8", patience=2))

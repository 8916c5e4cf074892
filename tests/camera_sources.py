"""Sources for tests, all showing the same: frame i is grey of `shade(i)`, `FRAMES` of them, `FPS` a second."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from tests.camera_frames import T0_MS, person

FRAMES, FPS, WIDTH, HEIGHT = 10, 10, 160, 128


def shade(number: int) -> int:
    return 20 + 22 * number


def grey(number: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), shade(number), np.uint8)


def number_of(image: npt.NDArray[np.uint8]) -> int:
    """Which frame this is."""
    return round((float(image.mean()) - 20) / 22)


def jpeg_of(number: int) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(grey(number), 90)
    return data


def write_clip(path: Path, numbers: Sequence[int] = range(FRAMES), codec: str = "libx264") -> Path:
    """A video file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(FPS))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 5
        for number in numbers:
            frame = av.VideoFrame.from_ndarray(grey(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_folder(path: Path) -> Path:
    """Pictures, of both kinds."""
    path.mkdir()
    for number in range(FRAMES):
        ending = "png" if number % 2 else "jpg"
        (path / f"{number:03}.{ending}").write_bytes(bytes(cv2.imencode(f".{ending}", grey(number))[1]))
    (path / "notes.txt").write_text("no picture")
    return path


def line(number: int, **change: object) -> str:
    """What a smart camera sends of a frame."""
    seen = person()
    box = [seen[name] for name in ("x0_px", "y0_px", "x1_px", "y1_px")]
    said = {
        "captured_ms": T0_MS + 1000 * number // FPS,
        "width": WIDTH,
        "height": HEIGHT,
        "detections": [{"box": box, "score": 0.5}],
        "jpeg": base64.b64encode(jpeg_of(number)).decode(),
    }
    return json.dumps({**said, **change}) + "\n"


def write_lines(path: Path) -> Path:
    """A smart camera's recording."""
    path.write_text("".join(line(number) for number in range(FRAMES)))
    return path


@contextmanager
def mjpeg_server(numbers: Sequence[int] = range(FRAMES), gap_s: float = 0.02) -> Iterator[str]:
    """An HTTP camera that sends these frames to whoever asks, and hangs up: its address, with a password."""

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/video?key=pa55":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in numbers:
                data = jpeg_of(number)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(gap_s)
            self.wfile.write(b"--frame--\r\n")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who has seen enough hangs up
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://viewer:pa55@127.0.0.1:{server.server_address[1]}/video?key=pa55"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_RTSP_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
for name in ("rtph264pay", "qtdemux"):
    if Gst.ElementFactory.find(name) is None:
        sys.exit("GStreamer has no " + name)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( filesrc location=" + sys.argv[1] + " ! qtdemux ! rtph264pay config-interval=1 name=pay0 )")
server.get_mount_points().add_factory("/live", factory)
auth = GstRtspServer.RTSPAuth()
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "viewer")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic("viewer", "pa55"), token)
server.set_auth(auth)
permissions = GstRtspServer.RTSPPermissions()
permissions.add_permission_for_role("viewer", "media.factory.access", True)
permissions.add_permission_for_role("viewer", "media.factory.construct", True)
factory.set_permissions(permissions)
if not server.attach(None):
    sys.exit("no port to be had")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


class NoRtspServer(RuntimeError):
    """There is none on this machine; the message says why."""


@contextmanager
def rtsp_server(clip: Path) -> Iterator[str]:
    """GStreamer's RTSP server, by the system's own Python, sending an H.264 clip to whoever asks: its address, with a
    password.

    Raises:
        NoRtspServer: GStreamer's server and its Python bindings are not installed (`apt-get install
            gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good`).
    """
    try:
        server = subprocess.Popen(
            ["/usr/bin/python3", "-c", _RTSP_SERVER, str(clip)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin"},
        )
    except OSError as error:
        raise NoRtspServer(f"no /usr/bin/python3: {error}") from None
    assert server.stdout is not None and server.stderr is not None
    try:
        port = server.stdout.readline().strip()
        if not port:
            raise NoRtspServer(server.stderr.read().strip().splitlines()[-1])
        yield f"rtsp://viewer:pa55@127.0.0.1:{port}/live"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        server.stderr.close()

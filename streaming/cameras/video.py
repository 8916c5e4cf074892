"""Clips, and cameras on the network, both read by FFmpeg through PyAV."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from streaming.cameras.address import scheme_of, shown, without_secrets
from streaming.cameras.pacing import SourceTimes
from streaming.cameras.source import MAX_PIXELS, BadFrame, BadSource, Captured, SourceInfo, SourceLost
from streaming.features.jpeg import Image

OPEN_S, READ_S = 10.0, 5.0

# Who made a file or runs a camera must not choose what else is opened: a playlist may name any file or address.
_PROTOCOLS = {
    None: "file",
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsp,rtsps,rtp,udp,tcp,tls",
    "http": "http,tcp",
    "https": "https,tls,tcp",
}


class VideoSource:
    """The first video stream of a file, or of an rtsp, rtsps, http or https address.

    Over the network frames are stamped when they come: what a camera says of time in RTCP is not read.
    """

    def __init__(self, address: str) -> None:
        self._address, self._scheme = address, scheme_of(address)
        self._container: InputContainer | None = None
        self._packets: Iterator[av.Packet[av.VideoStream]] = iter(())
        self._decoded: deque[av.VideoFrame] = deque()
        self._times = SourceTimes(0.04)

    @property
    def live(self) -> bool:
        """A file waits to be read; a camera does not."""
        return self._scheme is not None

    def open(self) -> SourceInfo:
        """Connect, and learn what there is to see."""
        self.close()
        options = {"protocol_whitelist": _PROTOCOLS[self._scheme]}
        if self._scheme in ("rtsp", "rtsps"):
            options["rtsp_transport"] = "tcp"  # lost packets are grey blocks, and grey blocks hide persons
        try:
            self._container = av.open(self._address, options=options, timeout=(OPEN_S, READ_S))
        except FFmpegError as error:
            raise self._failed(error) from None
        stream = next(iter(self._container.streams.video), None)
        if stream is None or stream.codec_context is None:  # of no codec that is known, as in a damaged file
            self.close()
            raise BadSource(f"{shown(self._address)}: there is no video in it that can be read")
        width, height = stream.codec_context.width, stream.codec_context.height
        if not 0 < width * height <= MAX_PIXELS:
            self.close()
            raise BadSource(
                f"{shown(self._address)}: {width} x {height} pixels a frame; at most {MAX_PIXELS:,} are read"
            )
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # of those to come, which may be larger
        stream.thread_type = "SLICE" if self.live else "AUTO"  # threads over frames hold some of them back
        rate = stream.average_rate or stream.guessed_rate
        self._packets = self._container.demux(stream)
        self._times = SourceTimes(1.0 / float(rate) if rate else 0.04)
        return SourceInfo(width, height, float(rate) if rate else None)

    def read(self) -> Captured | None:
        """The next frame in the order in which they are shown."""
        if self._container is None:
            raise SourceLost(f"{shown(self._address)}: not open")
        while not self._decoded:
            try:
                packet = next(self._packets, None)
            except FFmpegError as error:
                raise self._failed(error) from None
            if packet is None:
                return None
            try:
                self._decoded.extend(packet.decode())
            except FFmpegError as error:
                raise BadFrame(f"{shown(self._address)}: {error.strerror}") from None
        frame = self._decoded.popleft()
        if frame.width * frame.height > MAX_PIXELS:
            raise BadFrame(f"{shown(self._address)}: a frame of {frame.width} x {frame.height} pixels")
        at_s = self._times.next(frame.time)
        return Captured(at_s, frame.width, frame.height, partial(_rgb, frame))

    def close(self) -> None:
        """Disconnect."""
        container, self._container = self._container, None
        self._packets = iter(())
        self._decoded.clear()
        if container is not None:
            container.close()

    def _failed(self, error: FFmpegError) -> SourceLost | BadSource:
        words = f"{shown(self._address)}: {without_secrets(error.strerror or type(error).__name__)}"
        if self.live:
            return SourceLost(words)
        return BadSource(words if isinstance(error, OSError) else f"{words}: no video, or a damaged one")


def _rgb(frame: av.VideoFrame) -> Image:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)

"""Segments of a drawn video joined to a file, with the sound of the video that was sent. Imports no torch.

Sound is copied as it is where the container takes it, else encoded anew. What comes earlier is written earlier, so that
nothing but a few packets is in memory.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from animegan.clips.video.encoding import Kind
from animegan.clips.video.libraries import guarded_video, pyav
from animegan.clips.video.reading import Video, open_container

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer

Segment = Path | BytesIO
DatedPacket = tuple[float, int, Any]  # from when on in s, the place of its stream, a packet

PLAYABLE_CODECS: dict[Kind, frozenset[str]] = {  # what players of that kind of file play
    "mp4": frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "alac", "opus", "libopus"}),
    "webm": frozenset({"opus", "libopus", "vorbis"}),
}
SOUND_CODECS = {"mp4": "aac", "webm": "libopus"}
SOUND_RATE = 48_000  # in Hz, of sound that is encoded anew
SOUND_BITS = 128_000  # a second
READ = 1  # as FFmpeg's flag for how a file is opened


def join(segments: Sequence[Segment], video: Video, kind: Kind, target: BinaryIO) -> None:
    """Write the segments, in their order, as a file of that kind, and the video's sound with them.

    `target` is read as it is written: in an MP4 the part that a player needs first is moved to its front.
    """
    av = pyav()
    options = {"movflags": "+faststart", "movie_timescale": "90000"} if kind == "mp4" else {}
    with (
        open_container(video.source, video.header) as source,
        av.open(target, "w", format=kind, options=options, io_open=_Reopening(target)) as container,
    ):
        with _segment(segments[0]) as first:
            pictures = container.add_stream_from_template(first.streams.video[0])
        pictures.time_base = video.unit
        packets = [_pictures(segments, video, pictures)]
        if sound := next((stream for stream in source.streams.audio if stream.codec_context), None):
            packets.append(_sound(source, sound, container, kind))
        for _, _, packet in heapq.merge(*packets, key=lambda entry: entry[:2]):
            container.mux(packet)


class _Reopening:
    """The file once more, to be read while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, _: str, flags: int, __: object) -> Any:
        return _Reading(self._file) if flags == READ else self._file


class _Reading:
    """A file, read from a place of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return the bytes that follow."""
        before = self._file.tell()
        self._file.seek(self._at)
        data = self._file.read(size)
        self._at += len(data)
        self._file.seek(before)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        before = self._file.tell()
        if whence == 1:
            offset, whence = self._at + offset, 0
        self._at = self._file.seek(offset, whence)
        self._file.seek(before)
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def close(self) -> None:
        """Leave the file open, since it is still written."""


@contextmanager
def _segment(segment: Segment) -> Iterator[InputContainer]:
    with ExitStack() as stack:
        file = segment if isinstance(segment, BytesIO) else stack.enter_context(segment.open("rb"))
        file.seek(0)
        yield stack.enter_context(pyav().open(file, format="nut"))


def _pictures(segments: Sequence[Segment], video: Video, stream: Any) -> Iterator[DatedPacket]:
    for segment in segments:
        with _segment(segment) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is None:  # the end
                    continue
                packet.pts = packet.dts = round(packet.pts * packet.time_base / video.unit) + video.start
                packet.duration = round((packet.duration or 0) * packet.time_base / video.unit)
                packet.time_base = video.unit
                packet.stream = stream
                yield float(packet.pts * video.unit), 0, packet


def _sound(source: InputContainer, sound: AudioStream, container: OutputContainer, kind: Kind) -> Iterator[DatedPacket]:
    """Yield the packets of the sound. Its damaged parts are left out."""
    if sound.codec_context.name in PLAYABLE_CODECS[kind]:
        copy = container.add_stream_from_template(sound)
        return _copy_packets(source, sound, copy)
    return _encode_packets(source, sound, container.add_stream(SOUND_CODECS[kind], rate=SOUND_RATE, layout="stereo"))


def _copy_packets(source: InputContainer, sound: AudioStream, copy: Any) -> Iterator[DatedPacket]:
    last = None
    for packet in _packets(source, sound):
        if packet.dts is None or (last is not None and packet.dts <= last):
            continue
        last, packet.stream = packet.dts, copy
        yield float(packet.dts * packet.time_base), 1, packet


def _encode_packets(source: InputContainer, sound: AudioStream, stream: Any) -> Iterator[DatedPacket]:
    av = pyav()
    stream.codec_context.bit_rate = SOUND_BITS
    for packet in _packets(source, sound):
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in decoded:
            yield from _date_packets(stream.encode(frame))
    yield from _date_packets(stream.encode(None))


def _date_packets(packets: Any) -> Iterator[DatedPacket]:
    for packet in packets:
        yield float((packet.dts or 0) * (packet.time_base or Fraction(1, SOUND_RATE))), 1, packet


def _packets(source: InputContainer, sound: AudioStream) -> Iterator[Any]:
    with guarded_video():
        yield from (packet for packet in source.demux(sound) if packet.size)

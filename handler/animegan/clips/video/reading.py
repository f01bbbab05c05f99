"""A video's frames, decoded one at a time, upright, in sRGB and of the size that is drawn. Imports no torch.

FFmpeg is given an open file and its container's name, and neither protocols nor decoders but those of `films.CODECS`:
nothing that a file says leads to another one, or to the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import ExifTags, Image

from animegan.clips.clip import FIRST, ClipFile, Frame
from animegan.clips.limits import ClipLimits, check_clip
from animegan.clips.video.deinterlacing import deinterlace
from animegan.clips.video.libraries import guarded_video, pyav
from animegan.errors import BadImage, ClipTooLong
from animegan.picture import colour
from animegan.picture.formats.films import CODECS
from animegan.picture.headers import Header
from animegan.picture.pillow_guard import guarded
from animegan.picture.pixels import Picture, Shrink, to_picture
from animegan.picture.sizes import QUARTER_TURNS, Limits, Size, fit_or_refuse, upright

if TYPE_CHECKING:
    from av import VideoFrame as Decoded
    from av.container import InputContainer

Source = bytes | Path  # a file's content, or the file

DEMUXERS = {"MP4": "mov", "MATROSKA": "matroska"}
SOUND_CODECS = (
    *("aac", "mp3", "mp3float", "ac3", "eac3", "alac", "opus", "libopus", "vorbis", "flac", "amrnb", "amrwb"),
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_u8"),
)
USUAL_RATE = Fraction(30)
SLACK_PX = 1 << 16  # that decoders may round a small frame up by
MOST_BAD = 0.1  # of the packets, that can't be decoded
HD_ROWS = 720  # from which on a video that names no matrix has BT.709's, as browsers take it
BT709, BT601, UNSPECIFIED = 1, 5, 2  # as the matrix of Y'CbCr (H.273, table 4)
FULL_RANGE, LIMITED_RANGE = 2, 1
SDR_TRANSFERS = frozenset({1, 2, 6, 13, 14, 15})  # drawn as they are, as browsers show them
SRGB_TRANSFER = 13


@dataclass(frozen=True)
class VideoFrame(Frame):
    """A frame; from when on, in the video's units of time from its first frame, and for how many it is shown."""

    at: int = 0
    lasts: int = 0


@dataclass(frozen=True)
class Video(ClipFile):
    """A video's file, whose frames can be decoded.

    `unit`: of its times, in s. `start`: when its first frame is shown, in these. `rate`: frames a second, on average.
    `codec`: FFmpeg's name of the decoder; `depth`: bits of a sample. `interlaced`: whether lines are of two moments.
    """

    name = "The video"
    source: Source
    unit: Fraction
    start: int
    rate: Fraction
    most: ClipLimits
    codec: str
    depth: int
    interlaced: bool

    def read(self, skip: int = 0) -> Iterator[VideoFrame]:
        """Yield the frames but the first `skip`, whose pixels are not looked at. Raise `BadImage` or `ClipTooLong`."""
        with open_container(self.source, self.header) as container:
            convert = _Conversion(self.header, self.stored_size)
            number, lasts = 0, 0
            before: tuple[Decoded, int] | None = None
            for decoded, at in _decoded(container, self):
                if before:
                    lasts, number = at - before[1], number + 1
                    if number > skip:
                        yield self._frame(convert, *before, lasts)
                before = decoded, at
            if before and number >= skip:
                yield self._frame(convert, *before, before[0].duration or lasts or _step(self))

    def _frame(self, convert: _Conversion, decoded: Decoded, at: int, lasts: int) -> VideoFrame:
        return VideoFrame(convert(decoded).rgb, None, float(1000 * lasts * self.unit), at, lasts)


def check(header: Header, max_side: int | None, max_pixels: int | None, limits: Limits, most: ClipLimits) -> Size:
    """Return the size of its frames as drawn, upright, by the file's header. Raise `ClipTooLong`, or `fit_or_refuse`'s.

    Sides are even, as the encoder wants them.
    """
    assert header.motion
    source_size = upright(header.size, header.orientation)
    width, height = fit_or_refuse(source_size, max_side, max_pixels, limits)
    size = width - width % 2, height - height % 2
    check_clip(Video.name, header.motion, source_size, size, most, FIRST)
    return size


def open_video(
    source: Source, header: Header, max_side: int | None, max_pixels: int | None, limits: Limits, most: ClipLimits
) -> Video:
    """Return the video, whose first frame can be decoded.

    Raise `ClipTooLong`, `BadImage`, `PictureTooSmall` or `TooLarge`.
    """
    size = check(header, max_side, max_pixels, limits, most)
    with open_container(source, header) as container:
        stream = container.streams.video[0]
        unit, rate = stream.time_base, stream.average_rate or stream.guessed_rate or USUAL_RATE
        first = _first(container)
        codec, depth = stream.codec_context.name, first.format.components[0].bits
    assert unit is not None
    stored_size, turned = upright(size, header.orientation), header.orientation in QUARTER_TURNS
    return Video(
        header,
        stored_size,
        turned,
        source,
        unit,
        first.pts or 0,
        _plausible(rate),
        most,
        codec,
        depth,
        first.interlaced_frame,
    )


def first_frame(
    source: Source,
    header: Header,
    max_side: int | None,
    max_pixels: int | None,
    limits: Limits,
    shrink: Shrink | None = None,
) -> Picture:
    """Return the video's first frame as a picture. Raise `BadImage`, `PictureTooSmall` or `TooLarge`."""
    source_size = upright(header.size, header.orientation)
    size = upright(fit_or_refuse(source_size, max_side, max_pixels, limits), header.orientation)
    with open_container(source, header) as container:
        frame = _first(container)
        if frame.interlaced_frame:
            frame, *_ = deinterlace([frame, frame], container.streams.video[0])  # of one alone it makes none
        return _Conversion(header, size, shrink)(frame)


def _first(container: InputContainer) -> Decoded:
    with guarded_video():
        for packet in container.demux(container.streams.video[0]):
            for decoded in _frames_of(packet) or ():
                return decoded
    raise BadImage("Not one frame of the video can be decoded. Send it again, or save it anew as MP4 (H.264).")


@contextmanager
def open_container(source: Source, header: Header) -> Iterator[InputContainer]:
    """Open the file for as long as the context. Raise `BadImage`."""
    av = pyav()
    with ExitStack() as stack:
        file: BinaryIO = BytesIO(source) if isinstance(source, bytes) else stack.enter_context(source.open("rb"))
        codecs = ",".join(dict.fromkeys([*CODECS.values(), *SOUND_CODECS]))
        options = {"protocol_whitelist": "", "codec_whitelist": codecs}
        with guarded_video():
            container = av.open(file, format=DEMUXERS[header.format], options=options)
            stack.callback(container.close)
            if not container.streams.video:
                raise BadImage("The video's file holds no pictures that can be read. Save it anew as MP4 (H.264).")
            context = container.streams.video[0].codec_context
            if context is None:
                raise BadImage("The video is coded in a way that isn't read here. Save it anew as MP4 (H.264).")
            context.options = {"max_pixels": str(2 * header.size[0] * header.size[1] + SLACK_PX)}
            context.thread_count = 1  # more decode frames side by side, each with memory of its own
        yield container


def _decoded(container: InputContainer, video: Video) -> Iterator[tuple[Decoded, int]]:
    """Yield what can be decoded, and when it is shown, in ever later frames. Raise `BadImage` or `ClipTooLong`."""
    last, count = -1, 0
    frames = _whole(container, video)
    if video.interlaced:
        frames = deinterlace(frames, container.streams.video[0])
    for frame in frames:
        at = last + _step(video) if frame.pts is None else frame.pts - video.start
        if at <= last:
            continue
        last, count = at, count + 1
        _check_length(video, count, at)
        yield frame, at
    if not count:
        raise BadImage("Not one frame of the video can be decoded. Send it again, or save it anew as MP4 (H.264).")


def _whole(container: InputContainer, video: Video) -> Iterator[Decoded]:
    """Yield what can be decoded. Raise `BadImage`."""
    bad_frames = 0
    with guarded_video():
        packets = container.demux(container.streams.video[0])
    while True:
        with guarded_video():
            packet = next(packets, None)
            if packet is None:
                break
            frames = _frames_of(packet)
        if frames is None:
            bad_frames += 1
            if bad_frames > max(1, MOST_BAD * video.frames):
                raise BadImage(f"The video is damaged: {bad_frames} of its {video.frames} frames can't be decoded.")
            continue
        yield from frames


def _frames_of(packet: object) -> list[Decoded] | None:
    """Return what a packet is decoded to; None where it is damaged."""
    try:
        return packet.decode()  # type: ignore[attr-defined,no-any-return]
    except pyav().error.InvalidDataError:
        return None


def _check_length(video: Video, count: int, at: int) -> None:
    """Raise `ClipTooLong` for what the header did not say."""
    most = video.most
    if count > most.frames:
        detail = f"The video has more than {most.frames:,} frames, the limit. {FIRST}"
        raise ClipTooLong(detail, limit_frames=most.frames)
    if at * video.unit > most.seconds:
        detail = f"The video lasts longer than {most.seconds:.0f} s, the limit. {FIRST}"
        raise ClipTooLong(detail, limit_seconds=most.seconds)


def _step(video: Video) -> int:
    """Return for how many units a frame is shown, on average."""
    return max(1, round(1 / (video.rate * video.unit)))


def _plausible(rate: Fraction) -> Fraction:
    """Return the rate, or a usual one where it is out of all proportion."""
    return rate if Fraction(1, 100) <= rate <= 240 else USUAL_RATE


class _Conversion:
    """Frames to pictures: of a size as stored, turned, and in sRGB."""

    def __init__(self, header: Header, size: Size, shrink: Shrink | None = None) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter  # noqa: PLC0415 - an optional package

        self._header = header
        self._size = size
        self._shrink = shrink
        self._reformatter = VideoReformatter()
        self._exactly = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

    def __call__(self, decoded: Decoded) -> Picture:
        """Return a frame as a picture."""
        header = self._header
        with guarded_video():
            image = self._rgb(decoded)
        if header.orientation != 1:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = header.orientation
            image.info["exif"] = exif.tobytes()
        transfer = SRGB_TRANSFER if decoded.color_trc in SDR_TRANSFERS else decoded.color_trc
        source_colour = colour.by_numbers(decoded.color_primaries, transfer)
        box = (0, 0, *image.size)
        with guarded("video"):
            return to_picture(
                image, box, header.size, self._size, header.frames, colour=source_colour, shrink=self._shrink
            )

    def _rgb(self, decoded: Decoded) -> Image.Image:
        """Return a frame in the video's own red, green and blue."""
        matrix = decoded.colorspace
        if matrix == UNSPECIFIED:
            matrix = BT709 if decoded.height >= HD_ROWS else BT601
        full = decoded.color_range == FULL_RANGE or decoded.format.name.startswith("yuvj")
        rgb = self._reformatter.reformat(
            decoded,
            format="rgb24",
            src_colorspace=matrix,
            src_color_range=FULL_RANGE if full else LIMITED_RANGE,
            dst_color_range=FULL_RANGE,
            interpolation=self._exactly,
        )
        plane = rgb.planes[0]
        return Image.frombuffer("RGB", (rgb.width, rgb.height), bytes(plane), "raw", "RGB", plane.line_size, 1)

"""What a video's file says of its picture, whichever container it is in. Imports no torch and no decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from animegan.errors import BadImage, UnsupportedImage
from animegan.picture.formats.header import Header, Motion
from animegan.picture.sizes import Size

FORMATS = ("MP4", "MATROSKA")  # as `Header.format`: MP4 and MOV, MKV and WebM
MOST_ASPECT = 8.0  # of a pixel's width to its height, or the other way round
CODECS: Mapping[str, str] = {  # by which a container names what is decoded here, with FFmpeg's name of the decoder
    **dict.fromkeys(("avc1", "avc3", "V_MPEG4/ISO/AVC"), "h264"),
    **dict.fromkeys(("hvc1", "hev1", "dvh1", "dvhe", "V_MPEGH/ISO/HEVC"), "hevc"),
    **dict.fromkeys(("av01", "V_AV1"), "libdav1d"),
    **dict.fromkeys(("vp08", "V_VP8"), "vp8"),
    **dict.fromkeys(("vp09", "V_VP9"), "vp9"),
    **dict.fromkeys(("mp4v", "V_MPEG4/ISO/ASP", "V_MPEG4/ISO/SP"), "mpeg4"),
    **dict.fromkeys(("jpeg", "mjpa", "mjpb", "V_MJPEG"), "mjpeg"),
    **dict.fromkeys(("apch", "apcn", "apcs", "apco", "ap4h", "ap4x", "V_PRORES"), "prores"),
}


@dataclass(frozen=True)
class Track:
    """A file's first track of pictures.

    `coded`: a frame's width and height in px. `aspect`: a pixel's width as a share of its height. `orientation`: how
    it is to be turned, as EXIF numbers it.
    """

    codec: str
    coded: Size
    frames: int
    seconds: float
    aspect: float = 1.0
    orientation: int = 1


def is_video(header: Header) -> bool:
    """Return whether the file is a video."""
    return header.format in FORMATS


def header_of(format: str, track: Track | None) -> Header:
    """Return the header, its size as it is shown but not turned. Raise `UnsupportedImage` or `BadImage`."""
    if track is None:
        raise UnsupportedImage("This file holds no pictures, as it may be sound alone. Send a video.", kind="audio")
    if track.codec not in CODECS:
        raise UnsupportedImage(
            f"The video is coded as {track.codec[:20]!r}, which isn't read here. Save it as H.264 (MP4).",
            kind="video",
        )
    if track.frames < 1:
        raise BadImage("The video's file holds no frame, as it may be cut short. Send it again.")
    width, height = track.coded
    aspect = track.aspect if 1 / MOST_ASPECT <= track.aspect <= MOST_ASPECT else 1.0
    size = (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
    motion = Motion(track.frames, track.seconds)
    return Header(format, size, track.frames, orientation=track.orientation, motion=motion)


def check_end(needed: int, there: int) -> None:
    """Raise `BadImage` where a file should have more bytes than are there."""
    if needed > there:
        raise BadImage(f"The video is cut short: {there:,} of its {needed:,} bytes are there. Send it again.")

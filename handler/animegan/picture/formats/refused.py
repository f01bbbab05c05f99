"""Kinds of files that people send and that aren't read here, each with its name and the way out. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from animegan.errors import UnsupportedImage
from animegan.picture.formats.header import Bytes

TEXT_BYTES = 4096  # of a file that are looked at to see whether it is text
TO_JPEG = "Save it as JPEG, PNG or WebP"


@dataclass(frozen=True)
class Kind:
    """A kind of file: the name that a program can use, and what people are told."""

    id: str
    name: str
    way_out: str

    @property
    def detail(self) -> str:
        """Return a sentence that says what it is, and the way out."""
        return f"This is {self.name}, which isn't read here. {self.way_out}"


RAW = Kind(
    "raw",
    "a camera's raw file",
    "Develop it, or send the JPEG that the camera saved beside it.",
)
VIDEO = Kind("video", "an AVI, MPEG, FLV or WMV video", "Save it as MP4 (H.264), or send a single picture of it.")
NO_DECODER = Kind(
    "video-decoder",
    "a video",
    "To have videos drawn, install their decoder where this runs: pip install 'animegan-serve[video]'. "
    "Or send a single picture of it.",
)
PSD = Kind("psd", "a Photoshop document", f"{TO_JPEG}, with its layers merged.")
PDF = Kind("pdf", "a PDF document", f"{TO_JPEG}: export its page, or take a screenshot of it.")
SVG = Kind("svg", "an SVG drawing, made of shapes and not of pixels", "Export it as PNG.")
POSTSCRIPT = Kind("postscript", "a PostScript document", "Export its page as PNG.")
JPEG_XL = Kind("jxl", "a JPEG XL picture", f"{TO_JPEG}.")
ARCHIVE = Kind("archive", "an archive or an office document", "Unpack it, and send a picture from inside.")
DATA_URL = Kind("data-url", "a data URL, not the picture itself", "Decode its base64, and send the bytes.")
HTML = Kind("html", "a web page", "Save the picture itself (right click, Save image as), and send that.")
JSON = Kind("json", "JSON", "Send the picture's own bytes; JSON that holds one is read as a request's whole body.")
TEXT = Kind("text", "text", "Send the picture's own bytes, not its name or address.")
AUDIO = Kind("audio", "sound", "Send a picture.")
OTHER_PICTURE = Kind("picture", "a picture of a rare kind", f"{TO_JPEG}.")
ANYMAP_TEXT = Kind("ppm", "a portable anymap written as text", f"{TO_JPEG}.")

SIGNATURES: tuple[tuple[Kind, re.Pattern[bytes]], ...] = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        (RAW, rb"II\*\0.{4}CR|II\x1a\0\0\0HEAPCCDR|FUJIFILMCCD-RAW|II(RO|RS|U\0)|MMOR|FOVb|\0MRM|.{4}ftypcrx "),
        (
            VIDEO,
            rb"RIFF.{4}AVI |\0\0\x01[\xb3\xba]|\x47.{187}\x47.{187}\x47|FLV\x01|\x30\x26\xb2\x75",
        ),
        (AUDIO, rb"RIFF.{4}WAVE|ID3|fLaC|OggS|.{4}ftypM4A|\xff[\xfb\xf3\xf2\xf1\xf9]"),
        (PSD, rb"8BPS\0[\x01\x02]"),
        (PDF, rb".{0,1024}?%PDF-\d"),
        (POSTSCRIPT, rb"%!PS|\xc5\xd0\xd3\xc6"),
        (JPEG_XL, rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"),
        (
            ARCHIVE,
            rb"PK[\x03\x05\x07][\x04\x06\x08]|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x1f\x8b\x08|BZh\d|\xfd7zXZ\0|.{257}ustar",
        ),
        (ARCHIVE, rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|\x28\xb5\x2f\xfd"),
        (OTHER_PICTURE, rb"DDS |qoif|SIMPLE  =|\x76\x2f\x31\x01|#\?RADIANCE|icns|\x59\xa6\x6a\x95|gimp xcf|BPG\xfb"),
        (
            OTHER_PICTURE,
            rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF|FORM.{4}ILBM|/\* XPM|AT&TFORM|\x0a\x05\x01[\x01\x02\x04\x08]",
        ),
        (OTHER_PICTURE, rb"\0\0\x02\0[\x01-\x40]\0|P7\nWIDTH|P[Ff]\s"),
        (ANYMAP_TEXT, rb"P[123]\s+[\d#]"),
        (DATA_URL, rb"\s*data:[\w.+/-]*[;,]"),
        (
            SVG,
            rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.{0,2000}?>\s*)?(?:<!--.{0,2000}?-->\s*)*"
            rb"(?:<!DOCTYPE svg.{0,2000}?>\s*)?<svg[\s>]",
        ),
        (HTML, rb"(?i:(?:\xef\xbb\xbf)?\s*(?:<!--.{0,2000}?-->\s*)*<(?:!doctype html|html|head|body|script|div)\b)"),
        (JSON, rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[\"{\d\]-])"),
    )
)
VIDEO_BRANDS = frozenset(
    {b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"M4VH"}
)
VIDEO_BRANDS |= {
    b"mp71",
    b"iso3",
    b"iso7",
    b"iso8",
    b"iso9",
    b"hvc1",
    b"av01",
    b"dby1",
    b"M4VP",
    b"3gp7",
    b"mmp4",
    b"cmfc",
}
VIDEO_BRANDS |= {b"3gp4", b"3gp5", b"3gp6", b"3g2a", b"dash", b"MSNV", b"XAVC", b"f4v "}
KINDS = tuple(dict.fromkeys([kind for kind, _ in SIGNATURES] + [TEXT]))


def name(data: Bytes) -> Kind | None:
    """The kind of a file that is not read, told by its content; None where it can't be told."""
    for kind, signature in SIGNATURES:
        if signature.match(data):
            return kind
    return TEXT if _is_text(bytes(data[:TEXT_BYTES])) else None


def refuse(data: Bytes, kinds: str) -> UnsupportedImage:
    """The error for a file of none of the `kinds` that are read."""
    kind = name(data)
    if kind:
        return UnsupportedImage(kind.detail, kind=kind.id)
    return UnsupportedImage(
        f"These {len(data):,} bytes are no picture of a kind that is read here ({kinds}). "
        "Convert it to one of them, or check what was sent."
    )


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # else a character that the cut went through
            return False
        text = start[: error.start].decode("utf-8-sig")
    return bool(text) and all(character.isprintable() or character.isspace() for character in text)

"""JPEG files (ITU-T T.81). Imports no torch."""

from __future__ import annotations

import re
import struct
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin  # noqa: F401 - the plugin registers itself

from animegan.errors import BadImage
from animegan.picture.formats.header import Bytes, Header

MOST_SCANS = 100  # each makes the decoder visit every block; encoders write about ten
MOST_EXIF_SEGMENTS = 16  # Pillow joins them in quadratic time; encoders write one
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not a stuffed byte, a restart or padding
FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
BARE = frozenset({0x01, 0xC8, 0xD8, *range(0xF0, 0xFE)})  # as the decoders read them: no length follows
SOS, EOI, APP1 = 0xDA, 0xD9, 0xE1
END = b"\xff\xd9"
COEFFICIENTS = 64
COEFFICIENT_BYTES = 2
BLOCK_PX = 8
MOST_MISSING_ROWS = 16  # the decoder hands out the last row of blocks only with what follows it
PROBES = (b"\x55\xaa\x6d\x92", b"\xb2\x4d\x33\xca")  # bits that no sound file goes on with for long
PROBE_TIMES = 1 << 12


class _Scans:
    """The coefficients of each component that a file's scans have begun to give, to their last bit."""

    def __init__(self) -> None:
        self.count = 0
        self.progressive = False
        self.components: set[int] = set()
        self._whole: dict[int, set[int]] = {}

    def add(self, segment: bytes) -> None:
        """Count a scan; `segment` is its header, without marker and length."""
        self.count += 1
        number = segment[0] if segment else 0
        bounds = segment[1 + 2 * number : 4 + 2 * number]
        if len(bounds) == 3 and bounds[2] & 15 == 0:
            first, last = bounds[:2]
            for component in segment[1 : 1 + 2 * number : 2]:
                self._whole.setdefault(component, set()).update(range(first, last + 1))

    @property
    def has_all_scans(self) -> bool:
        """Return whether nothing can be missing but the end of the last scan."""
        return all(len(self._whole.get(component, ())) == COEFFICIENTS for component in self.components)


def header(data: Bytes) -> Header:
    """The header of a JPEG file. Raises `BadImage` where its scans are out of proportion."""
    size, scans, has_end = _read(data)
    coefficients = size[0] * size[1] * len(scans.components) if scans.progressive else 0
    return Header(
        "JPEG",
        size,
        flaws=() if has_end else ("end-missing",),
        reducible=not scans.progressive,
        held_bytes=COEFFICIENT_BYTES * coefficients,
    )


def essence(data: bytes, header: Header) -> bytes:
    """The JPEG, with the end that it may lack. Raises `BadImage` where part of the picture is missing."""
    if "end-missing" not in header.flaws:
        return data
    size, scans, _ = _read(data)
    if scans.progressive:
        if not scans.has_all_scans:
            raise BadImage(
                f"The JPEG is cut short: of its passes over the picture {scans.count} are there, and not the last. "
                "Send it again."
            )
        return data.rstrip(b"\xff") + END
    rows = _rows(data, size[1])
    if rows < size[1] - MOST_MISSING_ROWS:
        raise BadImage(f"The JPEG is cut short: about {rows} of its {size[1]} rows are there. Send it again.")
    return data.rstrip(b"\xff") + END


def _read(data: Bytes) -> tuple[tuple[int, int], _Scans, bool]:
    """Width and height, the scans, and whether the end is marked."""
    size, scans, exifs, at, has_end = None, _Scans(), 0, 2, False
    while marker := MARKER.search(data, at):
        code, at = marker[0][1], marker.end()
        if code in BARE or (code == EOI and not scans.count):
            continue
        if code == EOI:
            has_end = True
            break
        segment = bytes(data[at + 2 : at + min(64, max(2, int.from_bytes(data[at : at + 2])))])
        if code in FRAME and size is None:
            height, width = struct.unpack_from(">HH", data, at + 3)
            size = width, height
            scans.progressive = code in PROGRESSIVE
            scans.components = set(segment[6::3])
        if code == SOS:
            scans.add(segment)
        exifs += code == APP1 and data[at + 2 : at + 8] == b"Exif\0\0"
        if scans.count > MOST_SCANS or exifs > MOST_EXIF_SEGMENTS:
            raise BadImage(
                f"The JPEG has more than {MOST_SCANS} scans or {MOST_EXIF_SEGMENTS} EXIF segments. Save it anew."
            )
        at += max(2, int.from_bytes(data[at : at + 2]))
    if size is None:
        raise EOFError
    return size, scans, has_end


def _rows(data: bytes, height: int) -> int:
    """Return the number of rows that a JPEG without an end has.

    The file is decoded to an eighth with two ends that have nothing in common: where the pictures differ, it has none.
    """
    pictures = [_eighth(data.rstrip(b"\xff") + probe * PROBE_TIMES + END) for probe in PROBES]
    differ = np.flatnonzero((pictures[0] != pictures[1]).reshape(len(pictures[0]), -1).any(axis=1))
    return min(height, int(differ[0]) * BLOCK_PX) if differ.size else height


def _eighth(data: bytes) -> NDArray[np.uint8]:
    with Image.open(BytesIO(data), formats=["JPEG"]) as image:
        image.draft(None, (-(-image.width // BLOCK_PX), -(-image.height // BLOCK_PX)))
        image.load()
        return np.asarray(image)

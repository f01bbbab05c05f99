"""GIF files, written a frame at a time (the GIF89a specification). Imports no torch.

The colours are chosen once for as long as they do, and the dither lies where the canvas says, so that what stands still
does in the file too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animegan.clips.clip import Frame
from animegan.picture.sizes import Size

COLOURS = 255  # and one that is transparent
CLEAR = 255
OPAQUE = 128  # from which alpha on a pixel is seen
SPREAD = 8  # of the dither, in steps of 255: about the distance of two colours of a palette
KMEANS = 2  # rounds, without which the median cut loses strong colours
WORSE = 1.5  # times the error at which a palette was chosen, from which on a new one is
SLACK = 4.0  # of that error, mean square
LOOP = b"\x21\xff\x0bNETSCAPE2.0\x03\x01"
KEEP, RESTORE = 1, 2  # disposals: leave the frame, clear its place

Indices = NDArray[np.uint8]


def write(frames: Iterable[Frame], size: Size, plays: int, *, has_alpha: bool) -> bytes:
    """Return the GIF of frames of one size. `plays`: how often it is shown, 0 is for ever."""
    palette = _Palette()
    loop = b"" if plays == 1 else LOOP + struct.pack("<H", max(0, plays - 1)) + b"\0"
    file: list[bytes] = []
    shared = b""
    before: Indices | None = None
    for frame in frames:
        indices, same = palette.index(frame.rgb)
        if frame.alpha:
            indices[np.asarray(frame.alpha) < OPAQUE] = CLEAR
        box = (0, 0, *size)
        patch = indices
        if before is not None and same and not has_alpha:
            box = _difference_box(indices, before)
            left, top, right, bottom = box
            patch = np.where(indices == before, CLEAR, indices)[top:bottom, left:right].astype(np.uint8)
        shared = shared or palette.colours
        own = b"" if palette.colours == shared else palette.colours
        file += _blocks(patch, box, frame.ms, own, RESTORE if has_alpha else KEEP)
        before = indices
    return b"".join([b"GIF89a", struct.pack("<HHBBB", *size, 0xF7, 0, 0), shared, loop, *file, b";"])


class _Palette:
    """The colours of the frames that follow each other, chosen anew where they do no longer."""

    def __init__(self) -> None:
        self._image: Image.Image | None = None
        self._error = 0.0
        self.colours = b""

    def index(self, rgb: Image.Image) -> tuple[Indices, bool]:
        """Return the colours of a frame by their number, and whether the numbers mean what they did before."""
        pixels = np.asarray(rgb)
        if self._image:
            indices, error = self._nearest(rgb, pixels)
            if error <= WORSE * self._error + SLACK:
                return indices, True
        self._image = rgb.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=KMEANS)
        colours = (self._image.getpalette() or [])[: 3 * COLOURS]
        self.colours = bytes(colours).ljust(3 * 256, b"\0")
        indices, self._error = self._nearest(rgb, pixels)
        return indices, False

    def _nearest(self, rgb: Image.Image, pixels: NDArray[np.uint8]) -> tuple[Indices, float]:
        assert self._image
        few = rgb.getcolors(COLOURS) is not None
        dithered = rgb if few else Image.fromarray(_dither(pixels))
        indices = np.array(dithered.quantize(palette=self._image, dither=Image.Dither.NONE), dtype=np.uint8)
        table = np.frombuffer(self.colours, np.uint8).reshape(-1, 3)
        off = table[indices[::2, ::2]].astype(np.int32) - pixels[::2, ::2]
        return indices, float((off * off).mean())


def _dither(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pixels, moved by up to half of `SPREAD` as their place says (Bayer's matrix of 8×8)."""
    height, width = pixels.shape[:2]
    tiles = np.tile(BAYER, (height // 8 + 1, width // 8 + 1))[:height, :width, None]
    levels = pixels.astype(np.int16) + np.rint(tiles * SPREAD).astype(np.int16)
    return np.clip(levels, 0, 255).astype(np.uint8)


def _bayer() -> NDArray[np.float64]:
    matrix = np.zeros((1, 1))
    for _ in range(3):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return (matrix + 0.5) / 64 - 0.5


BAYER = _bayer()


def _difference_box(indices: Indices, before: Indices) -> tuple[int, int, int, int]:
    """Return the box of what changed, or of one pixel where nothing did: left, top, right, bottom in px."""
    differs = indices != before
    rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _blocks(indices: Indices, box: tuple[int, int, int, int], ms: float, colours: bytes, disposal: int) -> list[bytes]:
    """Return a frame's control block, its descriptor, its own colours if any, and its pixels, which Pillow packs."""
    left, top, right, bottom = box
    packed = disposal << 2 | 1  # with a transparent colour
    control = b"\x21\xf9\x04" + struct.pack("<BHBB", packed, min(65535, round(ms / 10)), CLEAR, 0)
    descriptor = b"\x2c" + struct.pack("<HHHHB", left, top, right - left, bottom - top, 0x87 if colours else 0)
    image = Image.fromarray(indices)
    image.putpalette(bytes(range(256)) * 3)
    file = BytesIO()
    image.save(file, "GIF", optimize=False, interlace=0)
    return [control, descriptor, colours, _pixels(file.getvalue())]


def _pixels(gif: bytes) -> bytes:
    """Return the packed pixels of a GIF of one frame, as Pillow writes it."""
    at = 13 + (3 << (gif[10] & 7) + 1 if gif[10] & 0x80 else 0)
    while gif[at] == 0x21:
        at += 2
        while gif[at]:
            at += gif[at] + 1
        at += 1
    at += 10 + (3 << (gif[at + 9] & 7) + 1 if gif[at + 9] & 0x80 else 0)
    return gif[at:-1]

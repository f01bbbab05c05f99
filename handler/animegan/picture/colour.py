"""Colours that a file gives by numbers (ITU-T H.273, PNG's chunks), not by an ICC profile. Imports no torch.

High dynamic range (PQ, HLG) is tone-mapped as Chromium does: up to the reference white of 203 cd/m² (ITU-R BT.2408)
light is halved, and from there to 1,000 cd/m² a quadratic Bézier curve leads to white, on the largest of red, green and
blue (SMPTE ST 2094-50, its tone mapping by reference white).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animegan.picture.formats import heif, png

Floats = NDArray[np.float64]
Point = tuple[float, float]  # x and y of a chromaticity

WHITE_NITS = 203.0
PEAK_NITS = 1000.0
WHITE_LIGHT = 0.5  # of the display's light, for what is at the reference white
KNEE_BEND = 0.65
HLG_GAMMA = 1.2  # of the system, for a display of 1,000 cd/m² (ITU-R BT.2100)
HLG_LUMA = (0.2627, 0.6780, 0.0593)
D65: Point = (0.3127, 0.3290)
C: Point = (0.310, 0.316)
SRGB: tuple[Point, ...] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
PRIMARIES: Mapping[int, tuple[Point, ...]] = {  # H.273, table 2: red, green, blue, white
    1: SRGB,
    2: SRGB,  # not told
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
CAMERA_TRANSFERS = frozenset({1, 6, 14, 15})
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class Colour:
    """The meaning of a file's red, green and blue.

    `chromaticities` of the primaries and of white; `to_light` takes codes from 0 to 1 to light, where 1 is white: for
    PQ the reference white, for HLG the most that the scene has.
    """

    chromaticities: tuple[Point, ...]
    to_light: Callable[[Floats], Floats]
    dynamic: str = "standard"  # or "pq", "hlg"

    def to_srgb(self, image: Image.Image) -> Image.Image:
        """An L or RGB image in sRGB, out of gamut clipped."""
        table = self.to_light(np.arange(256) / 255)
        light = table[np.asarray(image.convert("RGB"))]
        chromaticities = self.chromaticities
        if self.dynamic == "hlg":
            light = light * np.power(light @ np.array(HLG_LUMA), HLG_GAMMA - 1)[..., None]
            light *= PEAK_NITS / WHITE_NITS
        if self.dynamic != "standard":
            light = _map_tones(light @ _between(chromaticities, PRIMARIES[9]).T)
            chromaticities = PRIMARIES[9]
        codes = 255 * _srgb_codes(np.clip(light @ _between(chromaticities, SRGB).T, 0, 1))
        return Image.fromarray((codes + 0.5).astype(np.uint8))

    @property
    def is_srgb(self) -> bool:
        """Return whether nothing changes: no code moves by more than half a step."""
        codes = np.arange(256) / 255
        shift = np.abs(_srgb_codes(np.clip(self.to_light(codes), 0, 1)) - codes).max()
        same = np.allclose(_between(self.chromaticities, SRGB), np.eye(3), atol=2e-3)
        return self.dynamic == "standard" and same and bool(shift <= 0.5 / 255)


def by_numbers(primaries: int, transfer: int) -> Colour | None:
    """The colour of H.273's numbers; None for sRGB, and where they mean nothing here."""
    if primaries not in PRIMARIES or transfer not in TRANSFERS:
        return None
    dynamic = {16: "pq", 18: "hlg"}.get(transfer, "standard")
    colour = Colour(PRIMARIES[primaries], TRANSFERS[transfer], dynamic)
    return None if colour.is_srgb else colour


def in_png(data: bytes) -> tuple[Colour | None, bool]:
    """Return the colours of a PNG's chunks, and whether they go before an ICC profile, as cICP alone does."""
    chunks = png.contents(data)
    numbers = chunks.get(b"cICP", b"")
    if len(numbers) == 4 and numbers[2:] == b"\0\1":  # RGB of full range
        return by_numbers(numbers[0], numbers[1]), True
    gamma, points = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    if b"sRGB" in chunks or len(gamma) != 4:
        return None, False
    exponent = 100_000 / max(1, int.from_bytes(gamma))
    chromaticities = SRGB
    if len(points) == 32:
        white, *rest = ((x / 100_000, y / 100_000) for x, y in struct.iter_unpack(">II", points))
        chromaticities = (*rest, white)
    if not (0.2 <= exponent <= 10 and _is_sound(chromaticities)):
        return None, False
    usual = chromaticities == SRGB and abs(exponent - 2.2) < 0.01  # as everyone writes beside what is sRGB
    return None if usual else Colour(chromaticities, lambda codes: np.power(codes, exponent)), False


def in_heif(data: bytes) -> Colour | None:
    """Return the colours of the `nclx` box of a HEIC's or AVIF's primary picture.

    Encoders write the numbers of a camera's curve beside what is coded as sRGB, so in a still picture they mean sRGB.
    """
    primaries, transfer = heif.colour(data) or (1, 13)
    return by_numbers(primaries, 13 if transfer in CAMERA_TRANSFERS else transfer)


def _map_tones(light: Floats) -> Floats:
    """Light, in which 1 is the reference white, as shares of a display's."""
    peak = PEAK_NITS / WHITE_NITS
    largest = light.max(axis=-1)
    above = np.clip(largest, 1, peak)
    x_middle = (1 - KNEE_BEND) + KNEE_BEND / WHITE_LIGHT
    y_middle = (1 - KNEE_BEND) * WHITE_LIGHT + KNEE_BEND
    # The curve's parameter where x is `above`: a·t² + b·t + 1 - x = 0.
    a, b = 1 - 2 * x_middle + peak, 2 * (x_middle - 1)
    t = (np.sqrt(b * b + 4 * a * (above - 1)) - b) / (2 * a)
    y = WHITE_LIGHT * (1 - t) ** 2 + 2 * y_middle * t * (1 - t) + t * t
    return light * np.where(largest <= 1, WHITE_LIGHT, y / np.maximum(largest, 1))[..., None]


def _between(chromaticities: tuple[Point, ...], others: tuple[Point, ...]) -> Floats:
    """The matrix from light of these primaries to light of the others, white adapted by Bradford's method."""
    cones = (BRADFORD @ _white(others[3])) / (BRADFORD @ _white(chromaticities[3]))
    adaptation = np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD
    return np.asarray(np.linalg.inv(_to_xyz(others)) @ adaptation @ _to_xyz(chromaticities))


def _to_xyz(chromaticities: tuple[Point, ...]) -> Floats:
    *primaries, white = chromaticities
    columns = np.array([[x, y, 1 - x - y] for x, y in primaries]).T
    return columns * np.linalg.solve(columns, _white(white))


def _white(point: Point) -> Floats:
    x, y = point
    return np.array([x / y, 1, (1 - x - y) / y])


def _is_sound(chromaticities: tuple[Point, ...]) -> bool:
    """Return whether the primaries span a triangle, and white is not at the edge of everything."""
    (ax, ay), (bx, by), (cx, cy), (_, white) = chromaticities
    area = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
    return area > 0.01 and white > 0.05 and all(0 <= x <= 1.5 and 0 <= y <= 1.5 for x, y in chromaticities)


def _srgb_codes(light: Floats) -> Floats:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)


def _srgb_light(codes: Floats) -> Floats:
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def _bt1886_light(codes: Floats) -> Floats:
    """Return the light that displays show for codes of BT.709, BT.601 and BT.2020 (ITU-R BT.1886)."""
    return np.power(codes, 2.4)


def _smpte240_light(codes: Floats) -> Floats:
    return np.where(codes < 0.0913, codes / 4, ((codes + 0.1115) / 1.1115) ** (1 / 0.45))


def _pq_light(codes: Floats) -> Floats:
    """SMPTE ST 2084, in units of the reference white."""
    p = np.power(codes, 32 / 2523)
    numerator, denominator = np.maximum(p - 3424 / 4096, 0), 2413 / 128 - 2392 / 128 * p
    return np.power(numerator / denominator, 16384 / 2610) * (10_000 / WHITE_NITS)


def _hlg_light(codes: Floats) -> Floats:
    """The scene's light (ITU-R BT.2100): 1 is the most."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)


TRANSFERS: Mapping[int, Callable[[Floats], Floats]] = {  # H.273, table 3
    1: _bt1886_light,
    2: _srgb_light,  # not told
    4: lambda codes: np.power(codes, 2.2),
    5: lambda codes: np.power(codes, 2.8),
    6: _bt1886_light,
    7: _smpte240_light,
    8: lambda codes: codes,
    13: _srgb_light,
    14: _bt1886_light,
    15: _bt1886_light,
    16: _pq_light,
    17: lambda codes: np.power(codes, 2.6) * (52.37 / 48),
    18: _hlg_light,
}

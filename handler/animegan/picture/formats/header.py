"""What is read from a picture file before it is decoded. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import mmap
from typing import Literal

from animegan.picture.sizes import Size

Bytes = bytes | mmap  # in memory, or a file's
Flaw = Literal["end-missing", "metadata-damaged"]  # of a file that is drawn all the same


@dataclass(frozen=True)
class Motion:
    """An animation's frames, and for how many seconds a file says they are shown in all."""

    frames: int
    seconds: float


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself: Pillow's name of its format, width and height as stored, frames or pages.

    `reducible`: it can be decoded at a fraction of its size, and then takes the memory of that. `held_bytes`: what its
    decoder holds of the whole picture all the same. `interleaved`: it is decoded as one grey picture with so many
    values beside each other in place of a pixel, and then to be turned by `orientation`, as EXIF numbers it. `motion`:
    its frames are an animation.
    """

    format: str
    size: Size
    frames: int = 1
    flaws: tuple[Flaw, ...] = ()
    reducible: bool = False
    held_bytes: int = 0
    interleaved: int = 1
    orientation: int = 1
    motion: Motion | None = None

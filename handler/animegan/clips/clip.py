"""What animations and videos have in common: a file of frames in time. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from PIL import Image

from animegan.picture.formats.header import Flaw, Header
from animegan.picture.sizes import Size

FIRST = "Draw its first frame with frames=first."


@dataclass(frozen=True)
class Frame:
    """A frame as it is seen: RGB, upright, fitted; its alpha, None where it is opaque; and for how many ms."""

    rgb: Image.Image
    alpha: Image.Image | None
    ms: float


@dataclass(frozen=True)
class ClipFile:
    """A clip's file.

    `name`: what an error calls it. `stored_size`: of a frame as drawn, before it is `turned` by a quarter.
    """

    name: ClassVar[str]
    header: Header
    stored_size: Size
    turned: bool

    @property
    def kind(self) -> str:
        """Return the name of the file's format."""
        return self.header.format

    @property
    def frames(self) -> int:
        """Return how many frames there are, as the file says."""
        assert self.header.motion
        return self.header.motion.frames

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """Return what is wrong with the file."""
        return self.header.flaws

    @property
    def original_size(self) -> Size:
        """Return the size of a frame as sent, upright."""
        return self.header.size[::-1] if self.turned else self.header.size

    @property
    def size(self) -> Size:
        """Return the size of a frame as drawn, upright."""
        return self.stored_size[::-1] if self.turned else self.stored_size

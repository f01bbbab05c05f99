"""An animation's file, written while its frames come, of the kind that was asked for. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from animegan.clips import containers, gif
from animegan.clips.clip import Frame
from animegan.picture.images import Encoded
from animegan.picture.sizes import Size
from animegan.settings import Format

AVIF_SPEED = 8  # of 10: half the time of 6 for a tenth more bytes


def kind_of(format: Format, source: str) -> str:
    """Return the kind of the file that is written: `auto` is the source's own."""
    return source if format == "auto" else format.upper()


def write(kind: str, frames: Iterator[Frame], size: Size, plays: int, *, has_alpha: bool, quality: int) -> Encoded:
    """Return the file of frames of one size, none of which is kept once it is encoded.

    `plays`: how often it is shown, 0 is for ever; an AVIF is shown for ever.
    """
    match kind:
        case "GIF":
            data = gif.write(frames, size, plays, has_alpha=has_alpha)
        case "PNG":
            data = containers.write_png(frames, plays, has_alpha=has_alpha)
        case "WEBP":
            data = containers.write_webp(frames, size, plays, has_alpha=has_alpha, quality=quality)
        case _:
            data = _avif(frames, has_alpha=has_alpha, quality=quality)
    return Encoded(data, f"image/{kind.lower()}")


def _avif(frames: Iterator[Frame], *, has_alpha: bool, quality: int) -> bytes:
    file = BytesIO()
    sequence = _Sequence(frames, has_alpha=has_alpha)
    sequence.save(file, "AVIF", save_all=True, duration=sequence.durations_ms, quality=quality, speed=AVIF_SPEED)
    return file.getvalue()


class _Sequence(Image.Image):
    """Frames as one image, each of which is taken when Pillow's encoder seeks it: it wants all that it is to write."""

    is_animated = True

    def __init__(self, frames: Iterator[Frame], *, has_alpha: bool) -> None:
        super().__init__()
        self.durations_ms: list[int] = []
        self._frames = frames
        self._has_alpha = has_alpha
        self.seek(0)

    def tell(self) -> int:
        """Return the number of the frame that is here."""
        return len(self.durations_ms) - 1

    def seek(self, frame: int) -> None:
        """Take the next frame. Raise `EOFError` where there is none."""
        if frame < len(self.durations_ms):  # Pillow goes back to the first when it is done
            return
        following = next(self._frames, None)
        if following is None:
            raise EOFError
        image = following.rgb
        if self._has_alpha:
            image = image.copy()
            image.putalpha(following.alpha or 255)
        self.im = image.im
        self._mode, self._size = image.mode, image.size
        self.durations_ms.append(round(following.ms))

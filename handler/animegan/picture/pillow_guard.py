"""Whatever Pillow raises becomes an error of ours, and what it warns of stays inside. Imports no torch."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from animegan.errors import AnimeganError, BadImage, OutOfMemory, TooLarge


class _Hush:
    """While any thread is inside, warnings from Pillow's modules are ignored: a broken tag is no news to anyone.

    `warnings.catch_warnings` alone restores the wrong filters when threads leave in another order than they came.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._catcher = warnings.catch_warnings()
                self._catcher.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._catcher.__exit__(None, None, None)


_hush = _Hush()


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Whatever Pillow raises inside becomes an error of ours, whose text has nothing of Pillow's."""
    try:
        with _hush:
            yield
    except AnimeganError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        detail = f"The picture has more than {most:,} pixels, the most that Pillow opens here. Scale it down first."
        raise TooLarge(detail, limit_pixels=most) from error
    except MemoryError as error:
        raise OutOfMemory(f"Not enough memory to decode the {what} now. Try later, or scale it down first.") from error
    except Exception as error:
        raise BadImage(
            f"The {what} is damaged, cut short, or of a kind that can't be read here. "
            "Send it again, or save it anew as JPEG, PNG or WebP."
        ) from error

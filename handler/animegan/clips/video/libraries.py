"""PyAV, loaded once a video is there, and its errors as errors of ours. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from animegan.errors import AnimeganError, BadImage, OutOfMemory


def pyav() -> ModuleType:
    """Return PyAV, which is an optional package."""
    av = importlib.import_module("av")
    av.logging.set_level(av.logging.PANIC)
    return av


@contextmanager
def guarded_video() -> Iterator[None]:
    """Whatever PyAV raises inside becomes an error of ours, whose text has nothing of PyAV's."""
    try:
        yield
    except AnimeganError:
        raise
    except MemoryError as error:
        raise OutOfMemory("Not enough memory to decode the video now. Try later, or scale it down first.") from error
    except Exception as error:
        if not isinstance(error, pyav().error.FFmpegError | ValueError):
            raise
        raise BadImage(
            "The video is damaged, or of a kind that can't be read here. Send it again, or save it anew as MP4 (H.264)."
        ) from error

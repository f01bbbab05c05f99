"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from animegan.errors import BadSetting


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A place to write the file at, tried before the work; it becomes the file in one step, after it.

    Raises `BadSetting` for a place that can't be written.
    """
    part = file.with_name(f".{os.getpid()}.{file.name}")  # the ending stays: what writes may go by it
    try:
        if file.is_dir():
            raise IsADirectoryError(None, "Is a directory", str(file))
        file.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        yield part
        part.replace(file)
    except OSError as error:
        raise BadSetting(
            f"{file} can't be written: {error.filename}: {error.strerror}. Mend that, or name another place."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)

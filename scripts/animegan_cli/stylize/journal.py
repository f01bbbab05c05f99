"""What was drawn into a folder, from which photo and with which options: one line of JSON a picture."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from animegan_cli.stylize.places import is_local, relative

NAME = ".animegan.jsonl"
EVERY_S = 10.0  # between two writings of a journal that can only be written whole


@dataclass(frozen=True)
class Entry:
    """A picture that was drawn. The paths are relative to the folder; `bytes` and `mtime_ns` are the photo's."""

    source: str
    output: str
    bytes: int
    mtime_ns: int
    options: dict[str, Any]


class Journal:
    """The file in an output folder. A line that was cut off, or that is none of this, is passed by.

    A line is written after its picture is in place: where a run breaks off between the two, the picture is drawn anew.
    Behind an address, where no file can be added to, the file is written whole: see `flush`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: dict[str, Entry] = {}
        self._written_s = time.monotonic()
        with suppress(FileNotFoundError, NotADirectoryError):
            for line in (folder / NAME).read_text("utf-8", "replace").splitlines():
                with suppress(ValueError, TypeError):
                    entry = Entry(**json.loads(line))
                    self._entries[entry.source] = entry

    def outputs(self) -> Iterator[Path]:
        """Yield where the pictures lie, or lay."""
        for entry in self._entries.values():
            yield (self.folder / entry.output).resolve()

    def output_of(self, source: Path) -> Path | None:
        """Return where the photo was drawn to."""
        entry = self._entries.get(self._key(source))
        return self.folder / entry.output if entry else None

    def holds(self, source: Path, options: Mapping[str, Any]) -> bool:
        """Return whether the photo as it is now was drawn with these options, and its picture is there."""
        entry = self._entries.get(self._key(source))
        if not entry or entry.options != options or not (self.folder / entry.output).is_file():
            return False
        stat = source.stat()
        return (entry.bytes, entry.mtime_ns) == (stat.st_size, _mtime_ns(source, stat))

    def add(self, source: Path, output: Path, stat: os.stat_result, options: Mapping[str, Any]) -> None:
        """Note a picture that is in place; `stat` is the photo's as it was read. Raises `OSError`."""
        key, name = self._key(source), relative(output, self.folder)
        entry = Entry(key, name, stat.st_size, _mtime_ns(source, stat), dict(options))
        if is_local(self.folder):
            with (self.folder / NAME).open("a", encoding="utf-8") as file:
                start = "" if file.tell() == 0 or self._ends_with_a_line() else "\n"
                file.write(f"{start}{_line(entry)}")
        self._entries[key] = entry
        if time.monotonic() - self._written_s > EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet: every `EVERY_S`, and at the end of a run. Raises `OSError`."""
        if not is_local(self.folder) and self._entries:
            (self.folder / NAME).write_text("".join(map(_line, self._entries.values())), encoding="utf-8")
            self._written_s = time.monotonic()

    def _ends_with_a_line(self) -> bool:
        with (self.folder / NAME).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _key(self, source: Path) -> str:
        return relative(source, self.folder)


def _mtime_ns(source: Path, stat: os.stat_result) -> int:
    """Return when the photo was changed; of an address in whole seconds, as a listing may have more of them."""
    return stat.st_mtime_ns if is_local(source) else int(stat.st_mtime) * 10**9


def _line(entry: Entry) -> str:
    return f"{json.dumps(asdict(entry))}\n"

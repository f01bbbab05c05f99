"""What was drawn into a folder, from which photo and with which options: one line of JSON a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NAME = ".animegan.jsonl"


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
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries: dict[str, Entry] = {}
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
        return (entry.bytes, entry.mtime_ns) == (stat.st_size, stat.st_mtime_ns)

    def add(self, source: Path, output: Path, stat: os.stat_result, options: Mapping[str, Any]) -> None:
        """Note a picture that is in place; `stat` is the photo's as it was read. Raises `OSError`."""
        key, name = self._key(source), os.path.relpath(output, self.folder)
        entry = Entry(key, name, stat.st_size, stat.st_mtime_ns, dict(options))
        with (self.folder / NAME).open("a", encoding="utf-8") as file:
            start = "" if file.tell() == 0 or self._ends_with_a_line() else "\n"
            file.write(f"{start}{json.dumps(asdict(entry))}\n")
        self._entries[key] = entry

    def _ends_with_a_line(self) -> bool:
        with (self.folder / NAME).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _key(self, source: Path) -> str:
        return os.path.relpath(source, self.folder)

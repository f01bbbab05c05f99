"""A wall clock that tests set: that of the processes that are started with it, and of no other.

Debian's libfaketime would do, were it not for `time.sleep` of Python 3.11, which fails under it.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


@dataclass(frozen=True)
class WallClock:
    """`environment` is for the processes; the monotonic clock, by which timeouts go, is left alone."""

    library: Path
    file: Path

    @property
    def environment(self) -> Mapping[str, str]:
        return {"LD_PRELOAD": str(self.library), "TEST_CLOCK_FILE": str(self.file)}

    def set(self, ahead_s: int) -> None:
        """Set it at once, to so many seconds ahead of the real one, or behind it where below zero."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("q", ahead_s))


def wall_clock(folder: Path) -> WallClock | None:
    """A clock that shows the real time; None where there is no C compiler (Debian: gcc)."""
    compiler = shutil.which("cc")
    if not compiler:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    library, file = folder / "clock.so", folder / "clock"
    subprocess.run([compiler, "-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    file.write_bytes(struct.pack("q", 0))
    return WallClock(library, file)

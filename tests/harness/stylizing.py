"""`animegan stylize` and a folder of photos for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from animegan_cli.stylize.journal import NAME
from harness.commands import run_command
from harness.pictures import encoded, photo

ENVIRONMENT = {**os.environ, "ANIMEGAN_WARMUP_PX": "0", "ANIMEGAN_PRECISION": "fp32", "COLUMNS": "200", "LC_ALL": "C"}
COMMAND = [sys.executable, "-m", "animegan_cli", "stylize"]


def stylize(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command("stylize", *arguments, environment={**ENVIRONMENT, **environment})


def outputs(folder: Path) -> list[str]:
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return [name for name in names if name != NAME]


def photo_folder(folder: Path) -> Path:
    """Fill a folder: pictures of several kinds in it and below, and what is none."""
    (folder / "more").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(encoded(photo(64, 48)))
    (folder / "a.png").write_bytes(encoded(photo(40, 32), "PNG"))
    (folder / "holiday.v2.jpg").write_bytes(encoded(photo(48, 48)))
    (folder / "more" / "c.webp").write_bytes(encoded(photo(48, 40), "WEBP"))
    (folder / "notes.txt").write_text("not a picture")
    (folder / "._a.jpg").write_bytes(b"a resource fork")
    (folder / "Thumbs.db").write_bytes(b"thumbnails")
    return folder

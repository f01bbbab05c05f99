"""The report of a run: JSON for programs, and a contact sheet in HTML to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from animegan.errors import InternalError
from animegan_cli.stylize.drawing import Outcome
from animegan_cli.stylize.places import place, relative

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Photos and drawings</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem }
figure { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; margin: 0 0 1.5rem }
img { width: 100%; background: #eee; min-height: 3rem }
figcaption { grid-column: 1 / -1; color: #444; overflow-wrap: anywhere }
</style>
"""


@dataclass
class Run:
    """The results of a run so far. `existing`: photos whose picture was there already."""

    options: Mapping[str, Any]
    existing: list[Path] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def summary(self) -> dict[str, Any]:
        """Return the report as JSON has it. Times are seconds, sizes width and height in px."""
        drawings = [_drawing(outcome) for outcome in self.outcomes if outcome.drawing]
        return {
            "began": self.began.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - self.began).total_seconds(), 3),
            "options": dict(self.options),
            "drawn": drawings,
            "kept": [str(source) for source in self.existing],
            "failed": [
                {"source": str(outcome.task.source), "code": outcome.error.code, "detail": outcome.error.detail}
                for outcome in self.outcomes
                if outcome.error
            ],
            "left_out": [{"source": str(file), "detail": reason} for file, reason in self.left_out.items()],
        }


def _drawing(outcome: Outcome) -> dict[str, Any]:
    assert outcome.drawing
    output, report = outcome.drawing
    return {
        "source": str(outcome.task.source),
        "output": str(output),
        "style": report.style,
        "original_size": [*report.original_size],
        "size": [*report.size],
        "frames": report.frames,
        "drawn_frames": report.drawn_frames,
        "flaws": [*report.flaws],
        "seconds": dict(report.seconds),
    }


def write(run: Run, file: Path) -> tuple[Path, Path]:
    """Write `file` with the ending .json, and beside it the contact sheet in .html. Raises `InternalError`."""
    base = file.with_suffix("") if file.suffix.lower() in (".json", ".html") else file
    data, sheet = base.with_name(f"{base.name}.json"), base.with_name(f"{base.name}.html")
    summary = run.summary()
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        data.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", "utf-8", "surrogateescape")
        sheet.write_text(contact_sheet(summary, base.parent), "utf-8", "surrogateescape")
    except OSError as error:
        raise InternalError(f"The report {data} can't be written: {error.strerror}. Name another place.") from None
    return data, sheet


def contact_sheet(summary: Mapping[str, Any], folder: Path) -> str:
    """Return a page that lies in the folder, and shows each photo beside its drawing, and what failed."""
    figures = [
        f"<figure>{_image(picture['source'], folder)}{_image(picture['output'], folder)}"
        f"<figcaption>{escape(picture['source'])}, {escape(picture['style'])}, "
        f"{picture['size'][0]}×{picture['size'][1]} px</figcaption></figure>"
        for picture in summary["drawn"]
    ]
    counts = ", ".join(
        f"{len(summary[name])} {name.replace('_', ' ')}" for name in ("drawn", "kept", "failed", "left_out")
    )
    lists = _list("Failed", summary["failed"]) + _list("Left out", summary["left_out"])
    return "\n".join([f"{_HEAD}<h1>Photos and drawings</h1>", f"<p>{counts}</p>", *figures, *lists]) + "\n"


def _image(path: str, folder: Path) -> str:
    address = quote(relative(place(path), folder), safe="/:", errors="surrogateescape")
    return f'<img src="{escape(address)}" alt="{escape(Path(path).name)}" loading="lazy">'


def _list(title: str, entries: Sequence[Mapping[str, str]]) -> list[str]:
    if not entries:
        return []
    items = "".join(f"<li>{escape(entry['source'])}: {escape(entry['detail'])}</li>" for entry in entries)
    return [f"<h2>{title}</h2>\n<ul>{items}</ul>"]

"""Where tables go: to a terminal as wide as it is, to a pipe so that a line of a table stays one line."""

from __future__ import annotations

import sys

from rich.console import Console

_PIPE_COLUMNS = 160


def plain(text: str) -> str:
    """Return one line with nothing in it that steers a terminal: the text may quote a file."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def screen() -> Console:
    """Standard output, which takes text as it is."""
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)

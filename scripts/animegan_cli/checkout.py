"""The checkout that this runs from, if it runs from one: the archive, the servers and the tools need its files."""

from __future__ import annotations

from pathlib import Path

from animegan.errors import BadSetting

ROOT = Path(__file__).resolve().parents[2]


def require_checkout(purpose: str) -> None:
    """Raise `BadSetting`, which begins with the purpose, where this is an installed package."""
    if not (ROOT / "handler" / "animegan_handler.py").is_file():
        raise BadSetting(f"{purpose} needs a checkout of the project, and this is an installed package. Clone it.")

"""Files between agent and workers: the agent cancels an attempt, the worker reports its progress."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from animegan_service.protocol import PROGRESS_ENDING

LIFETIME_S = 3600.0  # longer than any picture takes
ATTEMPT_FORM = r"^[A-Za-z0-9_-]{22}\.[0-9]{1,9}$"


class Cancelling:
    """Cancels attempts by files in `folder`, which the workers read; without one, an attempt ends at its deadline."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) if folder else None

    def cancel(self, attempt: str) -> bool:
        """Have the worker that draws the attempt end it; return whether a worker can learn of it."""
        if self._folder is None:
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep(self._folder)
        (self._folder / attempt).touch()
        return True

    def progress(self, attempt: str) -> float | None:
        """Return how much of the attempt is drawn, from 0 to 1; None where no worker has said so."""
        if self._folder is None:
            return None
        try:
            share = float((self._folder / f"{attempt}{PROGRESS_ENDING}").read_text())
        except (OSError, ValueError):
            return None
        return share if 0 <= share <= 1 else None

    def _sweep(self, folder: Path) -> None:
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > LIFETIME_S:
                    file.unlink()

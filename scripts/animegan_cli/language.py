"""Which of the two languages the command speaks."""

from __future__ import annotations

import os
from typing import Literal


def language() -> Literal["en", "zh"]:
    """Chinese where the locale of messages says so: LC_ALL, else LC_MESSAGES, else LANG."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "zh" if next(filter(None, names), "").lower().startswith("zh") else "en"

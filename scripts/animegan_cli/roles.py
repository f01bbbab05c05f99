"""What the commands need that replace this process by a server's."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import NoReturn

from animegan.errors import BadSetting


def require(extra: str, package: str) -> None:
    """Raise `BadSetting` where the package, and so the extra that brings it, is not installed."""
    if importlib.util.find_spec(package) is None:
        raise BadSetting(f"{package} is not installed. Install animegan-serve with its extra: animegan-serve[{extra}].")


def become(module: str, arguments: list[str]) -> NoReturn:
    """Replace this process: what serves for months need not hold what the command has imported."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell is meant

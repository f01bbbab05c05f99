"""Ends tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

ONCE_MORE_AFTER_S = 0.5


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Return when all of them have ended.

    Once is not enough: up to Python 3.11 `asyncio.wait_for` can lose a cancellation (python/cpython#86296), and
    libraries wait with it.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=ONCE_MORE_AFTER_S)

"""Reliable cancellation of tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

ONCE_MORE_AFTER_S = 0.5


async def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and return when all of them have ended.

    Once is not enough: up to Python 3.11 `asyncio.wait_for` can lose a cancellation (python/cpython#86296), and
    libraries wait with it.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=ONCE_MORE_AFTER_S)

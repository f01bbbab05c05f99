"""What stays of an operation that did not end well."""

from __future__ import annotations

import asyncio
import os
from typing import cast

import pytest

from animegan_agent.dispatch import Dispatch
from animegan_agent.errors import TorchServeAway
from animegan_agent.management import Management, Model, Worker
from animegan_agent.operations import Operations
from animegan_agent.settings import Settings
from animegan_agent.workers import Workers

WORKER = Worker("9000", os.getpid(), "READY", gpu=False)


class Asked:
    """A management API, and what is known through it; a further worker does not start."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    async def scale(self, workers: int, _: float, *, at_most: int) -> None:
        self.asked.append((workers, at_most))
        if workers > 1:
            raise TorchServeAway("TorchServe answered 500 to workers=2.")

    async def look(self) -> Model:
        return Model((WORKER,), wanted=1, batch_size=1, pending=0, startup_s=60)


def test_a_further_worker_that_fails_to_start_is_not_wanted_afterwards() -> None:
    asked = Asked()
    operations = Operations(
        Settings(recycle_overlap="always"), cast(Management, asked), cast(Workers, asked), Dispatch()
    )
    with pytest.raises(TorchServeAway, match="workers=2"):
        asyncio.run(operations.recycle("9000"))
    assert asked.asked == [(2, 2), (1, 2)]

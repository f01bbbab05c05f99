"""What stays of an operation that did not end well."""

from __future__ import annotations

import asyncio
import os
from typing import cast

import pytest

from animegan_agent.dispatch import Dispatch
from animegan_agent.errors import NoWorker
from animegan_agent.management import Management, Model, Worker
from animegan_agent.operations import Operations
from animegan_agent.settings import Settings
from animegan_agent.workers import Workers

WORKER = Worker("9000", os.getpid(), "READY", gpu=False)


class FakeManagement:
    """A management API, and what is known through it; a further worker does not get ready."""

    def __init__(self) -> None:
        self.targets: list[tuple[int, int]] = []
        self.targets_while_loading: list[int] = []

    async def want(self, workers: int, *, at_most: int) -> None:
        self.targets.append((workers, at_most))

    async def look(self) -> Model:
        if self.targets:
            self.targets_while_loading.append(self.targets[-1][0])
        return Model((WORKER,), target=1, batch_size=1, pending=0, startup_s=0.5)


def test_a_further_worker_is_not_wanted_while_it_loads_nor_afterwards() -> None:
    torchserve = FakeManagement()
    operations = Operations(
        Settings(recycle_overlap="always"), cast(Management, torchserve), cast(Workers, torchserve), Dispatch()
    )
    with pytest.raises(NoWorker, match="further worker"):
        asyncio.run(operations.recycle("9000"))
    assert torchserve.targets == [(2, 2), (1, 2)]
    assert set(torchserve.targets_while_loading) == {1}

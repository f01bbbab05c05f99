"""A part without which the process would only seem to work: its failure is the process's end."""

from __future__ import annotations

import asyncio
import signal

import pytest

from animegan_service.server import start_vital_task


@pytest.mark.slow
@pytest.mark.parametrize("failing", [True, False])
def test_a_vital_task_that_fails_asks_the_process_to_stop_and_one_that_is_cancelled_does_not(failing: bool) -> None:
    async def work() -> None:
        if failing:
            raise RuntimeError("not foreseen")
        await asyncio.Event().wait()

    async def asked_to_stop() -> bool:
        request, answer = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, request.set)
        loop.add_signal_handler(signal.SIGUSR1, answer.set)
        task = start_vital_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        signal.raise_signal(signal.SIGUSR1)  # behind the other one, if that was raised
        await answer.wait()
        return request.is_set()

    assert asyncio.run(asked_to_stop()) is failing

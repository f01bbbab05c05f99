"""A pause is one only once every gateway knows of it and has nothing left at TorchServe."""

from __future__ import annotations

import asyncio

import pytest

from animegan_agent import dispatch
from animegan_agent.dispatch import Dispatch
from animegan_agent.errors import NotIdle


def test_who_has_pictures_or_does_not_know_is_waited_for() -> None:
    async def scenario() -> list[str]:
        events = []
        line = Dispatch()
        line.record_question("a", 2, line.tag)
        line.record_question("b", 0, line.tag)
        async with line.pause():
            settling = asyncio.create_task(line.wait_until_idle(within_s=60))
            for gateway, running, seen in (
                ("a", 2, line.tag),  # knows, and has pictures
                ("a", 0, line.tag),
                ("b", 0, "0"),  # has none, and does not know: it may be sending one
                ("b", 0, line.tag),
            ):
                await asyncio.sleep(0)
                events.append("settled" if settling.done() else "waits")
                line.record_question(gateway, running, seen)
            await settling
        return events

    assert asyncio.run(scenario()) == ["waits"] * 4


def test_a_second_pause_wants_to_be_known_too() -> None:
    async def scenario() -> None:
        line = Dispatch()
        async with line.pause():
            line.record_question("a", 0, line.tag)
            await line.wait_until_idle(within_s=60)
        async with line.pause():
            with pytest.raises(NotIdle, match="1 gateways still had pictures"):
                await line.wait_until_idle(within_s=0)

    asyncio.run(scenario())


def test_a_gateway_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        line = Dispatch()
        line.record_question("a", 3, line.tag)
        async with line.pause():
            with pytest.raises(NotIdle):
                await line.wait_until_idle(within_s=0)
            monkeypatch.setattr(dispatch, "GONE_AFTER_S", 0.0)
            await line.wait_until_idle(within_s=0)

    asyncio.run(scenario())


@pytest.mark.parametrize("java", [100, None])
def test_draining_ends_when_another_torchserve_is_ready(java: int | None) -> None:
    """So it does where none was ready: Kubernetes drains before it starts anew what hangs."""
    line = Dispatch()
    line.record_java(java)
    line.drain(on=True)
    for same in (java, None, java):  # it may be slow to answer
        line.record_java(same)
        assert line.draining
    line.record_java(200)
    assert not line.draining


def test_draining_lasts_until_it_is_taken_back() -> None:
    async def scenario() -> None:
        changes = []
        line = Dispatch(lambda: changes.append(line.paused))
        line.drain(on=True)
        line.drain(on=True)
        async with line.pause():
            pass
        assert line.paused
        line.drain(on=False)
        assert changes == [True, True, True, False]

    asyncio.run(scenario())

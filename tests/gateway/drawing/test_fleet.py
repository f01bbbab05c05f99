"""Several TorchServes behind one name: each has its own places, and one that leaves draws what it has."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from animegan_cli.serving.ports import free_port
from animegan_gateway.drawing import fleet
from animegan_gateway.drawing.fleet import Fleet
from animegan_gateway.drawing.torchserve import TorchServe
from animegan_service.protocol import Presence


class There(TorchServe):
    """One that is ready for two pictures at a time."""

    def __init__(self, host: str) -> None:
        super().__init__(f"http://{host}:{free_port()}", None, 2, 1.0, "test")
        self.presence, self.width = Presence.READY, 2

    async def watch(self) -> None:
        await asyncio.Event().wait()


class Names:
    """What the name resolves to, changed as the test goes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self.error: Exception | None = None
        monkeypatch.setattr(fleet, "RESOLVE_EVERY_S", 0.001)
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, *_: Any, **__: Any) -> list[Any]:
        if self.error:
            raise self.error
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in self.addresses]
        return [(family, 1, 6, "", (address, 0)) for family, address in zip(families, self.addresses, strict=True)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


async def until(fleet_: Fleet, width: int) -> None:
    async with asyncio.timeout(30):
        while fleet_.width != width:
            await asyncio.sleep(0.001)


async def scenario(names: Names) -> None:
    torchserves = Fleet("http://torchserve:8080", There)
    watching = asyncio.create_task(torchserves.watch())
    assert torchserves.reserve() is None
    assert torchserves.presence is Presence.AWAY
    names.addresses = ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"]  # the same two, by either family
    await until(torchserves, 4)
    members = [torchserves.reserve() for _ in range(5)]
    assert members[-1] is None
    first, second, *_ = (member for member in members if member)
    assert {member: members.count(member) for member in (first, second)} == {first: 2, second: 2}
    names.addresses = ["10.0.0.2"]
    await until(torchserves, 2)
    for error in (
        socket.gaierror(socket.EAI_AGAIN, "later"),
        OSError(errno.EMFILE, "Too many open files"),
        UnicodeError("label too long"),
    ):
        names.error = error  # no answer is no news
        await asyncio.sleep(0.01)
        assert torchserves.width == 2
        assert not watching.done()
    names.error = socket.gaierror(socket.EAI_NONAME, "none")
    await until(torchserves, 0)
    for member in (first, second):
        assert member.in_flight == 2
        member.release()
        assert torchserves.reserve() is None  # no new pictures
        member.release()
    watching.cancel()


def test_those_that_come_and_those_that_leave(names: Names) -> None:
    asyncio.run(scenario(names))


def test_one_that_draws_something_alone_gets_nothing_else(names: Names) -> None:
    async def alone() -> None:
        torchserves = Fleet("http://torchserve:8080", There)
        watching = asyncio.create_task(torchserves.watch())
        names.addresses = ["10.0.0.1", "10.0.0.2"]
        await until(torchserves, 4)
        first = torchserves.reserve()
        assert first
        first.alone = True
        others = [torchserves.reserve() for _ in range(3)]
        assert first not in others
        assert others[-1] is None
        first.release()
        assert torchserves.reserve() is first
        watching.cancel()

    asyncio.run(alone())


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://[::1]:8080"])
def test_an_address_is_not_looked_up(names: Names, url: str) -> None:
    async def connect() -> list[str]:
        names.error = socket.gaierror(socket.EAI_FAIL, "must not be asked")
        hosts: list[str] = []

        def reach(host: str) -> TorchServe:
            hosts.append(host)
            return There(host)

        torchserves = Fleet(url, reach)
        watching = asyncio.create_task(torchserves.watch())
        await until(torchserves, 2)
        watching.cancel()
        return hosts

    assert asyncio.run(connect()) == [url.removeprefix("http://").removesuffix(":8080")]


def test_one_that_is_to_look_now_looks_however_often_it_is_told() -> None:
    """Each attempt in vain tells it so; the agent must not take it for gone meanwhile."""

    async def count_looks() -> int:
        looks = 0

        class Member(TorchServe):
            async def look(self, seen: str = "") -> Presence:
                nonlocal looks
                self.presence, self._seen = Presence.READY, "state"
                if seen:
                    await asyncio.Event().wait()  # nothing new
                looks += 1
                return self.presence

        member = Member("http://127.0.0.1:1", "http://127.0.0.1:2", 0, 1.0, "test")
        watching = asyncio.create_task(member.watch())
        for _ in range(50):
            member._look_now.set()
            for _ in range(10):
                await asyncio.sleep(0)
        watching.cancel()
        return looks

    assert asyncio.run(count_looks()) >= 25

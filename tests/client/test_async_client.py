"""The client for asyncio: the same names, a bound on what is under way, and jobs cancelled with their tasks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from animegan_client import AsyncClient, Client, JobFailed, ServerError
from client.fake_gateway import FakeGateway
from harness.servers import wait_until


def test_it_has_the_clients_names() -> None:
    names = {name for name in dir(Client) if not name.startswith("_")} - {"stylize_folder"}
    assert names <= {*dir(AsyncClient)}


def test_photos_are_drawn_some_at_a_time(gateway: FakeGateway) -> None:
    async def draw() -> list[bytes | str]:
        async with AsyncClient(gateway.url, patience_s=30) as client:
            outcomes = [outcome async for outcome in client.stylize_all([b"one", b"two", b"bad", b"fails"])]
            assert {type(outcome.error) for outcome in outcomes} == {type(None), ServerError, JobFailed}
            assert (await client.stylize(b"five")).data == b"anime of five"
            assert [style.id for style in await client.styles()] == ["cel"]
            return [outcome.picture.data if outcome.picture else "" for outcome in outcomes]

    assert {*asyncio.run(draw())} == {b"anime of one", b"anime of two", ""}


def test_a_job_is_cancelled_with_its_task(gateway: FakeGateway) -> None:
    gateway.let(lambda _: False)

    async def break_off() -> None:
        async with AsyncClient(gateway.url, patience_s=30) as client:
            drawing = asyncio.create_task(client.stylize(b"one"))
            await asyncio.to_thread(wait_until, lambda: len(gateway.jobs) == 1, "the job")
            drawing.cancel()
            await asyncio.wait([drawing])
            assert drawing.cancelled()

    asyncio.run(break_off())
    assert [job.status for job in gateway.jobs.values()] == ["cancelled"]


def test_breaking_off_cancels_what_is_under_way(gateway: FakeGateway) -> None:
    gateway.let(lambda job: job.photo == b"0")

    async def break_off() -> None:
        photos = [b"%d" % number for number in range(9)]
        async with (
            AsyncClient(gateway.url, patience_s=30) as client,
            aclosing(client.stylize_all(photos, concurrency=2)) as outcomes,
        ):
            assert (await anext(outcomes)).source == b"0"

    asyncio.run(break_off())
    assert [job.status for job in gateway.jobs.values() if job.photo != b"0"] == ["cancelled"] * (len(gateway.jobs) - 1)
    assert 2 <= len(gateway.jobs) <= 3

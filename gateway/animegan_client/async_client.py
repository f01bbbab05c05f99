"""The client for asyncio: the same names, as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Literal, ParamSpec, Self, TypeVar, Unpack

from animegan_client.answers import Job, Picture, Style
from animegan_client.client import Client, Options, S, Source
from animegan_client.errors import ClientError
from animegan_client.folder import Outcome

MOST_REQUESTS = 32  # at one time; more wait for a thread

P = ParamSpec("P")
T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio, with the same arguments; each request is made by a thread of its own.

    >>> async with AsyncClient("http://127.0.0.1:8000") as client:
    ...     picture = await client.stylize("photo.jpg", style="cel")

    A `stylize` that is cancelled cancels its job.
    """

    def __init__(
        self, url: str, *, key: str | None = None, language: Literal["en", "zh"] = "en", patience_s: float = 300
    ) -> None:
        self._client = Client(url, key=key, language=language, patience_s=patience_s)
        self._threads = ThreadPoolExecutor(MOST_REQUESTS, "animegan-client")

    def __repr__(self) -> str:
        return f"Async{self._client!r}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. What is still under way has no patience any more."""
        self._client.close()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def stylize(self, source: Source, **options: Unpack[Options]) -> Picture:
        """As `Client.stylize`."""
        submission = asyncio.ensure_future(self.submit(source, **options))
        try:
            return await self.result(await asyncio.shield(submission))
        except asyncio.CancelledError:
            with suppress(ClientError, OSError, TypeError):
                await self.cancel(await submission)
            raise

    async def stylize_all(
        self, sources: Iterable[S], *, concurrency: int = 4, **options: Unpack[Options]
    ) -> AsyncGenerator[Outcome[S], None]:
        """As `Client.stylize_all`: each outcome as it is finished, at most `concurrency` under way.

        Closing the generator cancels the jobs that are under way: use `contextlib.aclosing` to break off.
        """
        rest = iter(sources)

        async def draw(source: S) -> Outcome[S]:
            try:
                return Outcome(source, picture=await self.stylize(source, **options))
            except (ClientError, OSError) as error:
                return Outcome(source, error=error)

        running = {asyncio.create_task(draw(source)) for source in islice(rest, concurrency)}
        try:
            while running:
                ready, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ready:
                    running |= {asyncio.create_task(draw(source)) for source in islice(rest, 1)}
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def submit(self, source: Source, **options: Unpack[Options]) -> Job:
        """As `Client.submit`."""
        return await self._run(self._client.submit, source, **options)

    async def job(self, job: Job | str) -> Job:
        """As `Client.job`."""
        return await self._run(self._client.job, job)

    async def wait(self, job: Job | str, *, timeout: float | None = None) -> Job:
        """As `Client.wait`."""
        return await self._run(self._client.wait, job, timeout=timeout)

    async def result(self, job: Job | str) -> Picture:
        """As `Client.result`."""
        return await self._run(self._client.result, job)

    async def cancel(self, job: Job | str) -> Job:
        """As `Client.cancel`."""
        return await self._run(self._client.cancel, job)

    async def styles(self) -> list[Style]:
        """As `Client.styles`."""
        return await self._run(self._client.styles)

    async def _run(self, call: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(call, *arguments, **keywords))

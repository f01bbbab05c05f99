"""How slowly an upload may come: its longest pause, and its least rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from animegan_gateway.errors import UploadTimeout


@dataclass(frozen=True)
class Pace:
    """`idle_s`: the longest pause. `rate`: the least mean, in bytes per s, from the end of such a pause; 0: any."""

    idle_s: float
    rate: float

    def deadline(self, start: float, now: float, size: int) -> float:
        """Return when the next bytes have to be there, on the clock of `start` and `now`, in s."""
        late = now + self.idle_s
        return min(late, start + self.idle_s + size / self.rate) if self.rate else late


async def keep_pace(stream: AsyncIterator[bytes], pace: Pace) -> AsyncIterator[bytes]:
    """Yield the chunks of the stream. Raise `UploadTimeout` where they come too slowly."""
    clock = asyncio.get_running_loop().time
    start, size = clock(), 0
    chunks = aiter(stream)
    while True:
        now = clock()
        deadline = pace.deadline(start, now, size)
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise _timeout(pace, deadline >= now + pace.idle_s, size, clock() - start) from None
        if chunk is None:
            return
        size += len(chunk)
        yield chunk


def _timeout(pace: Pace, idle: bool, size: int, seconds: float) -> UploadTimeout:
    if idle:
        return UploadTimeout(
            f"Nothing of the upload came for {pace.idle_s:g} s, the longest pause there may be. Try again."
        )
    return UploadTimeout(
        f"The upload brought {size:,} bytes in {seconds:.0f} s, fewer than {pace.rate / 1000:g} kB a second. "
        "Send a smaller file, or try again over a better connection."
    )

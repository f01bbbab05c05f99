"""Wrong API keys, counted by the address they come from: nobody tries many."""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from animegan_gateway.errors import RateLimited

WRONG_KEYS_PER_MINUTE = 30


class Attempts:
    """Counts for each address the wrong secrets of a key there is, and apart from them the keys there are not.

    So an address that many share is not locked out by one of them with an old key. Each gateway counts for itself.
    """

    def __init__(self) -> None:
        self._rate = RateLimitItemPerMinute(WRONG_KEYS_PER_MINUTE)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def require(self, address: str, key_id: str) -> None:
        """Raise `RateLimited` after too many wrong keys; a right one is refused then, too."""
        if await self._limiter.test(self._rate, address, key_id):
            return
        stats = await self._limiter.get_window_stats(self._rate, address, key_id)
        raise RateLimited(
            f"{WRONG_KEYS_PER_MINUTE} wrong API keys came from your address within a minute.",
            retry_after_s=stats.reset_time - time.time(),
            limit_per_minute=WRONG_KEYS_PER_MINUTE,
        )

    async def count(self, address: str, key_id: str) -> None:
        """Count a wrong one."""
        await self._limiter.hit(self._rate, address, key_id)

"""Rate limits: jobs of a caller in a minute, counted in memory, or in Redis for all gateways together."""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from animegan_gateway.errors import RateLimited
from animegan_gateway.queue.stores.redis_connection import translate_errors


class Rates:
    """`per_minute` is for callers without a rate of their own; 0: unlimited. An empty `redis_url` counts in memory."""

    def __init__(self, per_minute: int, redis_url: str = "") -> None:
        self._per_minute = per_minute
        self._storage = (
            RedisStorage(f"async+{redis_url}", implementation="redispy", key_prefix="{animegan}:rate")
            if redis_url
            else MemoryStorage()
        )
        self._limiter = MovingWindowRateLimiter(self._storage)

    async def forget(self) -> None:
        """Start all counts anew: after the clock was set back, earlier jobs would count for longer than a minute."""
        with translate_errors():
            await self._storage.reset()

    async def admit(self, caller: str, own_per_minute: int | None = None) -> None:
        """Count one job of the caller; `own_per_minute` goes before the rate of all.

        Raise `RateLimited`, `StoreUnavailable` or `StorageFull`.
        """
        per_minute = self._per_minute if own_per_minute is None else own_per_minute
        if not per_minute:
            return
        rate = RateLimitItemPerMinute(per_minute)
        with translate_errors():
            if await self._limiter.hit(rate, caller):
                return
            stats = await self._limiter.get_window_stats(rate, caller)
        raise RateLimited(
            f"You may send {per_minute} pictures a minute.",
            retry_after_s=stats.reset_time - time.time(),
            limit_per_minute=per_minute,
        )

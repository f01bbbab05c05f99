"""Connections to Redis: they fail fast, and their errors are the gateway's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from animegan.errors import BadSetting
from animegan_gateway.errors import StorageFull, StoreUnavailable

CONNECTIONS = 32
CONNECT_S, ANSWER_S = 1.0, 2.0

logger = logging.getLogger(__name__)


def connect(url: str, *, answer_s: float = ANSWER_S, decode: bool = True) -> Redis:
    """Return a client that fails fast and connects at its first use. Raise `BadSetting` for any other URL."""
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=answer_s,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=answer_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=decode,
            protocol=2,  # under 3, maintenance notices make the client overlook answers left on a connection
        )
    except ValueError:
        raise BadSetting("ANIMEGAN_GATEWAY_STORE is no Redis URL such as redis://HOST:6379/0.") from None
    return Redis.from_pool(pool)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise Redis's errors as the gateway's own, which name no address."""
    try:
        yield
    except OutOfMemoryError as error:
        raise StorageFull("The memory of the queue is full. Try later; the operator has to make room.") from error
    except RedisError as error:
        raise StoreUnavailable("The queue's Redis does not answer. Try again soon.") from error


async def check_persistence(redis: Redis) -> None:
    """Raise `BadSetting` where Redis may evict keys; warn where a crash may lose them. Some servers don't say."""
    try:
        config = {
            name: (await redis.config_get(name)).get(name) for name in ("maxmemory-policy", "appendonly", "appendfsync")
        }
    except ResponseError:  # hosted Redis forbids CONFIG
        return
    if (policy := config["maxmemory-policy"]) != "noeviction":
        raise BadSetting(
            f"Redis has maxmemory-policy={policy}, which drops accepted jobs when memory is short. "
            "Set maxmemory-policy to noeviction."
        )
    for name, value in (("appendonly", "yes"), ("appendfsync", "always")):
        if config[name] != value:
            logger.warning(
                "Redis has %s=%s: a crash of it may lose accepted jobs. Set %s to %s.",
                name,
                config[name],
                name,
                value,
            )

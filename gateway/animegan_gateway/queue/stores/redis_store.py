"""The store for several gateways: Redis. Every step that needs it is one Lua script (`lua/`).

A running job is an entry of a stream, pending for the gateway that took it: the pending entries are the ledger of
leases, kept by Redis's own clock. An owner renews only the leases it knows, so a job whose taker never got
the answer is put back like one whose taker died.

No command is sent twice: the first may have been done although its answer was lost. What is tried again, for a second,
is a connection that was refused, as by a Redis that starts.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from pydantic import BaseModel
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from animegan.errors import BadSetting
from animegan_gateway.queue.jobs import MOST_PAUSE_S, Ask, Job, Result, State, before
from animegan_gateway.queue.stores.redis_connection import check_persistence, connect, translate_errors
from animegan_gateway.queue.stores.store import RUNS, Bounds, Full, Line, Mismatch, Run, Tally, Waiting
from animegan_service.bell import Bell
from animegan_service.cancellation import cancel

P = ParamSpec("P")
T = TypeVar("T")

# One step for each version of the schema, which begins at 1; append, never change. Gateways that start together may run
# a step at the same time, so each has to be idempotent.
MIGRATIONS: tuple[Callable[[Redis, str], Awaitable[None]], ...] = ()

PAUSES_S = (0.1, 0.3, 0.6)  # before a refused connection is tried again
RECONNECT_S = 0.5
PROBE_KEY_S = 10  # a probe whose gateway dies leaves nothing behind

logger = logging.getLogger(__name__)


def step(
    method: Callable[Concatenate[RedisStore, P], Awaitable[T]],
) -> Callable[Concatenate[RedisStore, P], Coroutine[Any, Any, T]]:
    """Run the method, again where nothing was sent, with errors as `translate_errors` has them."""

    @functools.wraps(method)
    async def run(self: RedisStore, /, *arguments: P.args, **keywords: P.kwargs) -> T:
        with translate_errors():
            for pause_s in PAUSES_S:
                try:
                    return await method(self, *arguments, **keywords)
                except ConnectionError as error:
                    is_refusal = isinstance(error.__context__, ConnectionRefusedError)
                    if not (is_refusal or isinstance(error, BusyLoadingError)):
                        raise
                await asyncio.sleep(pause_s)
            return await method(self, *arguments, **keywords)

    return run


class RedisStore:
    """See `store.Store`. Keys begin with `prefix`, whose {tag} keeps them together in a cluster.

    An owner that does not `renew` for `lease_s` seconds loses its running jobs to `recover`.

    Answers are `Any` below as the client's types don't know that it decodes them.
    """

    def __init__(self, url: str, bell: Bell, *, lease_s: float, prefix: str = "{animegan}:") -> None:
        self._redis = connect(url)
        self._bell = bell
        self._lease_ms = round(lease_s * 1000)
        self._prefix = prefix
        self._leases: defaultdict[str, set[str]] = defaultdict(set)  # by owner: the leases it knows
        self._listener: asyncio.Task[None] | None = None
        folder = Path(__file__).with_name("lua")
        common = (folder / "common.lua").read_text()
        self._scripts = {
            file.stem: self._redis.register_script(f"{common}\n{file.read_text()}")
            for file in folder.glob("*.lua")
            if file.stem != "common"
        }

    async def open(self) -> None:
        try:
            await self._prepare()
        except BaseException:
            await self._redis.aclose()
            raise
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        await cancel([self._listener] if self._listener else [])
        await self._redis.aclose()

    @step
    async def probe(self) -> None:
        key = self._key(f"probe:{secrets.token_hex(8)}")
        await self._redis.set(key, "1", ex=PROBE_KEY_S)
        if not await self._redis.get(key):
            raise ResponseError("What was written a moment ago is not there.")

    @step
    async def secret(self) -> bytes:
        return bytes.fromhex(await self._once("secret", secrets.token_hex(32)))

    @step
    async def end_session(self, session: str, lifetime_s: int) -> None:
        await self._redis.set(self._key("ended-session:" + session), "1", ex=lifetime_s)

    @step
    async def is_session_over(self, session: str) -> bool:
        return bool(await self._redis.exists(self._key("ended-session:" + session)))

    @step
    async def submit(self, job_id: str, ask: Ask, bounds: Bounds, idempotency_key: str | None) -> Job:
        bound, *fields = await self._run(
            "submit",
            job_id, ask.caller, idempotency_key or "", ask.model_dump_json(), ask.bytes, ask.work_px, ask.accepted_at,
            bounds.jobs, bounds.bytes, bounds.caller_jobs, ask.turns,
        )  # fmt: skip
        if bound:
            raise Full(bound)
        job = _job(_pairs(fields[0]))
        if job.ask.fingerprint != ask.fingerprint:
            raise Mismatch
        return job

    @step
    async def get(self, job_id: str) -> Job | None:
        fields: Any = await self._redis.hgetall(self._key("job:" + job_id))
        return _job(fields) if fields else None

    @step
    async def take(self, owner: str, *, idle: bool) -> Job | None:
        flat = await self._run("take", owner, int(idle), time.time(), MOST_PAUSE_S)
        if not flat:
            return None
        fields = _pairs(flat)
        self._leases[owner].add(fields["lease"])
        return _job(fields)

    @step
    async def move(
        self, job_id: str, to: State, *, attempt: int | None = None, changes: Mapping[str, Any] | None = None
    ) -> Job | None:
        if to is State.RUNNING:
            raise ValueError("A job runs by take(), which leases it to somebody.")
        fields = dict(changes or {})
        if result := fields.get("result"):
            fields |= {"result_bytes": result.bytes, "run_s": result.run_s}
        flat = await self._run(
            "move",
            job_id,
            to,
            f",{','.join(before(to))},",
            "" if attempt is None else attempt,
            time.time(),
            RUNS,
            *(text for name, value in fields.items() for text in (name, _text(value))),
        )
        return _job(_pairs(flat)) if flat else None

    @step
    async def renew(self, owner: str) -> None:
        leases = frozenset(self._leases[owner])
        if leases:
            renewals = await self._run("renew", owner, *leases, "JUSTID")
            self._leases[owner] -= leases.difference(renewals)

    @step
    async def recover(self) -> Sequence[Job]:
        return [_job(_pairs(fields)) for fields in await self._run("recover", self._lease_ms)]

    @step
    async def ended_before(self, time: float, limit: int) -> Sequence[Job]:
        ids: Any = await self._redis.zrange(self._key("ended"), "-inf", f"({time!r}", byscore=True, offset=0, num=limit)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in ids:
                pipeline.hgetall(self._key("job:" + job_id))
            jobs = [_job(fields) for fields in await pipeline.execute() if fields]
        return [job for job in jobs if job.ended]

    @step
    async def forget(self, time: float) -> None:
        await self._run("forget", time)

    @step
    async def knows(self, job_ids: Sequence[str]) -> set[str]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hget(self._key("job:" + job_id), "state")
            states = await pipeline.execute()
        return {job_id for job_id, state in zip(job_ids, states, strict=True) if state not in (None, State.EXPIRED)}

    @step
    async def line(self) -> Line:
        waiting, running = await self._run("line")
        return Line(_places(waiting), _places(running))

    @step
    async def tally(self) -> Tally:
        flat, oldest = await self._run("tally")
        figures = {name: int(value) for name, value in _pairs(flat).items()}
        return Tally(
            {state: figures.get(state, 0) for state in State},
            figures.get("held_bytes", 0) + figures.get("result_bytes", 0),
            float(oldest[1]) if oldest else None,
        )

    @step
    async def runs(self) -> Sequence[Run]:
        texts: Any = await self._redis.lrange(self._key("runs"), 0, RUNS - 1)
        return [Run(int(work_px), float(run_s)) for work_px, run_s in (text.split(":") for text in texts)]

    @step
    async def _prepare(self) -> None:
        try:
            await check_persistence(self._redis)
            await self._migrate()
        except (AuthenticationError, NoPermissionError) as error:
            raise BadSetting(f"Redis refuses the user of ANIMEGAN_GATEWAY_STORE: {error}") from None

    async def _migrate(self) -> None:
        newest = len(MIGRATIONS) + 1
        version = int(await self._once("schema", str(newest)))
        if version > newest:
            raise BadSetting(
                f"Redis has schema {version}, and this gateway knows up to {newest}. "
                "Use the version that wrote it or a newer one, or another database (ANIMEGAN_GATEWAY_STORE)."
            )
        for number, migration in enumerate(MIGRATIONS[version - 1 :], version + 1):
            await migration(self._redis, self._prefix)
            await self._redis.set(self._key("schema"), number)

    async def _once(self, name: str, value: str) -> str:
        """Return the key's value, which becomes this one if there is none. Read first: a full Redis refuses writes."""
        text: Any = await self._redis.get(self._key(name))
        if text is None:
            await self._redis.set(self._key(name), value, nx=True)
            text = await self._redis.get(self._key(name))
        return str(text)

    async def _listen(self) -> None:
        """Ring the bell for every change by any gateway, this one too."""
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(self._key("changes"))
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._bell.ring(message["data"])
                        else:  # subscribed, perhaps again: changes may have been missed
                            self._bell.ring_all()
            except RedisError:
                await asyncio.sleep(RECONNECT_S)

    def _key(self, name: str) -> str:
        return self._prefix + name

    async def _run(self, script: str, *values: str | float) -> Any:
        return await self._scripts[script](keys=[self._prefix], args=values)


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _places(flat: Sequence[str]) -> list[Waiting]:
    return [Waiting(job_id, int(work_px)) for job_id, work_px in _pairs(flat).items()]


def _text(value: object) -> str:
    """Return a field of `Job` as its hash has it; nothing for None."""
    match value:
        case None:
            return ""
        case bool():
            return str(int(value))
        case BaseModel():
            return value.model_dump_json()
        case Mapping():
            return json.dumps(value)
        case _:
            return str(value)


def _job(fields: Mapping[str, str]) -> Job:
    values: dict[str, Any] = {name: fields[name] for name in Job.model_fields if fields.get(name)}
    values["ask"] = Ask.model_validate_json(fields["ask"])
    if "result" in values:
        values["result"] = Result.model_validate_json(values["result"])
    if "error" in values:
        values["error"] = json.loads(values["error"])
    return Job(**values)

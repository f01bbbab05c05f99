"""The stores of a gateway, chosen here and nowhere else by the settings."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property

import structlog

from animegan_gateway.queue.blobs.blobs import Blobs, ObjectBlobs, RedisBlobs
from animegan_gateway.queue.blobs.file_blobs import FileBlobs
from animegan_gateway.queue.jobs import ACTIVE_STATES, Job, State
from animegan_gateway.queue.probe import Probe
from animegan_gateway.queue.rates import Rates
from animegan_gateway.queue.stores.redis_store import RedisStore
from animegan_gateway.queue.stores.sqlite_store import SqliteStore
from animegan_gateway.queue.stores.store import Store
from animegan_gateway.settings import Settings
from animegan_service.bell import Bell

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Backend:
    """The store of jobs, the store of pictures and the rate limits; `shared` where other gateways use them too."""

    store: Store
    blobs: Blobs
    rates: Rates
    shared: bool

    @cached_property
    def probe(self) -> Probe:
        """Return the one probe of both stores."""
        return Probe(self.store, self.blobs)

    async def recover(self) -> None:
        """Put jobs back into the queue whose gateways ended. Raise `StoreUnavailable`."""
        for job in await self.store.recover():
            log.warning("recovered", job=job.id[:8], attempt=job.attempt)

    async def delete_pictures(self, job: Job) -> None:
        """Delete the pictures of a job that was cancelled or has expired. Raise `StoreUnavailable`."""
        await self.blobs.delete(job.upload_key, *([job.result_key] if job.result else []))


@asynccontextmanager
async def open_backend(settings: Settings, bell: Bell) -> AsyncIterator[Backend]:
    """Yield the backend that the settings name, ready for use. Raise `BadSetting` or `StoreUnavailable`."""
    backend = _redis_backend(settings, bell) if settings.store else _local_backend(settings, bell)
    async with AsyncExitStack() as stack:
        await backend.store.open()
        stack.push_async_callback(backend.store.close)
        jobs = (await backend.store.tally()).jobs
        has_pictures = any(jobs[state] for state in (*ACTIVE_STATES, State.DONE))
        await backend.blobs.open(queue_id(await backend.store.secret()), has_pictures=has_pictures)
        stack.push_async_callback(backend.blobs.close)
        await _log_orphans(backend)
        yield backend


async def _log_orphans(backend: Backend) -> None:
    """Log photos that belong to no job: one was being accepted, or a part of the queue is lost."""
    if not isinstance(backend.blobs, FileBlobs):
        return
    uploads = await backend.blobs.uploads()
    if orphans := len(uploads) - len(await backend.store.knows(uploads)):
        log.warning(
            "photos_without_a_job",
            count=orphans,
            detail="They are deleted an hour after they came. To keep them, stop the gateway and run "
            "`animegan gateway repair`.",
        )


def queue_id(secret: bytes) -> str:
    """Return the queue's name in the pictures' folder; it does not give the secret away."""
    return hashlib.sha256(b"queue" + secret).hexdigest()[:32]


def _redis_backend(settings: Settings, bell: Bell) -> Backend:
    return Backend(
        RedisStore(settings.store, bell, lease_s=settings.lease_s),
        ObjectBlobs(settings.pictures) if settings.pictures else RedisBlobs(settings.store),
        Rates(settings.rate_per_minute, settings.store),
        shared=True,
    )


def _local_backend(settings: Settings, bell: Bell) -> Backend:
    return Backend(
        SqliteStore(settings.folder / "queue.sqlite", bell),
        ObjectBlobs(settings.pictures) if settings.pictures else FileBlobs(settings.folder / "pictures"),
        Rates(settings.rate_per_minute),
        shared=False,
    )

"""Readiness and the metric follow what submitting needs of the stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import requests

from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.queue import probe
from animegan_gateway.queue.blobs.blobs import PROBE
from animegan_gateway.queue.blobs.file_blobs import MARK, FileBlobs
from animegan_gateway.queue.probe import Probe
from animegan_gateway.queue.stores.sqlite_store import SqliteStore
from animegan_service.bell import Bell
from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import wait_until

pytestmark = pytest.mark.anyio

PICTURE = encoded(photo(64, 48))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def local_probe(folder: Path) -> AsyncIterator[Probe]:
    """Yield a probe of the stores of one machine, the pictures' in `folder`/pictures."""
    store, blobs = SqliteStore(folder / "queue.sqlite", Bell()), FileBlobs(folder / "pictures")
    await store.open()
    try:
        await blobs.open("queue", has_pictures=False)
        yield Probe(store, blobs)
    finally:
        await store.close()


def readiness(gateway: Gateway, query: str = "") -> tuple[int, str]:
    answer = requests.get(f"{gateway.url}/readyz{query}", timeout=30)
    return answer.status_code, answer.json()["status"]


async def test_it_finds_what_a_job_would_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "FRESH_S", 0.0)
    monkeypatch.setattr(probe, "FRESH_WHILE_FAILING_S", 0.0)
    pictures, away = tmp_path / "pictures", tmp_path / "away"
    async with local_probe(tmp_path) as both:
        assert await both.problem() is None
        assert [file.name for file in pictures.iterdir()] == [MARK], "nothing is left behind"
        pictures.rename(away)
        assert type(await both.problem()) is StoreUnavailable
        away.rename(pictures)
        assert await both.problem() is None
        (pictures / PROBE).symlink_to("/dev/full")
        assert type(await both.problem()) is StorageFull
        assert await both.problem() is None


async def test_an_answer_is_shared_for_a_while(tmp_path: Path) -> None:
    async with local_probe(tmp_path) as both:
        assert await both.problem() is None
        (tmp_path / "pictures").rename(tmp_path / "away")
        assert await both.problem() is None


@pytest.mark.slow
def test_without_the_folder_of_data_an_upload_is_refused_for_now(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with running_gateway(tmp_path / "data", None) as gateway:
        for spool in gateway.folder.glob("spool-*"):
            spool.rmdir()
        assert code(gateway.submit(PICTURE)) == (503, "store_unavailable")


@pytest.mark.slow
def test_without_the_folder_of_pictures_the_gateway_is_not_ready(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None) as gateway:
        assert readiness(gateway) == (200, "ready")
        pictures, away = gateway.folder / "pictures", gateway.folder / "away"
        pictures.rename(away)
        wait_until(lambda: readiness(gateway) == (503, "store_unavailable"), "the loss to be noticed")
        wait_until(lambda: gateway.metric("animegan_gateway_store_up") == 0, "the metric to show it")
        assert code(gateway.submit(PICTURE)) == (503, "store_unavailable")
        assert readiness(gateway, "?exclude=store") == (200, "ready"), "it can still answer for itself"
        away.rename(pictures)
        wait_until(lambda: readiness(gateway) == (200, "ready"), "the folder to be back")
        wait_until(lambda: gateway.metric("animegan_gateway_store_up") == 1, "the metric to show that")
        assert gateway.submit(PICTURE).status_code == 202

"""Pictures as files: folders that go away, are another's or full; and other disks."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from animegan.errors import BadSetting
from animegan_gateway.errors import StorageFull, StoreUnavailable
from animegan_gateway.queue.blobs import file_blobs
from animegan_gateway.queue.blobs.blobs import (
    CHUNK_BYTES,
)
from animegan_gateway.queue.blobs.file_blobs import MARK, FileBlobs
from animegan_gateway.queue.jobs import new_id
from harness.blobs import nobody, put

pytestmark = pytest.mark.anyio


DATA = bytes(range(251)) * ((3 * CHUNK_BYTES) // 251)  # no chunk is like another


async def test_an_empty_folder_in_the_place_of_the_pictures_is_not_theirs(tmp_path: Path) -> None:
    folder, away = tmp_path / "pictures", tmp_path / "away"
    blobs, file = FileBlobs(folder), tmp_path / "a.drawn"
    await blobs.open("queue", has_pictures=False)
    await put(blobs, "job.1", DATA)
    file.write_bytes(DATA)
    folder.rename(away)
    folder.mkdir()  # as a mount point is without its disk
    other = FileBlobs(folder)
    await other.open("queue", has_pictures=True)
    for each in (blobs, other):
        for call in (each.get("job.1"), each.put("job.2", file), each.probe(), each.sweep(-60, nobody)):
            with pytest.raises(StoreUnavailable):
                await call
        with pytest.raises(StoreUnavailable):
            assert not [chunk async for chunk in each.read("job.1", 0, 9)]
    assert not [*folder.iterdir()]
    folder.rmdir()
    away.rename(folder)
    for each in (blobs, other):
        assert await each.get("job.1") == DATA
        assert await each.get("job.2") is None


async def test_a_folder_that_goes_away_between_two_steps_counts_as_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, file = tmp_path / "pictures", tmp_path / "a.drawn"
    blobs = FileBlobs(folder)
    await blobs.open("queue", has_pictures=False)
    file.write_bytes(DATA)
    check = blobs._check

    def go_away() -> None:
        check()
        folder.rename(tmp_path / "away")

    for call in (blobs.probe, lambda: blobs.put("job.1", file)):
        with monkeypatch.context() as patch:
            patch.setattr(blobs, "_check", go_away)
            with pytest.raises(StoreUnavailable):
                await call()
        (tmp_path / "away").rename(folder)
    await blobs.put("job.1", file)
    assert await blobs.get("job.1") == DATA


async def test_pictures_of_a_version_without_marks_are_taken_over(tmp_path: Path) -> None:
    (tmp_path / f"{new_id()}.upload").write_bytes(DATA)
    blobs = FileBlobs(tmp_path)
    await blobs.open("queue", has_pictures=True)
    await blobs.probe()
    assert (tmp_path / MARK).read_text() == "queue"


async def test_pictures_of_another_queue_are_left_alone(tmp_path: Path) -> None:
    await FileBlobs(tmp_path).open("queue", has_pictures=False)
    with pytest.raises(BadSetting, match="animegan gateway repair"):
        await FileBlobs(tmp_path).open("another", has_pictures=False)


async def test_a_file_that_was_moved_but_not_yet_for_good_can_be_put_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, file = FileBlobs(tmp_path / "pictures"), tmp_path / "a.drawn"
    await blobs.open("queue", has_pictures=False)
    file.write_bytes(DATA)

    def refuses_folders(path: Path, sync: Callable[[Path], None] = file_blobs.sync) -> None:
        if path.is_dir():
            raise OSError(errno.EIO, "the disk failed")
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(file_blobs, "sync", refuses_folders)
        with pytest.raises(StoreUnavailable):
            await blobs.put("job.1", file)
    await blobs.put("job.1", file)
    assert await blobs.get("job.1") == DATA


@pytest.mark.parametrize("key", ["../job.1", "..", ".", "", "a/b", ".hidden", "a\0", "é"])
async def test_what_is_no_key_leads_out_of_no_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "job.1").write_bytes(b"private")
    blobs = FileBlobs(tmp_path / "pictures")
    await blobs.open("queue", has_pictures=False)
    with pytest.raises(ValueError, match="no key"):
        await blobs.get(key)
    with pytest.raises(ValueError, match="no key"):
        await blobs.delete(key)


async def test_a_file_comes_from_another_disk_too(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    with tempfile.NamedTemporaryFile(dir="/dev/shm", delete=False) as spool:
        spool.write(DATA)
    with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        Path(spool.name).replace(tmp_path / "moved")  # or this test says nothing
    await blobs.put("job.1", Path(spool.name))
    assert await blobs.get("job.1") == DATA
    assert not Path(spool.name).exists()
    assert [file.name for file in tmp_path.iterdir()] == ["job.1"]


async def test_a_full_disk_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    (tmp_path / "job.1.part").symlink_to("/dev/full")  # what a copy from another disk is written to
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as spool:
        spool.write(DATA)
        spool.flush()
        with pytest.raises(StorageFull):
            await blobs.put("job.1", Path(spool.name))
        assert Path(spool.name).exists()
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_can_t_be_made_is_a_bad_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match="ANIMEGAN_GATEWAY_DATA"):
        await FileBlobs(tmp_path / "file" / "pictures").open("queue", has_pictures=False)

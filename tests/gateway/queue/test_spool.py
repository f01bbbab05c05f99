"""The folder for pictures on their way: nothing of a killed gateway stays, and nothing of a living one goes."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from animegan_gateway.queue.blobs import spool


def test_it_is_the_owners_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with spool.open_spool(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "a.upload").write_bytes(b"a photo")
    assert list(tmp_path.iterdir()) == []


def test_what_killed_gateways_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    leftover = tmp_path / "spool-of-another-container"
    leftover.mkdir()
    (leftover / "a.upload").write_bytes(b"a photo")
    (tmp_path / "pictures").mkdir()
    with spool.open_spool(tmp_path) as folder:
        assert {*tmp_path.iterdir()} == {folder, tmp_path / "pictures"}


def test_the_folder_of_one_that_lives_stays(tmp_path: Path) -> None:
    with spool.open_spool(tmp_path) as first:
        with spool.open_spool(tmp_path) as second:
            assert {*tmp_path.iterdir()} == {first, second}
        assert {*tmp_path.iterdir()} == {first}


def test_many_that_start_at_once_have_one_each(tmp_path: Path) -> None:
    def use(_: int) -> bool:
        with spool.open_spool(tmp_path) as folder:
            file = folder / "a.upload"
            file.write_bytes(b"a photo")
            return file.read_bytes() == b"a photo"

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(use, range(400)))
    assert list(tmp_path.iterdir()) == []

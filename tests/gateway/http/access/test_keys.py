"""API keys: what is kept of them, who is found by one, and that a change counts at once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animegan.errors import BadOption, BadSetting
from animegan_gateway.http.access.keys import Keys


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "new" / "folder")


def test_a_key_is_found_by_its_text_and_by_no_other(keys: Keys) -> None:
    text = keys.add("ann", rate_per_minute=7, share_percent=3)
    key = keys.find(text)
    assert key
    assert (key.name, key.rate_per_minute, key.share_percent) == ("ann", 7, 3)
    prefix, key_id, secret = text.split("_", 2)
    for other in ("", "ag", "ag_", key_id, secret, text[:-1], f"{text}x", f"xx_{key_id}_{secret}", f"ag_{key_id}_"):
        assert keys.find(other) is None
    assert prefix == "ag"


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_finds_a_key_that_is_not_there(text: str) -> None:
    assert Keys(Path("/nowhere")).find(text) is None


def test_of_a_key_only_its_hash_is_kept_and_for_nobody_else_to_read(keys: Keys, tmp_path: Path) -> None:
    secret = keys.add("ann").split("_", 2)[2]
    file = tmp_path / "new" / "folder" / "keys.json"
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_revoked_key_is_gone_at_once_also_for_those_who_read_before(keys: Keys, tmp_path: Path) -> None:
    text, other = keys.add("ann"), keys.add("bob")
    reader = Keys(tmp_path / "new" / "folder")
    assert reader.find(text)
    assert keys.revoke("ann").name == "ann"
    assert reader.find(text) is None
    key = reader.find(other)
    assert key
    assert keys.revoke(key.id).name == "bob"  # by its id as well
    assert reader.list_keys() == keys.list_keys() == []


def test_names_are_unique_and_a_wrong_one_says_where_to_look(keys: Keys) -> None:
    keys.add("ann")
    with pytest.raises(BadOption, match="Revoke it first"):
        keys.add("ann")
    with pytest.raises(BadOption, match="animegan keys list"):
        keys.revoke("bob")
    assert [key.name for key in keys.list_keys()] == ["ann"]


def test_keys_that_are_added_at_one_time_are_all_kept(tmp_path: Path) -> None:
    names = [f"key {number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda name: Keys(tmp_path).add(name), names))
    keys = Keys(tmp_path)
    assert sorted(key.name for key in keys.list_keys()) == sorted(names)
    assert all(keys.find(text) for text in texts)


@pytest.mark.parametrize("damaged", ["", "[", "{}", '[{"id": "x"}]'])
def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "keys.json").write_text(damaged)
    with pytest.raises(BadSetting, match=r"keys\.json can't be read"):
        Keys(tmp_path).find("ag_1_2")


def test_a_folder_that_takes_no_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match=r"file/keys can't be written: Not a directory\. Change keys\.json where"):
        Keys(tmp_path / "file" / "keys").add("ann")


def test_keys_of_a_mounted_secret_are_read_anew_when_it_changes(tmp_path: Path) -> None:
    """Kubernetes lays a new folder beside the old one and turns a link to it."""
    for version in ("one", "two"):
        Keys(tmp_path / version).add(version)
    mount = tmp_path / "mounted"
    mount.mkdir()
    (mount / "..data").symlink_to(tmp_path / "one")
    (mount / "keys.json").symlink_to("..data/keys.json")
    keys = Keys(mount)
    assert [key.name for key in keys.list_keys()] == ["one"]
    (mount / "new").symlink_to(tmp_path / "two")
    (mount / "new").replace(mount / "..data")
    assert [key.name for key in keys.list_keys()] == ["two"]

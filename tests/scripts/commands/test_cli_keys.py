"""`animegan keys`: a key is made, shown once, listed without its secret, and ended."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from animegan.errors import BadOption
from animegan_cli.main import app
from animegan_gateway.http.access.keys import Keys


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANIMEGAN_GATEWAY_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def keys(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the output of `animegan keys …`."""
    app(["keys", *words], standalone_mode=False)
    return capsys.readouterr().out


def test_a_key_is_shown_once_and_kept_as_a_hash(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = keys("add", "alice", capsys=capsys).strip()
    assert re.fullmatch(r"ag_[0-9a-f]{8}_[\w-]{43}", text)
    stored = (folder / "keys.json").read_text()
    assert text.rpartition("_")[2] not in stored
    assert (folder / "keys.json").stat().st_mode & 0o077 == 0
    key = Keys(folder).find(text)
    assert key
    assert key.name == "alice"
    table = keys("list", capsys=capsys)
    assert "alice" in table
    assert text not in table


def test_rate_and_share_are_the_keys_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys("add", "batch", "--rate", "60", "--share", "20", capsys=capsys)
    [entry] = json.loads((folder / "keys.json").read_text())
    assert (entry["rate_per_minute"], entry["share_percent"]) == (60, 20)
    assert re.search(r"batch .* 60 .* 20 %", keys("list", capsys=capsys))


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_revoked_key_is_gone(folder: Path, capsys: pytest.CaptureFixture[str], by: str) -> None:
    text = keys("add", "alice", capsys=capsys).strip()
    key = keys("add", "bob", capsys=capsys).strip()
    gateways = Keys(folder)  # has read the file before
    assert gateways.find(text)
    assert "Revoked alice" in keys("revoke", "alice" if by == "name" else text.split("_")[1], capsys=capsys)
    assert gateways.find(text) is None
    assert gateways.find(key)


def test_a_name_in_use_and_one_that_is_not_are_refused(folder: Path) -> None:
    app(["keys", "add", "alice"], standalone_mode=False)
    with pytest.raises(BadOption, match="alice"):
        app(["keys", "add", "alice"], standalone_mode=False)
    with pytest.raises(BadOption, match="bob"):
        app(["keys", "revoke", "bob"], standalone_mode=False)
    assert [key.name for key in Keys(folder).list_keys()] == ["alice"]

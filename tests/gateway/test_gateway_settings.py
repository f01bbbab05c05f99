"""The gateway's settings: what it starts with, and what it refuses to start with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from animegan.errors import BadSetting
from animegan_gateway import settings
from animegan_gateway.http.access.keys import Keys


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("ANIMEGAN_GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANIMEGAN_GATEWAY_DATA", str(tmp_path))
    return tmp_path


def load(monkeypatch: pytest.MonkeyPatch, **values: str) -> settings.Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"ANIMEGAN_GATEWAY_{name.upper()}", value)
    return settings.load()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_keys_are_off(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    loaded = load(monkeypatch, host=host)
    assert not loaded.keys_required
    assert set(loaded.allowed_hosts) == {"localhost", "127.0.0.1", "[::1]"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "fe80::1", "example.org", "127.0.0.1.example.org"])
def test_elsewhere_it_starts_with_a_key_only(monkeypatch: pytest.MonkeyPatch, folder: Path, host: str) -> None:
    with pytest.raises(BadSetting, match=r"`animegan keys add NAME`, or listen on 127\.0\.0\.1") as refusal:
        load(monkeypatch, host=host)
    assert host in str(refusal.value)
    Keys(folder).add("ann")
    loaded = load(monkeypatch)
    assert loaded.keys_required
    assert loaded.allowed_hosts == []


def test_keys_may_lie_in_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    Keys(ring).add("ann")
    loaded = load(monkeypatch, host="0.0.0.0", keys_folder=str(ring))
    assert loaded.keys_directory == ring
    assert loaded.folder == tmp_path


def test_elsewhere_keys_can_not_be_off(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    Keys(folder).add("ann")
    with pytest.raises(BadSetting, match=r"host=0\.0\.0\.0 is reachable from elsewhere, and keys=off\..*keys add"):
        load(monkeypatch, host="0.0.0.0", keys="off")


def test_keys_can_be_required_on_loopback(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with pytest.raises(BadSetting, match="needs API keys"):
        load(monkeypatch, keys="required")
    Keys(folder).add("ann")
    assert load(monkeypatch).keys_required


def test_names_that_are_set_are_the_only_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, hosts='["a.example"]').allowed_hosts == ["a.example"]


def test_how_wide_the_queue_runs_must_come_from_somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("agent_port = 0\n")
    with pytest.raises(BadSetting, match="width=0 asks the agent"):
        load(monkeypatch, config=str(file))
    assert load(monkeypatch, width="2").width == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"),
        ("port", "http"),
        ("torchserve", "127.0.0.1:8080"),
        ("torchserve", "http://127.0.0.1:8080/"),
        ("agent_port", "-1"),
        ("width", "-1"),
        ("store", "mysql://x"),
        ("pictures", "/tmp"),
        ("queue_jobs", "0"),
        ("share_percent", "101"),
        ("rate_per_minute", "-1"),
        ("keep_s", "0"),
        ("header_timeout_s", "0"),
        ("keys", "on"),
        ("path_prefix", "anime"),
        ("path_prefix", "/anime/"),
        ("path_prefix", "/an ime"),
        ("hosts", "example.org"),
        ("trusted_proxies", "10.0.0.1"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name.upper() if value not in ("example.org", "10.0.0.1") else name):
        load(monkeypatch, **{name: value})


def test_a_setting_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("ports = 1\n")
    with pytest.raises(BadSetting, match=r"ports.*there is no such setting"):
        load(monkeypatch, config=str(file))


@pytest.mark.slow
def test_the_process_says_so_in_one_line_and_ends(folder: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "animegan_gateway"],
        env={**os.environ, "ANIMEGAN_GATEWAY_HOST": "0.0.0.0", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("gateway: host=0.0.0.0 needs API keys")
    assert len(process.stderr.splitlines()) == 1

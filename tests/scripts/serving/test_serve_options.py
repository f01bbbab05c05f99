"""The options of `scripts/serve`: each wrong one is named, and nothing starts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from animegan_cli.serving import serve

ROOT = Path(__file__).resolve().parents[3]
FREE = ("--port=0", "--inference-port=0", "--management-port=0", "--metrics-port=0", "--agent-port=0")


def refusal(*arguments: str, **variables: str) -> str:
    """Return its message as it exits with status 1."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANIMEGAN_")}
    process = subprocess.run(
        [sys.executable, "-m", "animegan_cli.serving.serve", *arguments],
        env={**environment, "PYTHONPATH": f"{ROOT / 'handler'}:{ROOT / 'gateway'}:{ROOT / 'scripts'}", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert not process.stdout
    return process.stderr


@pytest.fixture
def config(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return tmp_path / "config"


def change(config: Path, old: str, new: str) -> None:
    file = config / "config.properties"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.slow
@pytest.mark.parametrize("value", ["x", "-1", "65536", "80 80", "٣"])
def test_a_port_that_is_none(value: str) -> None:
    assert f"--metrics-port={value} is not a port" in refusal(f"--metrics-port={value}")
    assert f"ANIMEGAN_METRICS_PORT={value} is not a port" in refusal(ANIMEGAN_METRICS_PORT=value)


@pytest.mark.slow
def test_the_option_beats_the_variable_and_the_variable_the_file() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        port_1, port_2 = str(one.getsockname()[1]), str(two.getsockname()[1])
        both = refusal("--inference-port", port_1, ANIMEGAN_INFERENCE_PORT=port_2)
        variable = refusal(ANIMEGAN_INFERENCE_PORT=port_2)
    holder = f"{psutil.Process().name()} (process {os.getpid()})"
    assert f"Port {port_1} (inference) is in use by {holder}" in both
    assert f"Port {port_2} (inference) is in use" in variable


def test_one_port_for_two() -> None:
    assert "Port 65000 is to serve both management and metrics" in refusal(
        "--inference-port=0", "--management-port=65000", "--metrics-port=65000"
    )


def test_a_grpc_port_in_use(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        change(config, "grpc_inference_port=0", f"grpc_inference_port={number}")
        output = refusal("--config", str(config), *FREE)
    assert f"Port {number} (grpc_inference) is in use" in output


@pytest.mark.parametrize("line", ["inference_address=8080", "inference_address=http://127.0.0.1:99999"])
def test_an_address_that_is_none(config: Path, line: str) -> None:
    change(config, "inference_address=http://127.0.0.1:8080", line)
    assert line in refusal("--config", str(config))


def test_a_line_that_is_no_setting(config: Path) -> None:
    change(config, "allowed_urls=", "what is this")
    assert "'what is this'" in refusal("--config", str(config))


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    assert str(tmp_path / "config.properties") in refusal("--config", str(tmp_path))


@pytest.mark.parametrize("name", ["x" * 90, "with a space", "ünïcode"])
def test_a_temporary_directory_that_sockets_cannot_lie_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    with serve.own_instance() as instance:
        assert instance.folder.parent == Path("/tmp")
    assert not instance.folder.exists()


def test_it_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'fastapi', 'uvicorn', 'redis'}"
    code = f"import sys, animegan_cli.serving.serve; sys.exit(bool({heavy} & {{*sys.modules}}))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'handler'}:{ROOT / 'gateway'}:{ROOT / 'scripts'}"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("name", ["INFERENCE", "AGENT"])
def test_gateways_ask_torchserve_and_its_agent_under_one_name(name: str) -> None:
    output = refusal(*FREE, **{f"ANIMEGAN_{name}_HOST": "127.0.0.2"})
    assert "Set ANIMEGAN_AGENT_HOST and ANIMEGAN_INFERENCE_HOST to the same" in output


def test_an_address_of_ipv6() -> None:
    hosts = {f"ANIMEGAN_{name}_HOST": "::1" for name in ("INFERENCE", "AGENT")}
    assert "Nothing here listens on ::1" in refusal(*FREE, **hosts)

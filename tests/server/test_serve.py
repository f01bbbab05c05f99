"""`scripts/serve` for real: it serves, beside another, comes back after what is killed, and leaves nothing behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from animegan_cli.serving import processes
from harness.pictures import encoded, photo
from harness.servers import QUICK, ROOT, Server, alive, ends_everything, running_server, started_server, wait_until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "photo.jpg"
    file.write_bytes(encoded(photo(64, 48)))
    return file


def stylize(server: Server, picture: Path) -> bool:
    with picture.open("rb") as data:
        answer = requests.post(f"{server.inference}/predictions/animegan", files={"data": data}, timeout=120)
    return answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"


def port(url: str) -> int:
    number = urlsplit(url).port
    assert number
    return number


def wait_until_gone(mark: str) -> None:
    wait_until(lambda: not processes.find(mark), "the end of every process")


def test_it_listens_on_loopback_alone(server: Server) -> None:
    listening = [
        connection.laddr.ip
        for process in server.descendants()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    # Inference, management, metrics, gRPC's two; agent and gateway, each with its metrics; the gateway also on IPv6.
    assert len(listening) == 9 + listening.count("::1")
    assert listening.count("::1") <= 1
    assert all(ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for ip in listening)


def test_no_model_can_be_registered(server: Server) -> None:
    answer = requests.post(f"{server.management}/models?url=animegan.mar&model_name=copy", timeout=60)
    assert answer.status_code == 405
    answer = requests.delete(f"{server.management}/models/animegan", timeout=60)
    assert answer.status_code == 405


@pytest.mark.parametrize("scheme", ["http", "https", "file"])
def test_no_url_is_allowed_even_with_the_model_api_on(mortal: Server, scheme: str) -> None:
    host = "" if scheme == "file" else "127.0.0.1:9"
    answer = requests.post(f"{mortal.management}/models?url={scheme}://{host}/x.mar", timeout=60)
    assert answer.status_code == 404
    assert "does not match any allowed URL" in answer.json()["message"]


def test_a_port_in_use_is_named_before_anything_starts(server: Server) -> None:
    with started_server(f"--inference-port={port(server.inference)}") as late:
        assert late.process.wait(60) == 1
        output = late.output.read_text()
    assert f"Port {port(server.inference)} (inference) is in use by java (process " in output
    assert "--inference-port" in output
    assert "Java" not in output


def test_it_serves_again_after_the_launcher_is_killed(mortal: Server, picture: Path) -> None:
    launcher, java = mortal.launcher(), mortal.java()
    assert launcher
    assert java
    launcher.kill()
    wait_until(lambda: not alive(java), "Java's end")  # it lives on without the launcher: the supervisor ends it
    wait_until(mortal.ready, "a worker that is ready again")
    assert stylize(mortal, picture)
    assert mortal.launcher() not in (None, launcher)


def test_a_signal_ends_torchserve_alone() -> None:
    with running_server("--no-gateway", "--no-agent", environment=QUICK) as running:
        assert running.gateway() is None
        assert requests.get(f"{running.inference}/ping", timeout=30).json() == {"status": "Healthy"}
        ends_everything(running, signal.SIGINT)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_nothing_is_left_of_a_start_that_is_cut_short(number: int, status: int) -> None:
    with started_server(environment=QUICK) as starting:
        wait_until(starting.java, "Java")
        mark = starting.mark
        assert starting.stop(number) == status
        wait_until_gone(mark)


def test_a_worker_that_cannot_start_is_explained() -> None:
    with started_server(environment={"ANIMEGAN_PRECISION": "fp12"}) as failing:
        assert failing.process.wait(300) == 1
        output = failing.output.read_text()
    end = output[output.index("TorchServe did not start") :]
    assert "ANIMEGAN_PRECISION" in end
    assert "fp12" in end
    folder = Path(end.partition("Its whole log: ")[2].strip())
    assert "fp12" in (folder / "torchserve.log").read_text()
    assert not (folder.parent / "tmp").exists()
    shutil.rmtree(folder.parent)


def test_a_model_store_without_the_archive_is_named(tmp_path: Path) -> None:
    with started_server(environment=QUICK, properties={"model_store": str(tmp_path)}) as failing:
        assert failing.process.wait(60) == 1
        assert f"{tmp_path} holds no animegan.mar" in failing.output.read_text()


def test_it_runs_from_anywhere_and_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "a link to serve"
    link.symlink_to(ROOT / "scripts" / "serve")
    process = subprocess.run([link, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "--inference-port" in process.stdout

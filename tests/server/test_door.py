"""The gateway as `scripts/serve` starts it: through the client, through the command, and killed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from animegan_client import Client, ServerError
from animegan_gateway.http.access.keys import Keys
from harness.commands import run_command
from harness.gateways import running_gateway
from harness.pictures import encoded, photo
from harness.servers import QUICK, Server, alive, ends_everything, running_server, started_server, wait_until

pytestmark = pytest.mark.server

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200", "LC_ALL": "C"}


def test_the_client_draws_through_the_door(server: Server) -> None:
    with Client(server.page) as client:
        picture = client.stylize(encoded(photo(120, 80)), style="gouache", max_side=60, format="png")
        with Image.open(io.BytesIO(picture.data)) as anime:
            assert (anime.format, anime.size) == ("PNG", (60, 40))
        assert picture.report.style == "gouache"
        assert picture.report.fitted
        job = client.wait(client.submit(encoded(photo(64, 64))))
        assert job.status == "done"
        assert {style.id for style in client.styles() if style.installed} == {"cel", "ink", "gouache", "classic"}


def test_the_clients_folder_survives_a_bad_picture(server: Server, tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.jpg").write_bytes(encoded(photo(64, 48, seed=index)))
    (tmp_path / "bad.jpg").write_bytes(b"no picture at all")
    with Client(server.page) as client:
        outcomes = {outcome.source.name: outcome for outcome in client.stylize_folder(tmp_path, concurrency=3)}
    assert len(outcomes) == 5
    assert isinstance(outcomes.pop("bad.jpg").error, ServerError)
    assert all(outcome.picture for outcome in outcomes.values())


@pytest.mark.parametrize("api", ["page", "inference"])
def test_the_command_draws_through_either_api(server: Server, tmp_path: Path, api: str) -> None:
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(encoded(photo(64, 48, seed=index)))
    words = ["stylize", str(tmp_path), "-o", str(tmp_path / "drawn"), "--max-side", "32"]
    process = run_command(*words, "--server", getattr(server, api), environment={**os.environ, **ENVIRONMENT})
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("fitted the size for you: 32×24") == 3
    assert sorted(file.name for file in (tmp_path / "drawn").glob("[!.]*")) == ["0.jpg", "1.jpg", "2.jpg"]


def test_the_gateway_is_started_again_with_what_it_had(mortal: Server) -> None:
    gateway = mortal.gateway()
    assert gateway
    with Client(mortal.page) as client:
        job = client.wait(client.submit(encoded(photo(64, 64))))
        gateway.kill()
        wait_until(lambda: not alive(gateway), "the gateway's end")
        # The client rides over the pause until the supervisor has started another.
        assert client.result(client.job(job.id)).content_type == "image/jpeg"
        assert client.stylize(encoded(photo(48, 64))).report.size == (48, 64)
    assert mortal.gateway() not in (None, gateway)


def test_photos_that_wait_are_drawn_after_the_next_start(tmp_path: Path) -> None:
    with running_gateway(tmp_path / "gateway", None) as alone, Client(alone.url) as client:
        jobs = [client.submit(encoded(photo(64, 64, seed=index))) for index in range(3)]
    with running_server(environment={**QUICK, "ANIMEGAN_HOME": str(tmp_path)}) as server:
        with Client(server.page) as client:
            assert [client.wait(client.job(job.id)).status for job in jobs] == ["done"] * 3
        ends_everything(server, signal.SIGTERM)


def test_one_folder_has_one_gateway(mortal: Server) -> None:
    gateway = mortal.gateway()
    assert gateway
    late = subprocess.run(
        [sys.executable, "-m", "animegan_gateway"],
        env={**os.environ, **ENVIRONMENT, "ANIMEGAN_GATEWAY_DATA": gateway.environ()["ANIMEGAN_GATEWAY_DATA"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert late.returncode == 1
    assert "Another gateway uses" in late.stderr
    assert "ANIMEGAN_GATEWAY_DATA" in late.stderr


def test_it_does_not_listen_elsewhere_without_keys(tmp_path: Path) -> None:
    with started_server(environment={"ANIMEGAN_GATEWAY_HOST": "0.0.0.0", "ANIMEGAN_HOME": str(tmp_path)}) as open_:
        assert open_.process.wait(60) == 1
        assert "animegan keys add NAME" in open_.output.read_text()
    assert Keys(tmp_path / "gateway").list_keys() == []

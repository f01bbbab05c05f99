"""`animegan stylize --server`: a folder through a gateway, and what it or another server answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from client.fake_gateway import PATIENCE_S, FakeGateway, problem
from harness.pictures import encoded, photo
from harness.stylizing import COMMAND, ENVIRONMENT, outputs, photo_folder, stylize


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photo_folder(tmp_path / "photos")


class Odd(BaseHTTPRequestHandler):
    """A server that is not this project's."""

    answer: tuple[int, bytes] = (200, b"hello")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.answer[0])
        self.end_headers()
        self.wfile.write(self.answer[1])

    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.fixture
def odd_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"hello"), "not as this project's server does"),
        ((503, b'{"code": 503, "type": "ServiceUnavailableException"}'), "answered 503"),
        ((413, b""), "answered 413"),
        ((422, b'{"detail": "max_side is wrong"}'), "max_side is wrong"),
    ],
)
def test_what_another_server_says_is_told(
    photos: Path,
    tmp_path: Path,
    odd_server: str,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, bytes],
    words: str,
) -> None:
    monkeypatch.setattr(Odd, "answer", answer)
    process = stylize(photos / "a.jpg", "-o", tmp_path / "x.jpg", "--server", odd_server)
    assert process.returncode == 1
    assert words in process.stderr
    assert outputs(tmp_path / "photos") == outputs(photos)
    assert not (tmp_path / "x.jpg").exists()


def test_a_folder_through_a_gateway(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photos / "broken.jpg").write_bytes(encoded(photo(32, 32)) + b"bad")
    (photos / "more" / "big.jpg").write_bytes(encoded(photo(32, 32)) + b"fails")
    with FakeGateway(prefix="/anime", key="ag_right") as gateway:
        options: list[str | Path] = [
            "-o",
            out,
            "--server",
            gateway.url,
            "--style",
            "gouache",
            "--max-side",
            "640",
            "--format",
            "jpg",
        ]
        first = stylize(photos, *options, ANIMEGAN_KEY="ag_right")
        assert first.returncode == 1
        assert first.stderr.splitlines()[-3:] == [
            f"{photos}/broken.jpg: That is no picture.",
            f"{photos}/more/big.jpg: It did not fit.",
            "animegan: 2 of 6 failed, listed above.",
        ]
        assert f"{photos}/more/c.webp -> {out}/more/c.jpg (fitted the size for you: 1024×683" in first.stderr
        assert outputs(out) == ["a-2.jpg", "a.jpg", "holiday.v2.jpg", "more/c.jpg"]
        assert (out / "a-2.jpg").read_bytes() == b"anime of " + (photos / "a.png").read_bytes()
        expected = {"style": "gouache", "max_side": "640", "format": "jpeg"}
        assert [job.fields for job in gateway.jobs.values()] == [expected] * 5
        before = len(gateway.jobs)
        (photos / "broken.jpg").unlink()
        (photos / "more" / "big.jpg").write_bytes(encoded(photo(32, 32)))
        second = stylize(photos, *options, "--key", "ag_right")
        assert second.returncode == 0, second.stderr
        assert "4 of 5 are done already" in second.stdout
        assert len(gateway.jobs) == before + 1


def test_the_gateway_has_several_pictures_at_a_time(photos: Path, tmp_path: Path) -> None:
    with FakeGateway() as gateway:
        gateway.finish = lambda _: len(gateway.jobs) == 4  # none before all are there
        process = stylize(photos, "-o", tmp_path / "out", "--server", gateway.url)
    assert process.returncode == 0, process.stderr
    assert len(outputs(tmp_path / "out")) == 4


def test_one_photo_through_a_gateway_that_refuses_it(photos: Path, tmp_path: Path) -> None:
    with FakeGateway() as gateway:
        gateway.replies("POST .*", problem(422, "bad_option"))
        process = stylize(photos / "a.jpg", "-o", tmp_path / "x.png", "--server", gateway.url)
        assert (process.returncode, process.stderr) == (1, "animegan: It is bad_option.\n")
        assert stylize(photos / "a.jpg", "-o", tmp_path / "x.png", "--server", gateway.url).returncode == 0
        assert [job.fields for job in gateway.jobs.values()] == [{"format": "png"}]


def test_the_language_is_the_locales(photos: Path, tmp_path: Path) -> None:
    with FakeGateway() as gateway:
        stylize(photos / "a.jpg", "-o", tmp_path / "x.jpg", "--server", gateway.url, LC_ALL="zh_CN.UTF-8")
        assert {headers["accept-language"] for headers in gateway.requests_like("POST .*")} == {"zh"}


def test_a_key_that_is_wrong_is_said_once(photos: Path, tmp_path: Path) -> None:
    with FakeGateway(key="ag_right") as gateway:
        process = stylize(photos, "-o", tmp_path / "out", "--server", gateway.url, "--key", "ag_wrong")
    assert (process.returncode, process.stderr.splitlines()[1:]) == (1, ["animegan: It is unauthorized."])


def test_a_number_that_is_none_is_told_before_anything_is_sent(photos: Path, tmp_path: Path) -> None:
    with FakeGateway() as gateway:
        process = stylize(photos, "-o", tmp_path / "out", "--server", gateway.url, "--max-side", "big")
        assert (process.returncode, process.stderr.strip()) == (1, "animegan: max_side='big': use a whole number.")
        assert gateway.requests_like("POST .*") == []


@pytest.mark.slow
def test_ctrl_c_cancels_what_is_under_way(photos: Path, tmp_path: Path) -> None:
    with FakeGateway() as gateway:
        gateway.finish = lambda _: False
        process = subprocess.Popen(
            [*COMMAND, str(photos), "-o", str(tmp_path / "out"), "--server", gateway.url],
            env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        gateway.until(lambda: len(gateway.jobs) == 4)
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert "Traceback" not in messages
        assert {job.status for job in gateway.jobs.values()} == {"cancelled"}
    assert not (tmp_path / "out").exists()

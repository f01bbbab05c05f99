"""Photo in, anime picture out, through the real server: what comes back, what is refused, and what it costs."""

from __future__ import annotations

import contextlib
import http.client
import io
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from animegan import Stylizer
from animegan.report import Report
from harness import MIB
from harness.files.picture_files import STORED_AS, heic, orientation_exif, png_bomb
from harness.pictures import encoded, photo
from harness.servers import QUICK, ROOT, Server, running_server

pytestmark = pytest.mark.server

PHOTO = ROOT / "docs" / "photos" / "mountain_path.jpg"


def predict(server: Server, data: bytes, **options: Any) -> requests.Response:
    return requests.post(f"{server.inference}/predictions/animegan", files={"data": data}, data=options, timeout=120)


def open_picture(answer: requests.Response) -> Image.Image:
    assert answer.ok, answer.text
    return Image.open(io.BytesIO(answer.content))


def metric(server: Server, name: str) -> float:
    """The value of a metric that has one series."""
    lines = requests.get(f"{server.metrics}/metrics", timeout=10).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name}{{")).split()[-1])


def test_the_line_that_serve_prints(server: Server, tmp_path: Path) -> None:
    line = next(line.strip() for line in server.output.read_text().splitlines() if "curl" in line)
    command = line.replace("-o anime.jpg", f"-o {tmp_path}/anime.jpg")
    subprocess.run(["bash", "-c", f"{command} --silent"], check=True)
    with Image.open(tmp_path / "anime.jpg") as anime, Image.open(PHOTO) as original:
        assert (anime.format, anime.mode, anime.size) == ("JPEG", "RGB", (1024, 768))
        assert not anime.getexif()
        before = np.asarray(original.convert("RGB").resize(anime.size, Image.Resampling.LANCZOS), dtype=float)
        after = np.asarray(anime, dtype=float)
    # Redrawn, and still the same picture: neither a copy nor noise.
    assert 5 < np.abs(before - after).mean() < 60
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9


def test_headers_tell_what_was_done(server: Server) -> None:
    answer = predict(server, encoded(photo(300, 200)), max_side=150, style="gouache", format="webp")
    report = Report.from_headers(answer.headers)
    assert open_picture(answer).format == "WEBP"
    assert (report.style, report.license) == ("gouache", "BSD-3-Clause")
    assert (report.original_size, report.size, report.fitted) == ((300, 200), (150, 100), True)
    assert set(report.seconds) == {"decode", "faces", "run", "encode"}
    assert report.seconds["run"] > 0


def test_a_raw_body_with_options_in_headers(server: Server) -> None:
    headers = {"Content-Type": "image/png", "x-animegan-MAX-side": "32", "X-Animegan-Format": "png"}
    url = f"{server.inference}/predictions/animegan"
    answer = requests.post(url, data=encoded(photo(64, 48), "PNG"), headers=headers, timeout=60)
    assert (open_picture(answer).format, open_picture(answer).size) == ("PNG", (32, 24))


@pytest.mark.parametrize("style", ["cel", "gouache"])
def test_the_archive_draws_what_the_engine_draws(server: Server, style: str) -> None:
    picture = photo(203, 150)
    through_server = open_picture(predict(server, encoded(picture, "PNG"), style=style, format="png"))
    in_process = Stylizer(style, warmup_px=0).stylize(picture)
    steps = np.abs(np.asarray(through_server, dtype=int) - np.asarray(in_process, dtype=int))
    assert steps.max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations(server: Server, orientation: int) -> None:
    upright = photo(96, 64)
    turn = STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    turned = open_picture(predict(server, encoded(stored, "PNG", exif=orientation_exif(orientation)), format="png"))
    plain = open_picture(predict(server, encoded(upright, "PNG"), format="png"))
    assert turned.size == (96, 64)
    # Lanczos takes rows before columns, so a stored picture that lies on its side is shrunk a step otherwise.
    assert np.abs(np.asarray(turned, dtype=int) - np.asarray(plain)).mean() < 0.5


def grey16() -> Image.Image:
    ramp = np.linspace(0, 65535, 64 * 48, dtype=np.uint16).reshape(48, 64)
    return Image.fromarray(ramp)


def animate() -> bytes:
    frames = [photo(48, 40, seed).quantize() for seed in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("make", "size", "frames"),
    [
        (lambda: encoded(photo(64, 48).convert("CMYK")), (64, 48), "1"),
        (lambda: encoded(grey16(), "PNG"), (64, 48), "1"),
        (animate, (48, 40), "3"),
        (lambda: encoded(photo(16, 16), "BMP"), (16, 16), "1"),
        (lambda: encoded(photo(17, 2000), "PNG"), (17, 2000), "1"),
        (lambda: heic(photo(64, 48)), (64, 48), "1"),
    ],
    ids=["CMYK JPEG", "16-bit PNG", "animated GIF", "16 px BMP", "tall", "HEIC"],
)
def test_unusual_pictures_are_drawn(
    server: Server, make: Callable[[], bytes], size: tuple[int, int], frames: str
) -> None:
    answer = predict(server, make(), max_side=2000)
    assert open_picture(answer).size == size
    assert answer.headers["X-Animegan-Frames"] == answer.headers["X-Animegan-Drawn-Frames"] == frames


BAD: dict[str, tuple[Callable[[], bytes], dict[str, str], int, str]] = {
    "empty": (lambda: b"", {}, 400, "bad_image"),
    "text": (lambda: b"Dear server, this is a letter.", {}, 415, "unsupported_image"),
    "truncated": (lambda: PHOTO.read_bytes()[:50_000], {}, 400, "bad_image"),
    "bomb": (lambda: png_bomb(30_000, 30_000), {}, 413, "too_large"),
    "over the handler's limit": (lambda: encoded(photo(32, 32)) + bytes(33 * MIB), {}, 413, "too_large"),
    "1×1": (lambda: encoded(photo(1, 1)), {}, 422, "picture_too_small"),
    "15 px wide": (lambda: encoded(photo(15, 200)), {}, 422, "picture_too_small"),
    "4000×20": (lambda: encoded(photo(4000, 20)), {"max_side": "1024"}, 422, "picture_too_small"),
    "unknown style": (lambda: encoded(photo(32, 32)), {"style": "monet"}, 404, "unknown_style"),
    "style to install": (lambda: encoded(photo(32, 32)), {"style": "hayao"}, 404, "style_not_installed"),
    "max_side=-1": (lambda: encoded(photo(32, 32)), {"max_side": "-1"}, 422, "bad_option"),
    "max_side over the ceiling": (lambda: encoded(photo(32, 32)), {"max_side": "100000"}, 422, "bad_option"),
    "format": (lambda: encoded(photo(32, 32)), {"format": "bmp"}, 422, "bad_option"),
    "a style of 5 MB": (lambda: encoded(photo(32, 32)), {"style": "\1" * 5_000_000}, 422, "bad_option"),
    "unknown option": (lambda: encoded(photo(32, 32)), {"maxside": "64"}, 422, "bad_option"),
}


def refused_upload(server: Server, size: int) -> tuple[int, bytes]:
    """The answer to an upload of that many bytes. It is read although the server closes before all were sent."""
    address = urlsplit(server.inference)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/predictions/animegan")
        connection.putheader("Content-Type", "image/jpeg")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_bad_requests_each_have_their_answer_and_the_worker_lives(server: Server) -> None:
    worker = server.worker_pids()
    for name, (make, options, status, code) in BAD.items():
        answer = predict(server, make(), **options)
        problem = answer.json()
        assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), name
        assert answer.headers["Content-Type"] == "application/problem+json", name
        assert len(problem["detail"]) > 20, name
        assert "Traceback" not in answer.text, name
    nothing = requests.post(f"{server.inference}/predictions/animegan", data=b"", timeout=60)
    assert (nothing.status_code, nothing.json()["code"]) == (400, "bad_image")
    # Larger than TorchServe's own limit, which stands above the handler's: its bare answer.
    status, body = refused_upload(server, 50 * MIB)
    assert (status, body) == (413, b"")
    assert open_picture(predict(server, encoded(photo(32, 32)))).size == (32, 32)
    assert server.worker_pids() == worker
    assert "Traceback" not in server.log_text()


def test_a_batch_of_eight_mixes_everything() -> None:
    good = [photo(64, 48), photo(64, 48, 1), photo(50, 70), photo(33, 17), photo(64, 48, 2), photo(128, 96)]
    batch: list[tuple[bytes, dict[str, str]]] = [
        (encoded(picture, "PNG"), {"style": style, "format": "png"})
        for picture, style in zip(good, ["cel", "cel", "gouache", "cel", "gouache", "cel"], strict=True)
    ]
    batch[3:3] = [(b"a text file", {}), (PHOTO.read_bytes()[:10_000], {})]
    with running_server(model={"batchSize": 8, "maxBatchDelay": 20_000}, environment=QUICK) as server:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda request: predict(server, request[0], **request[1]), batch))
        assert metric(server, "animegan_batch_pictures") == 8
    assert [answer.status_code for answer in answers] == [200, 200, 200, 415, 400, 200, 200, 200]
    stylizers = {style: Stylizer(style, warmup_px=0) for style in ("cel", "gouache")}
    successes = [answer for answer in answers if answer.ok]
    for picture, answer in zip(good, successes, strict=True):
        alone = stylizers[answer.headers["X-Animegan-Style"]].stylize(picture)
        steps = np.abs(np.asarray(open_picture(answer), dtype=int) - np.asarray(alone, dtype=int))
        assert steps.max() <= 1


def test_many_requests_leave_memory_and_files_as_they_were(server: Server) -> None:
    sizes = [(64, 48), (96, 96), (70, 33), (128, 80)]
    pictures = [encoded(photo(*size)) for size in sizes]
    bodies = [*pictures, b"not a picture"]
    (pid,) = server.worker_pids()
    worker = psutil.Process(pid)
    samples = []
    with requests.Session() as session:
        for index in range(120):
            body = bodies[index % len(bodies)]
            answer = session.post(f"{server.inference}/predictions/animegan", files={"data": body}, timeout=60)
            assert answer.status_code == (415 if body == b"not a picture" else 200)
            if index >= 40:
                samples.append((worker.memory_info().rss / MIB, worker.num_fds(), worker.num_threads()))
    memory, files, threads = zip(*samples, strict=True)
    # The last thirty against the thirty after warm-up, by their medians: a leak of 100 kB a request would be 5 MiB.
    growth = float(np.median(memory[-30:]) - np.median(memory[:30]))
    assert growth < 4
    assert len(set(files)) == 1
    assert threads[-1] <= threads[0]
    assert server.worker_pids() == [pid]


def test_the_command_line_through_the_server(server: Server, tmp_path: Path) -> None:
    command = [str(ROOT / ".venv" / "bin" / "animegan"), "stylize", str(PHOTO), "-o", str(tmp_path / "a.png")]
    process = subprocess.run(
        [*command, "--server", server.inference, "--max-side", "128"], capture_output=True, text=True, check=True
    )
    assert "fitted the size for you: 128×96" in process.stderr
    with Image.open(tmp_path / "a.png") as anime:
        assert (anime.format, anime.size) == ("PNG", (128, 96))


def test_a_style_that_the_user_installed_is_served(mortal: Server) -> None:
    weights = ROOT / "model_store" / "classic.safetensors"
    command = [
        str(ROOT / ".venv" / "bin" / "animegan"),
        "import",
        str(weights),
        "--style",
        "mine",
        "--license",
        "CC0-1.0",
    ]
    assert predict(mortal, encoded(photo(48, 48)), style="mine").status_code == 404
    subprocess.run(command, env={"ANIMEGAN_HOME": str(mortal.home), "PATH": "/usr/bin:/bin"}, check=True)
    mine = predict(mortal, encoded(photo(48, 48), "PNG"), style="mine", format="png")
    classic = predict(mortal, encoded(photo(48, 48), "PNG"), style="classic", format="png")
    assert mine.headers["X-Animegan-License"] == "CC0-1.0"
    assert np.array_equal(np.asarray(open_picture(mine)), np.asarray(open_picture(classic)))

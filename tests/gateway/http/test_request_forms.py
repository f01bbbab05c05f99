"""A photo sent in each way that callers try first, through the gateway and a real TorchServe."""

from __future__ import annotations

import base64
import io
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from harness.gateways import Gateway, code, running_gateway
from harness.pictures import encoded, photo
from harness.servers import Server

pytestmark = pytest.mark.server

PICTURE = encoded(photo(64, 48))
BASE64 = base64.b64encode(PICTURE).decode()
SITE = "https://pictures.example.org"


@pytest.fixture(scope="module")
def gateway(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, server, cors_origins=f'["{SITE}"]', upload_idle_s=2, upload_rate_kb_s=4) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "Beach day.jpg"
    file.write_bytes(PICTURE)
    return file


def stylize(gateway: Gateway, query: str = "", **request: Any) -> requests.Response:
    return requests.post(f"{gateway.url}/v1/stylize{query}", timeout=60, **request)


def size(answer: requests.Response) -> tuple[int, int]:
    assert answer.ok, answer.text
    with Image.open(io.BytesIO(answer.content)) as picture:
        return picture.size


def curl(*words: str) -> bytes:
    return subprocess.run(["curl", "--silent", "--show-error", *words], capture_output=True, check=True).stdout


@pytest.mark.parametrize("name", ["file", "data", "photo", "image[]", "avatar"])
def test_a_form_with_the_picture_under_another_name(gateway: Gateway, name: str) -> None:
    assert size(stylize(gateway, files={name: ("a.jpg", PICTURE)}, data={"max_side": "32"})) == (32, 24)


def test_what_a_form_sends_beside_is_ignored_and_named(gateway: Gateway) -> None:
    fields = {"csrf_token": "8a1", "submit": "Go", "max_side": "32"}
    for path in ("stylize", "jobs"):
        answer = requests.post(f"{gateway.url}/v1/{path}", files={"image": PICTURE}, data=fields, timeout=60)
        assert answer.ok
        assert answer.headers["X-Animegan-Ignored"] == "csrf_token, submit"
    misspelt = stylize(gateway, files={"image": PICTURE}, data={"stlye": "cel"})
    assert code(misspelt) == (422, "bad_option")
    assert "'style' meant" in misspelt.json()["detail"]


def test_options_in_the_query_and_in_headers_are_honoured(gateway: Gateway) -> None:
    answer = stylize(gateway, "?style=gouache&MAX-SIDE=32", files={"image": PICTURE})
    assert (size(answer), answer.headers["X-Animegan-Style"]) == ((32, 24), "gouache")
    headers = {"X-Animegan-Style": "gouache", "x-animegan-max-side": "32"}
    answer = stylize(gateway, files={"image": PICTURE}, headers=headers)
    assert (size(answer), answer.headers["X-Animegan-Style"]) == ((32, 24), "gouache")


@pytest.mark.parametrize(
    ("query", "headers", "option"),
    [
        ("?stlye=cel", {}, "stlye"),
        ("?style=cel&style=ink", {}, "style"),
        ("?style=ink", {}, "style"),
        ("", {"X-Animegan-Style": "ink"}, "style"),
        ("", {"X-Animegan-Size": "512"}, "x-animegan-size"),
    ],
)
def test_options_that_contradict_each_other_or_are_none(
    gateway: Gateway, query: str, headers: dict[str, str], option: str
) -> None:
    answer = stylize(gateway, query, files={"image": PICTURE}, data={"style": "cel"}, headers=headers)
    assert code(answer) == (422, "bad_option")
    assert answer.json()["option"] == option


@pytest.mark.parametrize(
    "words",
    [
        ("--data-binary", "@{file}", "-H", "Content-Type: image/jpeg", "{url}?max_side=32"),
        ("--data-binary", "@{file}", "{url}?max_side=32"),
        ("-T", "{file}", "{url}?max_side=32"),
        ("-F", "image=@{file}", "-F", "max_side=32", "{url}"),
    ],
    ids=["typed", "untyped", "PUT", "form"],
)
def test_what_curl_sends(gateway: Gateway, file: Path, words: tuple[str, ...]) -> None:
    url = f"{gateway.url}/v1/stylize"
    picture = curl("--fail-with-body", *(word.format(file=file, url=url) for word in words))
    with Image.open(io.BytesIO(picture)) as anime:
        assert anime.size == (32, 24)


def test_the_answers_file_is_named_after_the_photos(gateway: Gateway, file: Path) -> None:
    put = curl("--fail", "-T", str(file), "--dump-header", "-", "-o", "/dev/null", f"{gateway.url}/v1/stylize/")
    assert b'content-disposition: inline; filename="Beach day-cel.jpg"' in put
    name = "../海边 100%\u202e.x.heic"
    job = gateway.wait(
        requests.post(f"{gateway.url}/v1/jobs", files={"image": (name, PICTURE)}, timeout=30).json()["id"]
    )
    answer = requests.get(f"{gateway.url}{job['links']['result']}?download=1", timeout=30)
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"__ 100_.x-cel.jpg\"; filename*=UTF-8''%E6%B5%B7%E8%BE%B9%20100%25.x-cel.jpg"
    )


def test_json_in_and_out(gateway: Gateway) -> None:
    body = {"image": f"data:image/jpeg;base64,{BASE64}", "style": "gouache", "max_side": 32}
    assert size(stylize(gateway, json=body)) == (32, 24)
    answer = stylize(gateway, json=body, headers={"Accept": "application/json"})
    assert answer.headers["Content-Type"] == "application/json"
    view = answer.json()
    picture = base64.b64decode(view["image"])
    assert (view["content_type"], view["bytes"]) == ("image/jpeg", len(picture))
    assert answer.headers["X-Animegan-Style"] == "gouache"
    result = f"{gateway.url}/v1/jobs/{view['job']}/result"
    as_json = requests.get(result, headers={"Accept": "application/json"}, timeout=30)
    as_file = requests.get(result, headers={"Accept": "application/json, text/plain, */*"}, timeout=30)
    assert (as_json.json(), as_file.content) == (view, picture)
    assert as_json.headers["ETag"] != as_file.headers["ETag"]
    failed = stylize(gateway, json={"image": "https://example.org/a.jpg"}, headers={"Accept": "application/json"})
    assert code(failed) == (400, "bad_image")


def test_a_form_without_its_boundary_is_told(gateway: Gateway) -> None:
    answer = stylize(gateway, data=PICTURE, headers={"Content-Type": "multipart/form-data"})
    assert code(answer) == (400, "bad_request")
    assert "boundary" in answer.json()["detail"]


def trickle(gateway: Gateway, bytes_per_s: int, seconds: float) -> bytes:
    """The answer to an upload that comes at that rate, and ends after that time if it may."""
    step_s = 0.1
    body = PICTURE + bytes(max(0, int(bytes_per_s * seconds) - len(PICTURE)))
    head = f"POST /v1/stylize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Type: image/jpeg\r\n\r\n".encode())
        step = max(1, int(bytes_per_s * step_s))
        try:
            for first in range(0, len(body), step):
                connection.sendall(body[first : first + step])
                time.sleep(step_s)
        except ConnectionError:
            pass
        return connection.recv(1000)


def test_a_slow_upload_passes_whatever_it_takes_in_all_and_one_that_is_slower_is_told(gateway: Gateway) -> None:
    assert trickle(gateway, 30_000, 4).startswith(b"HTTP/1.1 200 ")  # twice upload_idle_s
    slower = trickle(gateway, 500, 8)
    assert slower.startswith(b"HTTP/1.1 408 ")
    assert b"4 kB a second" in slower


def test_pages_of_listed_origins_may_use_the_api_and_others_may_not(gateway: Gateway) -> None:
    request_headers = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = requests.options(f"{gateway.url}/v1/stylize", headers=request_headers, timeout=30)
    assert preflight.ok
    assert preflight.headers["Access-Control-Allow-Origin"] == SITE
    page = {"Sec-Fetch-Site": "cross-site"}
    answer = stylize(gateway, files={"image": PICTURE}, headers={"Origin": SITE, **page})
    assert size(answer) == (64, 48)
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert "X-Animegan-Style" in answer.headers["Access-Control-Expose-Headers"]
    other = stylize(gateway, files={"image": PICTURE}, headers={"Origin": "https://other.example.org", **page})
    assert code(other) == (403, "forbidden")
    assert "Access-Control-Allow-Origin" not in other.headers


def test_localhost_answers_over_ipv6(gateway: Gateway) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert requests.get(f"http://[::1]:{gateway.port}/healthz", timeout=30).ok


def test_a_path_prefix_without_its_slash_leads_to_the_page(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None, path_prefix="/anime") as gateway:
        answer = requests.get(f"{gateway.url}/anime?x=1", timeout=30, allow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (307, "/anime/?x=1")
        assert "<html" in requests.get(f"{gateway.url}/anime", timeout=30).text

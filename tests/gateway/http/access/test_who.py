"""Who may: API keys, other sites' pages, other names of this host, proxies; and what every answer carries."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import requests

from animegan_gateway.http.transport.middleware import HEADERS
from harness.access import FORGED_KEY, PICTURE, LockedGateway, job_of, send, sign_in
from harness.gateways import Gateway, code, running_gateway


@pytest.mark.slow
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", f"Bearer {FORGED_KEY}", "Bearer ag__", "Basic YTpi", "Bearer é"]
)
def test_without_a_valid_key_there_is_nothing(locked: LockedGateway, authorization: str | None) -> None:
    url = locked.gateway.url
    job = job_of(locked.gateway.submit(PICTURE, locked.ann))
    # Each from an address of its own: many wrong keys from one are told to wait.
    headers = {"X-Forwarded-For": f"2001:db8:{sum((authorization or '').encode()):x}::1".encode()}
    if authorization is not None:
        headers["Authorization"] = authorization.encode()
    answers = [
        requests.post(f"{url}/v1/jobs", files={"image": PICTURE}, headers=headers, timeout=30),
        requests.post(f"{url}/v1/stylize", files={"image": PICTURE}, headers=headers, timeout=30),
        *(requests.get(f"{url}{link}", headers=headers, timeout=30) for link in job["links"].values()),
        requests.delete(f"{url}{job['links']['self']}", headers=headers, timeout=30),
        requests.get(f"{url}/v1/styles", headers=headers, timeout=30),
        requests.get(f"{url}/v1/styles/cel/thumbnail", headers=headers, timeout=30),
    ]
    for answer in answers:
        assert code(answer) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="animegan"'
    for path in ("/", "/healthz", "/readyz", "/openapi.json", "/v1/session"):
        assert requests.get(f"{url}{path}", timeout=30).ok


def test_a_job_is_its_owners_alone(locked: LockedGateway) -> None:
    job = job_of(locked.gateway.submit(PICTURE, locked.ann, headers={"Idempotency-Key": "k"}))
    url = locked.gateway.url
    for link in job["links"].values():
        assert code(locked.bob.get(f"{url}{link}", timeout=30)) == (404, "job_not_found")
    assert code(locked.bob.delete(f"{url}{job['links']['self']}", timeout=30)) == (404, "job_not_found")
    other = job_of(locked.gateway.submit(PICTURE, locked.bob, headers={"Idempotency-Key": "k"}))
    assert other["id"] != job["id"]
    assert locked.ann.get(f"{url}{job['links']['self']}", timeout=30).json()["status"] == "queued"
    assert locked.ann.delete(f"{url}{job['links']['self']}", timeout=30).json()["status"] == "cancelled"


FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {},  # a cookie and neither of the two: no browser
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_what_another_sites_page_sends_with_the_cookie_is_refused(
    locked: LockedGateway, headers: dict[str, str]
) -> None:
    url = locked.gateway.url
    with requests.Session() as page:
        assert page.post(f"{url}/v1/session", json={"key": locked.ann_key}, timeout=30).ok
        job = job_of(locked.gateway.submit(PICTURE, page, headers={"Origin": url}))
        page.headers.update(headers)
        for answer in (
            page.post(f"{url}/v1/jobs", files={"image": PICTURE}, timeout=30),
            page.post(f"{url}/v1/stylize", files={"image": PICTURE}, timeout=30),
            page.delete(f"{url}{job['links']['self']}", timeout=30),
            page.delete(f"{url}/v1/session", timeout=30),
            page.post(f"{url}/v1/session", json={"key": locked.ann_key}, timeout=30),
        ):
            assert code(answer) == (403, "forbidden")
        assert page.get(f"{url}{job['links']['self']}", timeout=30).json()["status"] == "queued"
        # A key is no cookie: nobody's browser sends it by itself.
        page.headers["Authorization"] = f"Bearer {locked.ann_key}"
        assert page.delete(f"{url}{job['links']['self']}", timeout=30).ok


@pytest.mark.parametrize("headers", FOREIGN[:-1], ids=str)
def test_another_sites_page_sends_nothing_to_a_gateway_without_keys(gateway: Gateway, headers: dict[str, str]) -> None:
    assert code(send(gateway, **headers)) == (403, "forbidden")
    assert code(send(gateway, **headers, Authorization="Basic YTpi")) == (403, "forbidden")
    assert code(sign_in(gateway, **headers)) == (403, "forbidden")


def test_without_keys_a_proxys_own_credentials_are_no_matter(gateway: Gateway) -> None:
    job_of(send(gateway, Authorization="Basic YTpi"))
    assert code(send(gateway, Authorization=f"Bearer {FORGED_KEY}")) == (401, "unauthorized")


def test_a_key_has_its_own_rate_and_share(locked: LockedGateway) -> None:
    with locked.add("slow", rate_per_minute=1) as slow, locked.add("small", share_percent=5) as small:
        job_of(locked.gateway.submit(PICTURE, slow))
        assert code(locked.gateway.submit(PICTURE, slow)) == (429, "rate_limited")
        for _ in range(2):  # five percent of forty
            job_of(locked.gateway.submit(PICTURE, small))
        assert code(locked.gateway.submit(PICTURE, small)) == (429, "share_full")
        job_of(locked.gateway.submit(PICTURE, locked.ann))


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/v1/session", "/docs"])
def test_another_name_of_this_host_is_another_sites(gateway: Gateway, path: str) -> None:
    """DNS rebinding: a name of theirs that resolves to 127.0.0.1 would have this page for its origin."""
    for host in (
        "evil.example",
        f"evil.example:{gateway.port}",
        "127.0.0.1.evil.example",
        "",
        "localhost@evil.example",
    ):
        answer = requests.get(f"{gateway.url}{path}", headers={"Host": host}, timeout=30)
        assert code(answer) == (421, "wrong_host")
    for host in ("localhost", f"LOCALHOST:{gateway.port}", "127.0.0.1", "[::1]:80"):
        assert requests.get(f"{gateway.url}{path}", headers={"Host": host}, timeout=30).ok


@pytest.mark.slow
def test_the_names_that_are_set_are_answered(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None, hosts='["anime.example", "127.0.0.1"]') as gateway:
        assert requests.get(f"{gateway.url}/v1/session", headers={"Host": "anime.example"}, timeout=30).ok
        other = requests.get(f"{gateway.url}/v1/session", headers={"Host": "localhost"}, timeout=30)
        assert code(other) == (421, "wrong_host")


@pytest.mark.parametrize("path", ["/healthz", "/v1/session"])
def test_two_hosts_are_one_too_many(gateway: Gateway, path: str) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 400 ")


def test_what_is_no_http_is_told_so(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")  # as TLS begins
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n")
    problem = json.loads(body)
    assert (problem["code"], problem["status"]) == ("bad_request", 400)
    assert "HTTP/1.1" in problem["detail"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_prober_may_use_whatever_address_it_knows(gateway: Gateway, path: str) -> None:
    assert requests.get(f"{gateway.url}{path}", headers={"Host": "10.0.0.7:8000"}, timeout=30).ok


def test_every_answer_has_the_security_headers(locked: LockedGateway) -> None:
    url = locked.gateway.url
    answers = {
        path: requests.get(f"{url}{path}", timeout=30)
        for path in ("/", "/page/main.js", "/docs", "/swagger/swagger-ui.css", "/openapi.json", "/healthz", "/readyz")
    }
    job = job_of(locked.gateway.submit(PICTURE, locked.ann))
    answers |= {
        "200": locked.ann.get(f"{url}/v1/styles", timeout=30),
        "401": requests.get(f"{url}/v1/styles", timeout=30),
        "404": requests.get(f"{url}/nothing", timeout=30),
        "405": requests.put(f"{url}/v1/jobs", timeout=30),
        "409": locked.ann.get(f"{url}{job['links']['result']}", timeout=30),
        "421": requests.get(f"{url}/", headers={"Host": "evil.example"}, timeout=30),
        "422": locked.ann.get(f"{url}{job['links']['self']}?wait=x", timeout=30),
    }
    for name, answer in answers.items():
        assert answer.ok or str(answer.status_code) == name
        expected = {**HEADERS, "X-Animegan-Request-Id": answer.headers["X-Animegan-Request-Id"]}
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        if name == "/docs":
            del expected["Content-Security-Policy"]
        assert {header: answer.headers.get(header) for header in expected} == expected
        assert "Server" not in answer.headers
        assert "Strict-Transport-Security" not in answer.headers
    assert "unsafe" not in answers["/"].headers["Content-Security-Policy"]
    assert answers["401"].headers["Cache-Control"] == "no-store"


def test_no_other_origin_is_let_in(gateway: Gateway) -> None:
    preflight = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    for path in ("/v1/jobs", "/v1/session", "/v1/styles", "/"):
        for answer in (
            requests.options(f"{gateway.url}{path}", headers=preflight, timeout=30),
            requests.get(f"{gateway.url}{path}", headers=preflight, timeout=30),
        ):
            assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
        assert requests.options(f"{gateway.url}{path}", headers=preflight, timeout=30).status_code == 405


@pytest.mark.slow
def test_a_path_prefix_is_in_every_link(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None, path_prefix="/anime") as gateway:
        answer = send(gateway)
        job = job_of(answer)
        assert answer.headers["Location"] == job["links"]["self"] == f"/anime/v1/jobs/{job['id']}"
        assert all(link.startswith("/anime/v1/jobs/") for link in job["links"].values())
        styles = requests.get(f"{gateway.url}/v1/styles", timeout=30).json()["styles"]
        assert styles[0]["thumbnail"].startswith("/anime/v1/styles/")
        assert "; Path=/anime;" in f"{sign_in(gateway).headers['Set-Cookie']};"
        document = requests.get(f"{gateway.url}/openapi.json", timeout=30).json()
        assert document["servers"] == [{"url": "/anime"}]
        for path in (
            "/",
            "/page/main.js",
            "/docs",
            "/v1/styles",
        ):  # a proxy may take it off or not
            assert requests.get(f"{gateway.url}{path}", timeout=30).ok
            assert requests.get(f"{gateway.url}/anime{path}", timeout=30).ok
        assert f"/anime/v1/jobs/{job['id']}" not in gateway.log


@pytest.mark.slow
def test_a_trusted_proxy_tells_who_the_caller_is_and_that_it_is_https(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None, rate_per_minute=1, trusted_proxies='["127.0.0.1"]') as gateway:
        for address in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
            job_of(send(gateway, **{"X-Forwarded-For": address}))
        for address in ("192.0.2.1", "203.0.113.9, 192.0.2.2", "2001:db8:0:1:ffff::9"):  # the last: the same /64
            assert code(send(gateway, **{"X-Forwarded-For": address})) == (429, "rate_limited")
        secure = {"X-Forwarded-Proto": "https"}
        answer = sign_in(gateway, **secure, Origin="https://127.0.0.1", Host="127.0.0.1")
        assert "; Secure" in answer.headers["Set-Cookie"]
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        assert "; Secure" not in sign_in(gateway).headers["Set-Cookie"]


@pytest.mark.slow
@pytest.mark.parametrize("proxies", ["[]", '["192.0.2.7"]'])
def test_nobody_else_is_believed(tmp_path: Path, proxies: str) -> None:
    with running_gateway(tmp_path, None, rate_per_minute=1, trusted_proxies=proxies) as gateway:
        job_of(send(gateway, **{"X-Forwarded-For": "192.0.2.1"}))
        assert code(send(gateway, **{"X-Forwarded-For": "192.0.2.2"})) == (429, "rate_limited")
        answer = sign_in(gateway, **{"X-Forwarded-Proto": "https"})
        assert "; Secure" not in answer.headers["Set-Cookie"]
        assert "Strict-Transport-Security" not in answer.headers

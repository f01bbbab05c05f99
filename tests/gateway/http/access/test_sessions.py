"""A page's session: how it is opened with a key or without, whose it is, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from animegan_gateway.http.access.attempts import WRONG_KEYS_PER_MINUTE
from animegan_gateway.http.access.keys import Keys
from harness.access import COOKIE, FORGED_KEY, PICTURE, LockedGateway, bearer, job_of, sign_in
from harness.gateways import Gateway, code, running_gateway


def test_a_page_exchanges_its_key_for_a_session_of_the_same_caller(locked: LockedGateway) -> None:
    url = locked.gateway.url
    job = job_of(locked.gateway.submit(PICTURE, locked.ann))
    with requests.Session() as page:
        before = page.get(f"{url}/v1/session", timeout=30).json()
        assert (before["keys_required"], before["signed_in"]) == (True, False)
        opening = page.post(f"{url}/v1/session", json={"key": locked.ann_key}, timeout=30)
        assert (opening.status_code, opening.json()["signed_in"]) == (200, True)
        assert locked.ann_key not in opening.headers["Set-Cookie"]
        assert page.get(f"{url}/v1/session", timeout=30).json()["signed_in"] is True
        assert page.get(f"{url}{job['links']['self']}", timeout=30).json()["id"] == job["id"]
        with page.get(f"{url}{job['links']['events']}", stream=True, timeout=30) as events:
            assert events.ok  # an EventSource can't send a header
        page.headers["Origin"] = url
        assert job_of(locked.gateway.submit(PICTURE, page))
        closing = page.delete(f"{url}/v1/session", timeout=30)
        assert closing.json()["signed_in"] is False
        assert COOKIE not in page.cookies
        assert code(locked.gateway.submit(PICTURE, page)) == (401, "unauthorized")


@pytest.mark.parametrize("key", ["", FORGED_KEY, "ag", "ключ"])
def test_a_wrong_key_opens_no_session(locked: LockedGateway, key: str) -> None:
    answer = sign_in(locked.gateway, key)
    assert code(answer) == (401, "unauthorized")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 401),
        (b"{}", 401),
        (b"null", 401),
        (b"{", 422),
        (b"[]", 422),
        (b'{"key": 5}', 422),
        (b'{"key": "\\ud800"}', 422),
        (b'{"key": "' + b"x" * 201 + b'"}', 422),
        (b'{"key": "' + b"x" * 5000 + b'"}', 400),
        (b"[" * 4000, 400),
    ],
)
def test_what_is_no_sign_in(locked: LockedGateway, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{locked.gateway.url}/v1/session", data=body, headers=headers, timeout=30)
    assert code(answer)[0] == status


def test_a_revoked_key_is_refused_at_once_and_its_sessions_with_it(locked: LockedGateway) -> None:
    text = locked.keys.add("carl")
    url = locked.gateway.url
    with bearer(text) as carl, requests.Session() as page:
        assert page.post(f"{url}/v1/session", json={"key": text}, timeout=30).ok
        assert carl.get(f"{url}/v1/styles", timeout=30).ok
        assert page.get(f"{url}/v1/styles", timeout=30).ok
        locked.keys.revoke("carl")
        assert code(carl.get(f"{url}/v1/styles", timeout=30)) == (401, "unauthorized")
        assert code(page.get(f"{url}/v1/styles", timeout=30)) == (401, "unauthorized")
        assert page.get(f"{url}/v1/session", timeout=30).json()["signed_in"] is False


@pytest.mark.slow
def test_a_forged_cookie_is_no_session(locked: LockedGateway, gateway: Gateway) -> None:
    cookie = sign_in(locked.gateway, locked.ann_key).cookies[COOKIE]
    forgery = ("A" if cookie[0] != "A" else "B") + cookie[1:]
    anonymous = sign_in(gateway).cookies[COOKIE]  # of another gateway: another secret
    url = f"{locked.gateway.url}/v1/styles"
    assert requests.get(url, cookies={COOKIE: cookie}, timeout=30).ok
    for bad in (forgery, cookie[:-1], cookie.rpartition(".")[0], anonymous, "", "é"):
        headers = {"Cookie": f"{COOKIE}={bad}".encode()}
        assert code(requests.get(url, headers=headers, timeout=30)) == (401, "unauthorized")


@pytest.mark.slow
def test_a_session_from_before_keys_were_required_is_none(tmp_path: Path) -> None:
    with running_gateway(tmp_path, None) as gateway:
        cookies = {COOKIE: sign_in(gateway).cookies[COOKIE]}
        assert requests.get(f"{gateway.url}/v1/session", cookies=cookies, timeout=30).json()["signed_in"] is True
    Keys(tmp_path).add("ann")
    with running_gateway(tmp_path, None, keys="required") as gateway:
        assert code(requests.get(f"{gateway.url}/v1/styles", cookies=cookies, timeout=30)) == (401, "unauthorized")


def test_a_sessions_cookie_is_out_of_reach(gateway: Gateway, locked: LockedGateway) -> None:
    for answer in (sign_in(gateway), sign_in(locked.gateway, locked.ann_key)):
        _, *attributes = answer.headers["Set-Cookie"].split("; ")
        assert {attribute.lower() for attribute in attributes} >= {"httponly", "samesite=strict", "path=/"}
        assert "Secure" not in attributes


def test_a_session_without_keys_is_a_caller_of_its_own_and_stays_it(gateway: Gateway) -> None:
    with gateway.browser() as page:
        cookie = page.cookies[COOKIE]
        again = page.post(f"{gateway.url}/v1/session", json={}, timeout=30)
        assert again.json()["signed_in"] is True
        assert page.cookies[COOKIE] == cookie


def test_signing_out_ends_the_session_at_the_server(locked: LockedGateway) -> None:
    with requests.Session() as browser:
        signed_in = browser.post(f"{locked.gateway.url}/v1/session", json={"key": locked.ann_key}, timeout=30)
        assert signed_in.ok
        copy = {"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
        styles = f"{locked.gateway.url}/v1/styles"
        assert requests.get(styles, headers=copy, timeout=30).ok
        origin = {"Origin": locked.gateway.url}
        assert browser.delete(f"{locked.gateway.url}/v1/session", headers=origin, timeout=30).ok
        assert code(requests.get(styles, headers=copy, timeout=30)) == (401, "unauthorized")
        assert requests.get(f"{locked.gateway.url}/v1/session", headers=copy, timeout=30).json()["signed_in"] is False


@pytest.mark.slow
def test_many_wrong_keys_are_told_to_wait_and_lock_nobody_else_out(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    ann, bob = keys.add("ann"), keys.add("bob")
    with running_gateway(tmp_path, None, keys="required") as gateway:

        def answer(key: str) -> tuple[int, str]:
            with bearer(key) as session:
                styles = session.get(f"{gateway.url}/v1/styles", timeout=30)
                return (200, "") if styles.ok else code(styles)

        for wrong in (FORGED_KEY, ann[:-1]):
            for _ in range(WRONG_KEYS_PER_MINUTE):
                assert answer(wrong) == (401, "unauthorized")
            assert answer(wrong) == (429, "rate_limited")
            assert answer(bob) == (200, "")
        assert answer(ann) == (429, "rate_limited"), "its secret is being guessed from this address"

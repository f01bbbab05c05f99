"""A gateway that requires keys, and who asks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from animegan_gateway.http.access.keys import Keys
from harness.gateways import Gateway, running_gateway
from harness.pictures import encoded, photo

PICTURE = encoded(photo(64, 48))
COOKIE = "animegan_session"
FORGED_KEY = f"ag_00000000_{'x' * 43}"


@dataclass
class LockedGateway:
    """A gateway that requires keys, and who holds one."""

    gateway: Gateway
    keys: Keys
    ann: requests.Session
    bob: requests.Session
    ann_key: str

    def add(self, name: str, **limits: int) -> requests.Session:
        return bearer(self.keys.add(name, **limits))


def bearer(key: str) -> requests.Session:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {key}"
    return session


def sign_in(gateway: Gateway, key: str = "", **headers: str) -> requests.Response:
    return requests.post(f"{gateway.url}/v1/session", json={"key": key}, headers=headers, timeout=30)


def job_of(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def send(gateway: Gateway, **headers: str | None) -> requests.Response:
    """A photo, as somebody new sends it."""
    with requests.Session() as somebody:
        return gateway.submit(PICTURE, somebody, headers=headers)


@contextmanager
def locked_gateway(folder: Path) -> Iterator[LockedGateway]:
    """A gateway for two who hold keys."""
    keys = Keys(folder)
    texts = [keys.add("ann"), keys.add("bob")]
    with (
        running_gateway(folder, None, keys="required", queue_jobs=40, trusted_proxies='["127.0.0.1"]') as gateway,
        bearer(texts[0]) as ann,
        bearer(texts[1]) as bob,
    ):
        yield LockedGateway(gateway, keys, ann, bob, texts[0])

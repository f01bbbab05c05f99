"""Which tests share a process: pytest-xdist gives a group to one worker, so a shared server starts once.

A group is what takes the same shared server or image, else a file's tests; `xdist_group` on a test or a file
says otherwise.
"""

from __future__ import annotations

import os

import pytest

# What files share by a fixture of theirs, the longest first: two servers, the image of the containers, a Ray cluster.
GROUPS = {"mortal": "mortal", "server": "server", "image": "containers", "whole_image": "containers", "cluster": "ray"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(_shared(item) or item.path.stem))
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Raise `UsageError` where pytest-xdist took no group: a release of pytest may hide node ids from it."""
    if hasattr(session.config, "workerinput") and not all("@" in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist grouped no tests, so every worker would start every server.")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: a file made for a case may hold the time, and two processes must agree on ids."""
    return argname if isinstance(val, bytes) else None


def pytest_configure(config: pytest.Config) -> None:
    """Share the cores: what workers start, or draw themselves, takes its part of them."""
    if hasattr(config, "workerinput"):
        threads = (os.cpu_count() or 1) // config.workerinput["workercount"]
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))


def _shared(item: pytest.Item) -> str | None:
    fixtures = getattr(item, "fixturenames", ())
    return next((group for fixture, group in GROUPS.items() if fixture in fixtures), None)


def _rank(item: pytest.Item) -> int:
    """The longest first, so that no worker begins one when the others are done: what is shared, servers, slow ones."""
    order = [*dict.fromkeys(GROUPS.values())]
    if shared := _shared(item):
        return order.index(shared)
    marks = ("server", "slow")
    return len(order) + next((rank for rank, mark in enumerate(marks) if item.get_closest_marker(mark)), len(marks))

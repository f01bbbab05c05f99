"""A network for containers that publish ports: nothing of this machine's is in it, and nothing in it gets out."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNET = 0x40000000
TOOLS = ("ip", "iptables", "netavark", "aardvark-dns")  # those after the first are what podman's networks are made with
HELPERS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/lib/podman", "/usr/libexec/podman"))


def missing() -> str:
    """Why there can be none here; empty where there can."""
    absent = [tool for tool in TOOLS if not shutil.which(tool, path=HELPERS)]
    return f"not installed: {', '.join(absent)}" if absent else ""


class Network:
    """What is called through it runs in it, and so do the commands that this starts. Linux has a network a thread."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread

    def call(self, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        return self._thread.submit(function, *arguments, **keywords).result()


@contextmanager
def own_network() -> Iterator[Network]:
    """A network with a loopback of its own; gone with the last process in it."""
    with ThreadPoolExecutor(1, initializer=_leave) as thread:
        yield Network(thread)


def _leave() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

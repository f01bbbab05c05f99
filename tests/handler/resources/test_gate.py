"""The gate: how much is inside at once."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from animegan.resources.gate import Gate


def test_what_is_inside_never_adds_up_to_more_unless_alone() -> None:
    gate, lock = Gate(10), threading.Lock()
    inside: list[int] = []
    states: list[list[int]] = []

    def enter(amount: int) -> None:
        with gate(amount):
            with lock:
                inside.append(amount)
                states.append(list(inside))
            with lock:
                inside.remove(amount)

    amounts = [random.Random(0).randint(1, 14) for _ in range(400)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(enter, amounts))
    assert len(states) == 400
    assert all(sum(now) <= 10 or len(now) == 1 for now in states)


def test_several_fit_and_the_next_one_waits() -> None:
    gate, entry = Gate(10), threading.Event()

    def enter() -> None:
        with gate(1):
            entry.set()

    with ThreadPoolExecutor(1) as threads:
        with gate(4), gate(6):
            waiting = threads.submit(enter)
            assert not entry.wait(0.05)
        waiting.result(timeout=10)
    assert entry.is_set()


def test_an_error_inside_gives_the_room_back() -> None:
    gate = Gate(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate(5):
            raise ZeroDivisionError

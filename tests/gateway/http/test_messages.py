"""What the gateway says, and in which language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animegan_gateway.http.answers.messages import message, preferred_language
from animegan_gateway.queue.board import Place
from animegan_gateway.queue.jobs import Job, State
from animegan_service.protocol import Presence
from harness.stores import ask


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("*", "en"),
        ("fr", "en"),
        ("en", "en"),
        ("zh", "zh"),
        ("ZH-Hans-CN", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("en;q=0.1, zh;q=0.2", "zh"),
        ("en ; q=0.1 , zh ; q=0.2", "zh"),
        ("fr, zh;q=0.1", "zh"),
        ("zh;q=0.5, *;q=0.6", "en"),
        ("*;q=0.5, zh;q=0.6", "zh"),
        ("en;q=0, *", "zh"),
        ("en;q=0.3, *;q=0.8", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=0, en;q=0", "en"),
        ("zh;q=0.000, en;q=0.001", "en"),
        ("zh, en", "en"),  # both as welcome
        ("zhu", "en"),
        ("zh;q=", "zh"),
        ("zh;q=high", "en"),
        ("zh;q=nan", "en"),
        ("zh;q=inf, en", "en"),
        ("zh;q=-1", "en"),
        (";q=1,,zh", "zh"),
    ],
)
def test_the_language_that_is_preferred(header: str | None, language: str) -> None:
    assert preferred_language(header) == language


@given(header=st.text(st.sampled_from("zhen*-;q=.,0159 \t\xff")))
def test_a_malformed_header_is_a_language_too(header: str) -> None:
    assert preferred_language(header) in ("en", "zh")


@pytest.mark.parametrize(
    ("place", "english", "chinese"),
    [
        (Place(1, None), "You are next", "下一张就是你的"),
        (Place(4, None), "3 ahead of you", "前面还有 3 张"),
        (Place(4, 12.4), "3 ahead of you, about 10 s", "前面还有 3 张，约 10 秒"),
        (Place(1, 0.2), "You are next, about 1 s", "下一张就是你的，约 1 秒"),
        (Place(2, 9.6), "1 ahead of you, about 10 s", "前面还有 1 张，约 10 秒"),
        (Place(2, 63), "1 ahead of you, about 65 s", "前面还有 1 张，约 65 秒"),
    ],
)
def test_the_place_in_the_queue_in_words(place: Place, english: str, chinese: str) -> None:
    job = Job(id="j", ask=ask())
    assert message(job, place, Presence.READY, "en") == english
    assert message(job, place, Presence.READY, "zh") == chinese


def test_every_state_has_its_words_in_both_languages() -> None:
    texts = {
        (language, state): message(Job(id="j", ask=ask(), state=state), Place(None, None), Presence.READY, language)
        for language in ("en", "zh")
        for state in State
    }
    assert len(set(texts.values())) == 2 * len(State)
    assert all(words.isascii() == (language == "en") for (language, _), words in texts.items())


@pytest.mark.parametrize("presence", [Presence.AWAY, Presence.LOADING])
def test_who_waits_for_torchserve_is_told_so(presence: Presence) -> None:
    job, place = Job(id="j", ask=ask()), Place(3, 5.0)
    assert message(job, place, presence, "en") == "Waiting for the drawing server"
    assert message(job, place, presence, "zh") == "正在等待绘图服务"

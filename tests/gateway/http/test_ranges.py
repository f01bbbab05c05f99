"""Parts of a picture, as RFC 9110 (14) has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animegan_gateway.errors import RangeNotSatisfiable
from animegan_gateway.http.answers.ranges import parse


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=0-", (0, 99)),
        ("bytes=10-19", (10, 19)),
        ("bytes=99-", (99, 99)),
        ("bytes=90-5000", (90, 99)),
        ("bytes=-1", (99, 99)),
        ("bytes=-100", (0, 99)),
        ("bytes=-5000", (0, 99)),
        ("bytes= 1-2 ", (1, 2)),
        # What is no range, or several, gets the whole.
        (None, None),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=0x1-2", None),
        ("bytes=+1-2", None),
        ("bytes=٣-٤", None),
        (f"bytes=0-{'9' * 5000}", None),
    ],
)
def test_the_part_that_is_asked_for(header: str | None, part: tuple[int, int] | None) -> None:
    assert parse(header, 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_part_past_the_end_is_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as refusal:
        parse(header, 100)
    assert refusal.value.members == {"bytes": 100}


@given(header=st.text(st.sampled_from("bytes=-0129, ")), size=st.integers(1, 200))
def test_a_part_lies_within_the_picture(header: str, size: int) -> None:
    try:
        part = parse(f"bytes={header}", size)
    except RangeNotSatisfiable:
        return
    assert part is None or 0 <= part[0] <= part[1] < size

"""Deadlines follow the measured rate; what can't be drawn in time is refused with the side that can."""

from __future__ import annotations

import pytest

from animegan.errors import PictureTooSlow
from animegan.networks.plan import Plan, Shape
from animegan.resources import pace
from animegan.resources.interruption import interrupt_if_asked
from animegan.resources.pace import MARGIN, Pace

FLOOR_S, CEILING_S = 60, 600


class Clock:
    """One that goes on only as a test says."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def plan(side: int, work: float = 1) -> Plan:
    return Plan("bands", Shape(side, side, 1, 4), cuda=False, peak_bytes=1, work=work)


def draw(limiter: Pace, clock: Clock, side: int, seconds: float) -> None:
    with limiter.limit(plan(side), (side, side)):
        clock.now += seconds
        interrupt_if_asked()


def test_before_anything_was_measured_the_ceiling_is_the_deadline() -> None:
    limiter = Pace(FLOOR_S, CEILING_S)
    assert limiter.predicted_s(plan(512)) is None
    assert limiter.deadline_s(plan(4096)) == CEILING_S


def test_the_deadline_follows_the_work(clock: Clock) -> None:
    limiter = Pace(FLOOR_S, CEILING_S)
    draw(limiter, clock, 1024, 5)
    assert limiter.predicted_s(plan(2048)) == 20
    assert limiter.predicted_s(plan(2048, work=1.5)) == 30
    assert limiter.deadline_s(plan(512)) == FLOOR_S
    assert limiter.deadline_s(plan(2048)) == MARGIN * 20
    assert limiter.deadline_s(plan(8192)) == CEILING_S


def test_what_is_too_small_to_tell_is_not_measured(clock: Clock) -> None:
    limiter = Pace(FLOOR_S, CEILING_S)
    draw(limiter, clock, 64, 5)
    assert limiter.predicted_s(plan(8192)) is None


def test_a_picture_that_takes_too_long_is_refused_before_it_starts(clock: Clock) -> None:
    limiter = Pace(FLOOR_S, CEILING_S)
    draw(limiter, clock, 1024, 50)
    with (
        pytest.raises(PictureTooSlow, match="8192×4096 px and would take about") as refusal,
        limiter.limit(Plan("bands", Shape(4096, 8192, 1, 4), cuda=False, peak_bytes=1), (8192, 4096)),
    ):
        pytest.fail("it was begun")
    side = refusal.value.members["fits_side_px"]
    assert isinstance(side, int)
    fitting = limiter.predicted_s(Plan("bands", Shape(side // 2, side, 1, 4), cuda=False, peak_bytes=1))
    assert fitting is not None
    assert 0.95 * CEILING_S < fitting <= CEILING_S


def test_a_picture_ends_at_its_deadline_and_the_next_have_more_time(clock: Clock) -> None:
    limiter = Pace(FLOOR_S, CEILING_S)
    draw(limiter, clock, 1024, 5)
    with pytest.raises(PictureTooSlow, match="was not drawn within 80 s"):
        draw(limiter, clock, 2048, 81)
    assert limiter.deadline_s(plan(2048)) > MARGIN * 20
    interrupt_if_asked()  # outside nothing is asked


def test_a_clip_is_refused_once_its_frames_cannot_be_drawn_in_time(clock: Clock) -> None:
    limiter = Pace(FLOOR_S, CEILING_S)
    deadline = limiter.clip("The animation", frames=1000)
    for number in (1, 2):
        draw(limiter, clock, 256, seconds=2)
        deadline.check(plan(256), (512, 256), number, 2.0 * number)
    draw(limiter, clock, 256, seconds=2)
    refusal = "is 512×256 px and its 1000 frames would take about 2000 s; 600 s are the limit. Set max_side to 280 px"
    with pytest.raises(PictureTooSlow, match=f"{refusal} or less. Draw its first frame with frames=first."):
        deadline.check(plan(256), (512, 256), 3, 6.0)
    limiter.clip("The animation", frames=290).check(plan(256), (512, 256), 3, 0.0)


def test_decoding_and_encoding_count_towards_a_clips_time(clock: Clock) -> None:
    limiter = Pace(FLOOR_S, CEILING_S)
    deadline = limiter.clip("The video", frames=290)
    for _ in range(3):
        draw(limiter, clock, 256, seconds=2)
        clock.now += 0.5
    with pytest.raises(PictureTooSlow, match="its 290 frames would take about 725 s; 600 s are the limit"):
        deadline.check(plan(256), (512, 256), 3, 6.0)

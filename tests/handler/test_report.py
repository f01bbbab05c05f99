"""What was done is told in ASCII headers, read back from them, and said in two languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from animegan.picture.formats.header import Flaw
from animegan.report import Report
from animegan_service.notes import FLAWS, notes

sizes = st.tuples(st.integers(16, 99999), st.integers(16, 99999))


@given(sizes, sizes, st.integers(1, 1000), st.dictionaries(st.sampled_from(["decode", "run"]), st.floats(0, 100)))
def test_headers_carry_the_report(
    original: tuple[int, int], size: tuple[int, int], frames: int, seconds: dict[str, float]
) -> None:
    report = Report("cel", "CC-BY-SA-4.0", "bf16", "bands", original, size, frames, seconds)
    headers = report.headers()
    assert all(value.isascii() for value in headers.values())
    lower_case = CaseInsensitiveDict({name.lower(): value for name, value in headers.items()})
    again = Report.from_headers(lower_case)
    assert (again.original_size, again.size, again.frames, again.fitted) == (original, size, frames, original != size)
    assert again.seconds == pytest.approx(seconds, abs=1e-4)


def test_a_licence_in_another_script_does_not_break_the_headers() -> None:
    headers = Report("mine", "仅限个人使用", "fp32", "whole", (16, 16), (16, 16)).headers()
    assert headers["X-Animegan-License"].isascii()


def test_notes_in_words() -> None:
    report = Report("cel", "CC-BY-SA-4.0", "bf16", "bands", (4000, 3000), (1024, 768), frames=12)
    assert notes(report, "en") == ["fitted the size for you: 1024×768", "drew the first of 12 frames"]
    assert notes(report, "zh") == ["已为你智能适配分辨率：1024×768", "文件共 12 帧（页），仅绘制第一帧"]
    assert notes(Report("cel", "CC-BY-SA-4.0", "bf16", "bands", (640, 480), (640, 480)), "en") == []


@pytest.mark.parametrize("flaws", [(), ("end-missing",), ("end-missing", "metadata-damaged")])
def test_what_is_wrong_with_a_file_is_told(flaws: tuple[Flaw, ...]) -> None:
    report = Report("cel", "CC-BY-SA-4.0", "bf16", "bands", (640, 480), (640, 480), flaws=flaws)
    headers = report.headers()
    assert headers.get("X-Animegan-Warning") == (", ".join(flaws) or None)
    assert Report.from_headers(headers).flaws == flaws
    assert notes(report, "en") == [FLAWS[flaw][0] for flaw in flaws]
    assert notes(report, "zh") == [FLAWS[flaw][1] for flaw in flaws]

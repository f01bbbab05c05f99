"""The log: a JSON object a line, and nothing of a picture, a key or a whole job id in it."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from animegan_service import logs


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    file = Path(getattr(request, "param", tmp_path / "new" / "gateway.log"))
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure(file)
    yield file
    for handler in root.handlers:
        with contextlib.suppress(OSError):  # a full disk, where what was written last is still in a buffer
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_fault_is_logged_with_its_place_and_without_what_it_was_about(file: Path) -> None:
    def draw(picture: bytes) -> None:
        key = "ag_1_secret"
        raise ValueError(f"{len(picture)} bytes, a key of {len(key)}")

    try:
        draw(b"pixels of somebody")
    except ValueError as error:
        structlog.get_logger("test").error("draw_failed", exc_info=error)
        logging.getLogger("library").exception("too")
    lines = file.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["draw_failed", "too"]
    for line in lines:
        assert "18 bytes, a key of 11" in line
        assert '"name": "draw"' in line
        assert "pixels of somebody" not in line
        assert "ag_1_secret" not in line


def test_libraries_are_in_it_in_the_same_shape(file: Path) -> None:
    structlog.get_logger("gateway").info("mine", job="12345678")
    logging.getLogger("uvicorn.error").warning("theirs %d", 7)
    mine, theirs = (json.loads(line) for line in file.read_text().splitlines())
    assert (mine["event"], mine["job"], mine["level"], mine["logger"]) == ("mine", "12345678", "info", "gateway")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("theirs 7", "warning", "uvicorn.error")
    assert mine.keys() - {"job"} == theirs.keys()


@pytest.mark.parametrize("file", ["/dev/full"], indirect=True)
def test_what_a_full_disk_does_not_take_goes_to_standard_error(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        structlog.get_logger("gateway").info("mine", number=number)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["number"]) for line in lines] == [("mine", 0), ("mine", 1), ("mine", 2)]


def test_the_same_error_again_and_again_is_a_line_with_a_count(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(50):
        structlog.get_logger("store").warning("waits", reason="away")
        logging.getLogger("asyncio").error("accept failed", exc_info=OSError(24, "Too many open files"))
    structlog.get_logger("store").warning("waits", reason="full")
    structlog.get_logger("store").warning("recovered", job="one")
    structlog.get_logger("store").warning("recovered", job="two")
    monkeypatch.setattr(logs, "REPEATS_S", 0.0)
    structlog.get_logger("store").info("back")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    events = [(line["event"], line.get("count")) for line in lines]
    assert events[:5] == [
        ("waits", None),
        ("accept failed", None),
        ("waits", None),
        ("recovered", None),
        ("recovered", None),
    ]
    assert events[5:] == [("repeated", 49), ("repeated", 49), ("back", None)]
    assert {line["what"] for line in lines[5:7]} == {"waits", "accept failed"}

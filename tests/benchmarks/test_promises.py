"""What takes too long for every change runs before a release; its stored figures keep what is promised."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import Any, get_args

import pytest

from animegan.looks import bundled_looks
from animegan.networks.plan import Mode
from benchmarks import plots
from benchmarks.common import result
from benchmarks.endurance import faults
from benchmarks.pictures import video_memory
from benchmarks.service import image, monitoring
from harness.servers import ROOT
from harness.stores import KINDS
from harness.trials.faults import all_of_them

GROWS_MIB = {"worker": 48, "java": 48, "gateway": 16, "agent": 8}  # at most, from after the warm-up to the end
SOAK_S = 1800
FUZZ_S = 60
FUZZ_FILES = 100_000
LIMIT_MIB = 2048
ROOM, STEP_MIB = 1.15, 3  # of a plan, over what a video takes; and by how much small ones vary
OUTCOMES = {"picture", "bad_image", "unsupported_image", "too_large", "picture_too_small"}
STATUSES = {
    "gateway": {200, 202, 410, 415, 422},
    "TorchServe": {200, 400, 415, 422},
}


def stored(name: str) -> dict[str, Any]:
    file = result.FOLDER / f"{name}.json"
    assert file.is_file(), f"No result is stored. Run scripts/benchmark {name}."
    figures: dict[str, Any] = json.loads(file.read_text())
    return figures


def test_half_an_hour_leaves_nothing_behind() -> None:
    soak = stored("soak")
    assert soak["seconds"] >= SOAK_S
    assert soak["every_process_lived"]
    assert (soak["jobs_that_ended_otherwise"], soak["answers_undocumented"]) == (0, 0)
    assert soak["jobs"].keys() == {"done", "failed", "cancelled"}
    for whom, statuses in STATUSES.items():
        answers = {row["status"] for row in soak["answers"] if row["asked"] == whom}
        assert statuses <= answers
        assert max(answers) < 500
    assert {row["process"] for row in soak["processes"]} == GROWS_MIB.keys()
    for row in soak["processes"]:
        assert row["files_at_the_end"] <= row["files_idle"], row
        assert row["threads_at_the_end"] <= row["threads_idle"], row
        assert row["mib_at_the_end"] - row["mib_after_warm_up"] < GROWS_MIB[row["process"]], row


def test_kills_lose_no_job() -> None:
    kills = stored("kills")
    assert {row["store"] for row in kills["jobs"]} == {*KINDS}
    for row in kills["jobs"]:
        assert row["kills"] >= 20
        assert row["done"] > 0
        assert (row["lost"], row["duplicates"]) == (0, 0)
    victims = {(row["store"], row["victim"]) for row in kills["kills"]}
    assert victims == {*itertools.product(KINDS, ("gateway", "worker", "TorchServe")), ("redis", "Redis")}


def test_no_fault_loses_a_job() -> None:
    *rows, overload = stored("faults")["faults"]
    by_name = {fault.name: fault for fault in all_of_them(faults.REDIS_S)}
    assert [row["fault"] for row in rows] == [*by_name]
    for row in rows:
        fault = by_name[row["fault"]]
        assert row["how"] == fault.what
        answers = {answer.rpartition(" ×")[0] for answer in row["callers_saw"].split(", ")} - {"", "nothing"}
        assert answers == fault.answers, row
    assert overload["fault"].startswith(f"{faults.TIMES:g} times as many pictures")
    assert "429 queue_full" in overload["callers_saw"]
    assert "Retry-After" in overload["callers_saw"]
    for row in (*rows, overload):
        assert row["done"] == row["accepted"] > 0, row
        assert (row["lost"], row["duplicates"]) == (0, 0), row


def test_a_crowd_is_answered_in_order_as_documented() -> None:
    for row in stored("door")["crowd"]:
        assert row["accepted"] >= 500
        assert (row["answers_undocumented"], row["jobs_out_of_order"]) == (0, 0)
        assert row["resident_mib_slope_per_1000_jobs"] < 2


def test_replacing_workers_costs_no_attempt() -> None:
    rows = stored("recycling")["rows"]
    assert rows[-1]["replacements"] > 0
    for row in rows:
        assert row["done"] == row["jobs"] >= 1000
        assert (row["attempts_beyond_one"], row["put_off_or_failed"]) == (0, 0)


missed = pytest.mark.xfail(strict=True, reason="0.43 and 0.44: the floor of 0.42 is not reached")


@pytest.mark.parametrize(
    ("name", "size", "share"),
    [
        pytest.param("peers_avx2", "512x512", 0.42, marks=missed),
        ("peers_avx2", "1024x768", 0.42),
        ("peers_redraw_avx2", "1024x1024", 0.42),
        pytest.param("peers_redraw_fp32", "1024x1024", 0.42, marks=missed),
        ("peers_bf16", "512x512", 0.75),
        ("peers_bf16", "1024x768", 0.75),
    ],
)
def test_a_picture_takes_this_share_of_openvinos_cpu_time(name: str, size: str, share: float) -> None:
    rows = {row["contender"]: row for row in stored(name)["rows"] if (row["device"], row["size"]) == ("cpu", size)}
    assert rows["ours, as planned"]["cpu_seconds"] / rows["OpenVINO"]["cpu_seconds"] <= share


@pytest.mark.parametrize("name", ["two_gigabytes", "container"])
def test_a_large_photo_is_drawn_in_two_gigabytes(name: str) -> None:
    figures = stored(name)
    assert figures["limit_mib"] == LIMIT_MIB
    assert figures["counted_mib"] <= LIMIT_MIB
    assert figures["killed_processes"] == 0
    assert figures.get("drawn", figures.get("largest")) == "3840x2160"


@pytest.mark.slow
def test_the_dashboard_shows_what_happens() -> None:
    figures = stored("monitoring")
    assert figures["answers"]["200"] > 0
    series = figures["series"]
    assert series["marks"].keys() == {"rush", "over", "replaced", "killed", "quiet"}
    assert [[panel["title"] for panel in row] for row in series["panels"]] == [[*row] for row in monitoring.PANELS]
    panels = {panel["title"]: panel["lines"] for row in series["panels"] for panel in row}
    assert all(len(line) == len(series["seconds"]) for lines in panels.values() for line in lines.values())
    assert max(filter(None, panels["Attempts a minute, by outcome"]["drawn"])) > 0
    assert figures["measured"] in plots.render("monitoring")


def test_memory_is_as_the_plan_says() -> None:
    figures = stored("memory")
    rows = [row for row in figures["rows"] if row["device"] == "cpu" and row["not_measured"] is None]
    assert {row["mode"] for row in rows} == {*get_args(Mode)}
    for row in rows:
        if row["counted_mib"]:
            assert 1 <= row["predicted_mib"] / row["counted_mib"] <= 1.15, row
    workers = [row for row in figures["workers"] if row["not_measured"] is None]
    assert {row["size"] for row in workers} == {"1024x1024", "3840x2160"}
    for row in workers:
        assert row["measured_mib"] <= 1.05 * row["memory_mb"], row
    assert figures["measured"] in plots.render("memory")


def test_a_container_that_is_stopped_loses_no_job() -> None:
    figures = stored("container")
    assert (figures["exit_status"], figures["failed"], figures["lost"]) == (0, 0, 0)
    assert 0 < figures["done_before_the_stop"] < figures["accepted"]
    assert figures["stop_s"] < figures["grace_s"]
    assert figures["done_after_the_new_start"] == figures["accepted"]


@pytest.mark.slow
def test_the_built_image_is_as_its_tests_say() -> None:
    figures = stored("image")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "image", *image.tests()]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {row["test"] for row in figures["tests"]} == {line for line in output.splitlines() if "::" in line}
    assert {row["outcome"] for row in figures["tests"]} == {"passed"}
    assert figures["made_of"] == image.made_of(), "What it is built of has changed. Run scripts/benchmark image."


def test_hostile_files_end_in_a_picture_or_an_error_of_their_own() -> None:
    figures = stored("fuzz")
    assert figures["seconds"] >= FUZZ_S
    assert figures["outcomes"].keys() == OUTCOMES
    assert figures["files"] >= FUZZ_FILES
    assert figures["slowest_ms"] < 2000
    assert figures["memory_mb"] < 64  # above what decoding each kind once takes; 4 million pixels take up to 100


APART = 15  # of 255


@pytest.mark.parametrize("pair", [*itertools.combinations(sorted(bundled_looks()), 2)], ids=" and ".join)
def test_no_look_is_taken_for_another(pair: tuple[str, str]) -> None:
    distances = {row["looks"]: row["mean"] for row in stored("style")["distances"]}
    assert distances[" and ".join(pair)] >= APART


def test_looks_take_the_time_that_is_promised() -> None:
    rows = {row["look"]: row for row in stored("style")["looks"]}
    assert rows["cel"]["cpu_ratio"] <= 1.1
    assert rows["cel"]["finish_share"] <= 0.15


def test_the_fast_network_takes_the_time_that_is_promised() -> None:
    rows = {row["look"]: row for row in stored("style")["looks"]}
    assert rows["cel fast"]["cpu_ratio"] <= 0.12


def test_classic_keeps_a_sheets_lightness_and_leaves_ordinary_photographs() -> None:
    rows = {row["sent"]: row for row in stored("style")["tones"]}
    assert abs(rows["a sheet of 255"]["photo"] - 255) < 15
    assert abs(rows["a sheet of 128"]["photo"] - 128) < 30
    assert rows["at night"]["photo"] < 0.8 * rows["at night"]["style"]
    assert rows["the photographs"]["changed"] < 2


def test_ink_has_no_chroma_on_photographs() -> None:
    rows = {row["look"]: row for row in stored("style")["looks"]}
    assert rows["ink"]["chroma"] < 0.1 < rows["photo"]["chroma"]


def test_faces_stay_in_place_and_get_their_eyes() -> None:
    rows = {(row["style"], row["face_px"], row["mode"]): row for row in stored("portraits")["rows"]}
    for (style, width, mode), portrait in rows.items():
        if mode == "portrait":
            scene = rows[style, width, "scene"]
            assert portrait["drift_percent"] <= min(3, scene["drift_percent"])
            assert portrait["eyes_found"] >= max(0.9, scene["eyes_found"])


def test_a_first_visit_over_a_slow_line_is_short() -> None:
    figures = stored("first_visit")
    assert (figures["latency_ms"], figures["kb_per_s"]) == (400, 50)
    assert {row["visit"] for row in figures["visits"]} == {"first", "again"}
    for row in figures["visits"]:
        assert row["ready_ms"] < 3000, row
        assert row["kb"] < 200, row


def test_a_clip_that_stands_still_does_not_flicker_and_a_cut_leaves_no_ghost() -> None:
    for clips in stored("flicker")["styles"].values():
        still, pan = clips["still"], clips["pan"]
        assert still["steadied"]["difference"] < 0.2 * still["alone"]["difference"]
        assert pan["steadied"]["difference"] < pan["alone"]["difference"]
        assert still["carried"]["brightness"] <= still["alone"]["brightness"]
        assert clips["cut"]["largest_difference"] == 0


def test_a_videos_memory_does_not_grow_with_its_length_and_it_does_not_flicker() -> None:
    figures = stored("video")
    assert (figures["size"], figures["frames"]) == ([640, 360], 125)
    assert figures["memory_mib"] <= 1.1 * figures["half_way_mib"]
    assert figures["memory_mib"] <= figures["plan_mib"] <= ROOM * figures["memory_mib"]
    assert figures["flicker"] < 0.2


def test_a_folder_is_drawn_once_though_killed_and_its_time_is_the_generators() -> None:
    figures = stored("folder")
    assert figures["photos"] == figures["pictures_at_the_end"] >= 200
    assert 0 < figures["pictures_when_killed"] < figures["photos"]
    assert figures["drawn_again"] <= 1  # one that was in place, and not noted yet
    assert figures["generator_share"] >= 0.9


def test_decoding_and_encoding_a_video_take_no_more_than_is_planned() -> None:
    rows = stored("video_memory")["figures"]
    assert len(rows) == len(video_memory.SIZES) * (len(video_memory.DECODED) + len(video_memory.ENCODED))
    for row in rows:
        assert row["mib"] <= row["planned_mib"] <= ROOM * row["mib"] + STEP_MIB, row

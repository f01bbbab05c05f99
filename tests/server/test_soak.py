"""Two minutes of `scripts/benchmark soak`: all is answered, nothing stays open, no process is started anew."""

from __future__ import annotations

import pytest

from benchmarks import soak

pytestmark = pytest.mark.server

SECONDS = 120
GROWS_MIB = {"worker": 48, "java": 48, "gateway": 16, "agent": 8}  # at most, from after the warm-up to the end


def test_two_minutes_leave_nothing_behind() -> None:
    found = soak.measured(SECONDS)
    assert found["every_process_lived"]
    assert found["wrong"] == []
    assert found["answers_undocumented"] == 0
    assert {"done", "failed", "cancelled"} <= found["jobs"].keys()
    statuses = {(row["asked"], row["status"]) for row in found["answers"]}
    assert {("gateway", 200), ("gateway", 202), ("gateway", 410), ("gateway", 415), ("gateway", 422)} <= statuses
    assert {("TorchServe", 200), ("TorchServe", 400), ("TorchServe", 415), ("TorchServe", 422)} <= statuses
    assert max(status for _, status in statuses) < 500
    for row in found["processes"]:
        assert row["files_at_the_end"] <= row["files_idle"], row
        assert row["threads_at_the_end"] <= row["threads_idle"], row
        assert row["mib_at_the_end"] - row["mib_after_warm_up"] < GROWS_MIB[row["process"]], row

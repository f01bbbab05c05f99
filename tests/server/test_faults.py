"""Faults of the services, one of each mechanism: callers see what they may, and nothing is lost.

`scripts/benchmark faults` has them all; a test of its stored run says which must be there.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.endurance.faults import row_of, row_of_overload
from harness.trials.faults import FORWARDS, redis_away
from harness.trials.overload import overload
from harness.trials.services import QUEUE_JOBS, Fault, Services, running_services, suffer
from harness.trials.storage_faults import DISK, PAGES

pytestmark = pytest.mark.server

FAULTS = [FORWARDS, redis_away(2), DISK, PAGES]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with running_services(tmp_path_factory.mktemp("services")) as running:
        yield running


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_nothing_is_lost(fault: Fault, services: Services) -> None:
    outcome = suffer(services, fault)
    row = row_of(outcome)
    assert outcome.audit.losses == []
    assert outcome.audit.duplicates == 0
    assert outcome.audit.ends == {"done": outcome.accepted}
    assert outcome.errors.keys() == fault.answers
    assert (row["lost"], row["duplicates"], row["done"]) == (0, 0, row["accepted"])
    assert all(answer in row["callers_saw"] for answer in fault.answers)


def test_too_many_pictures_are_refused_and_the_others_drawn(services: Services) -> None:
    process = services.server.gateway()
    assert process
    outcome = overload(services.gateway, process, seconds=4, times=10, side=192, queue_jobs=QUEUE_JOBS)
    row = row_of_overload(outcome, 4)
    assert outcome.answers.keys() == {"202", "429 queue_full"}
    assert len(outcome.retry_after_s) == outcome.answers["429 queue_full"]
    assert all(1 <= seconds < 60 for seconds in outcome.retry_after_s)
    assert outcome.audit.losses == []
    assert outcome.audit.ends == {"done": outcome.answers["202"]}
    assert outcome.wait_s(100) < 3 * QUEUE_JOBS / outcome.capacity
    assert outcome.growth_mib() < 32
    assert (row["lost"], row["done"]) == (0, row["accepted"])
    assert f"429 queue_full ×{outcome.answers['429 queue_full']}, with Retry-After" in row["callers_saw"]

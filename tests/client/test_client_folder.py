"""Many photos at once: their outcomes, how many are under way, and what is left when the caller breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from animegan_client import Client, Job, JobFailed, ServerError
from animegan_client.folder import draw
from client.fake_gateway import PATIENCE_S, FakeGateway, Reply, problem


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for n in range(8):
        (folder / f"{n}.jpg").write_bytes(b"photo %d" % n)
    (folder / "more" / "8.PNG").write_bytes(b"photo 8")
    (folder / "notes.txt").write_text("no picture by its name")
    return folder


def test_a_folder_with_bad_pictures_in_it(client: Client, photos: Path) -> None:
    (photos / "3.jpg").write_bytes(b"bad")
    (photos / "5.jpg").write_bytes(b"fails")
    (photos / "7.jpg").unlink()
    (photos / "7.jpg").mkdir()  # no file
    outcomes = {outcome.source.relative_to(photos): outcome for outcome in client.stylize_folder(photos, style="cel")}
    assert sorted(map(str, outcomes)) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg", "more/8.PNG"]
    refusal, failure = (outcomes[Path(name)].error for name in ("3.jpg", "5.jpg"))
    assert isinstance(refusal, ServerError)
    assert refusal.code == "bad_image"
    assert isinstance(failure, JobFailed)
    for source, outcome in outcomes.items():
        assert bool(outcome.picture) != bool(outcome.error)
        if outcome.picture:
            assert outcome.picture.data == b"anime of photo %d" % int(source.stem)
            assert outcome.picture.job.style == "cel"


def test_any_paths_with_one_that_is_not_there(client: Client, photos: Path) -> None:
    missing = photos / "nothing.jpg"
    paths: list[str | Path] = [photos / "0.jpg", str(missing), photos / "1.jpg"]
    outcomes = {outcome.source: outcome for outcome in client.stylize_folder(iter(paths))}
    assert set(outcomes) == {Path(path) for path in paths}
    assert isinstance(outcomes.pop(missing).error, FileNotFoundError)
    assert all(outcome.picture for outcome in outcomes.values())


def test_the_bound_is_reached_and_kept(gateway: FakeGateway, client: Client, photos: Path) -> None:
    gateway.finish = lambda _: False
    with closing(client.stylize_folder(photos, concurrency=3)) as outcomes, ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, outcomes)
        try:
            gateway.until(lambda: len(gateway.jobs) == 3)
        finally:
            gateway.let(lambda _: True)
        first.result()
        assert len(list(outcomes)) == 8
    assert gateway.most_at_once == 3


def test_photos_are_read_no_further_than_they_are_drawn(gateway: FakeGateway, client: Client, photos: Path) -> None:
    reads: list[Path] = []

    def paths() -> Iterator[Path]:
        for path in sorted(photos.glob("*.jpg")):
            reads.append(path)
            yield path

    with closing(client.stylize_folder(paths(), concurrency=2)) as outcomes:
        assert reads == []
        for n, _ in enumerate(outcomes, 1):
            assert len(reads) <= n + 2
    assert len(reads) == 8


def test_each_is_told_as_it_is_finished(gateway: FakeGateway, client: Client, photos: Path) -> None:
    gateway.finish = lambda job: job.photo != b"photo 0" or len(events) == 8
    events: list[str] = []
    for outcome in client.stylize_folder(photos, concurrency=2):
        events.append(outcome.source.name)
        gateway.let(gateway.finish)
    assert events[-1] == "0.jpg"
    assert len(events) == 9


def test_breaking_off_cancels_what_is_under_way(gateway: FakeGateway, client: Client, photos: Path) -> None:
    gateway.finish = lambda job: job.photo == b"photo 0"
    with closing(client.stylize_folder(photos, concurrency=3)) as outcomes:
        assert next(outcomes).source.name == "0.jpg"
        gateway.until(lambda: len(gateway.jobs) == 4)
    statuses = [job.status for job in gateway.jobs.values()]
    assert statuses.count("done") == 1
    assert statuses.count("cancelled") == 3
    assert client.stylize(b"photo 0").data  # of the client itself nothing is closed


def test_breaking_off_cancels_what_is_accepted_after_it(gateway: FakeGateway, photos: Path) -> None:
    gateway.finish = lambda job: job.photo == b"photo 0"
    own = Client(gateway.url)

    def submit(photo: Path) -> Job:
        job = own.submit(photo)
        if photo.name != "0.jpg":
            own._transport._stop.wait(PATIENCE_S)  # until the other jobs are about to be cancelled
        return job

    with closing(draw(own, iter([photos / "0.jpg", photos / "1.jpg"]), submit, 1)) as outcomes:
        assert next(outcomes).picture
        gateway.until(lambda: len(gateway.jobs) == 2)
    assert [job.status for job in gateway.jobs.values()] == ["done", "cancelled"]


def test_breaking_off_does_not_wait_for_a_busy_server(gateway: FakeGateway, client: Client, photos: Path) -> None:
    busy = problem(429, "share_full", retryable=True, retry_after_s=20)
    gateway.replies("POST .*", Reply(acts=True), *[busy] * 20)
    with closing(client.stylize_folder(photos, concurrency=2)) as outcomes:
        assert next(outcomes).picture
        gateway.until(lambda: len(gateway.requests_like("POST .*")) == 3)  # one is served, and two are told to wait
    assert len(gateway.requests_like("POST .*")) == 3


def test_a_folder_that_is_none(client: Client, photos: Path) -> None:
    for path in (photos / "0.jpg", str(photos / "nowhere")):
        with pytest.raises(NotADirectoryError, match="is no folder"):
            client.stylize_folder(path)
    assert list(client.stylize_folder([])) == []

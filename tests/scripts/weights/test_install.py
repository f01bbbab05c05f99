"""Styles fetched into the user's home, from a server that behaves or does not."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from animegan.errors import BadSetting, BadWeights, DownloadFailed, StyleNotInstalled
from animegan.styles import Checkpoint, Style, bundled_styles, get_style, installed_dir, verify
from animegan_cli.weights import download, install
from harness.files import tflite_weights
from harness.files import weight_files as files
from harness.files.published import Site, check_absent, publish

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    return files.checkpoint(files.other())


@pytest.fixture
def site(checkpoint: bytes) -> Iterator[Site]:
    with publish(checkpoint) as site:
        yield site


def paprika(site: Site, git_blob_id: str = "") -> Style:
    source = Checkpoint(url=site.url, git_blob_id=git_blob_id or site.git_blob_id)
    return bundled_styles()["paprika"].model_copy(update={"checkpoint": source})


def fetch(style: Style, timeout_s: float = 10) -> Style:
    return install.fetch(style, timeout_s=timeout_s, pause_s=0.01)


def part_of(style: Style) -> Path:
    assert style.checkpoint
    return installed_dir() / f".paprika-{style.checkpoint.git_blob_id}.part"


def check_installed(style: Style) -> None:
    """The home has the whole style and nothing half done."""
    assert get_style("paprika") == style
    assert load_file(verify(style)).keys() == files.other().keys()
    assert sorted(file.name for file in installed_dir().iterdir()) == [
        ".paprika.lock",
        "paprika.json",
        "paprika.safetensors",
    ]


def test_fetch_installs_what_was_published(site: Site) -> None:
    steps: list[tuple[int, int | None]] = []
    entry = paprika(site)
    style = install.fetch(entry, progress=lambda position, total: steps.append((position, total)))
    check_installed(style)
    assert site.range_headers == [None]
    assert steps[0] == (0, len(site.content))
    assert steps[-1] == (len(site.content), len(site.content))
    assert steps == sorted(steps)
    assert style == entry.model_copy(update={"weights": "paprika.safetensors", "sha256": style.sha256})
    expected = files.other()
    tensors = load_file(verify(style))
    assert all(tensors[name].equal(tensor) for name, tensor in expected.items())
    assert tensors["out_layer.0.weight"].dtype == expected["out_layer.0.weight"].dtype
    assert install.state(style) == "installed"
    assert install.is_intact("paprika")


def test_a_broken_connection_is_continued(site: Site) -> None:
    site.breaks = [2**20, 2**19]
    check_installed(fetch(paprika(site)))
    assert site.range_headers == [None, f"bytes={2**20}-", f"bytes={2**20 + 2**19}-"]


def test_the_next_call_continues_where_the_last_one_ended(site: Site) -> None:
    style = paprika(site)
    site.breaks = [2**19, 0, 0, 0]
    with pytest.raises(DownloadFailed, match=r"in 4 attempts: the connection .* animegan import FILE --style paprika"):
        fetch(style)
    check_absent()
    assert part_of(style).stat().st_size == 2**19
    check_installed(fetch(style))
    assert site.range_headers[-1] == f"bytes={2**19}-"


def test_a_server_without_ranges_sends_it_again(site: Site) -> None:
    site.ranges = False
    site.breaks = [2**20]
    check_installed(fetch(paprika(site)))
    assert site.range_headers == [None, f"bytes={2**20}-"]


def test_a_range_that_was_not_asked_for_is_not_taken(site: Site) -> None:
    site.shifted = True
    site.breaks = [2**20]
    check_installed(fetch(paprika(site)))
    assert site.range_headers == [None, f"bytes={2**20}-", None]


def test_a_server_that_tells_no_length(site: Site) -> None:
    site.length = False
    check_installed(fetch(paprika(site)))


@pytest.mark.parametrize("start", [b"not the beginning", bytes(10_000_000)])
def test_a_damaged_or_too_long_part_is_thrown_away(site: Site, start: bytes) -> None:
    style = paprika(site)
    installed_dir().mkdir(parents=True)
    part_of(style).write_bytes(start)
    check_installed(fetch(style))
    assert site.range_headers == [f"bytes={len(start)}-", None]


def test_a_whole_part_needs_no_server(checkpoint: bytes) -> None:
    with publish(checkpoint) as site:
        style = paprika(site)
    installed_dir().mkdir(parents=True)
    part_of(style).write_bytes(checkpoint)
    check_installed(fetch(style))
    assert site.range_headers == []


@pytest.mark.parametrize(("aligned", "resize"), [(False, "asymmetric"), (True, "align_corners")])
def test_a_graph_decides_how_its_style_scales_up_and_tensors_leave_it_to_the_entry(
    tmp_path: Path, aligned: bool, resize: str
) -> None:
    graph, tensors = tmp_path / "graph.tflite", tmp_path / "tensors.pt"
    graph.write_bytes(tflite_weights.tensorflow_lite(files.other(), "float16", aligned=aligned))
    tensors.write_bytes(files.checkpoint(files.other()))
    install.import_file(graph, "hayao")
    assert get_style("hayao").resize == resize
    install.import_file(tensors, "hayao")
    assert get_style("hayao").resize == "asymmetric"
    install.import_file(tensors, "mine", license="MIT")
    assert get_style("mine").resize is None


def test_another_file_than_the_published_one_is_refused(site: Site) -> None:
    style = paprika(site, "0" * 40)
    with pytest.raises(DownloadFailed, match=rf"git blob id {site.git_blob_id}, not 0{{40}}"):
        fetch(style)
    check_absent()
    assert not part_of(style).exists()
    assert site.range_headers == [None]


def test_a_published_file_that_is_no_generator_is_refused() -> None:
    with publish(b"\x80not a checkpoint") as site, pytest.raises(BadWeights):
        fetch(paprika(site))
    check_absent()


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_final_answer_is_not_asked_for_twice(site: Site, status: int) -> None:
    site.statuses = [status]
    with pytest.raises(DownloadFailed, match=rf"style\.pt could not be downloaded: the server answered {status} "):
        fetch(paprika(site))
    check_absent()
    assert len(site.range_headers) == 1


def test_a_passing_fault_is_waited_out(site: Site) -> None:
    site.statuses = [503, 429, 500]
    check_installed(fetch(paprika(site)))
    assert len(site.range_headers) == 4


def test_a_lasting_fault_is_told(site: Site) -> None:
    site.statuses = [503] * 9
    with pytest.raises(DownloadFailed, match="in 4 attempts: the server answered 503 Service Unavailable"):
        fetch(paprika(site))
    assert len(site.range_headers) == 4


def test_no_network(checkpoint: bytes) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        url = f"http://127.0.0.1:{server.getsockname()[1]}/style.pt"
        with pytest.raises(DownloadFailed) as error:
            fetch(paprika(Site(checkpoint, url=url)))
    assert url in error.value.detail
    assert "animegan import FILE --style paprika" in error.value.detail
    assert error.value.retryable
    check_absent()


def test_a_stalled_server_is_given_up_and_continued(site: Site) -> None:
    style = paprika(site)
    site.stalls, site.breaks = True, [2**18, 0, 0, 0]
    with pytest.raises(DownloadFailed, match="in 4 attempts"):
        fetch(style, timeout_s=0.2)
    assert part_of(style).stat().st_size == 2**18
    check_installed(fetch(style))
    assert site.range_headers == [None, *[f"bytes={2**18}-"] * 4]


@pytest.mark.parametrize("length", [True, False])
def test_a_file_over_the_limit_is_not_kept(site: Site, monkeypatch: pytest.MonkeyPatch, length: bool) -> None:
    monkeypatch.setattr(download, "MOST_BYTES", 2**20)
    site.length = length
    style = paprika(site)
    with pytest.raises(DownloadFailed, match="larger than 1 MiB"):
        fetch(style)
    assert not part_of(style).exists()
    check_absent()


def test_a_style_without_a_checkpoint_says_how_to_import() -> None:
    with pytest.raises(StyleNotInstalled, match="AnimeGANv2, then run: animegan import FILE --style hayao"):
        install.fetch(bundled_styles()["hayao"])


def test_a_damaged_style_is_fetched_anew(site: Site) -> None:
    style = fetch(paprika(site))
    verify(style).write_bytes(b"damaged")
    assert not install.is_intact("paprika")
    check_installed(fetch(get_style("paprika")))
    assert install.is_intact("paprika")


def test_a_damaged_entry_is_replaced(site: Site) -> None:
    fetch(paprika(site))
    (installed_dir() / "paprika.json").write_text("{")
    assert not install.is_intact("paprika")
    check_installed(fetch(paprika(site)))


def test_two_at_once_do_not_mix(site: Site, home: Path) -> None:
    folder = home / "styles"
    folder.mkdir(parents=True)
    with (folder / ".paprika.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BadSetting, match="Another animegan is installing 'paprika'"):
            fetch(paprika(site))
    check_installed(fetch(paprika(site)))


def test_killed_while_downloading_it_continues(site: Site) -> None:
    style = paprika(site)
    site.stalls, site.breaks = True, [2_000_000]
    code = "import sys\nfrom animegan.styles import Style\nfrom animegan_cli.weights.install import fetch\n"
    code += "fetch(Style.model_validate_json(sys.argv[1]), progress=lambda done, total: print(done, flush=True))"
    with subprocess.Popen(
        [sys.executable, "-c", code, style.model_dump_json()],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "handler"), str(ROOT / "scripts")])},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) >= 1_900_000:
                break
        process.send_signal(signal.SIGKILL)
    check_absent()
    assert part_of(style).stat().st_size > 1_000_000
    check_installed(fetch(style))
    assert site.range_headers[0] is None
    assert site.range_headers[1] != "bytes=0-"
    assert len(site.range_headers) == 2


def test_an_unwritable_home(site: Site, home: Path) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(BadSetting, match=r"home/styles can't be written: Not a directory\..*ANIMEGAN_HOME"):
        fetch(paprika(site))
    assert site.range_headers == []


def test_blob_id_is_gits(tmp_path: Path) -> None:
    file = tmp_path / "hello"
    file.write_bytes(b"hello\n")
    assert download.blob_id(file) == "ce013625030ba8dba906f756967f9e9ca394464a"  # of `git hash-object`

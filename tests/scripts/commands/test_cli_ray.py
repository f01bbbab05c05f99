"""`animegan stylize --ray`: a real cluster of two machines' workers, local files and S3, one of them killed midway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import psutil
import pytest
from PIL import Image

from animegan.errors import BadSetting
from animegan_cli.serving.ports import free_port
from animegan_cli.stylize.cluster import chunked, shape_of
from animegan_cli.stylize.journal import NAME
from animegan_cli.stylize.places import check_access, place
from animegan_cli.stylize.tasks import Task
from harness.commands import run_command
from harness.pictures import encoded, photo
from harness.servers import wait_until
from harness.stores import S3Server, s3_server

RAY = Path(sys.executable).with_name("ray")
SETTINGS = {"ANIMEGAN_WARMUP_PX": "0", "ANIMEGAN_PRECISION": "fp32", "ANIMEGAN_CPU_THREADS": "1"}
PATIENT = {  # on a busy machine
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_agent_register_timeout_ms": "300000",
}
ENVIRONMENT = {**os.environ, **SETTINGS, **PATIENT, "LC_ALL": "C", "RAY_USAGE_STATS_ENABLED": "0"}
COMMAND = [sys.executable, "-m", "animegan_cli", "stylize"]
COUNT = 16

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(not RAY.exists(), reason="Ray is not installed"),
]


@dataclass
class Cluster:
    """Two raylets of one worker each; S3 beside them, which they reach by their environment."""

    address: str
    environment: dict[str, str]
    second: psutil.Process

    def kill_the_second(self) -> None:
        for process in [*self.second.children(recursive=True), self.second]:
            process.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / "bucket").mkdir()
    address = f"127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    with s3_server(folder) as (server, _):
        reach = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
            "AWS_ACCESS_KEY_ID": S3Server.KEY,
            "AWS_SECRET_ACCESS_KEY": S3Server.SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        environment = {**ENVIRONMENT, **reach}
        temporary = Path("/tmp/animegan-ray") / port  # the paths of Ray's sockets may have 107 bytes
        head = ["--head", "--port", port, "--include-dashboard", "false", "--temp-dir", str(temporary)]
        try:
            with _raylet(head, environment), _raylet(["--address", address], environment) as second:
                yield Cluster(address, environment, second)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _raylet(options: list[str], environment: dict[str, str]) -> Iterator[psutil.Popen]:
    """Start what `ray start` starts, wait until it is there, and end all of it."""
    command = [str(RAY), "start", *options, "--block", "--num-cpus", "1", "--node-ip-address", "127.0.0.1"]
    for name in ("dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent", "metrics-export"):
        command += [f"--{name}-port", str(free_port())]  # without, a raylet ends that waits 15 s to be told of one
    command += ["--min-worker-port", "0", "--max-worker-port", "0"]  # any that is free, for these may be in its range
    command += ["--disable-usage-stats", "--object-store-memory", str(100 * 2**20)]
    with NamedTemporaryFile("w+") as output:
        process = psutil.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)

        def is_ready() -> bool:
            text = Path(output.name).read_text()
            assert process.poll() is None, text
            return "Ray runtime started" in text

        try:
            wait_until(is_ready, "ray start")
            yield process
        finally:
            for each in [*process.children(recursive=True), process] if process.is_running() else []:
                each.kill()
            process.wait()


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(COUNT):
        (folder / f"{number}.png").write_bytes(encoded(photo(320 + 8 * number, 240), "PNG"))
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def drawings(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The photos as drawn without a cluster."""
    out = tmp_path_factory.mktemp("local")
    process = run_command("stylize", photos, "-o", out, "--format", "png", environment=ENVIRONMENT)
    assert process.returncode == 0, process.stderr
    return pictures(out)


def pictures(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.png"))}


def stylize(cluster: Cluster, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments), "--format", "png", "--ray", cluster.address]
    return subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False)


def test_from_s3_to_s3(cluster: Cluster, photos: Path, drawings: dict[str, bytes]) -> None:
    from upath import UPath  # noqa: PLC0415 - where Ray is not installed, it is not either

    environment = cluster.environment
    options = {"key": S3Server.KEY, "secret": S3Server.SECRET, "endpoint_url": environment["AWS_ENDPOINT_URL"]}
    bucket = UPath("s3://bucket", **options)
    for name in ("0.png", "1.png"):
        (bucket / "photos" / name).write_bytes((photos / name).read_bytes())
    process = stylize(cluster, "s3://bucket/photos", "-o", "s3://bucket/drawn")
    assert process.returncode == 0, process.stderr
    for name in ("0.png", "1.png"):
        assert (bucket / "drawn" / name).read_bytes() == drawings[name]
    notes = map(json.loads, (bucket / "drawn" / NAME).read_text().splitlines())
    assert {entry["output"] for entry in notes} == {"0.png", "1.png"}
    again = stylize(cluster, "s3://bucket/photos", "-o", "s3://bucket/drawn")
    assert "2 of 2 are done already" in again.stdout, again.stderr


def test_a_cluster_draws_what_one_process_draws_though_one_of_its_two_machines_is_killed(
    cluster: Cluster, photos: Path, drawings: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [str(photos), "-o", str(out), "--format", "png", "--ray", cluster.address]
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--report", str(tmp_path / "report")],
        env=cluster.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    actors = "FlatMap(Drawer)"

    def both_draw() -> bool:
        names = [_name(child) for child in cluster.second.children(recursive=True)]
        return any(actors in name for name in names) and 2 <= len(list(out.glob("*.png"))) < COUNT

    wait_until(both_draw, "both to draw")
    cluster.kill_the_second()
    _, output = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "left out" in output
    assert pictures(out) == drawings
    entries = [json.loads(line)["output"] for line in (out / NAME).read_text().splitlines()]
    assert sorted(entries) == sorted(drawings)
    assert len(json.loads((tmp_path / "report.json").read_text())["drawn"]) == COUNT
    again = subprocess.run([*COMMAND, *arguments], env=cluster.environment, capture_output=True, text=True, check=False)
    assert f"{COUNT} of {COUNT} are done already" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ray", "127.0.0.1:9"], "--ray 127.0.0.1:9: no Ray cluster answers. Start one with `ray start --head`"),
        (["--ray", "auto", "--watch"], "leave out --server, --watch and -"),
        (["--ray", "auto", "--server", "http://127.0.0.1:9"], "leave out --server, --watch and -"),
        (["s3://bucket/photos"], "s3://bucket/photos is an address, which --ray alone reads and writes."),
    ],
)
def test_a_clear_line_for_each_mistake(photos: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    command = [*COMMAND, str(photos), "-o", str(tmp_path / "out"), *arguments]
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert words in process.stderr
    assert "Traceback" not in process.stderr


def test_a_chunk_has_one_shape(photos: Path, tmp_path: Path) -> None:
    sources = [photos / "0.png", photos / "1.png", photos / "0.png", photos / "0.png", photos / "notes.txt"]
    tasks = [Task(source, tmp_path / "x", ".png", "png") for source in sources]
    shapes = [shape_of(task) for task in tasks]
    assert shapes == [(320, 240), (328, 240), (320, 240), (320, 240), None]
    chunks = chunked(zip(tasks, shapes, strict=True), 2)
    assert [[task.source.name for task in chunk] for chunk in chunks] == [
        ["0.png", "0.png"],
        ["0.png"],
        ["1.png"],
        ["notes.txt"],
    ]


def test_a_drawing_is_whole(drawings: dict[str, bytes], photos: Path, tmp_path: Path) -> None:
    for name, data in drawings.items():
        (tmp_path / name).write_bytes(data)
        with Image.open(tmp_path / name) as anime, Image.open(photos / name) as source:
            anime.load()
            assert anime.size == source.size


def test_an_address_that_lets_nobody_in_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # which botocore asks for keys, for seconds
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BadSetting, match=r"s3://bucket/photos can't be reached: Unable to locate credentials\. Check"):
        check_access(place("s3://bucket/photos"))
    check_access(tmp_path / "nothing")

"""The set-up, for real: in a small checkout of its own, with locks that name two small packages, and no network."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from benchmarks.report import module_of

pytestmark = pytest.mark.slow

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
ROOT = Path(__file__).resolve().parents[3]
MAIN = 'import sys\n\n\ndef main():\n    print("command", *sys.argv[1:])\n'
MODULE = 'import sys\nimport tiny\nimport beside\nprint("module", tiny.VERSION, *sys.argv[1:])\n'


def wheel(folder: Path, name: str, version: str, needs: str = "") -> Path:
    """A package of one module, packed for pip; it may need another package."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        requirement = f"Requires-Dist: {needs}\n" if needs else ""
        packed.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirement}")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    return file


def pin(file: Path, digest: str = "") -> str:
    """A lock's lines for that wheel."""
    name, version, *_ = file.name.split("-")
    digest = digest or hashlib.sha256(file.read_bytes() if file.exists() else b"").hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"


class Checkout:
    """A folder with what the set-up reads; its name has a space in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.wheels = folder / "wheels"
        self.wheels.mkdir(parents=True)
        self.cpu_build = wheel(folder / "cpu", "torch", "1.0+cpu")
        self.default_build = wheel(self.wheels, "torch", "1.0")
        wheel(self.wheels, "tiny", "1.0")
        for name in ("bootstrap.py", "bootstrap.sh", "serve"):
            (self.root / "scripts").mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts" / name)
        self.write("scripts/animegan_cli/__init__.py", "")
        self.write("scripts/animegan_cli/main.py", MAIN)
        self.write("scripts/animegan_cli/serving/serve.py", MODULE)
        self.write("handler/beside.py", "")
        self.write("requirements/torch-cpu.txt", "torch==1.0+cpu\n")
        for lock in ("cpu", "dev"):
            self.lock(lock, "1.0")

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def lock(self, name: str, version: str, digest: str = "") -> None:
        """Pin that version of tiny, with the hash of its wheel if there is one, or with `digest`."""
        pins = pin(self.wheels / f"tiny-{version}-py3-none-any.whl", digest)
        self.write(f"requirements/{name}.txt", pins)
        if name == "cpu":  # it is a part of the other
            self.write("requirements/cuda.txt", pins + pin(self.default_build))

    def torch(self) -> str:
        """The version in the virtual environment."""
        [info] = (self.root / ".venv" / "lib").glob("python3.*/site-packages/torch-*.dist-info")
        return info.name.removeprefix("torch-").removesuffix(".dist-info")

    def start(self, *command: str | Path, **variables: str) -> subprocess.Popen[str]:
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("ANIMEGAN_", "PIP_", "PYTHON"))
        }
        offline = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"{self.wheels} {self.cpu_build.parent}",
            "PIP_CONFIG_FILE": os.devnull,
        }
        return subprocess.Popen(
            command
            or (sys.executable, self.root / "scripts" / "bootstrap.py", "--exec", "animegan_cli.serving.serve", "a b"),
            env={**own, **offline, "ANIMEGAN_LOCK": "cpu", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str | Path, status: int = 0, **variables: str) -> str:
        process = self.start(*command, **variables)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        return output


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """One that is set up; a test that changes it leaves it set up."""
    checkout = Checkout(tmp_path_factory.mktemp("bootstrap"))
    output = checkout.run()
    assert output.splitlines()[-2:] == ["Set up", "module 1.0 a b"]
    return checkout


@pytest.fixture
def fresh(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_a_virtual_environment_of_another_checkout_is_left_alone(fresh: Checkout, tmp_path: Path) -> None:
    other = tmp_path / "another checkout" / ".venv"
    other.mkdir(parents=True)
    (other / "theirs").touch()
    (fresh.root / ".venv").symlink_to(other)
    output = fresh.run(status=1)
    assert f"is a link to {other}" in output
    assert output.count("\n") == 1
    assert [file.name for file in other.iterdir()] == ["theirs"]


def test_the_second_time_nothing_is_done(shared: Checkout) -> None:
    assert shared.run(PIP_FIND_LINKS="/nowhere") == "module 1.0 a b\n"


def test_the_scripts_run_from_anywhere_and_through_links(shared: Checkout, tmp_path: Path) -> None:
    for name, target in (("serve", "scripts/serve"), ("animegan", ".venv/bin/animegan")):
        (tmp_path / name).symlink_to(shared.root / target)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert shared.run(tmp_path / "serve", "--x", "y z", PATH=path) == "module 1.0 --x y z\n"
    assert shared.run(tmp_path / "animegan", "--x", "y z") == "command --x y z\n"


def test_a_changed_lock_is_installed(shared: Checkout) -> None:
    wheel(shared.wheels, "tiny", "2.0")
    shared.lock("cpu", "2.0")
    assert shared.run().endswith("Set up\nmodule 2.0 a b\n")
    shared.lock("cpu", "1.0")
    assert shared.run().endswith("Set up\nmodule 1.0 a b\n")


def test_a_further_lock_is_installed_beside(shared: Checkout) -> None:
    command = (sys.executable, shared.root / "scripts" / "bootstrap.py", "dev")
    assert "requirements/dev.txt" in shared.run(*command)
    assert shared.run(*command) == ""
    assert shared.run() == "module 1.0 a b\n"


def test_what_pip_cannot_install_is_told_and_can_be_mended(shared: Checkout) -> None:
    shared.lock("cpu", "3.0")
    output = shared.run(status=1)
    assert "Set-up: pip failed" in output
    assert "tiny==3.0" in output
    assert "Traceback" not in output
    shared.lock("cpu", "1.0")
    output = shared.run()
    assert "Making .venv" not in output
    assert output.endswith("module 1.0 a b\n")


def test_a_file_with_another_hash_is_refused(shared: Checkout) -> None:
    wheel(shared.wheels, "tiny", "5.0")
    shared.lock("cpu", "5.0", digest="0" * 64)
    output = shared.run(status=1)
    assert "DO NOT MATCH THE HASHES" in output
    assert "tiny==5.0" in output
    shared.lock("cpu", "1.0")
    assert shared.run().endswith("module 1.0 a b\n")


def test_a_package_that_no_lock_names_is_refused(shared: Checkout) -> None:
    wheel(shared.wheels, "stranger", "1.0")
    wheel(shared.wheels, "tiny", "6.0", needs="stranger")
    shared.lock("cpu", "6.0")
    output = shared.run(status=1)
    assert "stranger from" in output
    assert "must have their versions pinned" in output
    shared.lock("cpu", "1.0")
    assert shared.run().endswith("module 1.0 a b\n")


def test_the_runtime_is_not_built_from_sources(shared: Checkout) -> None:
    with tarfile.open(shared.wheels / "tiny-7.0.tar.gz", "w:gz") as packed:
        packed.add(shared.root / "scripts" / "serve", "tiny-7.0/setup.py")
    digest = hashlib.sha256((shared.wheels / "tiny-7.0.tar.gz").read_bytes()).hexdigest()
    shared.lock("cpu", "7.0", digest=digest)
    assert "No matching distribution found for tiny==7.0" in shared.run(status=1)
    shared.lock("cpu", "1.0")
    assert shared.run().endswith("module 1.0 a b\n")


def test_an_environment_that_is_broken_is_made_anew(shared: Checkout) -> None:
    (shared.root / ".venv" / "bin" / "python").unlink()
    output = shared.run()
    assert "Making .venv" in output
    assert output.endswith("module 1.0 a b\n")


def test_another_runtime_starts_from_nothing(shared: Checkout) -> None:
    """pip would keep the torch of the other build, which satisfies the same pin."""
    assert "Making .venv" in shared.run(ANIMEGAN_LOCK="cuda", PIP_FIND_LINKS=str(shared.wheels))
    assert shared.torch() == "1.0"
    assert "Making .venv" in shared.run(ANIMEGAN_LOCK="cpu")
    assert shared.torch() == "1.0+cpu"


def test_without_a_cpu_build_the_default_build_is_taken_and_checked(fresh: Checkout, tmp_path: Path) -> None:
    fresh.cpu_build.unlink()
    wheel(fresh.wheels, "torch", "1.0", needs="tiny")  # not the file that was locked
    (tmp_path / "constraints.txt").write_text("torch<2\n")  # pip tells in other words then that there is none
    output = fresh.run(status=1, PIP_CONSTRAINT=str(tmp_path / "constraints.txt"))
    assert output.index(f"trying {TORCH_INDEX}") < output.index("set ANIMEGAN_TORCH_INDEX")
    assert "DO NOT MATCH THE HASHES" in output
    fresh.default_build = wheel(fresh.wheels, "torch", "1.0")
    fresh.lock("cpu", "1.0")
    assert fresh.run().endswith("module 1.0 a b\n")
    assert fresh.torch() == "1.0"


def test_the_cpu_build_comes_from_the_index_that_is_named(fresh: Checkout, tmp_path: Path) -> None:
    page = tmp_path / "index" / "torch" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!DOCTYPE html><html><body></body></html>")
    elsewhere = fresh.cpu_build.rename(page.with_name(fresh.cpu_build.name))
    index = page.parents[1].as_uri()

    def run(status: int) -> str:
        return fresh.run(status=status, ANIMEGAN_TORCH_INDEX=index, PIP_NO_INDEX="0", PIP_INDEX_URL="file:///nowhere")

    assert f"ANIMEGAN_TORCH_INDEX={index!r} has no torch==1.0+cpu" in run(1)
    page.write_text(f'<!DOCTYPE html><html><body><a href="{elsewhere.name}">{elsewhere.name}</a></body></html>')
    assert run(0).endswith("module 1.0 a b\n")
    assert fresh.torch() == "1.0+cpu"


def test_without_a_cpu_build_where_pip_looks_pytorchs_own_index_has_it(fresh: Checkout, tmp_path: Path) -> None:
    page = tmp_path / "index" / "torch" / "index.html"
    page.parent.mkdir(parents=True)
    build = fresh.cpu_build.rename(page.with_name(fresh.cpu_build.name))
    page.write_text(f'<!DOCTYPE html><html><body><a href="{build.name}">{build.name}</a></body></html>')
    script = fresh.root / "scripts" / "bootstrap.py"
    index = page.parents[1].as_uri()
    script.write_text(script.read_text().replace(TORCH_INDEX, index))
    output = fresh.run(PIP_NO_INDEX="0", PIP_INDEX_URL="file:///nowhere")
    assert f"not found where pip looks; trying {index}" in output
    assert output.endswith("module 1.0 a b\n")
    assert fresh.torch() == "1.0+cpu"


def test_a_python_that_is_too_new_is_refused_in_one_sentence(fresh: Checkout) -> None:
    launcher = (
        "import platform, runpy, sys\n"
        "sys.version_info, platform.python_version = (3, 14, 1, 'final', 0), lambda: '3.14.1'\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    output = fresh.run(sys.executable, "-c", launcher, fresh.root / "scripts" / "bootstrap.py", status=1)
    assert output == f"Set-up: {sys.executable} is Python 3.14.1. Use one of 3.11, 3.12, 3.13.\n"
    assert not (fresh.root / ".venv").exists()


def test_a_set_up_that_was_killed_is_repaired(shared: Checkout) -> None:
    (shared.root / ".venv" / ".installed" / "cpu").unlink()
    (shared.root / ".venv" / ".installed" / "unfinished").touch()
    output = shared.run()
    assert "Making .venv" in output
    assert output.endswith("module 1.0 a b\n")


def test_a_signal_ends_it_and_pip(shared: Checkout) -> None:
    wheel(shared.wheels, "tiny", "4.0")
    shared.lock("cpu", "4.0")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes pip's request and never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        process = shared.start(ANIMEGAN_TORCH_INDEX=index, PIP_NO_INDEX="0", PIP_INDEX_URL=index)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
        while connection.recv(4096):  # ends once pip has ended, not before
            pass
        connection.close()
    assert process.returncode == 143
    assert "Traceback" not in output
    shared.lock("cpu", "1.0")
    assert "Making .venv" not in shared.run()


def test_two_at_once_take_turns(fresh: Checkout) -> None:
    both = [fresh.start(), fresh.start()]
    output = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("Making .venv" in each for each in output) == 1
    assert all(each.endswith("module 1.0 a b\n") for each in output)


def test_a_python_without_venv_is_told_the_package(fresh: Checkout, tmp_path: Path) -> None:
    launcher = (
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'ensurepip' else find(name, *rest)\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    output = fresh.run(sys.executable, "-c", launcher, fresh.root / "scripts" / "bootstrap.py", status=1)
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert f"apt-get install {package}" in output
    assert not (fresh.root / ".venv").exists()


def test_a_lock_that_is_none_is_named(fresh: Checkout) -> None:
    assert "ANIMEGAN_LOCK='tpu'" in fresh.run(status=1, ANIMEGAN_LOCK="tpu")


def test_no_python_that_is_new_enough(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "readlink"):
        path = shutil.which(tool)
        assert path
        (tmp_path / tool).symlink_to(path)
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase $2 in *print*) echo ", only 3.14.1" ;; *) exit 1 ;; esac\n')
    old.chmod(0o755)
    process = subprocess.run(
        [ROOT / "scripts" / "serve"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert "No Python 3.11, 3.12 or 3.13 is on the PATH, only 3.14.1. Install one" in process.stderr


def test_a_benchmark_that_is_none_is_named() -> None:
    for name in ("nonesuch", "../scripts/bootstrap", ""):
        process = subprocess.run([ROOT / "scripts" / "benchmark", name], capture_output=True, text=True, check=False)
        assert process.returncode == 2
        assert f'There is no benchmark "{name}". Usage: scripts/benchmark NAME' in process.stderr
        names = process.stderr.split("one of: ")[1].split()
    assert len(names) == len(set(names)), "a name is that of one benchmark, whatever room it is in"
    assert {module_of(file.stem).stem for file in (ROOT / "benchmarks" / "results").glob("*.json")} <= set(names)

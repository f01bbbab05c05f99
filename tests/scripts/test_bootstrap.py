"""The set-up, for real: in a small checkout of its own, with locks that name one small package, and no network."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAIN = 'import sys\n\n\ndef main():\n    print("command", *sys.argv[1:])\n'
MODULE = 'import sys\nimport tiny\nimport beside\nprint("module", tiny.VERSION, *sys.argv[1:])\n'


def wheel(folder: Path, version: str) -> None:
    """The package tiny, packed for pip."""
    folder.mkdir(exist_ok=True)
    info = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as packed:
        packed.writestr("tiny.py", f"VERSION = {version!r}\n")
        packed.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")


class Checkout:
    """A folder with what the set-up reads; its name has a space in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.wheels = folder / "wheels"
        self.wheels.mkdir(parents=True)
        wheel(self.wheels, "1.0")
        for name in ("bootstrap.py", "bootstrap.sh", "serve"):
            (self.root / "scripts").mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts" / name)
        self.write("scripts/animegan_cli/__init__.py", "")
        self.write("scripts/animegan_cli/main.py", MAIN)
        self.write("scripts/animegan_cli/serve.py", MODULE)
        self.write("handler/beside.py", "")
        for lock in ("cpu", "dev"):
            self.lock(lock, "tiny==1.0")

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def lock(self, name: str, text: str) -> None:
        self.write(f"requirements/{name}.txt", f"{text}\n")
        if name == "cpu":  # it is a part of the other
            self.write("requirements/cuda.txt", f"{text}\n")

    def start(self, *command: str | Path, **variables: str) -> subprocess.Popen[str]:
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("ANIMEGAN_", "PIP_", "PYTHON"))
        }
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        return subprocess.Popen(
            command or (sys.executable, self.root / "scripts" / "bootstrap.py", "--exec", "animegan_cli.serve", "a b"),
            env={**own, **offline, "ANIMEGAN_LOCK": "cpu", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str | Path, status: int = 0, **variables: str) -> str:
        process = self.start(*command, **variables)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == status, said
        return said


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """One that is set up; a test that changes it leaves it set up."""
    checkout = Checkout(tmp_path_factory.mktemp("bootstrap"))
    said = checkout.run()
    assert said.splitlines()[-2:] == ["Set up", "module 1.0 a b"]
    return checkout


@pytest.fixture
def fresh(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_second_time_nothing_is_done(shared: Checkout) -> None:
    assert shared.run(PIP_FIND_LINKS="/nowhere") == "module 1.0 a b\n"


def test_the_scripts_run_from_anywhere_and_through_links(shared: Checkout, tmp_path: Path) -> None:
    for name, target in (("serve", "scripts/serve"), ("animegan", ".venv/bin/animegan")):
        (tmp_path / name).symlink_to(shared.root / target)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert shared.run(tmp_path / "serve", "--x", "y z", PATH=path) == "module 1.0 --x y z\n"
    assert shared.run(tmp_path / "animegan", "--x", "y z") == "command --x y z\n"


def test_a_changed_lock_is_installed(shared: Checkout) -> None:
    wheel(shared.wheels, "2.0")
    shared.lock("cpu", "tiny==2.0")
    assert shared.run().endswith("Set up\nmodule 2.0 a b\n")
    shared.lock("cpu", "tiny==1.0")
    assert shared.run().endswith("Set up\nmodule 1.0 a b\n")


def test_a_further_lock_is_installed_beside(shared: Checkout) -> None:
    command = (sys.executable, shared.root / "scripts" / "bootstrap.py", "dev")
    assert "requirements/dev.txt" in shared.run(*command)
    assert shared.run(*command) == ""
    assert shared.run() == "module 1.0 a b\n"


def test_what_pip_cannot_install_is_told_and_can_be_mended(shared: Checkout) -> None:
    shared.lock("cpu", "tiny==3.0")
    said = shared.run(status=1)
    assert "Set-up: pip failed" in said
    assert "tiny==3.0" in said
    assert "Traceback" not in said
    shared.lock("cpu", "tiny==1.0")
    said = shared.run()
    assert "Making .venv" not in said
    assert said.endswith("module 1.0 a b\n")


def test_an_environment_that_is_broken_is_made_anew(shared: Checkout) -> None:
    (shared.root / ".venv" / "bin" / "python").unlink()
    said = shared.run()
    assert "Making .venv" in said
    assert said.endswith("module 1.0 a b\n")


def test_another_runtime_starts_from_nothing(shared: Checkout) -> None:
    """pip would keep the torch of the other build, which satisfies the same pin."""
    assert "Making .venv" in shared.run(ANIMEGAN_LOCK="cuda")
    assert "Making .venv" in shared.run(ANIMEGAN_LOCK="cpu")


def test_a_set_up_that_was_killed_is_repaired(shared: Checkout) -> None:
    (shared.root / ".venv" / ".installed" / "cpu").unlink()
    (shared.root / ".venv" / ".installed" / "unfinished").touch()
    said = shared.run()
    assert "Making .venv" in said
    assert said.endswith("module 1.0 a b\n")


def test_a_signal_ends_it_and_pip(shared: Checkout) -> None:
    wheel(shared.wheels, "4.0")
    shared.lock("cpu", "tiny==4.0")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes pip's request and never answers
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        process = shared.start(ANIMEGAN_TORCH_INDEX=index, PIP_NO_INDEX="0", PIP_INDEX_URL=index)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=120)
        while connection.recv(4096):  # ends once pip has ended, not before
            pass
        connection.close()
    assert process.returncode == 143
    assert "Traceback" not in said
    shared.lock("cpu", "tiny==1.0")
    assert "Making .venv" not in shared.run()


def test_two_at_once_take_turns(fresh: Checkout) -> None:
    both = [fresh.start(), fresh.start()]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("Making .venv" in each for each in said) == 1
    assert all(each.endswith("module 1.0 a b\n") for each in said)


def test_a_python_without_venv_is_told_the_package(fresh: Checkout, tmp_path: Path) -> None:
    launcher = (
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'ensurepip' else find(name, *rest)\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    said = fresh.run(sys.executable, "-c", launcher, fresh.root / "scripts" / "bootstrap.py", status=1)
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert f"apt-get install {package}" in said
    assert not (fresh.root / ".venv").exists()


def test_a_lock_that_is_none_is_named(fresh: Checkout) -> None:
    assert "ANIMEGAN_LOCK='tpu'" in fresh.run(status=1, ANIMEGAN_LOCK="tpu")


def test_no_python_that_is_new_enough(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "readlink"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "serve"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "No Python 3.11, 3.12 or 3.13" in done.stderr


def test_a_benchmark_that_is_none_is_named() -> None:
    for name in ("nonesuch", "../scripts/bootstrap", ""):
        done = subprocess.run([ROOT / "scripts" / "benchmark", name], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f'There is no benchmark "{name}". Usage: scripts/benchmark NAME' in done.stderr


def pins(lock: str) -> list[str]:
    return (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()


def test_the_cpu_lock_is_the_cuda_lock_without_cuda() -> None:
    assert pins("cpu") == [pin for pin in pins("cuda") if not re.match(r"nvidia-|cuda-|triton=", pin)]


@pytest.mark.parametrize("lock", ["cpu", "cuda", "dev", "java"])
def test_every_pin_is_exact(lock: str) -> None:
    assert pins(lock)
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", pin) for pin in pins(lock))


def test_dev_pins_what_the_runtime_pins() -> None:
    def versions(lock: str) -> dict[str, str]:
        return dict(pin.split(" ")[0].split("==") for pin in pins(lock))

    runtime, dev = versions("cuda"), versions("dev")
    assert {name: dev[name] for name in dev if name in runtime} == {
        name: runtime[name] for name in dev if name in runtime
    }

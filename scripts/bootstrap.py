"""Makes `.venv` in the checkout, installs the pinned locks into it, and then becomes one of its modules if asked to.

    bootstrap.py [dev] [java] [video] [--exec MODULE [ARGUMENT ...]]

`ANIMEGAN_LOCK` (cpu or cuda) chooses the runtime's lock, else an NVIDIA device does. PyTorch's CPU build comes from
`ANIMEGAN_TORCH_INDEX` where that is set, else from where pip looks by itself, else from PyTorch's own index. Every file
is checked against its hash in the lock, except that build: see requirements/README.md. Only the standard library is
used: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / ".installed"  # one file a lock, written last; it holds the lock's key
UNFINISHED = STAMPS / "unfinished"  # is there while pip writes; an end in between leaves it behind
RUNTIMES = ("cpu", "cuda")
PYTHONS = ((3, 11), (3, 12), (3, 13))
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # PyTorch's own index of its CPU builds
CPU_BUILD = "torch-cpu"  # PyTorch's build of its own for the CPU, of which the cpu lock is the rest
ROOMS = ("handler", "gateway", "scripts")  # where the import packages live

NOT_THERE = "No matching distribution found|ResolutionImpossible"  # the latter where pip.conf constrains torch
DOWNLOAD = re.compile(  # what pip prints of a file that is worth a line
    r"\s*Downloading (?:\S*/)?(?P<name>\S+?)-(?P<version>\d[^-\s]*?)(?:-\S+|\.tar\.gz) \((?P<size>[\d.]+ [MG]B)\)"
)

# Finds its Python beside itself, whatever the path holds and wherever the command is linked from.
COMMAND = """#!/bin/sh
'''exec' "$(dirname "$(readlink -f "$0")")/python" "$0" "$@"
' '''
import sys

from animegan_cli.main import main

sys.exit(main())
"""


class SetupError(Exception):
    """An error that the user reads as one line, without a traceback."""


class PipFailed(SetupError):
    """pip's last lines."""


def main(arguments: list[str]) -> None:
    """Install what is missing; replace this process by `-m MODULE` where `--exec` is given. Raises `SetupError`."""
    if sys.version_info[:2] not in PYTHONS:
        versions = ", ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        raise SetupError(f"{sys.executable} is Python {platform.python_version()}. Use one of {versions}.")
    if VENV.is_symlink():
        raise SetupError(
            f"{VENV} is a link to {VENV.readlink()}, and checkouts that share a virtual environment clear it for each "
            "other. Remove the link: this checkout gets one of its own."
        )
    cut = arguments.index("--exec") if "--exec" in arguments else len(arguments)
    locks = [runtime(), *arguments[:cut]]
    if not all(map(installed, locks)):
        with only_one():
            if not all(map(installed, locks)):
                set_up(locks)
    if command := arguments[cut + 1 :]:
        os.execv(PYTHON, [str(PYTHON), "-m", *command])  # noqa: S606 - no shell is meant


def runtime() -> str:
    """The runtime's lock for this machine, cpu or cuda."""
    lock = os.environ.get("ANIMEGAN_LOCK")
    if lock:
        if lock not in RUNTIMES:
            raise SetupError(f"ANIMEGAN_LOCK={lock!r} is not a lock. Use cpu or cuda, or leave it out.")
        return lock
    if Path("/dev/nvidia0").exists():
        return "cuda"
    tool = shutil.which("nvidia-smi")
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False).stdout if tool else ""
    return "cuda" if "GPU" in listed else "cpu"


def lock_file(lock: str) -> Path:
    return ROOT / "requirements" / f"{lock}.txt"


def key(lock: str) -> str:
    """Changes with the lock, the virtual environment's Python, the checkout's place and this file."""
    locks = (CPU_BUILD, "cpu", "cuda") if lock == "cpu" else (lock,)  # what it may install
    pins = [lock_file(each).read_bytes() for each in locks]
    parts = (*pins, bytes(PYTHON.resolve()), bytes(ROOT), Path(__file__).read_bytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed(lock: str) -> bool:
    stamp = STAMPS / lock
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == key(lock)


@contextmanager
def only_one() -> Iterator[None]:
    """Holds this file's lock: two set-ups of one checkout take turns."""
    with Path(__file__).open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another set-up of this checkout")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_up(locks: list[str]) -> None:
    """Make the virtual environment where there is none that works, and install the locks. Raises `SetupError`."""
    other = any((STAMPS / lock).exists() for lock in RUNTIMES if lock != locks[0])  # pip would keep the other's torch
    if other or UNFINISHED.exists() or not works():
        make_venv()
    STAMPS.mkdir(exist_ok=True)
    install(locks)
    link()
    for lock in locks:
        (STAMPS / lock).write_text(key(lock))
    UNFINISHED.unlink(missing_ok=True)
    say("Set up")


def works() -> bool:
    """Return whether `.venv` has a Python that runs, and pip."""
    return (
        PYTHON.exists()
        and subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode == 0
    )


def make_venv() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        raise SetupError(
            f"{sys.executable} (Python {version}) comes without venv. "
            f"Install the Debian package python{version}-venv: apt-get install python{version}-venv"
        )
    say(f"Making .venv with Python {version}")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        raise SetupError(f".venv can't be made: {(made.stdout + made.stderr).strip()}")


def install(locks: list[str]) -> None:
    """Have pip install the locks. Raises `PipFailed`, and `SetupError` for an index without PyTorch's CPU build."""
    if locks[0] == "cpu" and not install_cpu_build():
        locks = ["cuda", *locks[1:]]
    # A source distribution would run code of its own here, and be built with packages that no lock knows. The
    # developers' tools may: one has no wheel for Linux on ARM.
    pip("--require-hashes", *([] if "dev" in locks else ["--only-binary=:all:"]), locks=locks)


def install_cpu_build() -> bool:
    """Install PyTorch's CPU build, whose hash the lock can't know; return false where no index has it.

    Raises `PipFailed`, and `SetupError` where `ANIMEGAN_TORCH_INDEX` doesn't have it.
    """
    if index := os.environ.get("ANIMEGAN_TORCH_INDEX"):
        if failure := _cpu_build_is_missing(f"--index-url={index}"):
            pin = lock_file(CPU_BUILD).read_text().split()[0]
            raise SetupError(f"ANIMEGAN_TORCH_INDEX={index!r} has no {pin} for this machine. {failure}")
        return True
    if not _cpu_build_is_missing():
        return True
    say(f"  not found where pip looks; trying {TORCH_INDEX}")
    if not _cpu_build_is_missing(f"--index-url={TORCH_INDEX}"):
        return True
    say("  not found there: PyTorch's default build follows, with gigabytes of CUDA packages on Linux. To do without")
    say("  them, stop and set ANIMEGAN_TORCH_INDEX: see requirements/README.md")
    return False


def _cpu_build_is_missing(*options: str) -> PipFailed | None:
    """Install the CPU build; return pip's failure where the index lacks it. Raises `PipFailed` for any other."""
    try:
        pip("--no-deps", "--only-binary=:all:", *options, locks=[CPU_BUILD])
    except PipFailed as failure:
        if not re.search(NOT_THERE, str(failure)):
            raise
        return failure
    return None


def pip(*options: str, locks: list[str]) -> None:
    """Have pip install the locks with these options; its downloads are shown. Raises `PipFailed`."""
    say(f"Installing {', '.join(f'requirements/{lock}.txt' for lock in locks)}")
    quiet = ("--progress-bar=off", "--no-input", "--disable-pip-version-check")
    files = (f"--requirement={lock_file(lock)}" for lock in locks)
    # Paths and options of the caller's own Python would change what pip sees and where it installs.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    last: deque[str] = deque(maxlen=20)
    unpacking = False
    UNFINISHED.touch()
    with subprocess.Popen(
        [PYTHON, "-m", "pip", "install", *quiet, *options, *files],
        env={**environment, "PIP_USER": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                if not line.startswith("Requirement already satisfied"):
                    last.append(line.rstrip())
                if match := DOWNLOAD.match(line):
                    say(f"  {match['name']} {match['version']}, {match['size']}")
                elif line.startswith("Installing collected packages: "):
                    unpacking = True
                    say(f"  unpacking (packages: {line.count(',') + 1})")
        except BaseException:
            process.terminate()
            raise
        finally:
            if not unpacking:
                UNFINISHED.unlink()
    if process.returncode:
        raise PipFailed("\n".join(["pip failed:", *last]))


def link() -> None:
    """Put the checkout's packages on the virtual environment's path, and the `animegan` command into its `bin`."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([PYTHON, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    (Path(packages) / "animegan-checkout.pth").write_text("".join(f"{ROOT / room}\n" for room in ROOMS))
    command = VENV / "bin" / "animegan"
    command.write_text(COMMAND)
    command.chmod(0o755)


def say(line: str) -> None:
    print(line, flush=True)


def stop(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    try:
        main(sys.argv[1:])
    except (SetupError, OSError) as error:
        sys.exit(f"Set-up: {error}")

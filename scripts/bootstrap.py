"""Makes `.venv` in the checkout, installs the pinned locks into it, and then becomes one of its modules if asked to.

    bootstrap.py [dev] [java] [--exec MODULE [ARGUMENT ...]]

`ANIMEGAN_LOCK` (cpu or cuda) chooses the runtime's lock, else an NVIDIA device does; `ANIMEGAN_TORCH_INDEX` is the URL
of a further index, for PyTorch's CPU build. Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
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
ROOMS = ("handler", "gateway", "scripts")  # where the import packages live

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
    """What the user is told, instead of a trace."""


def main(arguments: list[str]) -> None:
    """Install what is missing; replace this process by `-m MODULE` where `--exec` is given. Raises `SetupError`."""
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
    asked = os.environ.get("ANIMEGAN_LOCK")
    if asked:
        if asked not in RUNTIMES:
            raise SetupError(f"ANIMEGAN_LOCK={asked!r} is not a lock. Use cpu or cuda, or leave it out.")
        return asked
    if Path("/dev/nvidia0").exists():
        return "cuda"
    tool = shutil.which("nvidia-smi")
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False).stdout if tool else ""
    return "cuda" if "GPU" in listed else "cpu"


def lock_file(lock: str) -> Path:
    return ROOT / "requirements" / f"{lock}.txt"


def key(lock: str) -> str:
    """Changes with the lock, the virtual environment's Python, the checkout's place and this file."""
    parts = (lock_file(lock).read_bytes(), bytes(PYTHON.resolve()), bytes(ROOT), Path(__file__).read_bytes())
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
    """Whether `.venv` has a Python that runs, and pip."""
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
    """Have pip install the locks; its downloads are shown, and its last lines where it fails."""
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--progress-bar=off",
        "--no-input",
        "--disable-pip-version-check",
    ]
    for lock in locks:
        command += ["--requirement", lock_file(lock)]
    if locks[0] == "cpu":  # where the index has only PyTorch's CUDA build, what that needs is pinned too
        command += ["--constraint", lock_file("cuda")]
    index = os.environ.get("ANIMEGAN_TORCH_INDEX")
    if index:
        command.append(f"--extra-index-url={index}")
    elif locks[0] == "cpu" and sys.platform == "linux" and not has("torch"):
        say("If gigabytes of CUDA packages follow, stop and set ANIMEGAN_TORCH_INDEX: see requirements/README.md")
    say(f"Installing {', '.join(f'requirements/{lock}.txt' for lock in locks)}")
    # Paths and options of the caller's own Python would change what pip sees and where it installs.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    last: deque[str] = deque(maxlen=20)
    unpacking = False
    UNFINISHED.touch()
    with subprocess.Popen(
        command,
        env={**environment, "PIP_USER": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        try:
            for line in pip.stdout or ():
                last.append(line.rstrip())
                if match := DOWNLOAD.match(line):
                    say(f"  {match['name']} {match['version']}, {match['size']}")
                elif line.startswith("Installing collected packages: "):
                    unpacking = True
                    say(f"  unpacking (packages: {line.count(',') + 1})")
        except BaseException:
            pip.terminate()
            raise
        finally:
            if not unpacking:
                UNFINISHED.unlink()
    if pip.returncode:
        raise SetupError("\n".join(["pip failed:", *last]))


def has(package: str) -> bool:
    return any(VENV.glob(f"lib/python3.*/site-packages/{package}-*.dist-info"))


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

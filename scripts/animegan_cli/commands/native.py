"""Compile the fused operators for this machine's CPU, where a C++ compiler is found. Imports no torch.

Each form becomes `handler/animegan/operators/native/liboperators-FORM.so`: the same bytes wherever it is built with
the same compiler, and linked to no other library. A library carries what it was built from, so that a change of the
source, the flags or the compiler builds it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import animegan

FOLDER = Path(animegan.__file__).resolve().parent / "operators" / "native"
SOURCE = "operators.cpp"  # which includes the others
COMPILERS = ("c++", "g++", "clang++")
FLAGS = [
    *("-std=c++17", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-w"),
    *("-s", "-Wl,--build-id=none", "-Wl,--as-needed", "-static-libgcc"),
]
AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
FORMS = {
    "amx": [*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"],
    "avx512bf16": [*AVX512, "-mavx512bf16"],
    "avx512": AVX512,
    "avx2": AVX2,
    "plain": [],
}
COMPILED_WITHIN_S = 300  # seconds a form, of which it takes ten


def build(say: Callable[[str], None] = lambda _: None, folder: Path = FOLDER) -> list[Path]:
    """Build what is missing or was built from something else; returns the libraries of this source that are there.

    What can't be built is said in one line and no error: the plain PyTorch form does the same, slower.
    """
    forms = FORMS if platform.machine().lower() in ("x86_64", "amd64") else {"plain": FORMS["plain"]}
    libraries = {form: folder / f"liboperators-{form}.so" for form in forms}
    compiler = find_compiler()
    try:
        source = _digest(folder)
        version = _version(compiler) if compiler else None
        if compiler and version:
            commands = {form: [*compiler, *FLAGS, *forms[form]] for form in libraries}
            marks = {form: f"{source}.{_recipe(version, command)}" for form, command in commands.items()}
            due = [form for form, library in libraries.items() if not _carries(library, marks[form])]
            for form in due:
                say(f"Compiling {libraries[form].name} ...")
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                jobs = [pool.submit(_compile, libraries[form], commands[form], marks[form]) for form in due]
            for form, job in zip(due, jobs, strict=True):
                if reason := job.result():
                    say(f"{libraries[form].name} can't be compiled: {reason}")
                    if not _carries(libraries[form], source):
                        libraries[form].unlink(missing_ok=True)
        compiled = [library for library in libraries.values() if _carries(library, source)]
        if not compiled and not version:
            why = f"{shlex.join(compiler)} does not run" if compiler else "There is no C++ compiler"
            say(f"{why}, so the CPU's fused operators run in PyTorch, slower. Debian: apt-get install g++")
    except OSError as error:
        say(f"The CPU's operators are not compiled: {error}")
        return []
    return compiled


def _digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in _sources(folder))).hexdigest()


def _sources(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.cpp"), *folder.glob("*.h")])


def find_compiler() -> list[str] | None:
    """Return `CXX` if that is set, else the first of the usual names; as words of a command."""
    variable = os.environ.get("CXX", "").strip()
    try:
        words = shlex.split(variable)
    except ValueError:  # a quotation mark without its like
        words = [variable]
    return words or next(([path] for name in COMPILERS if (path := shutil.which(name))), None)


def _version(compiler: list[str]) -> str | None:
    """Return the compiler's version and target; None if it does not run."""
    outputs = [_run([*compiler, option], Path.cwd()) for option in ("--version", "-dumpmachine")]
    return "\n".join(output.stdout for output in outputs) if not any(output.returncode for output in outputs) else None


def _recipe(version: str, command: list[str]) -> str:
    """Return a digest of the compiler's version and what it is told, without its own name."""
    return hashlib.sha256("\n".join([version, *command[1:]]).encode()).hexdigest()


def _compile(library: Path, command: list[str], mark: str) -> str | None:
    """Compile the library, which carries the mark. Return why that failed, or None. Raises `OSError`."""
    scratch = library.parent / "__pycache__"  # which no archive takes, and where a rename is one step
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="native-", dir=scratch) as name:
        work = Path(name)
        for file in _sources(library.parent):
            shutil.copy(file, work)
        # Relative names, in the folder itself: no path gets into the library.
        result = _run([*command, f'-DANIMEGAN_BUILD="{mark}"', SOURCE, "-o", library.name], work)
        if result.returncode == 0 and _carries(work / library.name, mark):
            (work / library.name).chmod(0o644)
            (work / library.name).replace(library)
            return None
    reason = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr.strip()[:200])
    return reason or f"status {result.returncode}"


def _carries(library: Path, mark: str) -> bool:
    with contextlib.suppress(OSError):
        return mark.encode() in library.read_bytes()
    return False


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the compiler, with messages in English; one that can't start or does not end has failed like any other."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILED_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", f"error: {error}")

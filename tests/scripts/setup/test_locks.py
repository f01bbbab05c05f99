"""The locks: exact, hashed, and of one mind with one another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements"
LOCKS = ("cpu", "cuda", "dev", "audit", "java", "video", "ray")
PIN = re.compile(
    r"(?P<pin>(?P<name>[a-z0-9-]+)==(?P<version>[\w.]+)( ; [^\\]+)?)(?P<hashes>( \\\n    --hash=sha256:[0-9a-f]{64})+)"
)


def pins(lock: str) -> dict[str, set[str]]:
    """Each pin with its marker, and its hashes. Fails for anything else in the file."""
    text = (REQUIREMENTS / f"{lock}.txt").read_text()
    matches = list(PIN.finditer(text))
    assert "".join(f"{match[0]}\n" for match in matches) == text, "not a pin with hashes"
    return {match["pin"]: set(re.findall(r"sha256:(\w+)", match["hashes"])) for match in matches}


def versions(lock: str) -> dict[str, set[str]]:
    """Each package's versions: more than one where they differ between Pythons."""
    hashes: dict[str, set[str]] = {}
    for pin in pins(lock):
        name, version = pin.split(" ")[0].split("==")
        hashes.setdefault(name, set()).add(version)
    return hashes


def requirements(name: str) -> set[str]:
    lines = (line.split("#")[0].strip() for line in (REQUIREMENTS / f"{name}.in").read_text().splitlines())
    return {re.split(r"[^\w-]", line)[0].lower() for line in lines if line}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_exact_and_has_hashes(lock: str) -> None:
    assert pins(lock)


def test_the_cpu_lock_is_the_cuda_lock_without_pytorch_and_cuda() -> None:
    rest = {pin: hashes for pin, hashes in pins("cuda").items() if not re.match(r"nvidia-|cuda-|triton=|torch=", pin)}
    assert pins("cpu") == rest


def test_pytorchs_cpu_build_is_of_the_same_version() -> None:
    [version] = versions("cuda")["torch"]
    assert (REQUIREMENTS / "torch-cpu.txt").read_text() == f"torch=={version}+cpu\n"


def test_dev_pins_what_the_runtime_pins() -> None:
    runtime, dev = versions("cuda"), versions("dev")
    assert {name: dev[name] for name in dev if name in runtime} == {
        name: runtime[name] for name in dev if name in runtime
    }


def test_one_pin_has_one_set_of_hashes() -> None:
    """pip takes only the files that all the locks of a run allow."""
    runtime, dev = pins("cuda"), pins("dev")
    assert [pin for pin in dev if runtime.get(pin, dev[pin]) != dev[pin]] == []


@pytest.mark.parametrize(
    ("asks", "lock"),
    [("runtime", "cuda"), ("dev", "dev"), ("audit", "audit"), ("java", "java"), ("video", "video"), ("ray", "ray")],
)
def test_what_is_asked_for_is_locked(asks: str, lock: str) -> None:
    assert requirements(asks) - set(versions(lock)) == set()

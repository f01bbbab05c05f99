"""The archive: reproducible, stale when a source changes, complete, and nothing in it that it does not need."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
import torch

from animegan.errors import BadSetting
from animegan.networks.animegan2.fused import trace
from animegan.networks.animegan2.generator import build
from animegan.networks.weights import load_weights
from animegan.styles import get_style, verify
from animegan_cli.archive import archiver
from animegan_cli.archive.torchscript import check, save
from animegan_cli.checkout import ROOT


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archiver.build(tmp_path_factory.mktemp("archive") / "animegan.mar")


@pytest.mark.slow
def test_the_same_sources_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    again = archiver.build(tmp_path / "another.mar")
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(archive.read_bytes()).digest()


def test_it_holds_what_the_worker_needs_and_no_more(archive: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        names = set(packed.namelist())
        manifest = json.loads(packed.read("MAR-INF/MANIFEST.json"))
    generators = {f"animegan/model_store/networks/{name}.pt" for name in ("classic", "redraw", "redraw_video")}
    generators |= {f"animegan/model_store/looks/{name}.toml" for name in ("cel", "classic", "gouache", "ink")}
    handler = ROOT / "handler"
    modules = {str(file.relative_to(handler)) for file in (handler / "animegan").rglob("*.py")}
    folder = handler / "animegan" / "operators" / "native"
    native = {str(file.relative_to(handler)) for file in (*folder.glob("*.so"), *folder.glob("*.h"))}
    others = {
        "MAR-INF/MANIFEST.json",
        "animegan_handler.py",
        "animegan_forms.py",
        "animegan_spans.py",
        "model-config.yaml",
        "animegan/py.typed",
        "animegan/operators/native/operators.cpp",
        "animegan/model_store/styles.json",
        "animegan/model_store/LICENSE.md",
        "animegan/model_store/classic.md",
        "animegan/model_store/faces.md",
        "animegan/model_store/faces.safetensors",
        "animegan/model_store/redraw.md",
    }
    assert names == generators | modules | native | others
    assert manifest["model"]["handler"] == "animegan_handler.py"
    assert "createdOn" not in manifest


def test_a_change_of_a_source_makes_it_stale(archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sources = dict(archiver._sources())
    monkeypatch.setattr(archiver, "_sources", sources.items)
    assert not archiver.is_stale(archive)
    sources["config/model-config.yaml"] = tmp_path / "model-config.yaml"
    sources["config/model-config.yaml"].write_text("batchSize: 2\n")
    assert archiver.is_stale(archive)


def test_a_place_that_cannot_be_written_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "_build", lambda *_: pytest.fail("it began"))
    with pytest.raises(BadSetting, match=r"/proc/nope/animegan\.mar can't be written"):
        archiver.build(Path("/proc/nope/animegan.mar"))


@pytest.mark.parametrize("content", [None, b"", b"PK\x05\x06 not a zip file"])
def test_what_is_no_archive_is_stale(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "animegan.mar"
    if content is not None:
        file.write_bytes(content)
    assert archiver.is_stale(file)


def test_every_kind_of_source_counts() -> None:
    sources = dict(archiver._sources())
    assert all((ROOT / name).samefile(file) for name, file in sources.items())
    assert {
        "config/model-config.yaml",
        "handler/animegan_handler.py",
        "handler/animegan/networks/animegan2/generator.py",
        "model_store/styles.json",
        "model_store/classic.safetensors",
        "model_store/faces.safetensors",
        "scripts/animegan_cli/archive/torchscript.py",
    } <= set(sources)


@pytest.mark.slow
def test_a_saved_generator_draws_as_before(tmp_path: Path) -> None:
    eager = build(load_weights(verify(get_style("classic"))))
    save(trace(eager), tmp_path / "cel.pt")
    loaded = torch.jit.load(tmp_path / "cel.pt")  # type: ignore[no-untyped-call]
    check(loaded, eager)
    with zipfile.ZipFile(tmp_path / "cel.pt") as packed:
        assert not [name for name in packed.namelist() if "debug" in name or "serialization_id" in name]


def test_a_generator_that_draws_otherwise_is_not_packed() -> None:
    eager = build(load_weights(verify(get_style("classic"))))
    other = build({name: tensor * 1.01 for name, tensor in load_weights(verify(get_style("classic"))).items()})
    with pytest.raises(Exception, match="is off by"):
        check(trace(other), eager)

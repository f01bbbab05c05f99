"""The bill of materials: what the runtime's lock installed, valid, and TorchServe's Java archive."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom

import animegan
from animegan_cli.checkout import ROOT
from tools import sbom


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("bill") / "sbom.json"
    sbom.main([str(file)])
    read: dict[str, Any] = json.loads(file.read_text())
    return read


@pytest.mark.slow
def test_it_lists_the_runtime_and_nothing_else(bill: dict[str, Any]) -> None:
    versions = {each["name"]: each["version"] for each in bill["components"]}
    for name in ("torch", "torchserve", "pillow", "fastapi", "starlette"):
        assert versions[name] == importlib.metadata.version(name)
    assert len(versions) == len(bill["components"]) == len(sbom.read_locks())
    assert not {"pytest", "mypy", "pip"} & set(versions)
    assert (bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]) == (
        "animegan-serve",
        animegan.__version__,
    )


def test_it_tells_licences_and_what_needs_what(bill: dict[str, Any]) -> None:
    [pillow] = [each for each in bill["components"] if each["name"] == "pillow"]
    assert "MIT-CMU" in json.dumps(pillow["licenses"])
    needs = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    references = {bill["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in bill["components"])}
    assert set(needs) == references
    assert {other for others in needs.values() for other in others} <= references
    [torchserve] = [each["bom-ref"] for each in bill["components"] if each["name"] == "torchserve"]
    assert pillow["bom-ref"] in needs[torchserve]


def test_it_holds_torchserves_java_archive(bill: dict[str, Any]) -> None:
    [torchserve] = [each for each in bill["components"] if each["name"] == "torchserve"]
    [jar] = torchserve["components"]
    file = Path(str(importlib.metadata.distribution("torchserve").locate_file("ts/frontend/model-server.jar")))
    assert jar["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}]
    netty = {each["name"]: each["version"] for each in jar["components"]}
    assert netty["netty-codec-http"] == netty["netty-handler"]
    page = (ROOT / "docs" / "operations" / "supply-chain.md").read_text()
    assert f"| Netty | {netty['netty-codec-http'].removesuffix('.Final')}," in page
    assert bill["compositions"] == [{"aggregate": "incomplete", "assemblies": [jar["bom-ref"]]}]


def test_its_reader_takes_it(bill: dict[str, Any]) -> None:
    assert len(Bom.from_json(bill).components) == len(bill["components"])  # type: ignore[attr-defined]


@pytest.mark.slow
def test_what_is_not_installed_as_locked_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"nonesuch 1\.0 \(installed: None\)"):
        sbom.packages(sbom.read_locks() | {"nonesuch": "1.0"})

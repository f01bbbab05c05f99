"""Write the runtime's bill of materials, CycloneDX 1.6 in JSON: `python -m tools.sbom FILE`.

It lists what the runtime's lock has installed in this virtual environment, with licences and what needs what, and the
Java archive in TorchServe's wheel. The developers' packages and the styles' weights are not in it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from animegan import __version__
from animegan_cli.checkout import ROOT

NETTY = "META-INF/io.netty.versions.properties"


def main(arguments: list[str]) -> None:
    """Write the named file. Ends with a message where the lock and the installed packages differ."""
    [file] = arguments
    Path(file).write_text(json.dumps(bill(), indent=1) + "\n", encoding="utf-8")


def bill() -> dict[str, Any]:
    """Return the bill, validated. Raises `SystemExit` where a package of the lock is missing or of another version."""
    document = packages(read_locks())
    torchserve = next(each for each in document["components"] if each["name"] == "torchserve")
    jar = java_archive(torchserve["version"])
    torchserve["components"] = [jar]
    # The archive does not tell the versions of all that was merged into it: docs/operations/supply-chain.md.
    document["compositions"] = [{"aggregate": "incomplete", "assemblies": [jar["bom-ref"]]}]
    if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)):
        raise SystemExit(f"Not a CycloneDX bill: {fault}")
    return document


def packages(pins: dict[str, str]) -> dict[str, Any]:
    """Return the bill of these packages as they are installed. Raises `SystemExit` where that differs."""
    options = ("--output-reproducible", "--no-validate", "--pyproject", ROOT / "pyproject.toml")
    command = (sys.executable, "-m", "cyclonedx_py", "environment", *options, sys.executable)
    document: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    components = [each for each in document["components"] if canonicalize_name(each["name"]) in pins]
    versions: dict[str, str] = {canonicalize_name(each["name"]): each["version"] for each in components}
    differ = [
        f"{name} {pin} (installed: {versions.get(name)})" for name, pin in pins.items() if versions.get(name) != pin
    ]
    if differ:
        raise SystemExit(f"Installed is not what is locked: {', '.join(differ)}. Run scripts/bootstrap.sh dev first.")
    for each in components:
        each.pop("externalReferences", None)  # links to its pages; its package URL says what it is
    root = document["metadata"]["component"] | {"version": __version__}
    references = {each["bom-ref"] for each in (root, *components)}
    needs = [
        each | {"dependsOn": [other for other in each.get("dependsOn", ()) if other in references]}
        for each in document["dependencies"]
        if each["ref"] in references
    ]
    metadata = document["metadata"] | {"component": root}
    return document | {"metadata": metadata, "components": components, "dependencies": needs}


def read_locks() -> dict[str, str]:
    """Return the version of each package that the runtime's lock has for this machine, by normalised name."""
    torch = importlib.metadata.version("torch")
    names = ("torch-cpu", "cpu") if "+" in torch else ("cuda",)
    lines = [line for name in names for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()]
    pins = [Requirement(line.rstrip(" \\")) for line in lines if re.match("[a-z]", line)]
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if not pin.marker or pin.marker.evaluate()
    }


def java_archive(version: str) -> dict[str, Any]:
    """Return TorchServe's frontend as a component, with those of its parts whose versions it names."""
    ts = importlib.util.find_spec("ts")
    if not ts or not ts.submodule_search_locations:
        raise SystemExit("TorchServe is not installed.")
    file = Path(ts.submodule_search_locations[0]) / "frontend" / "model-server.jar"
    with zipfile.ZipFile(file) as archive:
        versions = archive.read(NETTY).decode()
    return {
        "type": "library",
        "bom-ref": "model-server.jar",
        "name": file.name,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}],
        "components": [
            {
                "type": "library",
                "bom-ref": f"pkg:maven/io.netty/{name}@{number}",
                "group": "io.netty",
                "name": name,
                "version": number,
                "purl": f"pkg:maven/io.netty/{name}@{number}",
            }
            for name, number in sorted(set(re.findall(r"^(netty[\w-]*)\.version=(\S+)$", versions, re.MULTILINE)))
        ],
    }


if __name__ == "__main__":
    main(sys.argv[1:])

"""Build `model_store/animegan.mar`: every bundled style traced, with the handler and its configuration.

Reproducible: the same sources give the same bytes. The archive's zip comment is the digest of what it was made from.
Imports no torch; the tracing runs in a process of its own, where the names that TorchScript gives to classes count from
the start.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import animegan
from animegan.errors import InternalError
from animegan.styles import bundled_dir
from animegan_cli.checkout import ARCHIVE, CONFIG, ENGINE, HANDLER
from animegan_cli.replacing import replacing

BESIDE = ("animegan_forms.py", "animegan_spans.py")  # what the handler imports from its own folder

FACES = "faces.safetensors"  # the weights that find faces, see `animegan.faces.detector`
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip entry can carry
_TOOLS = ("torch", "torch-model-archiver")  # their versions shape the bytes


def is_stale(archive: Path = ARCHIVE) -> bool:
    """Return whether the archive is missing, unreadable, or made from other sources."""
    try:
        with zipfile.ZipFile(archive) as packed:
            return packed.comment.decode() != _digest()
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError):
        return True


def build(archive: Path = ARCHIVE, say: Callable[[str], None] = lambda _: None) -> Path:
    """Write the archive, in one step at the end. Raises `BadSetting` where that fails, else `InternalError`."""
    with replacing(archive) as part:
        _build(part, say)
    return archive


def _build(target: Path, say: Callable[[str], None]) -> None:
    digest = _digest()
    with tempfile.TemporaryDirectory(prefix="animegan-archive-") as folder:
        work = Path(folder)
        stage = work / "stage"
        shutil.copytree(ENGINE, stage / "animegan", ignore=shutil.ignore_patterns("__pycache__", "model_store"))
        for module in BESIDE:
            shutil.copy(HANDLER / module, stage)
        store = stage / "animegan" / "model_store"
        store.mkdir()
        for file in _papers():
            shutil.copy(file, store)
        shutil.copytree(bundled_dir() / "looks", store / "looks")
        shutil.copy(bundled_dir() / FACES, store)
        say("Tracing the bundled styles")
        _run(work, "-m", "animegan_cli.archive.torchscript", str(store))
        say("Packing the archive")
        _run(
            work,
            *("-m", "model_archiver.model_packaging", "--model-name", "animegan"),
            *("--version", animegan.__version__),
            *("--handler", str(HANDLER / "animegan_handler.py")),
            *("--config-file", str(CONFIG / "model-config.yaml")),
            *("--extra-files", str(stage), "--export-path", str(work)),
        )
        normalise_zip(work / "animegan.mar", target, edit=_edit_manifest, comment=digest)


def normalise_zip(
    source: Path,
    target: Path,
    *,
    edit: Callable[[str, bytes], bytes | None],
    comment: str = "",
) -> None:
    """Copy a zip file with its entries sorted, stored and dated alike; `edit` returns its bytes, None drops it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in sorted(old.namelist()):
            data = edit(name, old.read(name))
            if data is not None:
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.create_system = 3  # Unix, wherever it is built
                entry.external_attr = 0o644 << 16
                new.writestr(entry, data)
        new.comment = comment.encode()


def _edit_manifest(name: str, data: bytes) -> bytes | None:
    if name != "MAR-INF/MANIFEST.json":
        return data
    manifest = json.loads(data)
    manifest.pop("createdOn", None)
    return json.dumps(manifest, indent=2, sort_keys=True).encode()


def _run(work: Path, *arguments: str) -> None:
    """Run Python on a module, in a temporary folder of its own: the archiver deletes what it finds in a shared one."""
    private = work / "tmp"
    private.mkdir(exist_ok=True)
    paths = [str(ENGINE.parent), str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "TMPDIR": str(private), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    result = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise InternalError(f"Building the archive failed in {' '.join(arguments[:2])}:\n{result.stderr.strip()}")


def _digest() -> str:
    digest = hashlib.sha256()
    for tool in _TOOLS:
        digest.update(f"{tool}=={metadata.version(tool)}\n".encode())
    for name, file in _sources():
        digest.update(f"{name}\n{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _sources() -> Iterator[tuple[str, Path]]:
    """Yield what the archive is made from, each file with the same name in a checkout and in an installed package."""
    for module in ("archiver.py", "torchscript.py"):
        yield f"scripts/animegan_cli/archive/{module}", Path(__file__).resolve().with_name(module)
    yield "config/model-config.yaml", CONFIG / "model-config.yaml"
    for module in ("animegan_handler.py", *BESIDE):
        yield f"handler/{module}", HANDLER / module
    for file in sorted(ENGINE.rglob("*")):
        inner = file.relative_to(ENGINE)
        if file.is_file() and "__pycache__" not in inner.parts and inner.parts[0] != "model_store":
            yield f"handler/animegan/{inner}", file
    store = bundled_dir()
    for file in (*_papers(), *sorted(store.glob("*.safetensors")), *sorted(store.glob("looks/*.toml"))):
        yield f"model_store/{file.relative_to(store)}", file


def _papers() -> list[Path]:
    """Return the registry, the licence and the model cards."""
    return [bundled_dir() / "styles.json", *sorted(bundled_dir().glob("*.md"))]

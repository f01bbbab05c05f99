"""Puts a style into the user's home: a published checkpoint (`fetch`) or a file in hand (`import_file`).

A style is either whole there or absent: both files are written beside their places and then moved, the entry last.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from animegan.errors import BadOption, BadSetting, BadWeights, DownloadFailed, StyleNotInstalled
from animegan.styles import Checkpoint, Style, bundled_styles, installed_dir, installed_styles, verify
from animegan_cli.weights.download import Progress, download

if TYPE_CHECKING:
    from animegan_cli.weights.readers import Contents

_SPDX_ID = re.compile(r"(?!LicenseRef-)[A-Za-z0-9][A-Za-z0-9.+-]*")
_MOST_CHARACTERS = 200  # of a title, a licence or a source


def state(style: Style) -> Literal["bundled", "installed", "fetch", "import"]:
    """Return where the style's weights are, or else how to get them."""
    entry = bundled_styles().get(style.id)
    if entry and entry.weights:
        return "bundled"
    if style.weights and (installed_dir() / style.weights).is_file():
        return "installed"
    return "fetch" if style.checkpoint else "import"


def is_intact(style_id: str) -> bool:
    """Return whether the user installed the style and its weights are still those; False where they can't be read."""
    try:
        verify(installed_styles()[style_id])
    except (KeyError, BadSetting, BadWeights):
        return False
    return True


def published(style: Style) -> Checkpoint:
    """Return the checkpoint to fetch. Raises `StyleNotInstalled`, which says how to do without one."""
    if not style.checkpoint:
        raise StyleNotInstalled(
            f"No PyTorch checkpoint of {style.id!r} is published. Get its weights from {style.source}, then run: "
            f"{_by_hand(style)}",
            style=style.id,
        )
    return style.checkpoint


def fetch(
    style: Style, *, progress: Progress = lambda _size, _total: None, timeout_s: float = 30, pause_s: float = 1
) -> Style:
    """Download the style's published checkpoint, check it and install it; its licence is the caller's to show before.

    An interrupted download is continued by the next call. `timeout_s` and `pause_s` as for `download`. Returns the
    installed style. Raises `StyleNotInstalled` where no checkpoint is published, `DownloadFailed`, `BadWeights`,
    `BadSetting` where the home can't be written or another process is at the same style.
    """
    checkpoint = published(style)
    with _alone(style.id) as folder:
        part = folder / f".{style.id}-{checkpoint.git_blob_id}.part"
        try:
            download(
                checkpoint.url,
                checkpoint.git_blob_id,
                part,
                progress=progress,
                timeout_s=timeout_s,
                pause_s=pause_s,
            )
        except DownloadFailed as error:
            raise DownloadFailed(
                f"{error.detail} Try again later, or download it elsewhere and run: {_by_hand(style)}", style=style.id
            ) from None
        installed = _install(style, _read(part))
        part.unlink()
    return installed


def import_file(
    file: Path,
    style_id: str,
    *,
    license: str | None = None,
    title: str | None = None,
    title_zh: str | None = None,
    source: str | None = None,
    noncommercial: bool | None = None,
) -> Style:
    """Install a weights file of any format that `readers` reads; what is None comes from the registry's entry.

    A graph says how its generator scales up; for tensors alone, the entry does.

    A new style needs a licence; its title is its id, and it counts as non-commercial unless said otherwise. Returns the
    installed style. Raises `BadOption`, `BadWeights` and `BadSetting`.
    """
    entry = bundled_styles().get(style_id)
    if entry and entry.weights:
        raise BadOption(f"The style {style_id!r} is bundled and can't be replaced. Choose another id.", style=style_id)
    for name, text in {"license": license, "title": title, "title-zh": title_zh, "source": source}.items():
        if text is not None and not (text.strip() and text.isprintable() and len(text) <= _MOST_CHARACTERS):
            raise BadOption(f"--{name} {text!r}: use one line of 1 to {_MOST_CHARACTERS} printable characters.")
    if not entry and license is None:
        raise BadOption(f"{style_id!r} is a new style. Give the licence of its weights, with --license.")
    fields = entry.model_dump() if entry else {"id": style_id, "noncommercial": True, "suits": ()}
    old = entry.title if entry else None
    fields["title"] = {
        "en": title or (old.en if old else title_zh or style_id),
        "zh": title_zh or (old.zh if old else title or style_id),
    }
    fields["source"] = origin = source or (entry.source if entry else "imported by its user")
    if license:
        fields |= {"license": license, "license_url": _license_url(license, origin)}
    if noncommercial is not None:
        fields["noncommercial"] = noncommercial
    try:
        style = Style.model_validate(fields)
    except ValidationError:
        raise BadOption(f"{style_id!r} can't be an id: use 1 to 64 of a-z, 0-9 and _, a letter first.") from None
    contents = _read(file)
    with _alone(style.id):
        return _install(style, contents)


def _by_hand(style: Style) -> str:
    return f"animegan import FILE --style {style.id}"


def _license_url(license: str, source: str) -> str:
    if _SPDX_ID.fullmatch(license):
        return f"https://spdx.org/licenses/{license}.html"
    return source if source.startswith("https://") else ""


def _read(file: Path) -> Contents:
    from animegan_cli.weights.readers import read  # noqa: PLC0415 - torch is not needed before

    return read(file)


@contextmanager
def _alone(style_id: str) -> Iterator[Path]:
    """Yield the folder of the installed styles, while no other process installs this one."""
    folder = installed_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{style_id}.lock").open("w")
    except OSError as error:
        raise _unwritable(folder, error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSetting(
                f"Another animegan is installing {style_id!r} in {folder}. Wait until it is done."
            ) from None
        yield folder


def _install(style: Style, contents: Contents) -> Style:
    from safetensors.torch import save  # noqa: PLC0415 - torch is not needed before

    data = save(contents.tensors)
    name = f"{style.id}.safetensors"
    update = {"weights": name, "sha256": hashlib.sha256(data).hexdigest(), "resize": contents.resize or style.resize}
    installed = style.model_copy(update=update)
    weights, entry = installed_dir() / name, installed_dir() / f"{style.id}.json"
    try:
        moves = [_beside(weights, data), _beside(entry, installed.model_dump_json(indent=2).encode())]
        entry.unlink(missing_ok=True)  # an older style of this id: killed now, it is absent, not mixed
        for part, file in zip(moves, (weights, entry), strict=True):
            part.replace(file)
    except OSError as error:
        raise _unwritable(installed_dir(), error) from None
    return installed


def _beside(file: Path, data: bytes) -> Path:
    part = file.with_name(f".{file.name}.part")
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    return part


def _unwritable(folder: Path, error: OSError) -> BadSetting:
    return BadSetting(
        f"{folder} can't be written: {error.strerror}. Make room there, or set ANIMEGAN_HOME to another folder."
    )

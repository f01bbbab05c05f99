"""Where photos and drawings lie: in local files, or in a file system that fsspec reaches, by its address."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from animegan.errors import BadSetting, InternalError

T = TypeVar("T")


def place(name: str) -> Path:
    """Return the path of a local file or of an address, as `s3://bucket/photos`, which has `Path`'s methods.

    Raises `BadSetting` for an address without the extra `ray`.
    """
    if "://" not in name:
        return Path(name)
    from animegan_cli.roles import require  # noqa: PLC0415 - for addresses alone

    require("ray")
    from upath import UPath  # noqa: PLC0415

    remote: Any = UPath(name)
    path: Path = remote
    return path


def is_local(path: Path) -> bool:
    return isinstance(path, os.PathLike)


def check_access(path: Path) -> None:
    """Raise `BadSetting` for an address whose file system lets nobody in: no keys, a wrong one, no such host."""
    if is_local(path):
        return
    try:
        path.exists()
    except Exception as error:  # noqa: BLE001 - each file system of fsspec has errors of its own
        reason = str(error).strip() or type(error).__name__
        raise BadSetting(
            f"{path} can't be reached: {reason.rstrip('.')}. Check the address, and the file system's own settings, as"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of S3."
        ) from None


def below(path: Path, folder: Path) -> Path:
    """Return the part of a path that lies below the folder."""
    return Path(PurePosixPath(path.as_posix()).relative_to(folder.as_posix()))


def relative(path: Path, folder: Path) -> str:
    """Return the path as seen from the folder; the whole one where either is an address and it lies elsewhere."""
    if is_local(path) and is_local(folder):
        return os.path.relpath(path, folder)
    inside = f"{folder.as_posix().rstrip('/')}/"
    return path.as_posix().removeprefix(inside)


def move(part: Path, output: Path) -> None:
    """Move a file to its place, and replace what is there. Raises `OSError`."""
    if is_local(part):
        part.replace(output)
    else:
        part.rename(output)


def with_local_source(path: Path, work: Callable[[Path], T]) -> T:
    """Call `work` with the path, or with that of a copy that lies here while it works."""
    if is_local(path):
        return work(path)
    with TemporaryDirectory(prefix="animegan") as folder:
        copy = Path(folder) / path.name
        _fetch(path, copy)
        return work(copy)


def with_local_target(path: Path, work: Callable[[Path], T]) -> T:
    """Call `work` with the path that it is to write, or with one here that is sent to its place afterwards."""
    if is_local(path):
        return work(path)
    with TemporaryDirectory(prefix="animegan") as folder:
        copy = Path(folder) / path.name
        result = work(copy)
        remote: Any = path
        remote.fs.put_file(str(copy), remote.path)
        return result


def _fetch(path: Path, copy: Path) -> None:
    remote: Any = path
    try:
        remote.fs.get_file(remote.path, str(copy))
    except OSError as error:
        raise InternalError(f"{path} can't be read: {error}.") from None

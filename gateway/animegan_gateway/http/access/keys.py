"""API keys: a file of hashes, which the command changes and every gateway reads anew when it has changed.

A key is `ag_<id>_<secret>`, the secret 256 random bits: one SHA-256 of it is as hard to invert as a slow hash would be.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from animegan.errors import BadOption, BadSetting

PREFIX = "ag"


class Key(BaseModel):
    """A key as the file has it. `rate_per_minute` and `share_percent` replace the gateway's settings for its holder."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    name: str
    sha256: str
    created: datetime
    rate_per_minute: int | None = None
    share_percent: int | None = None


_FILE = TypeAdapter(list[Key])


class Keys:
    """The keys in `folder`/keys.json. Safe in threads."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "keys.json"
        self._lock = threading.Lock()
        self._read: tuple[tuple[int, int, int] | None, Mapping[str, Key]] = (None, {})

    def list_keys(self) -> list[Key]:
        """Return all keys, the oldest first. Raise `BadSetting` for a file that can't be read."""
        return [*self._keys().values()]

    def get(self, key_id: str) -> Key | None:
        return self._keys().get(key_id)

    def id_of(self, text: str) -> str:
        """Return the id of the key that the text claims to be; empty where there is none of that id."""
        key_id = text.partition("_")[2].partition("_")[0]
        return key_id if self.get(key_id) else ""

    def find(self, text: str) -> Key | None:
        """Return the key with that text, compared in constant time."""
        prefix = text.partition("_")[0]
        key = self.get(self.id_of(text))
        expected = key.sha256 if key else hashlib.sha256(b"").hexdigest()
        same = hmac.compare_digest(expected, _digest(text))
        return key if key and same and prefix == PREFIX else None

    def add(self, name: str, rate_per_minute: int | None = None, share_percent: int | None = None) -> str:
        """Make a key and return its text, which is kept nowhere. Raise `BadOption` for a name in use."""
        with self._change() as keys:
            if any(key.name == name for key in keys.values()):
                raise BadOption(f"There is a key named {name!r}. Revoke it first, or take another name.")
            key_id = secrets.token_hex(4)
            text = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
            keys[key_id] = Key(
                id=key_id,
                name=name,
                sha256=_digest(text),
                created=datetime.now(UTC).replace(microsecond=0),
                rate_per_minute=rate_per_minute,
                share_percent=share_percent,
            )
        return text

    def revoke(self, name: str) -> Key:
        """End the key of that name or id, at once in every gateway. Raise `BadOption` where there is none."""
        with self._change() as keys:
            for key in keys.values():
                if name in (key.name, key.id):
                    return keys.pop(key.id)
        raise BadOption(f"There is no key {name!r}. `animegan keys list` shows those there are.")

    def _keys(self) -> Mapping[str, Key]:
        with self._lock:
            try:
                stat = self._file.stat()
                version = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
                if version != self._read[0]:
                    self._read = (version, {key.id: key for key in _FILE.validate_json(self._file.read_bytes())})
            except FileNotFoundError:
                self._read = (None, {})
            except (OSError, ValidationError) as error:
                raise BadSetting(f"{self._file} can't be read as API keys: {error}. Restore it.") from None
            return self._read[1]

    @contextmanager
    def _change(self) -> Iterator[dict[str, Key]]:
        """Yield the keys for a change, which is written in one step; two commands take turns. Raise `BadSetting`."""
        folder, lock_file = self._file.parent, self._file.with_suffix(".lock")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock_file.touch()
        except OSError as error:  # for example a mounted secret
            raise BadSetting(
                f"{folder} can't be written: {error.strerror}. Change keys.json where that folder comes from."
            ) from None
        with lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = dict(self._keys())
            yield keys
            part = self._file.with_suffix(".part")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(_FILE.dump_json([*keys.values()], indent=2))
                os.fsync(file.fileno())
            part.replace(self._file)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""Downloads one file whose git blob id is known: continued where it stopped, checked, bounded in time and size."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import requests

from animegan.errors import DownloadFailed

MOST_BYTES = 256 * 2**20
ATTEMPTS = 4
_CHUNK_BYTES = 16 * 2**10  # a connection that breaks loses the chunk it was in
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses with which the next attempt may go better

Progress = Callable[[int, int | None], None]  # bytes so far, and of the whole where it is known


def download(
    url: str, git_blob_id: str, part: Path, *, progress: Progress, timeout_s: float = 30, pause_s: float = 1
) -> None:
    """Make `part` the file at `url`, keeping what an earlier call left there; `progress` gets each step.

    `timeout_s` limits the wait for a connection and for each next bytes; the pause before the next attempt begins with
    `pause_s` and doubles. Raises `DownloadFailed`: `part` then keeps what came, unless it is known to be wrong.
    """
    try:
        has_part = part.exists()
        if has_part and blob_id(part) == git_blob_id:
            return
        blob = _attempts(url, part, progress, timeout_s, pause_s)
        if blob != git_blob_id and has_part:  # perhaps the older part was of another file, or damaged
            part.unlink()
            blob = _attempts(url, part, progress, timeout_s, pause_s)
        if blob != git_blob_id:
            part.unlink()
            raise DownloadFailed(f"{url} has the git blob id {blob}, not {git_blob_id}: it was changed or cut short.")
    except OSError as error:
        raise DownloadFailed(f"{part} can't be written: {error.strerror}.") from None


def blob_id(file: Path) -> str:
    """Return the id that git gives to the file's content: SHA-1 over `blob <size>\\0` and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _attempts(url: str, part: Path, progress: Progress, timeout_s: float, pause_s: float) -> str:
    """Download until the file is complete by the server's count; return its git blob id."""
    cause = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        try:
            _continue(url, part, progress, timeout_s)
        except requests.RequestException as error:
            cause = _words(error, timeout_s)
        else:
            return blob_id(part)
    raise DownloadFailed(f"{url} could not be downloaded in {ATTEMPTS} attempts: {cause}.")


def _continue(url: str, part: Path, progress: Progress, timeout_s: float) -> None:
    size = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout_s) as answer:
        if answer.status_code == 416 and size:  # there is nothing after what is here
            return
        if not answer.ok and answer.status_code not in _PASSING:
            raise DownloadFailed(f"{url} could not be downloaded: the server answered {_status(answer)}.")
        answer.raise_for_status()
        if answer.status_code == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
            part.unlink(missing_ok=True)
            raise requests.RequestException("the server sent another part than was asked for")
        if answer.status_code != 206:
            size = 0  # a server that knows no ranges sends the whole
        length = answer.headers.get("Content-Length", "")
        total = size + int(length) if length.isdecimal() else None
        with part.open("ab" if size else "wb") as stream:
            progress(size, total)
            for chunk in answer.iter_content(_CHUNK_BYTES):
                size += len(chunk)
                if max(size, total or 0) > MOST_BYTES:
                    part.unlink()
                    raise DownloadFailed(f"{url} is larger than {MOST_BYTES // 2**20} MiB: not a style's weights.")
                stream.write(chunk)
                progress(size, total)


def _words(error: requests.RequestException, timeout_s: float) -> str:
    if error.response is not None:
        return f"the server answered {_status(error.response)}"
    if isinstance(error, requests.Timeout):
        return f"nothing came for {timeout_s:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's TLS certificate was not accepted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy did not let it through"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection failed, broke off or stalled"
    return str(error).partition("\n")[0]


def _status(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.reason}".strip()

"""Multipart uploads, checked while they stream in: one picture into a file, a few short text fields, within bounds."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import mmap
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from animegan.errors import BadImage, BadOption, TooLarge
from animegan.options import MOST_CHARACTERS
from animegan.picture.headers import Header, inspect
from animegan.picture.sizes import Limits
from animegan_gateway.errors import StorageFull, StoreUnavailable, UploadTimeout
from animegan_service.errors import BadRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # which is there for type checkers only

IMAGE = "image"
MOST_PARTS = 16
MOST_FIELD_BYTES = 4 * MOST_CHARACTERS  # of UTF-8
OVERHEAD_BYTES = 64 * 1024  # of boundaries, part headers and fields
DAMAGED = "The multipart body is damaged or cut short. Send it again."


@dataclass(frozen=True)
class Upload:
    """A picture in `file`, of that many bytes and with that SHA-256, and the fields that came with it."""

    file: Path
    bytes: int
    sha256: str
    fields: Mapping[str, str]


@contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """Yield the path of a file to receive into, which is deleted afterwards unless it was moved."""
    file = folder / f"{secrets.token_hex(16)}.upload"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


async def receive(
    stream: AsyncIterator[bytes], headers: Mapping[str, str], file: Path, limits: Limits, timeout_s: float
) -> Upload:
    """Read the body into the file, no more of it than may be, in memory a chunk at a time.

    Raise `BadRequest`, `BadImage`, `BadOption`, `TooLarge`, `UploadTimeout`, `StorageFull` or `StoreUnavailable`.
    """
    kind, parameters = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not parameters.get(b"boundary"):
        raise BadRequest(
            f"Send the picture as the field {IMAGE!r} of multipart/form-data (curl: -F {IMAGE}=@photo.jpg)."
        )
    _check_length(headers.get("content-length", ""), limits)
    try:
        with _translate_disk_errors(), file.open("xb") as target:
            form = _Form(target, limits)
            parser = MultipartParser(parameters[b"boundary"], form.callbacks())
            async with asyncio.timeout(timeout_s):
                async for chunk in stream:
                    form.count(chunk)
                    parser.write(chunk)
    except TimeoutError:
        raise UploadTimeout(
            f"The upload was not there after {timeout_s:g} s. Send a smaller file, or try again."
        ) from None
    except FormParserError:
        raise BadRequest(DAMAGED) from None
    if not form.ended:
        raise BadRequest(DAMAGED)
    return form.upload(file)


async def judge(upload: Upload, limits: Limits) -> Header:
    """Return what the picture's header says; no pixel is decoded, and the file is not read into memory.

    Raise as `animegan.picture.headers.inspect`, or `StoreUnavailable`.
    """

    def look() -> Header:
        if not upload.bytes:
            return inspect(b"", limits)
        with ExitStack() as stack:
            with _translate_disk_errors():
                file = stack.enter_context(upload.file.open("rb"))
                data = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            return inspect(data, limits)

    return await asyncio.to_thread(look)


@contextmanager
def _translate_disk_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("There is no room for the picture now. Try again later.") from error
        raise StoreUnavailable("The folder for uploads can't be used. Try again soon.") from error


def _check_length(content_length: str, limits: Limits) -> None:
    """Raise `TooLarge` before a byte is read."""
    if content_length.isdecimal() and int(content_length) > limits.max_bytes + OVERHEAD_BYTES:
        raise _too_large(int(content_length), limits)


def _too_large(size: int, limits: Limits) -> TooLarge:
    return TooLarge(
        f"The upload has {size:,} bytes or more, and a picture file may have {limits.max_bytes:,}. "
        "Send a smaller or more strongly compressed one.",
        limit_bytes=limits.max_bytes,
    )


@dataclass
class _Form:
    """The callbacks of the multipart parser, and what they have collected."""

    target: BinaryIO
    limits: Limits
    fields: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    _received: int = 0
    _parts: int = 0
    _image_bytes: int | None = None
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _name: str = ""
    _header: bytearray = field(default_factory=bytearray)
    _header_value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""
    _value: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def count(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > self.limits.max_bytes + OVERHEAD_BYTES:
            raise _too_large(self._received, self.limits)

    def upload(self, file: Path) -> Upload:
        if self._image_bytes is None:
            raise BadImage(f"The request holds no picture. Send one as the multipart field {IMAGE!r}.")
        return Upload(file, self._image_bytes, self._digest.hexdigest(), self.fields)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadRequest(f"The form has more than {MOST_PARTS} fields. Send the picture and its options alone.")
        self._name, self._disposition = "", b""
        self._value.clear()

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header.clear()
        self._header_value.clear()

    def _headers_finished(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        self._name = parameters.get(b"name", b"").decode("utf-8", "replace")
        if self._name == IMAGE:
            if self._image_bytes is not None:
                raise BadRequest(f"There are two fields {IMAGE!r}. Send one picture a request.")
            self._image_bytes = 0

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = data[start:end]
        if self._name == IMAGE:
            assert self._image_bytes is not None
            self._image_bytes += len(part)
            if self._image_bytes > self.limits.max_bytes:
                raise _too_large(self._image_bytes, self.limits)
            self._digest.update(part)
            self.target.write(part)
        else:
            self._value.extend(part)
            if len(self._value) > MOST_FIELD_BYTES:
                name = self._name[:MOST_CHARACTERS]
                raise BadOption(f"The field {name!r} is over {MOST_FIELD_BYTES} bytes. Shorten it.", option=name)

    def _end(self) -> None:
        self.ended = True

    def _part_end(self) -> None:
        if self._name == IMAGE:
            return
        name = self._name[:MOST_CHARACTERS]
        if self._name in self.fields:
            raise BadOption(f"The option {name!r} is there twice. Send it once.", option=name)
        try:
            self.fields[self._name] = self._value.decode()
        except UnicodeDecodeError:
            raise BadOption(f"The option {name!r} is not UTF-8 text. Send it as such.", option=name) from None

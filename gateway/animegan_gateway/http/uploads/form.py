"""A picture in multipart/form-data (RFC 7578), with options as fields beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from animegan.errors import BadImage, BadOption
from animegan.options import MOST_CHARACTERS, NAMES, contradiction, is_picture_name
from animegan_gateway.http.uploads.picture_file import PictureFile, too_large
from animegan_service.errors import BadRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # which is there for type checkers only

IMAGE = "image"
MOST_PARTS = 16
MOST_FIELD_BYTES = 4096
OVERHEAD_BYTES = MOST_PARTS * MOST_FIELD_BYTES  # of fields, boundaries and part headers
DAMAGE = "The multipart body is damaged or cut short. Send it again."
NO_BOUNDARY = (
    "The header 'Content-Type: multipart/form-data' lacks its boundary. Leave the header out: curl's -F, or what sends "
    "a form in your language, writes it with the boundary that the body has."
)


async def receive_form(
    stream: AsyncIterator[bytes], boundary: bytes, picture: PictureFile
) -> tuple[dict[str, str], str]:
    """Write the form's picture into the file, and return its other fields and the picture's file name.

    Raise `BadRequest`, `BadImage`, `BadOption` or `TooLarge`.
    """
    form = _Form(picture)
    size = 0
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in stream:
            size += len(chunk)
            if size > picture.limits.max_bytes + OVERHEAD_BYTES:
                raise too_large(size, picture.limits)
            parser.write(chunk)
    except FormParserError:
        raise BadRequest(DAMAGE) from None
    if not form.is_complete:
        raise BadRequest(DAMAGE)
    if form.picture_field is None:
        raise BadImage(f"The form holds no picture. Send one as the field {IMAGE!r} (curl: -F {IMAGE}=@photo.jpg).")
    return form.fields, form.file_name


@dataclass
class _Form:
    """The callbacks of the multipart parser, and what they have collected."""

    picture: PictureFile
    fields: dict[str, str] = field(default_factory=dict)
    picture_field: str | None = None
    file_name: str = ""
    is_complete: bool = False
    _parts: int = 0
    _name: str = ""
    _is_picture: bool = False
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
            "on_headers_finished": self._finish_headers,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

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

    def _finish_headers(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        file_name = parameters.get(b"filename")
        option = name.lower().replace("-", "_") in NAMES
        self._name = name
        self._is_picture = not option and (is_picture_name(name) or file_name is not None)
        if not self._is_picture:
            return
        if self.picture_field is not None:
            fields = dict.fromkeys((self.picture_field[:MOST_CHARACTERS], name[:MOST_CHARACTERS]))
            raise BadRequest(
                f"There are two pictures, in {' and '.join(map(repr, fields))}. Send one picture a request."
            )
        self.picture_field = name
        self.file_name = (file_name or b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = data[start:end]
        if self._is_picture:
            self.picture.write(part)
            return
        self._value.extend(part)
        if len(self._value) > MOST_FIELD_BYTES:
            name = self._name[:MOST_CHARACTERS]
            raise BadOption(
                f"The field {name!r} is over {MOST_FIELD_BYTES} bytes, too long for an option. "
                f"A picture goes into the field {IMAGE!r} (curl: -F {IMAGE}=@photo.jpg).",
                option=name,
            )

    def _end(self) -> None:
        self.is_complete = True

    def _part_end(self) -> None:
        if self._is_picture:
            return
        name = self._name[:MOST_CHARACTERS]
        try:
            value = self._value.decode()
        except UnicodeDecodeError:
            raise BadOption(f"The field {name!r} is not UTF-8 text. Send it as such.", option=name) from None
        if self._name in self.fields:
            raise contradiction(name, self.fields[self._name], value)
        self.fields[self._name] = value

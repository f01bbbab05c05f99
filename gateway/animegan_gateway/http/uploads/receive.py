"""A request's body, whichever form it has, as an upload."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from python_multipart.multipart import parse_options_header

from animegan.errors import BadImage
from animegan.options import sift
from animegan.picture.sizes import Limits
from animegan_gateway.http.uploads.form import IMAGE, NO_BOUNDARY, OVERHEAD_BYTES, receive_form
from animegan_gateway.http.uploads.json_body import receive_json
from animegan_gateway.http.uploads.pace import Pace, keep_pace
from animegan_gateway.http.uploads.picture_file import PictureFile, Upload, disk_errors, too_large
from animegan_service.errors import BadRequest

FORM, URLENCODED, JSON = b"multipart/form-data", b"application/x-www-form-urlencoded", b"application/json"
WAYS = (
    f"Send the picture as the field {IMAGE!r} of a form (curl: -F {IMAGE}=@photo.jpg), as the body with its type "
    f'(curl: -H \'Content-Type: image/jpeg\' --data-binary @photo.jpg), or in JSON as {{"{IMAGE}": "<Base64>"}}.'
)


async def receive(
    stream: AsyncIterator[bytes], headers: Mapping[str, str], file: Path, limits: Limits, pace: Pace, name: str = ""
) -> Upload:
    """Read the body into the file, no more of it than may be, and but for JSON in memory a chunk at a time.

    `name` is the picture's file name, where the request's address has one.

    Raise `BadRequest`, `BadImage`, `BadOption`, `TooLarge`, `UploadTimeout`, `StorageFull` or `StoreUnavailable`.
    """
    kind, parameters = parse_options_header(headers.get("content-type", ""))
    is_json = kind == JSON or kind.endswith(b"+json")
    length = headers.get("content-length", "")
    most = limits.max_bytes * 4 // 3 if is_json else limits.max_bytes
    if length.isdecimal() and int(length) > most + OVERHEAD_BYTES:
        raise too_large(int(length), limits)  # before a byte is read
    body = keep_pace(stream, pace)
    with disk_errors(), file.open("xb") as target:
        picture = PictureFile(target, limits)
        if kind == FORM:
            if not parameters.get(b"boundary"):
                raise BadRequest(NO_BOUNDARY)
            fields, file_name = await receive_form(body, parameters[b"boundary"], picture)
        elif is_json:
            fields, file_name = await receive_json(body, file.with_suffix(".json"), picture)
        elif kind.startswith((b"image/", b"video/")) or kind in (b"", b"application/octet-stream", URLENCODED):
            await _receive_raw(body, picture, may_be_text=kind != URLENCODED)
            fields, file_name = {}, ""
        else:
            raise BadRequest(f"A body of the type {kind.decode('ascii', 'replace')[:100]!r} is no picture here. {WAYS}")
    options, ignored = sift(fields.items())
    return Upload(file, picture.size, picture.sha256, options, (*ignored,), file_name or name)


async def _receive_raw(body: AsyncIterator[bytes], picture: PictureFile, *, may_be_text: bool) -> None:
    """Write the body into the file.

    curl's --data-binary calls a body a form where it is told nothing else. A form's text is printable ASCII throughout,
    and no picture begins like that.
    """
    async for chunk in body:
        if chunk and not picture.size and not may_be_text and all(0x20 <= byte < 0x7F for byte in chunk[:64]):
            raise BadRequest(f"The body is a form of text. {WAYS}")
        picture.write(chunk)
    if not picture.size:
        raise BadImage(f"The request has no body. {WAYS}")

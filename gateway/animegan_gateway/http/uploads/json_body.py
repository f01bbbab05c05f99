"""A picture in JSON: its bytes in Base64 (RFC 4648) or as a data URL (RFC 2397), with options as members beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic_core import from_json

from animegan.errors import BadImage, BadOption
from animegan.options import MOST_CHARACTERS, is_picture_name
from animegan.picture.encoded import decode_text
from animegan_gateway.http.uploads.form import IMAGE, OVERHEAD_BYTES
from animegan_gateway.http.uploads.picture_file import PictureFile, disk_errors, too_large
from animegan_service.errors import BadRequest

_turn = asyncio.Semaphore()  # a body is parsed in memory, so one at a time


async def receive_json(stream: AsyncIterator[bytes], spool: Path, picture: PictureFile) -> tuple[dict[str, str], str]:
    """Write the picture of a JSON body into the file, by way of the file `spool`; return the other members.

    The second value, the picture's file name, is empty. Raise `BadRequest`, `BadImage`, `BadOption` or `TooLarge`.
    """
    most = picture.limits.max_bytes * 4 // 3 + OVERHEAD_BYTES
    size = 0
    try:
        with disk_errors(), spool.open("xb") as file:
            async for chunk in stream:
                size += len(chunk)
                if size > most:
                    raise too_large(size * 3 // 4, picture.limits)
                file.write(chunk)
        async with _turn:
            return await asyncio.to_thread(_read, spool, picture), ""
    finally:
        spool.unlink(missing_ok=True)


def _read(spool: Path, picture: PictureFile) -> dict[str, str]:
    with disk_errors():
        data = spool.read_bytes()
    try:
        body = from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise BadRequest(f"The body is no JSON: {str(error)[:MOST_CHARACTERS]}. Send it again.") from None
    del data
    if not isinstance(body, dict):
        raise BadRequest(f'The JSON is no object. Send {{"{IMAGE}": "<Base64 or data URL>", "style": "cel"}}.')
    names = [name for name in body if is_picture_name(name)]
    if not names:
        raise BadImage(f"The JSON holds no picture. Send one in Base64, or as a data URL, as the member {IMAGE!r}.")
    if len(names) > 1:
        raise BadRequest(f"There are two pictures, in {names[0]!r} and {names[1]!r}. Send one picture a request.")
    encoded = body.pop(names[0])
    options = {name: text for name, value in body.items() if (text := _text(name, value)) is not None}
    for part in decode_text(names[0], encoded):
        picture.write(part)
    return options


def _text(name: str, value: object) -> str | None:
    """Return a member as the text of a field. Raise `BadOption` for what can't be one."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    short_name = name[:MOST_CHARACTERS]
    raise BadOption(f"The option {short_name!r} is neither text nor a number. Send it as one.", option=short_name)

"""A picture's file as text: in Base64 (RFC 4648) or as a data URL in Base64 (RFC 2397)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from animegan.errors import BadImage

STEP_CHARACTERS = 2**20  # that are decoded at a time; a multiple of 4
_DATA_URL = re.compile(r"data:[^,]{0,200}?;base64,", re.IGNORECASE)
_ADDRESS = re.compile(r"(https?|ftp|file|s3|gs)://", re.IGNORECASE)


def decode_text(name: str, text: object) -> Iterator[bytes]:
    """Yield the file's bytes, in parts. `name` is the text's in the request.

    Base64 may lack its padding, be in lines, or have the URL-safe alphabet. Raise `BadImage` for anything else; of an
    address too, as none is fetched.
    """
    if not isinstance(text, str):
        raise BadImage(f"{name!r} is no text. Send one picture, in Base64 or as a data URL.")
    if _ADDRESS.match(text):
        raise BadImage(f"{name!r} is an address, and this server fetches none. Send the picture itself, in Base64.")
    url = _DATA_URL.match(text)
    first = url.end() if url else 0
    if re.search(r"\s", text[first : first + STEP_CHARACTERS]):
        text, first = re.sub(r"\s+", "", text[first:]), 0
    try:
        while first < len(text):
            part, first = text[first : first + STEP_CHARACTERS], first + STEP_CHARACTERS
            if first >= len(text):
                part = part.rstrip("= \r\n")
                part += "=" * (-len(part) % 4)
            yield binascii.a2b_base64(part.replace("-", "+").replace("_", "/"), strict_mode=True)
    except ValueError:  # also where it is not ASCII
        raise BadImage(f"{name!r} is neither Base64 nor a data URL in Base64. Encode the picture's bytes.") from None

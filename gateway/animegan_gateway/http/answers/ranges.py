"""Range headers (RFC 9110, 14): one range is supported, any other header gets the whole picture."""

from __future__ import annotations

import re

from animegan_gateway.errors import RangeNotSatisfiable


def parse(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte of the part, or None for the whole. Raise `RangeNotSatisfiable`."""
    match = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", header or "", re.ASCII)
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < int(match[1]):
            return None  # not a range: ignored, as the RFC says
    if first >= size or first > last:
        raise RangeNotSatisfiable(f"The picture has {size:,} bytes, and {header!r} lies past its end.", bytes=size)
    return first, last

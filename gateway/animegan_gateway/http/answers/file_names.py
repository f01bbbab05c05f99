"""Names of files, as callers send them and as answers name them (RFC 6266)."""

from __future__ import annotations

import re
from urllib.parse import quote

MOST_CHARACTERS = 100  # of a name without its ending
# Control characters, those that turn the direction of writing, and those that some system allows in no name.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069"*:<>?|]')


def file_stem(name: str) -> str:
    """Return the name of a caller's file without folders, without its ending, and without what no file's name has.

    It is empty where there is no ending: libraries call what has no name `image`, `blob` or as the field.
    """
    stem = re.split(r"[/\\]", name)[-1].rpartition(".")[0]
    return _UNSAFE.sub("", stem).strip(". ")[:MOST_CHARACTERS]


def content_disposition(name: str, *, download: bool) -> str:
    """Return the header of an answer whose file has that name, which a browser shows or saves.

    What is not ASCII stands in `filename*` (RFC 8187) alone.
    """
    kind = "attachment" if download else "inline"
    if name.isascii() and "%" not in name and "\\" not in name:
        return f'{kind}; filename="{name}"'
    plain = re.sub(r"[^\x20-\x7e]|[%\\]", "_", name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"

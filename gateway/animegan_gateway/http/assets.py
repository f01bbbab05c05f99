"""The page's files as they are sent: its modules in one script, everything compressed once, each under a lasting name.

The bundle is made when the gateway starts, so a checkout needs no build, no Node and no network, and what is served is
always what lies there.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.\.?/[\w./-]+)\.js";\n', re.MULTILINE)
LATER_IMPORT = re.compile(r'\bimport\("(\.\.?/[\w./-]+)"\)')
EXPORT = re.compile(r"^export (async function\*?|function\*?|class|const) ([\w$]+)", re.MULTILINE)
COMMENT = re.compile(r"^ *(?:/\*(?:(?!\*/).)*\*/ *|//[^\n]*)$\n", re.MULTILINE | re.DOTALL)
INDENT = re.compile(r"^ +|^\n", re.MULTILINE)
OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
GZIP = re.compile(r"gzip(;q=(1(\.0*)?|0\.\d*[1-9]\d*))?")
LASTING = "public, max-age=31536000, immutable"
FRESH = "no-cache"  # kept, and asked for before each use


@dataclass(frozen=True)
class Asset:
    """A text file, plain and compressed."""

    body: bytes
    media_type: str
    cache: str

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.body, 9, mtime=0)

    @cached_property
    def etag(self) -> str:
        return f'"{_digest(self.body)}"'

    def response(self, request: Request, extra: Mapping[str, str] | None = None) -> Response:
        """Return it as the request's Accept-Encoding and If-None-Match ask."""
        accept = request.headers.get("accept-encoding", "").replace(" ", "").split(",")
        packed = any(GZIP.fullmatch(each) for each in accept)
        headers = {"Cache-Control": self.cache, "ETag": self.etag, "Vary": "Accept-Encoding", **(extra or {})}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(self.compressed if packed else self.body, headers=headers, media_type=self.media_type)


def load(folder: Path) -> dict[str, Asset]:
    """Return the page's document, `/`, and what it names by address: files under `/page/`, named by their content."""
    assets: dict[str, Asset] = {}
    document = (folder / "index.html").read_text()
    for name, text, media_type in (
        ("early.js", shorten(bundle(folder, "early")), "text/javascript"),
        ("main.js", shorten(bundle(folder, "main")), "text/javascript"),
        ("style.css", shorten((folder / "style.css").read_text()), "text/css"),
    ):
        stem, _, ending = name.partition(".")
        address = f"page/{stem}.{_digest(text.encode())}.{ending}"
        assets[f"/{address}"] = Asset(text.encode(), media_type, LASTING)
        document = document.replace(f'"page/{name}"', f'"{address}"')
    return {"/": Asset(document.encode(), "text/html", FRESH), **assets}


def shorten(text: str) -> str:
    """Return a script or a style sheet without what stands before its lines, and without lines of comment alone."""
    return INDENT.sub("", COMMENT.sub("", text))


def bundle(folder: Path, entry: str) -> str:
    """Return a module and all it imports as one script, each module in a function of its own.

    It understands what the page's modules use: named imports by relative paths, imports when they are needed of files
    that stay files, and exports of functions, classes and constants where they are declared. Raise `ValueError` for
    anything else, and for modules that import each other.
    """
    parts: dict[str, str] = {}
    open_: list[str] = []

    def add(name: str) -> None:
        if name in parts:
            return
        if name in open_:
            raise ValueError(f"Modules of the page import each other: {' -> '.join([*open_, name])}.")
        open_.append(name)
        source = (folder / f"{name}.js").read_text()
        for _, path in IMPORT.findall(source):
            add(_beside(name, path))
        open_.pop()
        parts[name] = _wrap(name, source, whole=name == entry)

    add(entry)
    return "\n".join(parts.values())


def _wrap(name: str, source: str, *, whole: bool) -> str:
    """Return a module as a function that returns its exports; the `whole` one, which may wait, as it is."""
    exports = [match[1] for match in EXPORT.findall(source)]
    text = IMPORT.sub(lambda match: f"const {{{match[1]}}} = {_variable(_beside(name, match[2]))};\n", source)
    text = LATER_IMPORT.sub(lambda match: f'import("./{_beside(name, match[1])}")', text)
    text = EXPORT.sub(r"\1 \2", text)
    if line := OTHER.search(text):
        raise ValueError(f"{name}.js has a line that the bundle does not understand: {line[0]}")
    if whole:
        return text
    return f"const {_variable(name)} = (() => {{\n{text}return {{ {', '.join(exports)} }};\n}})();\n"


def _beside(module: str, path: str) -> str:
    """Return the path, which a module gives relative to itself, from the page's folder on."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(module), path))


def _variable(module: str) -> str:
    return "$" + re.sub(r"[/-]", "_", module)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]

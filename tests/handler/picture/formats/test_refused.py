"""A file that is not read is named, with the way out."""

from __future__ import annotations

import io
import re
import zipfile

import pytest

from animegan.errors import UnsupportedImage
from animegan.picture.formats.refused import KINDS
from animegan.picture.images import inspect
from harness.files.picture_files import HANDLER, LIMITS, load, tiff


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("photo.jpg", b"x")
    return file.getvalue()


FOREIGN_FILES = [
    ("svg", b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'/>"),
    ("svg", b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- Inkscape -->\n<svg>'),
    ("pdf", b"%PDF-1.7\n1 0 obj\n"),
    ("video", b"RIFF\0\0\0\0AVI LIST"),
    ("video", b"FLV\x01\x05\0\0\0\x09"),
    ("raw", tiff((50706, 1, 4, 0x00000401))),
    ("raw", tiff((254, 4, 1, 1), (330, 4, 1, 8 + 2 + 11 * 12 + 4), data=tiff((262, 3, 1, 32803))[8:])),
    ("raw", b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 64),
    ("raw", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
    ("raw", b"FUJIFILMCCD-RAW 0201FF"),
    ("raw", b"IIRO\x08\0\0\0"),
    ("psd", b"8BPS\0\1" + b"\0" * 64),
    ("psd", b"8BPS\0\2" + b"\0" * 64),
    ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n"),
    ("jxl", b"\xff\x0a\xfa\x1f\x41"),
    ("jxl", b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("archive", archive()),
    ("archive", b"Rar!\x1a\x07\x01\0"),
    ("archive", b"\x1f\x8b\x08\0\0\0\0\0"),
    ("data-url", b"data:image/png;base64,iVBORw0KGgo="),
    ("html", b"<!DOCTYPE html>\n<html><body>404</body></html>"),
    ("html", b"\n<HTML><head>"),
    ("json", b'{"image": "iVBORw0KGgo="}'),
    ("json", b"[1, 2, 3]"),
    ("text", b"https://example.org/photo.jpg"),
    ("text", "一张照片".encode() * 1000),
    ("text", b"BMW is a car, and this is text, not a bitmap"),
    ("audio", b"RIFF\0\0\0\0WAVEfmt "),
    ("audio", b"ID3\4\0\0\0\0\0\0"),
    ("ppm", b"P3 2 2 255\n0 0 0"),
    ("picture", b"DDS |\0\0\0"),
    ("picture", b"qoif\0\0\0\x40"),
]


@pytest.mark.parametrize(("kind", "data"), FOREIGN_FILES)
def test_a_file_that_is_not_read_is_named(kind: str, data: bytes) -> None:
    for read in (load, lambda data: inspect(data, LIMITS)):
        with pytest.raises(UnsupportedImage) as excinfo:
            read(data)
        assert excinfo.value.members["kind"] == kind
        assert re.search(r"^This is .*isn't read here\. [A-Z].*\.$", excinfo.value.detail)


def test_every_kind_is_tried() -> None:
    assert {kind.id for kind in KINDS} == {kind for kind, _ in FOREIGN_FILES}


@pytest.mark.parametrize("data", [bytes(range(256)), b"\0", b"\0\0\0\x18ftypabcd\0\0\0\0abcd" + b"\0" * 64])
def test_what_cannot_be_told_names_what_is_read(data: bytes) -> None:
    with pytest.raises(UnsupportedImage, match=r"JPEG, PNG, WEBP.*HEIF") as excinfo:
        load(data)
    assert excinfo.value.status == 415


def test_the_page_has_chinese_words_for_every_kind() -> None:
    page = (HANDLER.parent / "gateway" / "animegan_gateway" / "http" / "page" / "base" / "texts.js").read_text()
    for name in (*(kind.id for kind in KINDS), "heif", "bmp", "ico", "jpeg2000"):
        assert re.search(rf'^\s+(?:"{name}"|{name}): "[^"]*[\u4e00-\u9fff]', page, re.MULTILINE), name

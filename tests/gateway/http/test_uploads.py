"""Uploads as they stream in, as forms, raw and in JSON: hand-made bodies, cut anywhere, whole, damaged and hostile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from animegan.errors import AnimeganError, BadImage, BadOption, TooLarge, UnsupportedImage
from animegan.picture.headers import Header
from animegan.picture.sizes import Limits
from animegan_gateway.errors import UploadTimeout
from animegan_gateway.http.uploads.form import MOST_FIELD_BYTES, MOST_PARTS, OVERHEAD_BYTES
from animegan_gateway.http.uploads.pace import Pace
from animegan_gateway.http.uploads.picture_file import Upload, judge, temporary_file
from animegan_gateway.http.uploads.receive import receive
from animegan_service.errors import BadRequest
from harness.files.picture_files import png_bomb
from harness.pictures import encoded, photo

BOUNDARY = "-----x-=-y"
HEADERS = {"content-type": f'multipart/form-data; boundary="{BOUNDARY}"'}
LIMITS = Limits(max_bytes=100_000, max_pixels=1_000_000)
PICTURE = encoded(photo(64, 48))
CHUNK = 64 * 1024
PACE = Pace(60, 1000)

Part = tuple[str, bytes]


def body(*parts: Part, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> bytes:
    """A multipart body; a part is what follows `form-data; name=`, and its data."""
    content = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; name={name}\r\n\r\n".encode() + data + b"\r\n"
        for name, data in parts
    )
    return content + end


def picture(data: bytes = PICTURE) -> Part:
    return 'image; filename="it.jpg"', data


def receive_all(folder: Path, chunks: Iterator[bytes], headers: Mapping[str, str] = HEADERS) -> tuple[Upload, bytes]:
    """Return the upload of a body in these chunks, and the file's bytes; the file is deleted afterwards."""

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    try:
        with temporary_file(folder) as file:
            upload = asyncio.run(receive(stream(), headers, file, LIMITS, PACE))
            return upload, file.read_bytes()
    finally:
        assert not [*folder.iterdir()]


def refusal(
    folder: Path, whole: bytes, error: type[AnimeganError], headers: Mapping[str, str] = HEADERS
) -> AnimeganError:
    """The error that the body brings, in one chunk and byte by byte."""
    for chunks in ([whole], [whole[at : at + 1] for at in range(min(len(whole), 5000))] + [whole[5000:]]):
        with pytest.raises(error) as failure:
            receive_all(folder, iter(chunks), headers)
        assert type(failure.value) is error
    return failure.value


def test_a_picture_and_its_options(tmp_path: Path) -> None:
    whole = body(("style", b"cel"), picture(), ('"Max-Side"', b"512"), ("note", "é中".encode()))
    upload, data = receive_all(tmp_path, iter([whole]))
    assert data == PICTURE
    assert (upload.bytes, upload.sha256) == (len(PICTURE), hashlib.sha256(PICTURE).hexdigest())
    assert upload.options == {"style": "cel", "max_side": "512"}
    assert (upload.ignored, upload.name) == (("note",), "it.jpg")


TRICKY = body(("style", b"a\r\n--b"), picture(f"\r\n--{BOUNDARY[:-1]}\r\r\n-\r\n--".encode() * 3), ("quality", b"9"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cuts=st.lists(st.integers(0, len(TRICKY))))
@example(cuts=[*range(len(TRICKY))])
def test_where_the_body_is_cut_into_chunks_changes_nothing(tmp_path: Path, cuts: list[int]) -> None:
    borders = sorted({0, *cuts, len(TRICKY)})
    upload, data = receive_all(tmp_path, (TRICKY[start:end] for start, end in pairwise(borders)))
    assert data == f"\r\n--{BOUNDARY[:-1]}\r\r\n-\r\n--".encode() * 3
    assert upload.options == {"style": "a\r\n--b", "quality": "9"}
    assert upload.sha256 == hashlib.sha256(data).hexdigest()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(junk=st.binary(max_size=200), whole=st.booleans())
@example(junk=b"", whole=False)
def test_junk_is_an_upload_or_a_documented_error(tmp_path: Path, junk: bytes, whole: bool) -> None:
    try:
        receive_all(tmp_path, iter([body((f"x{junk.decode('latin-1')}", junk), end=b""), junk] if whole else [junk]))
    except (BadRequest, BadOption, BadImage):
        return
    assert whole


def test_the_end_of_the_body_is_needed(tmp_path: Path) -> None:
    whole = body(picture(), ("style", b"cel"))
    for length in (0, 1, 20, 60, len(PICTURE) // 2, len(PICTURE) + 60, len(whole) - 60, len(whole) - 6, len(whole) - 4):
        assert "cut short" in refusal(tmp_path, whole[:length], BadRequest).detail
    receive_all(tmp_path, iter([whole[:-2]]))  # the last line's end is nobody's


def test_what_follows_the_end_is_nothing(tmp_path: Path) -> None:
    _, data = receive_all(tmp_path, iter([body(picture()) + b"--and more", b"of it"]))
    assert data == PICTURE


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
        "text/html",
        'multipart/form-data; boundary="',
        f"multipart/form-data; boundary={'x' * 10_000}",
        "multipart/form-data; boundary=é",
    ],
)
def test_what_is_no_form_is_told_how_to_be_one(tmp_path: Path, content_type: str) -> None:
    error = refusal(tmp_path, body(picture()), BadRequest, {"content-type": content_type})
    assert "image" in error.detail or "damaged" in error.detail or "boundary" in error.detail


def test_a_form_without_a_picture(tmp_path: Path) -> None:
    assert "'image'" in refusal(tmp_path, body(("style", b"cel"), ("note", b"")), BadImage).detail
    refusal(tmp_path, body(), BadImage)


@pytest.mark.parametrize(
    "name", ["image", "file", "data", "photo", "Img", "image[]", "files[0]", 'whatever; filename="it.jpg"']
)
def test_a_picture_under_any_name_that_callers_try(tmp_path: Path, name: str) -> None:
    _, data = receive_all(tmp_path, iter([body((name, PICTURE))]))
    assert data == PICTURE


def test_two_pictures(tmp_path: Path) -> None:
    for other in (picture(), ("file", PICTURE), ('mask; filename="m.png"', PICTURE)):
        assert "two pictures" in refusal(tmp_path, body(picture(), other), BadRequest).detail


@pytest.mark.parametrize("field", ["stlye", "colour", "maxside", "max_size", "output_format", "width", "STYLES"])
def test_a_misspelt_option_is_named(tmp_path: Path, field: str) -> None:
    error = refusal(tmp_path, body(picture(), (field, b"1")), BadOption)
    assert error.members == {"option": field}
    assert "meant?" in error.detail


def test_what_browsers_forms_send_is_left_out(tmp_path: Path) -> None:
    fields = ("csrf_token", "submit", "_method", "utf8", "authenticity_token", "g-recaptcha-response")
    upload, _ = receive_all(tmp_path, iter([body(picture(), *((field, b"x") for field in fields))]))
    assert (upload.options, upload.ignored) == ({}, fields)


def test_an_option_that_is_given_twice(tmp_path: Path) -> None:
    """Which of the two is meant nobody knows."""
    for again in ("style", "Style"):
        error = refusal(tmp_path, body(("style", b"cel"), picture(), (again, b"gouache")), BadOption)
        assert error.members == {"option": "style"}


def test_a_part_without_a_name_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, body(('""', b"1"), picture()), BadOption).members == {"option": ""}


def test_many_parts(tmp_path: Path) -> None:
    options = [(f"o{number}", b"") for number in range(MOST_PARTS - 1)]
    receive_all(tmp_path, iter([body(picture(), *options)]))
    assert str(MOST_PARTS) in refusal(tmp_path, body(picture(), *options, ("one", b"")), BadRequest).detail


def test_a_long_option(tmp_path: Path) -> None:
    receive_all(tmp_path, iter([body(picture(), ("style", b"x" * MOST_FIELD_BYTES))]))
    error = refusal(tmp_path, body(picture(), ("style", b"x" * (MOST_FIELD_BYTES + 1))), BadOption)
    assert error.members == {"option": "style"}


def test_an_option_that_is_not_utf_8(tmp_path: Path) -> None:
    error = refusal(tmp_path, body(("style", b"\xff\xfe"), picture()), BadOption)
    assert error.members == {"option": "style"}


def test_long_headers_of_a_part(tmp_path: Path) -> None:
    refusal(tmp_path, body((f'image; filename="{"x" * 20_000}"', PICTURE)), BadRequest)


def test_the_file_may_have_all_the_bytes_there_may_be_and_not_one_more(tmp_path: Path) -> None:
    _, data = receive_all(tmp_path, iter([body(picture(bytes(LIMITS.max_bytes)))]))
    assert len(data) == LIMITS.max_bytes
    error = refusal(tmp_path, body(picture(bytes(LIMITS.max_bytes + 1))), TooLarge)
    assert error.members["limit_bytes"] == LIMITS.max_bytes


class Endless:
    """A body that goes on for ever; tells how much of it was read, and how much of that was ever in the folder."""

    def __init__(self, folder: Path, start: bytes) -> None:
        self._folder, self._start = folder, start
        self.read = self.most_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        chunk = self._start
        while True:
            self.read += len(chunk)
            yield chunk
            self.most_bytes = max(self.most_bytes, sum(file.stat().st_size for file in self._folder.iterdir()))
            chunk = bytes(CHUNK)


@pytest.mark.parametrize(
    "start",
    [
        body(picture(), end=b"")[:-2],
        body(picture(), end=b""),  # between two parts
        body(picture()),  # past the end
    ],
)
def test_of_an_endless_upload_no_more_is_read_than_may_be(tmp_path: Path, start: bytes) -> None:
    endless = Endless(tmp_path, start)
    with pytest.raises((TooLarge, BadRequest)):
        receive_all(tmp_path, iter(endless))
    assert endless.read <= LIMITS.max_bytes + OVERHEAD_BYTES + CHUNK
    assert endless.most_bytes <= LIMITS.max_bytes


@pytest.mark.parametrize("length", [LIMITS.max_bytes + OVERHEAD_BYTES + 1, 10**30])
def test_a_length_that_is_too_much_is_refused_before_a_byte_is_read(tmp_path: Path, length: int) -> None:
    endless = Endless(tmp_path, b"")
    with pytest.raises(TooLarge):
        receive_all(tmp_path, iter(endless), {**HEADERS, "content-length": str(length)})
    assert endless.read == 0


def test_an_upload_that_does_not_come(tmp_path: Path) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield body(picture(), end=b"")
        await asyncio.Event().wait()

    with temporary_file(tmp_path) as file, pytest.raises(UploadTimeout, match=r"for 0\.01 s"):
        asyncio.run(receive(stream(), HEADERS, file, LIMITS, Pace(0.01, 0)))
    assert not [*tmp_path.iterdir()]


def test_the_pace_counts_pauses_and_the_mean_and_not_the_whole() -> None:
    pace = Pace(idle_s=30, rate=4000)
    assert pace.deadline(start=0, now=0, size=0) == 30
    assert pace.deadline(start=0, now=100, size=3_000_000) == 130  # 30 kB a second: only a pause ends it
    assert pace.deadline(start=0, now=100, size=100_000) == 55  # 1 kB a second: it is over
    assert Pace(idle_s=30, rate=0).deadline(start=0, now=10_000, size=1) == 10_030


RAW = [{"content-type": "image/jpeg"}, {"content-type": "application/octet-stream"}, {}]


@pytest.mark.parametrize("headers", [*RAW, {"content-type": "application/x-www-form-urlencoded"}])
def test_a_raw_body(tmp_path: Path, headers: Mapping[str, str]) -> None:
    upload, data = receive_all(tmp_path, iter([PICTURE[:9], PICTURE[9:], b""]), headers)
    assert data == PICTURE
    assert (upload.sha256, upload.options) == (hashlib.sha256(PICTURE).hexdigest(), {})
    refusal(tmp_path, bytes(LIMITS.max_bytes + 1), TooLarge, headers)


def test_a_raw_body_that_is_a_form_of_text_or_nothing(tmp_path: Path) -> None:
    urlencoded = {"content-type": "application/x-www-form-urlencoded"}
    assert "--data-binary" in refusal(tmp_path, b"image=photo.jpg&style=cel", BadRequest, urlencoded).detail
    for headers in (*RAW, urlencoded):
        assert "no body" in refusal(tmp_path, b"", BadImage, headers).detail


JSON = {"content-type": "application/json"}
BASE64 = base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (BASE64, "image"),
        (BASE64.rstrip("="), "file"),
        (base64.encodebytes(PICTURE).decode(), "data"),
        (base64.urlsafe_b64encode(PICTURE).decode() + "\n", "photo"),
        (f"data:image/jpeg;base64,{BASE64}", "image"),
    ],
    ids=["Base64", "no padding", "lines", "URL-safe", "data URL"],
)
def test_json(tmp_path: Path, image: str, name: str) -> None:
    options = {"style": "cel", "max_side": 512, "strength": 0.5, "quality": None, "note": "x"}
    whole = json.dumps({name: image, **options}).encode()
    upload, data = receive_all(tmp_path, iter([whole[:100], whole[100:]]), JSON)
    assert data == PICTURE
    assert upload.options == {"style": "cel", "max_side": "512", "strength": "0.5"}
    assert upload.ignored == ("note",)


@pytest.mark.parametrize(
    ("whole", "error", "word"),
    [
        ("", BadRequest, "no JSON"),
        ('{"image": "', BadRequest, "no JSON"),
        ("[]", BadRequest, "no object"),
        ('{"style": "cel"}', BadImage, "no picture"),
        ('{"image": "https://example.org/a.jpg"}', BadImage, "fetches none"),
        ('{"image": "photo.jpg"}', BadImage, "Base64"),
        ('{"image": ["AAAA"]}', BadImage, "no text"),
        ('{"image": "data:image/png,abc"}', BadImage, "Base64"),
        ('{"image": "AAAA", "file": "AAAA"}', BadRequest, "two pictures"),
        ('{"image": "AAAA", "style": {"id": 1}}', BadOption, "style"),
        ('{"image": "AAAA", "style": true}', BadOption, "style"),
        ('{"image": "AAAA", "max_side": Infinity}', BadRequest, "no JSON"),
    ],
)
def test_json_that_is_no_request(tmp_path: Path, whole: str, error: type[AnimeganError], word: str) -> None:
    assert word in refusal(tmp_path, whole.encode(), error, JSON).detail


def test_json_has_the_limit_of_a_file(tmp_path: Path) -> None:
    largest = base64.b64encode(bytes(LIMITS.max_bytes)).decode()
    _, data = receive_all(tmp_path, iter([json.dumps({"image": largest}).encode()]), JSON)
    assert len(data) == LIMITS.max_bytes
    larger = base64.b64encode(bytes(LIMITS.max_bytes + 1)).decode()
    refusal(tmp_path, json.dumps({"image": larger}).encode(), TooLarge, JSON)
    endless = Endless(tmp_path, b'{"image": "')
    with pytest.raises(TooLarge):
        receive_all(tmp_path, iter(endless), JSON)
    assert endless.read <= LIMITS.max_bytes * 4 / 3 + OVERHEAD_BYTES + CHUNK


def test_a_file_that_was_moved_stays(tmp_path: Path) -> None:
    target = tmp_path / "kept"
    with temporary_file(tmp_path) as file:
        file.write_bytes(b"1")
        file.rename(target)
    assert [*tmp_path.iterdir()] == [target]


def judge_file(folder: Path, data: bytes) -> Header:
    upload, _ = receive_all(folder, iter([body(picture(data))]))
    upload.file.write_bytes(data)
    try:
        return asyncio.run(judge(upload, LIMITS))
    finally:
        upload.file.unlink()


def test_a_picture_is_judged_by_its_content(tmp_path: Path) -> None:
    header = judge_file(tmp_path, PICTURE)
    assert (header.format, header.size, header.frames) == ("JPEG", (64, 48), 1)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", BadImage),
        (PICTURE[:100], BadImage),
        (b"%PDF-1.7 and so on", UnsupportedImage),
        (png_bomb(5000, 5000), TooLarge),
    ],
)
def test_what_is_no_picture_for_here(tmp_path: Path, data: bytes, error: type[AnimeganError]) -> None:
    with pytest.raises(error):
        judge_file(tmp_path, data)

"""The page as it is sent: one script, compressed, under names that last."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from starlette.requests import Request

from animegan_gateway.http import assets
from animegan_gateway.http.site import PAGE

A = 'import { a } from "./a.js";\n'


def request(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": pairs})


def test_the_document_names_its_files_by_their_content() -> None:
    loaded = assets.load(PAGE)
    document = loaded.pop("/")
    assert document.cache == "no-cache"
    assert len(loaded) == 3
    for address, asset in loaded.items():
        assert f'"{address[1:]}"'.encode() in document.body
        assert "immutable" in asset.cache


@pytest.mark.parametrize(
    ("accept", "packed"),
    [("gzip, deflate, br", True), ("gzip;q=0.5", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_it_is_compressed_for_those_who_take_that(accept: str, packed: bool) -> None:
    asset = assets.Asset(b"words " * 100, "text/css", assets.FRESH)
    response = asset.response(request(accept_encoding=accept))
    body = bytes(response.body)
    assert response.headers["vary"] == "Accept-Encoding"
    assert (response.headers.get("content-encoding") == "gzip") == packed
    assert (gzip.decompress(body) if packed else body) == asset.body


def test_what_the_browser_has_is_not_sent_again() -> None:
    asset = assets.Asset(b"words", "text/css", assets.FRESH)
    response = asset.response(request(if_none_match=asset.etag))
    assert (response.status_code, response.body) == (304, b"")


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"main": A, "a": 'import { b } from "./b.js";\n', "b": A}, "import each other: main -> a -> b -> a"),
        ({"main": A, "a": "export let a = 1;\n"}, "a.js has a line"),
        ({"main": 'import a from "./a.js";\n'}, "main.js has a line"),
    ],
)
def test_a_module_that_can_not_be_bundled_is_named(tmp_path: Path, modules: dict[str, str], message: str) -> None:
    for name, text in modules.items():
        (tmp_path / f"{name}.js").write_text(text)
    with pytest.raises(ValueError, match=message):
        assets.bundle(tmp_path, "main")


def test_what_only_people_read_is_left_out() -> None:
    text = '/** Says it. */\nconst a = 1; // once\n\n  // twice\n  /* more\n  lines */\n  a = "// no comment";\n'
    assert assets.shorten(text) == 'const a = 1; // once\na = "// no comment";\n'


def test_each_module_comes_once_and_after_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "main.js").write_text('import { b } from "./b.js";\nimport { a } from "./a.js";\nconsole.log(a, b);\n')
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\nexport const b = a() + 1;\n')
    (tmp_path / "a.js").write_text("export function a() {\n  return 1;\n}\n")
    script = assets.bundle(tmp_path, "main")
    assert script.count("function a()") == 1
    assert script.index("const $a =") < script.index("const $b =") < script.index("console.log")


def test_modules_in_folders_import_by_relative_paths(tmp_path: Path) -> None:
    for name, text in {
        "main": 'import { b } from "./rooms/b.js";\nb();\n',
        "rooms/b": 'import { a } from "../a.js";\nexport const b = async () => a(await import("../vendor/zip.js"));\n',
        "a": "export const a = 1;\n",
    }.items():
        (tmp_path / f"{name}.js").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.js").write_text(text)
    script = assets.bundle(tmp_path, "main")
    assert script.index("const $a =") < script.index("const $rooms_b =")
    assert 'import("./vendor/zip.js")' in script, "the bundle lies beside the folder"

"""What the documents say is so: their code runs, their commands parse, their links resolve, their tables agree."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import typer.main
from fastapi.routing import APIRoute
from PIL import Image

import animegan
from animegan import options, styles
from animegan.errors import AnimeganError, BadOption
from animegan.options import Wish
from animegan.report import FLAWS, Report
from animegan.settings import SMALLEST_SIDE_PX, Color, DetailOption, Format, Frames, Mode, Settings, Tone
from animegan_cli.commands import contact_sheet
from animegan_cli.main import app
from animegan_cli.serving.torchserve import MODEL, address, read_properties
from animegan_cli.stylize.tasks import SUFFIXES
from animegan_cli.weights.export import export
from animegan_gateway.http.routes.jobs import router as job_routes
from animegan_gateway.http.routes.styles import router as style_routes
from animegan_gateway.http.uploads.form import IMAGE
from animegan_gateway.settings import Settings as GatewaySettings
from benchmarks import plots
from benchmarks.engine import seams
from docs.pages import CODE, LINK, PAGES, ROOT, SPAN, code, commands, prose, table, tables, text
from harness.pictures import encoded, photo
from harness.servers import Server
from tools import screenshot

READMES = ("README.md", "README.zh-CN.md")
HTTP = "docs/http.md"
MOST_WORDS = 900  # of the README
DOOR = f"http://127.0.0.1:{GatewaySettings.model_fields['port'].default}"
BUILD_OUTPUTS = {"model_store/animegan.mar"}  # named, and not there before the first start


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: holds what the documents' commands name, and no style is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANIMEGAN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANIMEGAN_WARMUP_PX", "0")
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "beach.jpg", "photos/hill.jpg"):
        (tmp_path / name).write_bytes(encoded(photo(96, 64)))
    for name in ("hayao.onnx", "mine.safetensors"):
        (tmp_path / name).touch()
    return tmp_path


# ---- Code and commands -----------------------------------------------------------------------------------------------


@pytest.mark.server
@pytest.mark.parametrize("block", code("python", *PAGES))
def test_the_python_runs(block: str, folder: Path, server: Server) -> None:
    block = block.replace(DOOR, server.page)
    if "classic.onnx" in block:
        export(folder / "classic.onnx", styles.get_style("classic"))
    exec(compile(block, "<a document's code>", "exec"), {"__name__": "document"})
    with Image.open(folder / "anime.jpg") as anime, Image.open(folder / "photo.jpg") as source:
        assert anime.size == source.size
        assert anime.tobytes() != source.tobytes()


@pytest.mark.parametrize("line", commands("animegan", *PAGES))
def test_the_command_has_these_options(line: str, folder: Path) -> None:
    _, name, *arguments = shlex.split(line)
    group: Any = typer.main.get_command(app)
    command = group.commands[name]
    if arguments and (subcommands := getattr(command, "commands", None)):
        command, arguments = subcommands[arguments[0]], arguments[1:]
    command.make_context(name, [*arguments])  # it empties the list
    elsewhere = {"--server", "--ray"} & {*arguments}  # what needs more than the command
    if line == "animegan styles" or (name == "stylize" and not elsewhere):  # the others load or fetch more
        before = set(folder.rglob("*"))
        app(shlex.split(line)[1:], standalone_mode=False)
        new_files = [file for file in set(folder.rglob("*")) - before if file.suffix in SUFFIXES]
        assert len(new_files) == {"styles": 0, "stylize": 1 if "photos" not in arguments else 2}[name]
        for file in new_files:
            with Image.open(file) as anime:
                assert anime.size == (96, 64)


@pytest.mark.parametrize("line", commands("curl", *PAGES))
def test_curl_asks_for_what_is_there(line: str) -> None:
    words = shlex.split(line)
    assert all((ROOT / name).is_file() for name in re.findall(r"@(\S+)", line))
    fields = dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "-F")
    if address_ := next((word for word in words if word.startswith(DOOR)), None):
        sends = {"-F": "POST", "--data-binary": "POST", "-T": "PUT"}
        method = next((sends[word] for word in words if word in sends), "GET")
        path = urlsplit(address_).path
        assert any(
            isinstance(route, APIRoute) and method in (route.methods or ()) and route.path_regex.match(path)
            for route in (*job_routes.routes, *style_routes.routes)
        )
        assert fields.pop(IMAGE, "@").startswith("@")
        assert set(fields) <= set(options.NAMES)
        return
    inference = address(read_properties(ROOT / "config" / "config.properties"), "inference_address")
    assert f"{inference}/predictions/{MODEL}" in words
    headers = dict(word.split(": ", 1) for flag, word in pairwise(words) if flag == "-H")
    assert ("data" in fields) != ("--data-binary" in words)
    assert fields.pop("data", "@").startswith("@")
    assert headers.pop("Content-Type", "image/jpeg") == "image/jpeg"
    parsed = options.parse(options.merge(options.options_in_headers(headers.items()), fields), Settings())
    assert styles.get_style(parsed.style).weights, "the documents draw in bundled styles"


def test_the_scripts_can_be_run() -> None:
    scripts = [line.split()[0] for page in PAGES for block in code("sh", page) for line in block.splitlines()]
    assert [name for name in scripts if name.startswith("./") and not os.access(ROOT / name, os.X_OK)] == []


def test_the_pictures_are_made_by_these_lines() -> None:
    outputs = {seams.PICTURE, *(plots.PICTURES / f"{name}.svg" for name in plots.PLOTS)}  # benchmarks write these
    for line in (
        line for first in (".venv/bin/python", "PYTHONPATH=tests") for line in commands(first, "CONTRIBUTING.md")
    ):
        if "animegan_cli.commands.contact_sheet" in line:
            parsed = contact_sheet._parse(shlex.split(line)[3:])
            assert all((ROOT / file).is_file() for file in parsed.photos)
            outputs.add(ROOT / parsed.out)
        if "tools.screenshot" in line:
            outputs.add(screenshot.PICTURE)
    for line in commands("scripts/benchmark", "CONTRIBUTING.md"):
        if "--sheet" in line:
            outputs.add(ROOT / line.split()[-1])
    assert outputs == set((ROOT / "docs" / "pictures").iterdir())


def test_the_readme_is_short() -> None:
    assert len(text("README.md").split()) <= MOST_WORDS


def test_both_readmes_have_the_same_code_pictures_and_sections() -> None:
    english, chinese = ([CODE.findall(text(page)), re.findall(r"^#+ ", prose(page), re.MULTILINE)] for page in READMES)
    assert english == chinese
    pictures, same = (re.findall(r"!\[.+\]\((.+)\)", prose(page)) for page in READMES)
    assert pictures == same
    assert len(pictures) == 3


def test_both_readmes_have_tables_of_the_same_things() -> None:
    def things(page: str) -> list[list[list[str]]]:
        """The code and the links of each row, by table."""
        return [[[*SPAN.findall(row[0]), *LINK.findall(" ".join(row))] for row in rows] for rows in tables(page)]

    english, chinese = map(things, READMES)
    assert english == chinese


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    links = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(text("docs/README.md"))}
    pages = {ROOT / page for page in PAGES if page.startswith("docs/")}
    assert pages - links == {index, ROOT / "docs/photos/CREDITS.md"}


# ---- Links and names -------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from the headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES)
def test_named_paths_exist(page: str) -> None:
    rooms = r"(?:handler|gateway|scripts|config|model_store|requirements|benchmarks|tests|docs|\.ci)/[\w./-]*"
    words = [span.split()[0].removeprefix("./") for span in SPAN.findall(prose(page))]
    names = [word for word in words if re.fullmatch(rooms, word)]
    assert [name for name in names if not (ROOT / name).exists() and name not in BUILD_OUTPUTS] == []


def test_the_changelog_knows_this_version() -> None:
    [latest, *_] = re.findall(r"^## \[(.+?)\]", text("CHANGELOG.md"), re.MULTILINE)
    assert latest == animegan.__version__


# ---- Tables ----------------------------------------------------------------------------------------------------------


def kinds(base: type[AnimeganError] = AnimeganError) -> Iterator[type[AnimeganError]]:
    """The engine's own errors below `base`."""
    for kind in base.__subclasses__():
        if kind.__module__ == AnimeganError.__module__:
            yield kind
            yield from kinds(kind)


def test_the_statuses_are_the_errors_own() -> None:
    [rows] = [rows for rows in tables(HTTP) if "`bad_image`" in [row[1] for row in rows]]
    assert sorted((row[0], row[1].strip("`")) for row in rows) == sorted((str(int(k.status)), k.code) for k in kinds())
    retryable = {row[1].strip("`") for row in rows if "retryable" in row[2]}
    assert retryable == {kind.code for kind in kinds() if kind.retryable}


def test_the_limits_are_the_settings() -> None:
    settings = Settings()
    [[_, _, text]] = [row for rows in tables(HTTP) for row in rows if row[1:2] == ["`too_large`"]]
    assert [int(number) for number in re.findall(r"\d+", text)] == [settings.max_upload_mb, settings.max_pixels_mpx]
    [[_, _, text]] = [row for rows in tables(HTTP) for row in rows if row[1:2] == ["`picture_too_small`"]]
    assert re.findall(r"\d+", text) == [str(SMALLEST_SIDE_PX)]
    bytes_ = int(read_properties(ROOT / "config" / "config.properties")["max_request_size"])
    assert f"{bytes_ // 2**20} MiB" in prose(HTTP)


def test_the_sample_error_is_real() -> None:
    samples = [json.loads(block) for block in code("json", HTTP)]
    with pytest.raises(BadOption) as excinfo:
        options.parse({"max_side": "9000"}, Settings())
    assert samples == [json.loads(excinfo.value.json())]


def test_the_options_are_those_of_a_request() -> None:
    rows = table(HTTP, "max_side")
    assert {name: cells[0].strip("`") for name, cells in rows.items()} == dict(
        zip(options.NAMES, options.option_headers(), strict=True)
    )
    settings = Settings()
    defaults = {name: cells[3].strip("`") for name, cells in rows.items()}
    assert defaults == {
        "style": settings.style,
        "max_side": str(settings.max_side_px),
        "max_pixels": str(settings.max_side_px**2),
        "format": settings.format,
        "quality": str(settings.quality),
        "detail": Wish().detail,
        "strength": f"{Wish().strength:g}",
        "color": Wish().color,
        "tone": Wish().tone,
        "mode": Wish().mode,
        "frames": options.parse({}, settings).frames,
    }
    ceiling = settings.max_side_ceiling_px
    for name, least, most in (
        ("max_side", SMALLEST_SIDE_PX, ceiling),
        ("max_pixels", SMALLEST_SIDE_PX**2, ceiling**2),
        ("quality", 1, 100),
    ):
        assert re.findall(r"\d+", rows[name][2]) == [str(least), str(most)]
        for value in (least, most):
            options.parse({name: str(value)}, settings)
        for value in (least - 1, most + 1):
            with pytest.raises(BadOption):
                options.parse({name: str(value)}, settings)
    for name, choices in (
        ("format", Format), ("detail", DetailOption), ("color", Color), ("tone", Tone), ("mode", Mode),
        ("frames", Frames),
    ):  # fmt: skip
        assert SPAN.findall(rows[name][2]) == list(get_args(choices))
        for choice in get_args(choices):
            options.parse({name: choice}, settings)
    assert options.parse({"quality": "fast"}, settings).fast
    assert options.parse({"quality": "best"}, settings).best
    assert options.parse({"max_side": "original"}, settings).max_side is None


def test_the_response_headers_are_the_reports() -> None:
    rows = table(HTTP, "X-Animegan-Fitted")
    assert list(rows) == list(
        Report("cel", "", "fp32", "bands", (16, 16), (16, 16), flaws=tuple(FLAWS), detail="bold").headers()
    )


@pytest.mark.parametrize("page", READMES)
def test_the_styles_are_the_registrys(page: str) -> None:
    chinese = page != "README.md"
    words = {"landscape": "风景", "portrait": "人像"} if chinese else {}
    rows = table(page, "cel")
    registry = styles.bundled_styles()
    assert list(rows) == list(registry)
    for name, (title, suits, licence, commercial, way) in rows.items():
        style = registry[name]
        assert title == (style.title.zh if chinese else style.title.en)
        assert suits == ("、" if chinese else ", ").join(words.get(word, word) for word in style.suits)
        assert licence == style.license
        assert ("**" in commercial) == style.noncommercial
        if style.weights:
            assert way == ("内置" if chinese else "bundled")
        else:
            fetch = f"`animegan fetch {name}`"
            assert way == (fetch if style.checkpoint else f"`animegan import FILE --style {name}`")

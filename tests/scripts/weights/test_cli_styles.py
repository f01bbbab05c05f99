"""The `animegan` command as people type it: `styles`, `fetch`, `import`, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import animegan
from animegan.styles import bundled_styles, verify
from animegan_cli.language import language
from animegan_cli.weights import install
from harness.commands import run_command
from harness.files import weight_files as files
from harness.files.published import Site, publish

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = [ROOT / "handler", ROOT / "gateway", ROOT / "scripts"]
STYLE_IDS = list(bundled_styles())
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")


class Command:
    """Runs `animegan` with a home of its own: in this process, but for what only a process shows."""

    def __init__(self, folder: Path) -> None:
        self.packages = PACKAGES
        self.home = folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        variables = {name: value for name, value in os.environ.items() if name not in (*LOCALE, "PYTHONUNBUFFERED")}
        return variables | {
            "ANIMEGAN_HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(map(str, self.packages)),
            "LANG": "C.UTF-8",
            "no_proxy": "127.0.0.1",
        }

    def __call__(
        self,
        *arguments: str | Path,
        stdin: int = subprocess.DEVNULL,
        env: dict[str, str] | None = None,
        process: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        if not process and stdin == subprocess.DEVNULL and self.packages == PACKAGES:
            return run_command(*arguments, environment=env or self.environment)
        return subprocess.run(
            [sys.executable, "-m", "animegan_cli", *map(str, arguments)],
            env=env or self.environment,
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    command = Command(tmp_path)
    monkeypatch.setenv("ANIMEGAN_HOME", str(command.home))
    return command


@pytest.fixture
def site() -> Iterator[Site]:
    with publish(files.checkpoint(files.other())) as site:
        yield site


@pytest.fixture
def run_here(run: Command, site: Site, tmp_path: Path) -> Command:
    """The command as installed from a wheel whose registry publishes Paprika on this machine."""
    package = tmp_path / "installed" / "animegan"
    shutil.copytree(ROOT / "handler" / "animegan", package, ignore=shutil.ignore_patterns("__pycache__", "model_store"))
    shutil.copytree(ROOT / "model_store", package / "model_store", ignore=shutil.ignore_patterns("*.mar", "*.pt"))
    registry = package / "model_store" / "styles.json"
    entries = json.loads(registry.read_bytes())
    for entry in entries:
        if entry["id"] == "paprika":
            entry["checkpoint"] = {"url": site.url, "git_blob_id": site.git_blob_id}
    registry.write_text(json.dumps(entries))
    run.packages = [package.parent, ROOT / "scripts"]
    return run


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "weights.pt"
    file.write_bytes(files.checkpoint(files.bundled_tensors()))
    return file


def failed(result: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The one line of complaint."""
    assert result.returncode == status
    [line] = result.stderr.splitlines()
    assert line.startswith("animegan: ")
    return line


def test_version(run: Command) -> None:
    result = run("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"animegan {animegan.__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["styles"], ["fetch", "--help"]])
def test_light_commands_do_not_wait_for_torch(run: Command, arguments: list[str]) -> None:
    code = "import sys\nsys.modules['torch'] = sys.modules['onnx'] = None\nfrom animegan_cli.main import main\nmain()"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=run.environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_styles_is_a_table(run: Command) -> None:
    result = run("styles")
    assert (result.returncode, result.stderr) == (0, "")
    heading, *rows = [line.split() for line in result.stdout.splitlines()]
    assert heading == ["ID", "TITLE", "SUITS", "LICENCE", "NC", "STATE"]
    assert rows[0] == ["cel", "Cel", "landscape,", "portrait", "BSD-3-Clause", "bundled"]
    assert rows[4] == ["hayao", "Hayao", "landscape", "LicenseRef-AnimeGANv2-NonCommercial", "NC", "import"]
    assert rows[6][-2:] == ["NC", "fetch"]
    assert [row[0] for row in rows[:-1]] == STYLE_IDS


def test_styles_for_programs(run: Command, weights: Path) -> None:
    install.import_file(weights, "hayao")
    entries = json.loads(run("styles", "--json").stdout)
    assert [entry["id"] for entry in entries] == STYLE_IDS
    states = {entry["id"]: entry["state"] for entry in entries}
    assert (states["cel"], states["hayao"], states["shinkai"], states["paprika"]) == (
        "bundled",
        "installed",
        "import",
        "fetch",
    )
    assert entries[0]["title"] == {"en": "Cel", "zh": "赛璐璐"}


def test_titles_follow_the_locale(run: Command) -> None:
    chinese = run("styles", env=run.environment | {"LC_ALL": "zh_CN.UTF-8"}).stdout
    assert "赛璐璐" in chinese
    assert "Gouache" not in chinese
    assert "赛璐璐" not in run("styles").stdout


def test_a_title_that_the_terminal_cannot_write(run: Command) -> None:
    result = run("styles", env=run.environment | {"LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "ascii"}, process=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "???" in result.stdout


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "ZH_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_HK.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LC_MESSAGES": "zh_HK.UTF-8", "LANG": "zh_CN"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_CN"}, "zh"),
    ],
)
def test_language(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], expected: str) -> None:
    for name in LOCALE:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


@pytest.mark.slow
def test_fetch_shows_the_licence_and_installs(run_here: Command, site: Site) -> None:
    result = run_here("fetch", "paprika", "--yes")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "Paprika (paprika)"
    assert "licence  LicenseRef-AnimeGANv2-NonCommercial, non-commercial use only" in lines[2]
    assert lines[-1] == "Installed the style paprika."
    assert run_here("fetch", "paprika").stdout == "paprika is installed already.\n"
    assert len(site.range_headers) == 1


def test_fetch_without_a_terminal_wants_yes(run_here: Command, site: Site) -> None:
    result = run_here("fetch", "paprika")
    assert "add --yes" in failed(result)
    assert "LicenseRef-AnimeGANv2-NonCommercial" in result.stdout
    assert site.range_headers == []


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "status"), [("Yes", 0), ("n", 1), ("", 1)])
def test_fetch_asks_at_a_terminal(run_here: Command, site: Site, answer: str, status: int) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode() + b"\n")
    result = run_here("fetch", "paprika", stdin=theirs)
    os.close(theirs)
    os.close(ours)
    assert result.returncode == status
    assert "under these terms? [y/N]" in result.stdout
    assert len(site.range_headers) == (status == 0)
    assert (run_here.home / "styles" / "paprika.json").exists() == (status == 0)


@pytest.mark.slow
def test_fetch_mends_a_damaged_style(run_here: Command, weights: Path, site: Site) -> None:
    file = verify(install.import_file(weights, "paprika"))
    file.write_bytes(file.read_bytes()[:-1])
    assert run_here("fetch", "paprika", "--yes").returncode == 0
    assert install.is_intact("paprika")
    assert len(site.range_headers) == 1


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("hayao", "animegan import FILE --style hayao"),
        ("nosuch", "There is no style 'nosuch'. Use one of: cel, ink, gouache"),
    ],
)
def test_fetch_of_what_cannot_be_fetched(run: Command, style: str, words: str) -> None:
    assert words in failed(run("fetch", style, "--yes"))


def test_fetch_of_a_bundled_style(run: Command) -> None:
    result = run("fetch", "cel")
    assert (result.returncode, result.stdout) == (0, "cel is bundled: there is nothing to fetch.\n")


def test_fetch_of_a_style_of_ones_own(run: Command, weights: Path) -> None:
    install.import_file(weights, "mine", license="MIT")
    assert run("fetch", "mine").stdout == "mine is installed already.\n"


@pytest.mark.parametrize("option", ["--license", "--licence"])
def test_import_takes_both_spellings(run: Command, weights: Path, option: str) -> None:
    result = run("import", weights, "--style", "mine", option, "CC-BY-4.0", "--commercial", "--title-zh", "我的")
    assert result.returncode == 0
    assert "licence  CC-BY-4.0, commercial use allowed" in result.stdout
    assert result.stdout.endswith("Installed the style mine.\n")
    entry = json.loads((run.home / "styles" / "mine.json").read_bytes())
    assert (entry["license"], entry["noncommercial"], entry["title"]["zh"]) == ("CC-BY-4.0", False, "我的")


def test_import_complains_in_one_clean_line(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "evil.pt"
    file.write_bytes(files.checkpoint({"a\x1b[31m\nb": files.bundled_tensors()["out_layer.0.weight"]}))
    result = run("import", file, "--style", "hayao")
    assert "is missing" in failed(result)
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "absent.pt", "--style", "hayao"],
        ["import", str(Path(__file__))],
        ["fetch"],
        ["nonsense"],
        ["styles", "--nonsense"],
    ],
)
def test_wrong_usage_is_status_2(run: Command, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr


@pytest.mark.slow
def test_ctrl_c_is_status_130_and_keeps_what_came(run_here: Command, site: Site) -> None:
    site.stalls, site.breaks = True, [2**20]
    with subprocess.Popen(
        [sys.executable, "-m", "animegan_cli", "fetch", "paprika", "--yes"],
        env=run_here.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: any(part.stat().st_size >= 2**19 for part in run_here.home.glob("styles/.*.part")))
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in complaint
    assert run_here("fetch", "paprika", "--yes").returncode == 0
    assert site.range_headers[0] is None
    assert int(str(site.range_headers[1]).removeprefix("bytes=").removesuffix("-")) >= 2**19


def until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise TimeoutError


@pytest.mark.parametrize("arguments", [["styles"], ["styles", "--json"], ["--version"]])
def test_a_reader_that_has_gone_is_no_error_to_talk_about(run: Command, arguments: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    result = subprocess.run(
        [sys.executable, "-m", "animegan_cli", *arguments],
        env=run.environment,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(theirs)
    assert result.stderr == ""
    assert result.returncode == 1

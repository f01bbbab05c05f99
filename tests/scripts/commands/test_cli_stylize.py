"""`animegan stylize`: files, folders, endings, what is done already, what fails."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from animegan.errors import BadOption
from animegan.picture.images import Encoded
from animegan_cli.stylize.journal import NAME, Journal
from animegan_cli.stylize.tasks import plan
from client.fake_gateway import PATIENCE_S
from harness.files.picture_files import animation, heic
from harness.pictures import encoded, photo
from harness.servers import wait_until
from harness.stylizing import COMMAND, ENVIRONMENT, outputs, photo_folder, stylize


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photo_folder(tmp_path / "photos")


@pytest.mark.parametrize(("ending", "format"), [(".JPEG", "JPEG"), (".png", "PNG"), (".webp", "WEBP")])
def test_the_ending_is_the_format(photos: Path, tmp_path: Path, ending: str, format: str) -> None:
    out = tmp_path / f"anime{ending}"
    process = stylize(photos / "a.jpg", "-o", out, "--max-side", "32")
    assert process.returncode == 0, process.stderr
    assert "fitted the size for you: 32×24" in process.stderr
    with Image.open(out) as anime:
        assert (anime.format, anime.size) == (format, (32, 24))


def test_only_an_animation_becomes_a_gif(photos: Path, tmp_path: Path) -> None:
    moving = photos / "moving.gif"
    moving.write_bytes(animation("GIF"))
    [task] = plan([moving], tmp_path / "anime.GIF").tasks
    assert (task.format, task.write(Encoded(b"GIF89a", "image/gif"))) == ("auto", tmp_path / "anime.GIF")
    with pytest.raises(BadOption, match=r"'anime.GIF': only an animation or a video of that kind .* End it with \.jpg"):
        task.write(Encoded(b"", "image/jpeg"))
    with pytest.raises(BadOption, match=r"'anime.gif': only an animation or a video of that kind"):
        plan([photos / "a.jpg"], tmp_path / "anime.gif")


def test_a_folder_is_drawn_once_and_failures_are_listed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photos / "broken.jpg").write_bytes(encoded(photo(64, 48))[:300])
    (photos / "tiny.png").write_bytes(encoded(photo(8, 8), "PNG"))
    first = stylize(photos, "-o", out)
    assert first.returncode == 1
    failed = [line for line in first.stderr.splitlines() if line.startswith(str(photos)) and " -> " not in line]
    assert [line.partition(": ")[0] for line in failed] == [str(photos / "broken.jpg"), str(photos / "tiny.png")]
    assert "2 of 6 failed" in first.stderr
    (photos / "tiny.png").unlink()
    assert "Traceback" not in first.stderr
    assert [line for line in first.stderr.splitlines() if "left out" in line] == [
        f"left out: {photos}/notes.txt: This is text, which isn't read here. "
        "Send the picture's own bytes, not its name or address."
    ]
    names = ["a-2.jpg", "a.jpg", "holiday.v2.jpg", "more/c.jpg"]
    assert outputs(out) == names
    times = {name: (out / name).stat().st_mtime_ns for name in names}
    (photos / "broken.jpg").write_bytes(encoded(photo(64, 48)))
    second = stylize(photos, "-o", out)
    assert second.returncode == 0, second.stderr
    assert "4 of 5 are done already" in second.stdout
    assert outputs(out) == sorted([*names, "broken.jpg"])
    assert times == {name: (out / name).stat().st_mtime_ns for name in names}


def test_chinese_by_locale(photos: Path, tmp_path: Path) -> None:
    process = stylize(photos / "a.jpg", "-o", tmp_path / "x.jpg", "--max-side", "32", LC_ALL="zh_CN.UTF-8")
    assert "已为你智能适配分辨率：32×24" in process.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jpg", "-o", "x.jpg"], "nowhere.jpg is not there"),
        (["a.jpg", "-o", "x.bmp"], "'x.bmp': end it with one of .jpg"),
        (["a.jpg", "-o", "x.jpg", "--style", "monet"], "no style 'monet'"),
        (["a.jpg", "-o", "x.jpg", "--max-side", "-1"], "max_side='-1'"),
        (["a.jpg", "-o", "x.jpg", "--format", "png"], "differ"),
        (["a.jpg", "a.png", "-o", "notes.txt"], "notes.txt is a file"),
        (["a.jpg", "a.png", "-o", "x.png"], "x.png is the name of one picture"),
        ([".", "-o", "x.png"], "x.png is the name of one picture"),
        (["a.jpg", "-o", "x.jpg", "--device", "gpu"], "--device gpu: use one of auto, cpu, cuda"),
        (["-", "a.jpg", "-o", "out"], "- stands for one photo"),
        (["-", "-o", "out.bmp"], "'out.bmp': end it with"),
        (["notes.txt", "-o", "x.jpg"], "which isn't read here"),
        (["a.jpg", "-o", "x.jpg", "--server", "http://127.0.0.1:9"], "Is the server running?"),
        (["a.jpg", "-o", "x.jpg", "--server", "127.0.0.1:9"], "Begin it with http://"),
        (["a.jpg", "-o", "x.jpg", "--server", "http://host:99999"], "no address of a server"),
        (["a.jpg", "-o", "x.jpg", "--server", "http://127.0.0.1:9", "--key", "ag_ä"], "no key has"),
        (["a.jpg", "-o", "a.jpg"], "a.jpg would be replaced by its drawing"),
    ],
)
def test_a_clear_line_for_each_mistake(photos: Path, arguments: list[str], words: str) -> None:
    paths = [photos / word if "." in word and "/" not in word else word for word in arguments]
    process = stylize(*paths)
    assert process.returncode == 1
    assert words in process.stderr.replace(f"{photos}/", "")
    assert "Traceback" not in process.stderr


def test_an_output_that_cannot_be_written_is_named(photos: Path) -> None:
    process = stylize(photos / "a.jpg", "-o", "/proc/anime.jpg")
    assert process.returncode == 1
    assert "/proc/anime.jpg can't be written" in process.stderr
    assert ".part" not in process.stderr
    assert "Traceback" not in process.stderr


def test_no_output_takes_the_place_of_another(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photos / "more" / "a.jpg").write_bytes(encoded(photo(32, 32)))
    (photos / "A.gif").write_bytes(encoded(photo(32, 32), "GIF"))
    few = plan([photos / "a.jpg", photos / "more" / "a.jpg"], out).tasks
    assert [task.base.name for task in few] == ["a", "a-2"]
    both = plan([photos, photos / "more"], out).tasks
    assert len({str(task.base).casefold() for task in both}) == len(both) == 8


def test_a_photo_keeps_its_output_when_another_of_its_name_comes(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert stylize(photos, "-o", out, "--max-side", "32").returncode == 0
    before = {task.source: task.base for task in plan([photos], out).tasks}
    (photos / "a.avi.bmp").write_bytes(encoded(photo(32, 32), "BMP"))
    (photos / "a").write_bytes(encoded(photo(32, 32)))
    after = {task.source: task.base for task in plan([photos], out).tasks}
    assert before.items() < after.items()
    assert after[photos / "a"].name == "a-3"


def test_what_was_drawn_is_no_photo(photos: Path) -> None:
    before = plan([photos], photos / "drawn").tasks
    (photos / "drawn").mkdir()
    (photos / "drawn" / "c.jpg").write_bytes(encoded(photo(32, 32)))
    assert plan([photos], photos / "drawn").tasks == before
    assert stylize(photos / "more", "-o", photos / "more", "--max-side", "32", "--format", "png").returncode == 0
    again = plan([photos / "more"], photos / "more", "png").tasks
    assert [task.source for task in again] == [photos / "more" / "c.webp"]


def test_a_photo_is_told_by_its_content(tmp_path: Path) -> None:
    kinds = {"a.HEIC": heic(photo(64, 48)), "b.jfif": encoded(photo(32, 32)), "c": encoded(photo(32, 32), "WEBP")}
    for name, data in {**kinds, "d.jpg": b"%PDF-1.7", "e.png": b""}.items():
        (tmp_path / name).write_bytes(data)
    tasks = plan([tmp_path], tmp_path / "out")
    assert [task.source.name for task in tasks.tasks] == list(kinds)
    assert tasks.left_out.keys() == {tmp_path / "d.jpg", tmp_path / "e.png"}
    assert "PDF" in tasks.left_out[tmp_path / "d.jpg"]


@pytest.mark.slow
def test_what_was_drawn_with_other_options_is_due(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def run(*options: str) -> str:
        process = stylize(photos, "-o", out, "--max-side", "32", *options)
        assert process.returncode == 0, process.stderr
        return f"{process.stderr.count(' -> ')} drawn, {process.stdout.partition(' done already')[0]}"

    assert run() == "4 drawn, "
    assert run() == "0 drawn, 4 of 4 are"
    assert run("--force") == "4 drawn, "
    assert run("--style", "cel") == "0 drawn, 4 of 4 are"  # which is the default
    assert run("--strength", "0.5") == "4 drawn, "
    (photos / "a.png").write_bytes(encoded(photo(48, 40), "PNG"))
    (out / "holiday.v2.jpg").unlink()
    assert run("--strength", "0.5") == "2 drawn, 2 of 4 are"
    refusal = stylize(photos, "-o", out, "--max-side", "9000")
    assert (refusal.returncode, refusal.stdout) == (1, "")
    assert "max_side='9000'" in refusal.stderr


def test_a_damaged_journal_is_no_reason_to_fail(photos: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out", {"style": "cel"}
    out.mkdir()
    source, output = photos / "a.jpg", out / "a.jpg"
    output.write_bytes(b"drawn")
    Journal(out).add(source, output, source.stat(), options)
    with (out / NAME).open("ab") as file:
        file.write(b'[1]\n{"source": 1}\n\xff\n{"source": "../photos/b')
    assert Journal(out).holds(source, options)
    Journal(out).add(photos / "a.png", output, source.stat(), options)
    assert Journal(out).output_of(photos / "a.png") == output


def test_the_report_has_all_of_a_run(photos: Path, tmp_path: Path) -> None:
    (photos / "broken <b>.jpg").write_bytes(encoded(photo(64, 48))[:300])
    process = stylize(photos, "-o", tmp_path / "out", "--max-side", "32", "--report", tmp_path / "seen" / "run")
    assert process.returncode == 1
    record = json.loads((tmp_path / "seen" / "run.json").read_text())
    assert len(record["drawn"]) == 4
    assert record["drawn"][0]["size"] == [32, 24]
    assert [(failed["source"], failed["code"]) for failed in record["failed"]] == [
        (str(photos / "broken <b>.jpg"), "bad_image")
    ]
    assert [entry["source"] for entry in record["left_out"]] == [str(photos / "notes.txt")]
    sheet = (tmp_path / "seen" / "run.html").read_text()
    assert sheet.count("<figure>") == 4
    assert "broken &lt;b&gt;.jpg" in sheet
    for address in re.findall(r'src="([^"]+)"', sheet):
        assert (tmp_path / "seen" / unquote(address)).is_file()


@pytest.mark.slow
def test_a_pipe(photos: Path) -> None:
    command = [*COMMAND, "-", "-o", "-", "--max-side", "32", "--format", "webp"]
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(
        command, input=(photos / "a.jpg").read_bytes(), capture_output=True, check=True, env=environment
    )
    with Image.open(io.BytesIO(process.stdout)) as anime:
        assert (anime.format, anime.size) == ("WEBP", (32, 24))
    assert process.stderr.decode() == "fitted the size for you: 32×24\n"


@pytest.mark.slow
def test_killed_and_run_again(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.png").write_bytes(encoded(photo(64 + number, 64), "PNG"))
    process = subprocess.Popen(
        [sys.executable, "-m", "animegan", "stylize", str(folder), "-o", str(out), "--format", "png"],
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: len(list(out.glob("*.png"))) >= 3, "three pictures")
    process.kill()
    process.wait()
    times = {
        file.name: file.stat().st_mtime_ns
        for file in out.glob("*.png")
        if Journal(out).holds(folder / file.name, json.loads((out / NAME).read_text().splitlines()[0])["options"])
    }
    assert 2 <= len(times) < 12
    assert stylize(folder, "-o", out, "--format", "png").returncode == 0
    assert outputs(out) == sorted(f"{number}.png" for number in range(12))
    for number in range(12):
        with Image.open(out / f"{number}.png") as anime:
            anime.load()
            assert anime.size == (64 + number, 64)
    assert times.items() <= {file.name: file.stat().st_mtime_ns for file in out.glob("*.png")}.items()


@pytest.mark.slow
def test_a_folder_is_watched(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        [*COMMAND, str(folder), "-o", str(out), "--watch"],
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    (folder / "half.jpg").write_bytes(encoded(photo(64, 48))[:300])
    (folder / "a.jpg").write_bytes(encoded(photo(32, 32)))
    wait_until((out / "a.jpg").exists, "the photo that is whole")
    (folder / "half.jpg").write_bytes(encoded(photo(64, 48)))
    wait_until((out / "half.jpg").exists, "the photo that became whole")
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, messages
    assert "Traceback" not in messages
    assert messages.count("half.jpg: ") == 1


def test_a_plan_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="holds no picture"):
        plan([tmp_path], tmp_path / "out")

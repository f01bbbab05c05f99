"""`animegan stylize` of videos: to a file, from a folder, killed and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from animegan.errors import BadOption
from animegan_cli.stylize.tasks import plan
from harness.commands import run_command
from harness.files.video_files import decoded, moving, video
from harness.pictures import encoded, photo
from harness.servers import wait_until

ENVIRONMENT = {**os.environ, "ANIMEGAN_WARMUP_PX": "0", "ANIMEGAN_DEVICE": "cpu"}


def stylize(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_command("stylize", *arguments, environment=ENVIRONMENT)


def test_a_video_in_a_folder_is_drawn_beside_the_photos(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "clip.MOV").write_bytes(video(moving(3, (32, 32)), kind="mov", sound="aac"))
    (photos / "still.jpg").write_bytes(encoded(photo(32, 32)))
    (photos / "cut.mp4").write_bytes(video()[:2000])
    first = stylize(photos, "-o", out)
    assert first.returncode == 1
    assert "cut.mp4: The video is cut short" in first.stderr
    assert sorted(file.name for file in out.iterdir() if file.suffix in (".mp4", ".jpg")) == ["clip.mp4", "still.jpg"]
    assert decoded((out / "clip.mp4").read_bytes()).codecs == ["h264", "aac"]
    (photos / "cut.mp4").unlink()
    again = stylize(photos, "-o", out)
    assert "2 of 2 are done already" in again.stdout


def test_the_first_frame_is_drawn_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sent.mp4").write_bytes(video(moving(2, (32, 32))))
    for name, options in (("one.png", ()), ("two.jpg", ("--frames", "first"))):
        assert stylize(tmp_path / "sent.mp4", "-o", tmp_path / name, *options).returncode == 0
        with Image.open(tmp_path / name) as anime:
            assert anime.size == (32, 32)
    (tmp_path / "photo.jpg").write_bytes(encoded(photo(32, 32)))
    with pytest.raises(BadOption, match="only an animation or a video"):
        plan([tmp_path / "photo.jpg"], tmp_path / "out.mp4")


@pytest.mark.slow
def test_a_command_that_was_killed_goes_on(tmp_path: Path) -> None:
    source, out = tmp_path / "sent.mp4", tmp_path / "out.mp4"
    source.write_bytes(video(moving(40, (96, 64)), times=[2.0 * number for number in range(40)]))  # 2 frames a segment
    command = [sys.executable, "-m", "animegan_cli", "stylize", str(source), "-o", str(out)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    segments = tmp_path / ".out.mp4.parts"
    wait_until(lambda: len([*segments.glob("*.nut")]) >= 3, "three segments")
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not out.exists()
    before = {file.name: file.stat().st_mtime_ns for file in segments.glob("*.nut")}
    process = stylize(source, "-o", out)
    assert process.returncode == 0, process.stderr
    assert len(before) >= 3
    assert not segments.exists()
    assert len(decoded(out.read_bytes()).images) == 40

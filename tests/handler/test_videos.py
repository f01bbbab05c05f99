"""Videos: pictures, times, sound and colours of each kind kept; limits, damage and hostile files told; gone on with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animegan.clips.limits import ClipLimits
from animegan.clips.opening import open_clip
from animegan.clips.video.encoding import Kind
from animegan.errors import (
    AnimeganError,
    BadImage,
    ClipTooLong,
    Interrupted,
    PictureTooLarge,
    TooLarge,
    UnsupportedImage,
)
from animegan.options import parse
from animegan.picture import headers
from animegan.picture.colour import by_numbers
from animegan.picture.headers import inspect
from animegan.picture.sizes import Limits
from animegan.pipeline.files import draw_video
from animegan.pipeline.pipeline import Pipeline
from animegan.settings import Settings
from animegan.stylizer import Stylizer
from benchmarks.pictures.fuzz import damage
from harness.files.video_files import decoded, moving, video

LIMITS = Limits(1 << 24, 1_000_000)
MOST = ClipLimits(frames=100, seconds=60, pixels=10_000_000)
PASS_THROUGH = {"style": "cel", "strength": "0"}  # which shows what decoding and encoding do
KINDS = [
    ("mp4", "aac", "aac"), ("mp4", "libmp3lame", "mp3float"), ("mov", "pcm_s16le", "aac"), ("matroska", "flac", "aac"),
    ("matroska", "", ""), ("webm", "libopus", "opus"),
]  # fmt: skip


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(Settings(device="cpu", precision="fp32", warmup_px=0, video_frames=50, video_s=30))


def flat(colour: Sequence[int], size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    return [Image.new("RGB", size, tuple(colour))] * 3


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other.convert("RGB"), np.int16)).mean())


@pytest.mark.parametrize(("kind", "sound", "after"), KINDS)
def test_a_video_keeps_its_frames_its_times_and_its_sound(
    pipeline: Pipeline, kind: str, sound: str, after: str
) -> None:
    source = video(kind=kind, sound=sound)
    encoded, report = pipeline.stylize(source, PASS_THROUGH)
    before, anime = decoded(source), decoded(encoded.data)
    assert encoded.content_type == "video/mp4"
    assert encoded.data.index(b"moov") < encoded.data.index(b"mdat")  # it is played while it is loaded
    assert (report.frames, report.drawn_frames, report.size) == (8, 8, (64, 48))
    assert anime.times == pytest.approx(before.times, abs=1e-3)
    assert anime.codecs == ["h264", after] if after else ["h264"]
    if sound:
        assert anime.beep == pytest.approx(before.beep, abs=0.03)
    for one, other in zip(anime.images, before.images, strict=True):
        assert difference(one, other) < 6


def test_every_frame_is_drawn(pipeline: Pipeline) -> None:
    source = video(moving(3))
    anime = decoded(pipeline.stylize(source, {"style": "cel"})[0].data)
    best = decoded(pipeline.stylize(source, {"style": "cel", "quality": "best"})[0].data)
    assert all(difference(one, other) > 8 for one, other in zip(anime.images, decoded(source).images, strict=True))
    assert difference(anime.images[0], best.images[0]) > 1  # another network


def test_times_that_vary_are_kept(pipeline: Pipeline) -> None:
    times = [0.0, 0.04, 0.05, 0.5, 0.9, 2.0]
    for kind in ("mp4", "matroska"):
        anime = decoded(pipeline.stylize(video(moving(6), times=times, kind=kind), PASS_THROUGH)[0].data)
        assert anime.times == pytest.approx(times, abs=1e-3)


def test_a_video_in_fragments_is_drawn(pipeline: Pipeline) -> None:
    source = video(moving(4), sound="aac", fragments=True)
    encoded, report = pipeline.stylize(source, PASS_THROUGH)
    assert (report.frames, len(decoded(encoded.data).images)) == (4, 4)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_video_is_drawn_upright(pipeline: Pipeline, rotation: int) -> None:
    [corner] = moving(1)
    corner.paste((250, 20, 20), (0, 0, 24, 16))
    turned = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
    right = corner.transpose(turned[rotation]) if rotation else corner
    source = video([corner] * 2, rotation=rotation)
    anime = decoded(pipeline.stylize(source, PASS_THROUGH)[0].data)
    assert anime.images[0].size == right.size
    assert difference(anime.images[0], right) < 10
    assert difference(anime.images[0].transpose(Image.Transpose.ROTATE_180), right) > 20
    still, report = pipeline.stylize(source, {**PASS_THROUGH, "frames": "first", "format": "png"})
    assert (still.content_type, report.drawn_frames, report.size) == ("image/png", 1, right.size)


@pytest.mark.parametrize(("matrix", "full"), [(1, False), (5, False), (1, True)])
@pytest.mark.parametrize("colour", [(200, 30, 60), (20, 160, 240), (255, 255, 255), (128, 128, 128)])
def test_colours_are_those_that_players_show(
    pipeline: Pipeline, matrix: int, full: bool, colour: tuple[int, int, int]
) -> None:
    source = video(flat(colour), matrix=matrix, full=full)
    data = pipeline.stylize(source, PASS_THROUGH)[0].data
    clip = open_clip(data, inspect(data, LIMITS), None, None, LIMITS, MOST)
    frame = next(iter(clip.read())).rgb
    assert np.abs(np.asarray(frame, np.int16) - colour).max() <= 3


def test_hdr_is_mapped_as_a_pictures_is(pipeline: Pipeline) -> None:
    source = video(flat((140, 120, 100)), matrix=9, primaries=9, transfer=16)
    anime = decoded(pipeline.stylize(source, PASS_THROUGH)[0].data).images[0]
    numbers = by_numbers(9, 16)
    assert numbers
    right = numbers.to_srgb(Image.new("RGB", anime.size, (140, 120, 100)))
    assert difference(anime, right) <= 4


def test_of_interlaced_lines_one_moment_is_drawn(pipeline: Pipeline) -> None:
    frames = []
    for number in range(8):
        pixels = np.full((64, 96, 3), 40, np.uint8)
        for field in (0, 1):
            left = 6 * (2 * number + field)
            pixels[field::2, left : left + 12] = 220
        frames.append(Image.fromarray(pixels))
    source = video(frames, interlaced=True)
    before, anime = decoded(source), decoded(pipeline.stylize(source, PASS_THROUGH)[0].data)
    assert anime.times == pytest.approx(before.times)
    assert comb_strength(before.images[4]) > 15
    for image in [*anime.images, first_frame(pipeline, source)]:
        assert comb_strength(image) < 3


def comb_strength(image: Image.Image) -> float:
    """Return how much a line differs from the mean of the two beside it."""
    lines = np.asarray(image.convert("L"), np.float32)
    return float(np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2).mean())


def first_frame(pipeline: Pipeline, source: bytes) -> Image.Image:
    encoded, _ = pipeline.stylize(source, {**PASS_THROUGH, "frames": "first", "format": "png"})
    return Image.open(BytesIO(encoded.data))


def test_decoding_and_encoding_count_towards_the_memory() -> None:
    small = Pipeline(Settings(device="cpu", precision="fp32", warmup_px=0, memory_mb=56))
    assert small.stylize(video(moving()), PASS_THROUGH)  # 34 MiB of it for libraries
    with pytest.raises(PictureTooLarge, match=r"may be taken"):
        small.stylize(video(moving(2, (512, 512))), PASS_THROUGH)
    still = {**PASS_THROUGH, "frames": "first"}
    assert small.stylize(video(moving(2, (512, 512))), still)


def test_odd_sizes_and_pixels_that_are_not_square(pipeline: Pipeline) -> None:
    odd = video(moving(2, (63, 47)), kind="webm")
    assert decoded(pipeline.stylize(odd, PASS_THROUGH)[0].data).images[0].size == (62, 46)
    encoded, report = pipeline.stylize(video(moving(2, (96, 64))), {**PASS_THROUGH, "max_side": "50"})
    assert (report.original_size, report.size) == ((96, 64), (50, 32))
    assert decoded(encoded.data).images[0].size == (50, 32)


def test_limits_name_the_video_the_value_the_limit_and_the_way_out(pipeline: Pipeline) -> None:
    for kind in ("mp4", "webm"):
        source = video(moving(51, (16, 16)), kind=kind)
        with pytest.raises(ClipTooLong, match=r"^The video has 51 frames, over the limit of 50\. .*frames=first"):
            pipeline.stylize(source, PASS_THROUGH)
        long = video(moving(2, (16, 16)), times=[0, 31], kind=kind)
        with pytest.raises(ClipTooLong, match=r"^The video lasts \d\d s, over the limit of 30 s\. .*frames=first"):
            pipeline.stylize(long, PASS_THROUGH)
        assert pipeline.stylize(source, {**PASS_THROUGH, "frames": "first"})[1].drawn_frames == 1


def test_a_cut_video_is_refused_before_a_frame_is_drawn(pipeline: Pipeline) -> None:
    for kind in ("mp4", "matroska"):
        source = video(kind=kind)
        with pytest.raises(BadImage, match="cut short"):
            pipeline.stylize(source[: len(source) * 2 // 3], {"style": "cel"})


def test_a_damaged_video_is_a_video_or_an_error_of_ours() -> None:
    chance = random.Random(16)
    frames = moving(4, (32, 32))
    whole = [video(frames, sound="aac"), *(video(frames, kind=kind) for kind in ("matroska", "webm"))]
    for _ in range(150):
        damaged = damage(chance.choice(whole), chance)
        with suppress(AnimeganError):
            header = inspect(damaged, LIMITS)
            if headers.HEADERS.get(header.format) and header.motion:
                for frame in open_clip(damaged, header, 32, None, LIMITS, MOST).read():
                    assert max(frame.rgb.size) <= 32


def test_frames_larger_than_the_header_says_are_not_decoded(pipeline: Pipeline) -> None:
    source = bytearray(video(flat((1, 2, 3), (1024, 1024))))
    entry = source.index(b"avc1", source.index(b"stsd"))
    source[entry + 28 : entry + 32] = b"\0\x40\0\x40"  # 64×64 px
    with pytest.raises(BadImage):
        pipeline.stylize(bytes(source), PASS_THROUGH)
    source[entry + 28 : entry + 32] = b"\x40\0\x40\0"  # 16384×16384 px
    with pytest.raises(TooLarge, match="16384×16384 px"):
        pipeline.stylize(bytes(source), PASS_THROUGH)


def test_sound_alone_other_codings_and_a_missing_decoder_are_named(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = video(sound="aac")
    with pytest.raises(UnsupportedImage, match="no pictures") as excinfo:
        pipeline.stylize(source.replace(b"vide", b"soun"), PASS_THROUGH)
    assert excinfo.value.members["kind"] == "audio"
    entry = source.index(b"avc1", source.index(b"stsd"))
    with pytest.raises(UnsupportedImage, match="coded as 'encv'"):
        pipeline.stylize(source[:entry] + b"encv" + source[entry + 4 :], PASS_THROUGH)
    for kind in ("MP4", "MATROSKA"):
        monkeypatch.delitem(headers.HEADERS, kind)
    for data in (source, video(kind="webm")):
        with pytest.raises(UnsupportedImage, match=r"pip install 'animegan-serve\[video\]'") as excinfo:
            pipeline.stylize(data, PASS_THROUGH)
        assert excinfo.value.members["kind"] == "video-decoder"


class Stop(Exception):
    """What ends a drawing in its middle."""


def draw(pipeline: Pipeline, folder: Path, source: Path, stop_at: float = 2.0, kind: Kind = "mp4") -> list[float]:
    """Draw the video to `out` in the folder, and return what was told of how far it is."""
    options = parse({"style": "cel"}, pipeline.settings)
    shares: list[float] = []

    def progress(share: float) -> None:
        shares.append(share)
        if share >= stop_at:
            raise Stop

    draw_video(pipeline, source, options, kind, folder / f"out.{kind}", progress)
    return shares


@pytest.mark.slow
def test_a_drawing_that_was_ended_goes_on_and_is_the_same(pipeline: Pipeline, tmp_path: Path) -> None:
    source = tmp_path / "sent.mp4"
    times = [number / 2 for number in range(24)]  # 8 frames a segment
    source.write_bytes(video([*moving(12, (32, 32)), *moving(12, (32, 32), 5)], times=times, sound="aac"))
    at_once = draw(pipeline, tmp_path, source)
    whole = (tmp_path / "out.mp4").read_bytes()
    (tmp_path / "out.mp4").unlink()
    with pytest.raises(Stop):
        draw(pipeline, tmp_path, source, stop_at=0.75)
    assert not (tmp_path / "out.mp4").exists()
    again = draw(pipeline, tmp_path, source)
    assert (tmp_path / "out.mp4").read_bytes() == whole
    assert len(again) < len(at_once) / 2
    assert again[0] >= 0.5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.mp4", "sent.mp4"]
    assert decoded(whole).times == pytest.approx(times, abs=1e-3)


def test_segments_of_another_video_are_not_gone_on_from(pipeline: Pipeline, tmp_path: Path) -> None:
    source = tmp_path / "sent.mp4"
    source.write_bytes(video(moving(6, (32, 32)), times=[0, 1, 2, 3, 4, 5]))
    with pytest.raises(Stop):
        draw(pipeline, tmp_path, source, stop_at=0.9)
    source.write_bytes(video(moving(6, (32, 32), seed=9), times=[0, 1, 2, 3, 4, 5]))
    assert draw(pipeline, tmp_path, source)[0] == 0


def test_the_library_draws_a_video_to_a_file(tmp_path: Path) -> None:
    source = tmp_path / "sent.mov"
    source.write_bytes(video(moving(3, (32, 32)), kind="mov", sound="aac"))
    stylizer = Stylizer("cel", device="cpu", warmup_px=0)
    shares: list[float] = []
    stylizer.stylize_video(source, tmp_path / "out.mp4", progress=shares.append)
    assert decoded((tmp_path / "out.mp4").read_bytes()).codecs == ["h264", "aac"]
    assert shares == sorted(shares)
    with pytest.raises(UnsupportedImage, match="stylize_video"):
        stylizer.stylize(source)
    assert Stylizer("cel", device="cpu", warmup_px=0, frames="first").stylize(source).size == (32, 32)


def test_a_webm_is_written_where_that_is_asked_for(pipeline: Pipeline, tmp_path: Path) -> None:
    source = tmp_path / "sent.mp4"
    source.write_bytes(video(moving(3, (32, 32)), sound="aac"))
    draw(pipeline, tmp_path, source, kind="webm")
    anime = decoded((tmp_path / "out.webm").read_bytes())
    assert anime.codecs == ["vp9", "opus"]
    assert len(anime.images) == 3


def test_a_job_that_is_cancelled_ends_within_a_frame(pipeline: Pipeline) -> None:
    item = pipeline.decode(video(moving(8)), {"style": "cel"})
    questions = 0

    def abandoned() -> bool:
        nonlocal questions
        questions += 1
        return questions > 3

    item.abandoned = abandoned
    pipeline.draw([item])
    assert isinstance(item.error, Interrupted)
    assert not item.finished

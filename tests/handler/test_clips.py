"""Animations: frame by frame in and out, each kind's timing and transparency kept, limits and damage told."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animegan.clips import writing
from animegan.clips.animation import Animation, open_animation
from animegan.clips.clip import Frame
from animegan.clips.drawing import ClipDrawing
from animegan.clips.limits import ClipLimits
from animegan.clips.steadying import Steadying
from animegan.errors import AnimeganError, BadImage, ClipTooLong, Interrupted
from animegan.finish.continuity import Continuity
from animegan.options import Wish
from animegan.picture.headers import inspect
from animegan.picture.sizes import Limits
from animegan.pipeline.items import Item
from animegan.pipeline.pipeline import Pipeline
from animegan.settings import Settings
from animegan.stylizer import Stylizer
from benchmarks.pictures.fuzz import damage
from harness.files.picture_files import needs_avif
from harness.pictures import photo

LIMITS = Limits(1 << 24, 1_000_000)
MOST = ClipLimits(frames=100, seconds=60, pixels=10_000_000)
DURATIONS_MS = [40, 50, 120, 1000]
KINDS = ["GIF", "PNG", "WEBP", pytest.param("AVIF", marks=needs_avif)]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(Settings(device="cpu", precision="fp32", warmup_px=0, clip_frames=10))


def animation(kind: str, *, clear: bool = False, loop: int | None = 0, size: tuple[int, int] = (48, 32)) -> bytes:
    """Four frames; `clear`: with a transparent corner. `loop` None: the file says nothing of it."""
    frames = [photo(*size, seed) for seed in range(4)]
    if clear:
        for frame in frames:
            mask = Image.new("L", size, 255)
            mask.paste(0, (0, 0, 16, 16))
            frame.putalpha(mask)
    options = {} if loop is None or kind == "AVIF" else {"loop": loop}
    file = BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=DURATIONS_MS, **options)
    return file.getvalue()


def load(data: bytes, max_side: int | None = None, most: ClipLimits = MOST) -> Animation:
    return open_animation(data, inspect(data, LIMITS), max_side, None, LIMITS, most)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clear", [False, True])
def test_an_animation_keeps_its_frames_its_times_and_its_transparency(
    pipeline: Pipeline, kind: str, clear: bool
) -> None:
    encoded, report = pipeline.stylize(animation(kind, clear=clear), {"style": "cel"})
    before, after = load(animation(kind, clear=clear)), load(encoded.data)
    assert encoded.content_type == f"image/{kind.lower()}"
    assert (report.frames, report.drawn_frames, report.size) == (4, 4, (48, 32))
    assert after.kind == kind
    frames = [*after.read()]
    assert [frame.ms for frame in frames] == DURATIONS_MS
    assert after.has_alpha is clear
    for result, source in zip(frames, before.read(), strict=True):
        assert (result.alpha is None) is not clear
        if result.alpha and source.alpha:
            assert np.abs(np.asarray(result.alpha, np.int16) - np.asarray(source.alpha)).mean() < 2
        assert result.rgb.tobytes() != source.rgb.tobytes()


@pytest.mark.parametrize(
    ("kind", "loop", "plays"),
    [("GIF", None, 1), ("GIF", 0, 0), ("GIF", 3, 4), ("PNG", 1, 1), ("PNG", 3, 3), ("WEBP", 0, 0), ("WEBP", 2, 2)],
)
def test_an_animation_is_shown_as_often_as_before(kind: str, loop: int | None, plays: int) -> None:
    clip = load(animation(kind, loop=loop))
    again = writing.write(kind, clip.read(), clip.size, clip.plays, has_alpha=False, quality=90)
    assert (clip.plays, load(again.data).plays) == (plays, plays)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_only_what_changes_is_in_a_frame(kind: str) -> None:
    still = photo(96, 64)
    spot = still.copy()
    spot.paste(still.crop((0, 50, 10, 60)), (40, 20))
    frames = [Frame(image, None, 50) for image in (still, spot, spot, still)]
    size = len(writing.write(kind, iter(frames), still.size, 0, has_alpha=False, quality=90).data)
    first = len(writing.write(kind, iter(frames[:1]), still.size, 0, has_alpha=False, quality=90).data)
    assert size < 1.5 * first
    output = load(writing.write(kind, iter(frames), still.size, 0, has_alpha=False, quality=90).data)
    for source, result in zip(frames, output.read(), strict=True):
        assert np.abs(np.asarray(source.rgb, np.int16) - np.asarray(result.rgb)).mean() < 8


def test_the_library_draws_an_animated_file(tmp_path: Path) -> None:
    file = tmp_path / "sent.gif"
    file.write_bytes(animation("GIF"))
    anime = Stylizer("cel", device="cpu", warmup_px=0).stylize(file)
    assert (anime.format, getattr(anime, "n_frames", 1), anime.size) == ("GIF", 4, (48, 32))
    anime.save(tmp_path / "anime.gif", save_all=True)
    assert load((tmp_path / "anime.gif").read_bytes()).seconds == pytest.approx(1.21)
    first = Stylizer("cel", device="cpu", warmup_px=0, frames="first").stylize(file)
    assert (getattr(first, "n_frames", 1), first.mode) == (1, "RGB")


def test_the_first_frame_is_drawn_where_that_is_asked_for_or_the_format_holds_one(pipeline: Pipeline) -> None:
    for options in ({"frames": "first"}, {"format": "jpeg"}):
        encoded, report = pipeline.stylize(animation("GIF"), {"style": "cel", **options})
        assert (encoded.content_type, report.frames, report.drawn_frames) == ("image/jpeg", 4, 1)
    encoded, report = pipeline.stylize(animation("GIF"), {"style": "cel", "format": "webp"})
    assert (encoded.content_type, report.drawn_frames) == ("image/webp", 4)


def test_an_animation_is_drawn_by_the_small_network_unless_the_best_is_asked_for(pipeline: Pipeline) -> None:
    data = animation("PNG")
    usual, fast, best = (
        pipeline.stylize(data, {"style": "cel", **({"quality": quality} if quality else {})})[0].data
        for quality in ("", "fast", "best")
    )
    assert usual == fast != best


def test_limits_name_the_value_the_limit_and_the_way_out(pipeline: Pipeline) -> None:
    data = animation("GIF")
    for most, message in (
        (ClipLimits(3, 60, 10**9), r"4 frames, over the limit of 3\. .*frames=first"),
        (ClipLimits(100, 1, 10**9), r"lasts 1 s, over the limit of 1 s\. .*frames=first"),
        (ClipLimits(100, 60, 5000), r"4 frames of 48×32 px, .* Set max_side to 43 px or less\. .*frames=first"),
    ):
        with pytest.raises(ClipTooLong, match=message):
            load(data, most=most)
    assert load(data, max_side=43, most=ClipLimits(100, 60, 5000)).size == (43, 29)
    with pytest.raises(ClipTooLong, match=r"sent with 4 frames of 96×64 px"):
        load(animation("GIF", size=(96, 64)), max_side=24, most=ClipLimits(100, 60, 2000))
    with pytest.raises(ClipTooLong, match="14 frames, over the limit of 10"):
        pipeline.stylize(longer(data, 10), {"style": "cel"})


def longer(gif: bytes, count: int) -> bytes:
    """The GIF with so many more frames, each of one pixel."""
    dot = b"\x21\xf9\x04\0\4\0\0\0" + b"\x2c\0\0\0\0\1\0\1\0\0" + b"\2\2\x44\1\0"
    return gif[:-1] + dot * count + b";"


def test_a_hostile_animation_is_refused_before_a_pixel_is_decoded() -> None:
    many = longer(animation("GIF"), 100_000)
    with pytest.raises(ClipTooLong, match="100,004 frames"):
        load(many)
    huge = bytearray(animation("GIF"))
    huge[6:10] = b"\xff\xff\xff\xff"
    with pytest.raises(AnimeganError, match="65535×65535 px"):
        load(bytes(huge))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_animation_is_refused(kind: str) -> None:
    data = animation(kind)
    with pytest.raises(BadImage):
        load(data[: len(data) * 2 // 3])


def test_a_damaged_animation_is_an_animation_or_an_error_of_ours() -> None:
    chance = random.Random(16)
    whole = [animation(kind, clear=clear) for kind in ("GIF", "PNG", "WEBP") for clear in (False, True)]
    most = ClipLimits(frames=50, seconds=1e9, pixels=2_000_000)
    for _ in range(400):
        damaged = damage(chance.choice(whole), chance)
        with suppress(AnimeganError):
            header = inspect(damaged, LIMITS)
            if header.motion:
                for frame in open_animation(damaged, header, 64, None, LIMITS, most).read():
                    assert max(frame.rgb.size) <= 64


def clip(stylizer: Stylizer, frames: Sequence[Image.Image], *, steady: bool = True) -> list[np.ndarray]:
    drawing = ClipDrawing(stylizer, Wish(mode="scene"), len(frames), steady=steady)
    return [np.asarray(picture.rgb, np.int16) for picture in drawing.draw(Frame(frame, None, 40) for frame in frames)]


def test_a_still_scene_is_steady_and_a_cut_leaves_no_ghost() -> None:
    cel = Stylizer("cel", device="cpu", warmup_px=0, fast=True)
    random = np.random.default_rng(1)
    plain = np.asarray(photo(96, 64), np.float32)
    noisy = [
        Image.fromarray(np.clip(plain + random.normal(0, 4, plain.shape), 0, 255).astype(np.uint8)) for _ in range(6)
    ]
    frames = [*noisy, Image.eval(photo(96, 64, 5), lambda value: 255 - value)]
    steadied, alone = clip(cel, frames), clip(cel, frames, steady=False)
    flicker = [np.abs(some[5] - some[4]).mean() for some in (steadied, alone)]
    assert flicker[0] < 0.4 * flicker[1]
    assert (steadied[6] == alone[6]).all()


def test_what_moves_is_not_blended() -> None:
    steadying = Steadying()
    for place in range(4):
        picture = torch.zeros(64, 96, 3, dtype=torch.uint8)
        picture[:, 10 * place : 10 * place + 16] = 255
        steadying.look(picture)
        steadied = steadying.blend(picture)
    assert (steadied[:, 22:54] == picture[:, 22:54]).all()


def test_measures_are_held_and_follow_slowly() -> None:
    continuity = Continuity()
    assert continuity.measures([(0.5,), ()]) == [(0.5,), ()]
    assert continuity.measures([(0.51,), ()]) == [(0.5,), ()]
    [(measure,), _] = continuity.measures([(0.8,), ()])
    assert measure == pytest.approx(0.53)
    continuity.forget()
    assert continuity.measures([(0.8,), ()]) == [(0.8,), ()]
    assert continuity.tones(()) == ()
    assert Continuity().tones(((0.2, 0.3), (0.8, 0.9)))[0] == pytest.approx((0.0, 0.1))


def test_an_animation_ends_between_frames_when_its_job_is_cancelled() -> None:
    pipeline = Pipeline(Settings(device="cpu", precision="fp32", warmup_px=0))
    item = pipeline.decode(animation("GIF"), {"style": "cel"})
    shares: list[float] = []
    item.progress = shares.append
    item.abandoned = lambda: len(shares) > 0 and shares[-1] >= 0.5
    pipeline.draw([item])
    assert isinstance(item.error, Interrupted)
    assert shares == sorted(shares)
    assert 0.5 <= shares[-1] < 0.8


def test_an_animation_whose_job_was_cancelled_is_not_begun(pipeline: Pipeline) -> None:
    item = pipeline.decode(animation("GIF"), {"style": "cel"})
    item.abandoned = lambda: True
    pipeline.draw([item])
    assert isinstance(item.error, Interrupted)


def test_progress_is_told_of_a_picture(pipeline: Pipeline) -> None:
    item: Item = pipeline.decode(_png(), {"style": "cel"})
    shares: list[float] = []
    item.progress = shares.append
    pipeline.draw([item])
    pipeline.encode([item])
    assert item.error is None
    assert shares == sorted(shares)
    assert len(shares) > 10
    assert 0.8 <= shares[-1] < 1


def _png() -> bytes:
    file = BytesIO()
    photo(64, 48).save(file, "PNG")
    return file.getvalue()

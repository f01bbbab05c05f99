"""The pipeline: each picture's error is its own, groups are by style and size, faults are ours."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from animegan.drawing import Photo
from animegan.errors import (
    AnimeganError,
    BadOption,
    BadSetting,
    InternalError,
    OutOfMemory,
    StyleNotInstalled,
    UnknownStyle,
)
from animegan.options import Wish
from animegan.pipeline.items import Decoded
from animegan.pipeline.pipeline import Pipeline
from animegan.settings import Settings
from animegan.stylizer import Run, Stylizer
from harness.pictures import encoded, photo


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(Settings(device="cpu", precision="fp32", warmup_px=0, max_pixels_mpx=1))


def errors(pipeline: Pipeline, *requests: tuple[bytes, dict[str, str]]) -> list[str]:
    items = [pipeline.decode(data, options) for data, options in requests]
    pipeline.draw(items)
    pipeline.encode(items)
    return [item.error.code if item.error else str(item.result().report.size) for item in items]


def test_each_picture_has_its_own_outcome(pipeline: Pipeline) -> None:
    good = encoded(photo(40, 32))
    assert errors(
        pipeline,
        (good, {}),
        (good[: len(good) // 2], {}),
        (b"text, not a picture", {}),
        (good, {"style": "nonesuch"}),
        (good, {"style": "hayao"}),
        (good, {"max_side": "-1"}),
        (encoded(photo(1001, 1000)), {}),
        (encoded(photo(15, 40)), {}),
        (good, {"style": "gouache", "max_side": "20"}),
    ) == [
        "(40, 32)",
        "bad_image",
        "unsupported_image",
        "unknown_style",
        "style_not_installed",
        "bad_option",
        "too_large",
        "picture_too_small",
        "(20, 16)",
    ]


def test_an_unknown_style_names_those_there_are(pipeline: Pipeline) -> None:
    with pytest.raises(UnknownStyle, match="cel, ink, gouache"):
        pipeline.stylize(encoded(photo(32, 32)), {"style": "monet"})
    with pytest.raises(StyleNotInstalled, match="animegan fetch paprika"):
        pipeline.stylize(encoded(photo(32, 32)), {"style": "paprika"})


def test_the_report_tells_what_was_done(pipeline: Pipeline) -> None:
    _, report = pipeline.stylize(encoded(photo(90, 60)), {"max_side": "48", "style": "gouache"})
    assert (report.original_size, report.size, report.fitted) == ((90, 60), (48, 32), True)
    assert (report.style, report.license, report.precision) == ("gouache", "BSD-3-Clause", "fp32")
    assert report.headers()["X-Animegan-Detail"] == "fine"
    assert list(report.seconds) == ["decode", "faces", "run", "encode"]


def test_alpha_stays_where_the_format_has_it(pipeline: Pipeline) -> None:
    picture = photo(40, 32)
    picture.putalpha(Image.linear_gradient("L").resize((40, 32)))
    data = encoded(picture, "PNG")
    assert pipeline.stylize(data, {})[0].content_type == "image/png"
    assert pipeline.stylize(data, {"format": "webp"})[0].content_type == "image/webp"
    assert pipeline.stylize(data, {"format": "jpeg"})[0].content_type == "image/jpeg"


def picture_of(pipeline: Pipeline, data: bytes, **options: str) -> np.ndarray:
    encoded_picture, _ = pipeline.stylize(data, {"format": "png", **options})
    return np.asarray(Image.open(io.BytesIO(encoded_picture.data)))


def test_strength_goes_from_the_photo_to_the_drawing(pipeline: Pipeline) -> None:
    picture = photo(64, 48)
    data = encoded(picture, "PNG")
    drawing = picture_of(pipeline, data)
    assert np.array_equal(picture_of(pipeline, data, strength="0"), np.asarray(picture))
    assert np.array_equal(picture_of(pipeline, data, strength="1"), drawing)
    middle = (np.asarray(picture, dtype=float) + drawing) / 2
    assert np.abs(picture_of(pipeline, data, strength="0.5") - middle).max() <= 1


def test_ink_in_the_photos_colours(pipeline: Pipeline) -> None:
    data = encoded(photo(64, 48), "PNG")
    grey = picture_of(pipeline, data, style="ink")
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    assert np.ptp(picture_of(pipeline, data, style="ink", color="photo").astype(int), axis=2).max() > 50


def test_detail_and_the_small_network_are_other_drawings_of_one_photo(pipeline: Pipeline) -> None:
    data = encoded(photo(96, 64), "PNG")
    drawings = [picture_of(pipeline, data, detail=detail) for detail in ("bold", "medium", "fine", "auto")]
    drawings.append(picture_of(pipeline, data, quality="fast"))
    assert all(drawing.shape == (64, 96, 3) for drawing in drawings)
    assert np.array_equal(drawings[2], drawings[3])  # of a picture this small `auto` is `fine`
    assert all(np.abs(drawings[0].astype(int) - other).mean() > 1 for other in drawings[1:])


@pytest.mark.parametrize("options", [{"detail": "bold"}, {"quality": "fast"}])
def test_classic_says_what_it_can_not_do(pipeline: Pipeline, options: dict[str, str]) -> None:
    with pytest.raises(BadOption, match="classic"):
        pipeline.stylize(encoded(photo(40, 32)), {"style": "classic", **options})


class Batches:
    """Watches what is drawn together, and really drawn; a batch of over `most` fails as one that does not fit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int | None = None) -> None:
        self.sizes: list[tuple[str, int]] = []
        really = Stylizer.run

        def run(stylizer: Stylizer, pictures: Sequence[Image.Image | Photo], wish: Wish | None = None) -> Run:
            self.sizes.append((stylizer.style.id, len(pictures)))
            if most is not None and len(pictures) > most:
                raise torch.OutOfMemoryError
            return really(stylizer, pictures, wish)

        monkeypatch.setattr(Stylizer, "run", run)


@pytest.fixture
def gpu_pipeline(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setattr(pipeline, "device", torch.device("cuda"))
    monkeypatch.setattr(pipeline.cleaner, "release", lambda: None)
    return pipeline


def test_a_gpu_draws_one_style_and_size_together(gpu_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(monkeypatch)
    small, large, other = encoded(photo(40, 32)), encoded(photo(64, 48)), encoded(photo(40, 32, 1))
    uploads = zip(
        [small, large, other, small, b""], ["classic", "classic", "classic", "gouache", "classic"], strict=True
    )
    items = [gpu_pipeline.decode(data, {"style": style, "format": "png"}) for data, style in uploads]
    gpu_pipeline.draw(items)
    assert batches.sizes == [("classic", 2), ("classic", 1), ("gouache", 1)]
    for item in items[:4]:
        assert isinstance(item.decoded, Decoded)
        [alone] = gpu_pipeline.stylizer(item.decoded.options.style).draw([item.decoded.source.rgb])
        with Image.open(io.BytesIO(item.result().encoded.data)) as anime:
            assert np.abs(np.asarray(anime, dtype=int) - np.asarray(alone, dtype=int)).max() <= 1


def answers(pipeline: Pipeline, requests: Sequence[tuple[bytes, dict[str, str]]]) -> list[tuple[Any, ...]]:
    items = [pipeline.decode(data, options) for data, options in requests]
    pipeline.draw(items)
    pipeline.encode(items)
    return [
        (
            item.error and item.error.code,
            item.finished and (item.finished.encoded, item.finished.report.size),
            sorted(item.seconds),
        )
        for item in items
    ]


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("animegan")]


@pytest.mark.slow
def test_threads_change_no_answer_and_no_order(pipeline: Pipeline) -> None:
    """Decoded and encoded by several threads: each picture's own outcome, in the order of the requests."""
    parallel = Pipeline(pipeline.settings, threads=4)
    sizes = [(90, 60), (40, 32), (800, 600), (64, 48), (33, 57), (700, 900)]
    requests = [(encoded(photo(*size, seed)), {"max_side": "64"}) for seed, size in enumerate(sizes)]
    requests[2:2] = [(b"text", {}), (requests[0][0][:300], {}), (requests[0][0], {"style": "nonesuch"})]
    requests.append((encoded(photo(40, 32), "PNG"), {"format": "webp", "style": "gouache"}))
    with closing(parallel):
        several = answers(parallel, requests)
        assert workers()
    assert several == answers(pipeline, requests)
    assert [error for error, *_ in several if error] == ["unsupported_image", "bad_image", "unknown_style"]
    assert several[0][2] == ["decode", "encode", "faces", "run"]
    assert not workers()


def test_what_is_decoded_is_drawn_while_the_rest_is_being_decoded(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, hold = Batches(monkeypatch), ExitStack()
    original = Stylizer.run

    def run(stylizer: Stylizer, pictures: Sequence[Image.Image | Photo], wish: Wish | None = None) -> Run:
        hold.close()  # only now the large picture may pass the gate
        return original(stylizer, pictures, wish)

    monkeypatch.setattr(Stylizer, "run", run)
    last_resort = threading.Timer(20, hold.close)  # a pipeline that waits for both would wait for ever
    with closing(Pipeline(pipeline.settings, threads=2)) as parallel:
        hold.enter_context(parallel._gate(parallel._gate.most - 800 * 700))  # bytes: less than the PNG takes
        last_resort.start()
        items = [parallel.decode(encoded(photo(800, 700), "PNG"), {"max_side": "32", "style": "gouache"})]
        items += [parallel.decode(encoded(photo(40, 32)), {})]
        parallel.draw(items)
        parallel.encode(items)
    last_resort.cancel()
    assert batches.sizes == [("cel", 1), ("gouache", 1)]
    assert [item.result().report.size for item in items] == [(32, 28), (40, 32)]


def test_on_a_cpu_no_thread_is_started(pipeline: Pipeline) -> None:
    pipeline.stylize(encoded(photo(40, 32)), {})
    assert not workers()


def test_what_does_not_fit_together_is_drawn_alone(gpu_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(monkeypatch, most=1)
    items = [gpu_pipeline.decode(encoded(photo(40, 32)), {"style": "classic"}) for _ in range(3)]
    gpu_pipeline.draw(items)
    assert [item.result().report.size for item in items] == [(40, 32)] * 3
    assert [size for _, size in batches.sizes] == [3, 1, 1, 1]
    assert [item.method and item.method.recovered for item in items] == [True] * 3


def test_what_does_not_fit_at_all_says_so(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    Batches(monkeypatch, most=0)
    item = pipeline.decode(encoded(photo(40, 32)), {})
    pipeline.draw([item])
    assert isinstance(item.error, OutOfMemory)
    assert "max_side" in item.error.detail
    assert item.error.problem()["retryable"] is True
    assert item.method is None


def test_a_fault_of_ours_is_logged_and_not_shown(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret/path.py")

    monkeypatch.setattr(Stylizer, "run", fail)
    with pytest.raises(InternalError) as excinfo:
        pipeline.stylize(encoded(photo(40, 32)), {})
    assert "secret" not in str(excinfo.value.problem())
    assert "secret/path.py" in caplog.text


def test_a_broken_installed_style_harms_only_itself(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ANIMEGAN_HOME", str(tmp_path))
    folder = tmp_path / "styles"
    folder.mkdir()
    (folder / "mine.safetensors").write_bytes(b"broken")
    (folder / "mine.json").write_text(
        '{"id": "mine", "title": {"en": "Mine", "zh": "我的"}, "weights": "mine.safetensors", "sha256": "%s", '
        '"source": "me", "license": "CC0-1.0", "license_url": "", "noncommercial": false, "suits": []}' % ("0" * 64)
    )
    pipeline = Pipeline(Settings(device="cpu", warmup_px=0))
    pipeline.load_styles()
    assert "mine is left out" in caplog.text
    assert [name.split()[0] for name in pipeline.loaded] == ["cel", "ink", "gouache", "classic"]
    with pytest.raises(AnimeganError, match="SHA-256"):
        pipeline.stylize(encoded(photo(32, 32)), {"style": "mine"})


@pytest.mark.parametrize(
    ("setting", "words"), [({"style": "monet"}, "ANIMEGAN_STYLE"), ({"precision": "fp16"}, "precision='fp16'")]
)
def test_settings_under_which_nothing_can_be_drawn_are_refused(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        Pipeline(Settings(device="cpu", warmup_px=0, **setting)).load_styles()


def test_the_library_draws_what_the_pipeline_draws(pipeline: Pipeline) -> None:
    picture = photo(72, 54)
    data = encoded(picture, "PNG")
    through_pipeline = pipeline.stylize(data, {"format": "png", "max_side": "64"})[0].data
    stylizer = Stylizer(device="cpu", precision="fp32", max_side=64, warmup_px=0)
    anime = np.asarray(stylizer.stylize(picture))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(through_pipeline))), anime)


def test_a_side_that_the_format_cannot_hold_is_refused_before_drawing(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stylizer, "run", None)
    item = pipeline.decode(encoded(photo(16_400, 16), "PNG"), {"format": "webp", "max_side": "original"})
    pipeline.draw([item])
    assert isinstance(item.error, BadOption)
    assert "16400×16 px, and a side of a WEBP file holds at most 16,383 px" in item.error.detail


def test_a_batch_is_no_larger_than_fits(gpu_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(monkeypatch)
    monkeypatch.setattr(Stylizer, "batch_size", lambda *_: 2)
    items = [gpu_pipeline.decode(encoded(photo(40, 32)), {"style": "classic"}) for _ in range(5)]
    gpu_pipeline.draw(items)
    assert [size for _, size in batches.sizes] == [2, 2, 1]


def test_the_device_writes_jpegs_of_full_chroma(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU's encoder is given, and what stays Pillow's; the encoder itself is tested where there is one."""
    shapes: list[tuple[torch.Size, int]] = []

    def encode(pixels: torch.Tensor, quality: int) -> bytes:
        shapes.append((pixels.shape, quality))
        if quality == 95:
            raise torch.OutOfMemoryError
        return b"a file"

    monkeypatch.setattr(pipeline, "_jpeg", encode)
    data = encoded(photo(40, 32))
    assert pipeline.stylize(data, {"quality": "90"})[0].data == b"a file"
    for options in ({"quality": "89"}, {"format": "png"}, {"quality": "95"}):
        file, _ = pipeline.stylize(data, options)
        with Image.open(io.BytesIO(file.data)) as image:
            assert image.size == (40, 32)
    assert shapes == [((32, 40, 3), 90), ((32, 40, 3), 95)]


@pytest.mark.slow
@pytest.mark.parametrize("style", ["classic", "cel"])
@pytest.mark.parametrize("questions", [0, 1, 20])
def test_a_picture_that_nobody_waits_for_is_not_begun_or_ends_between_bands(
    pipeline: Pipeline, style: str, questions: int
) -> None:
    remaining = iter(range(questions))
    abandoned, other = (pipeline.decode(encoded(photo(320, 256)), {"style": style}) for _ in range(2))
    abandoned.abandoned = lambda: next(remaining, None) is None
    pipeline.draw([abandoned, other])
    pipeline.encode([abandoned, other])
    assert abandoned.error
    assert (abandoned.error.code, other.error) == ("interrupted", None)

"""Bytes in, bytes out: decode, draw, encode. What the handler and the command line share."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch
from PIL import Image
from torch import Tensor

from animegan.clips.animation import FRAME_BYTES
from animegan.clips.drawing import ClipDrawing
from animegan.clips.opening import Clip, limits_of, moves, open_clip
from animegan.clips.video import drawing as videos
from animegan.clips.video import reading
from animegan.clips.video.reading import Video
from animegan.clips.writing import kind_of
from animegan.drawing import Photo
from animegan.errors import AnimeganError, BadSetting, OutOfMemory, PictureTooLarge
from animegan.faces import detector
from animegan.networks.plan import megabytes
from animegan.options import Options, parse
from animegan.picture import images
from animegan.picture.formats.films import is_video
from animegan.picture.jpeg import device_encoder
from animegan.picture.lanczos import Lanczos
from animegan.picture.pixels import Scale, pillow_lanczos
from animegan.picture.transfer import download
from animegan.pipeline.items import Item, attended, phase
from animegan.pipeline.reports import report_of
from animegan.report import Report
from animegan.resources import budget, memory
from animegan.resources.gate import Gate
from animegan.resources.hardware import cpu_count, pick_device
from animegan.resources.pace import Pace
from animegan.settings import Settings
from animegan.styles import get_style, styles
from animegan.stylizer import Stylizer, find_faces

logger = logging.getLogger(__name__)


class Pipeline:
    """All styles on one device, behind limits. Each phase takes a batch; a picture's error stays its own.

    Pictures are decoded and encoded in `threads` threads, beside the drawing. None: on a GPU as many as there are CPUs
    for this process; on a CPU, all of which drawing takes, none: each phase ends before the next begins.
    """

    def __init__(self, settings: Settings, gpu: int | None = None, *, threads: int | None = None) -> None:
        self.settings = settings
        self.device = pick_device(settings.device, gpu)
        self.limits = images.Limits(
            max_bytes=settings.max_upload_mb * 2**20,
            max_pixels=settings.max_pixels_mpx * 1_000_000,
            max_drawn_pixels=settings.max_side_ceiling_px**2,
        )
        self.cleaner = memory.Cleaner(settings.cleanup, settings.cleanup_watermark_mb, self.device)
        on_gpu = self.device.type == "cuda"
        if threads is None:
            threads = (settings.cpu_threads or cpu_count()) if on_gpu else 0
        self._workers: Executor = ThreadPoolExecutor(threads, "animegan") if threads else _AtOnce()
        self._gate = Gate(_most_decoded(self.limits.max_pixels, self.device))
        self._scale: Scale = Lanczos(self.device) if on_gpu else pillow_lanczos
        self._jpeg = device_encoder(self.device)
        self._gpu = gpu
        self._stylizers: dict[tuple[str, bool], Stylizer] = {}

    def load_styles(self) -> None:
        """Load every style that is on this machine. One that can't be loaded is logged, and fails its own requests.

        Raises `BadSetting` where the default style can't be loaded, or a setting keeps every style from loading, and
        `BadWeights` where the detector of faces can't be.
        """
        detector.load()
        for style in styles().values():
            if style.weights:
                try:
                    self.stylizer(style.id)
                except BadSetting:
                    raise
                except AnimeganError as error:
                    logger.warning("The style %s is left out: %s", style.id, error)
        try:
            self.stylizer(self.settings.style)
        except AnimeganError as error:
            raise BadSetting(f"style={self.settings.style!r} (ANIMEGAN_STYLE) can't be the default. {error}") from None
        self.cleaner.release()

    @property
    def loaded(self) -> list[str]:
        """The styles that were loaded, each with its precision."""
        return [f"{id} ({stylizer.precision})" for (id, fast), stylizer in self._stylizers.items() if not fast]

    def stylizer(self, style_id: str, *, fast: bool = False) -> Stylizer:
        """Return the style, loaded at its first use; `fast`: with its small network.

        Raises `UnknownStyle`, `StyleNotInstalled`, `BadWeights`, `BadLook`, or `BadOption` where it has none such.
        """
        if (style_id, fast) not in self._stylizers:
            settings = self.settings
            self._stylizers[style_id, fast] = Stylizer(
                style_id,
                device=settings.device,
                precision=settings.precision,
                memory_mb=settings.memory_mb,
                gpu=self._gpu,
                warmup_px=settings.warmup_px,
                fast=fast,
                pace=Pace(settings.draw_floor_s, settings.draw_ceiling_s),
            )
        return self._stylizers[style_id, fast]

    def _stylizer(self, options: Options) -> Stylizer:
        return self.stylizer(options.style, fast=options.fast)

    def stylizer_of_clips(self, options: Options) -> Stylizer:
        """Return what draws clips: with the small network, where there is one, unless the large one is asked for."""
        fast = options.fast or (not options.best and get_style(options.style).fast is not None)
        return self.stylizer(options.style, fast=fast)

    def decode(self, data: bytes, options: Mapping[str, str]) -> Item:
        """A picture's options read (see `options.parse`), and the decoding of its bytes, fitted to the limit, begun."""
        item = Item()
        with phase("decode", [item]):
            item.options = parse(options, self.settings)
            self._stylizer(item.options).check(item.options.wish)
        if not item.error:
            item.pending = self._workers.submit(self._decode, item, data)
        return item

    def _decode(self, item: Item, data: bytes) -> None:
        with phase("decode", [item]):
            assert item.options
            header = images.inspect(data, self.limits)
            if moves(header, item.options):
                item.clip = self._open(data, header, item.options)
                return
            picture = self._decode_picture(data, header, item.options)
            images.check_side(picture.rgb.size, images.chosen_format(item.options.format, picture.alpha))
            item.picture = picture
        if item.picture and item.options and item.options.wish.mode != "scene":
            with phase("faces", [item]):
                item.faces = find_faces(item.picture.rgb, item.options.wish)

    def _decode_picture(self, data: bytes, header: images.Header, options: Options) -> images.Picture:
        sides, shrink = (options.max_side, options.max_pixels), self._stylizer(options).shrink(options.wish)
        if is_video(header):
            with self._decoding(header.size[0] * header.size[1] * reading.FRAME_BYTES):
                return reading.first_frame(data, header, *sides, self.limits, shrink)
        return images.decode(
            data,
            header=header,
            max_side=options.max_side,
            max_pixels=options.max_pixels,
            limits=self.limits,
            scale=self._scale,
            gate=self._decoding,
            shrink=shrink,
        )

    def _open(self, data: bytes, header: images.Header, options: Options) -> Clip:
        need = reading.FRAME_BYTES if is_video(header) else FRAME_BYTES
        with self._decoding(header.size[0] * header.size[1] * need):
            sides, most = (options.max_side, options.max_pixels), limits_of(header, self.settings)
            clip = open_clip(data, header, *sides, self.limits, most)
        if not isinstance(clip, Video) and kind_of(options.format, clip.kind) == "WEBP":
            images.check_side(clip.size, "webp")
        return clip

    @contextmanager
    def _decoding(self, need_bytes: int) -> Iterator[None]:
        """Wait for a turn to decode. Raises `PictureTooLarge` where the host has not that much memory now."""
        free = budget.free_bytes(torch.device("cpu"))
        if need_bytes > free:
            need_mb, free_mb = megabytes(need_bytes), free // 2**20
            raise PictureTooLarge(
                f"Decoding the picture takes {need_mb} MiB; {free_mb} MiB may be taken. Send it smaller, or as JPEG.",
                need_mb=need_mb,
                budget_mb=free_mb,
            )
        with self._gate(need_bytes):
            yield

    def draw(self, items: Sequence[Item]) -> None:
        """Draw the pictures, and begin to encode each. What is decoded is drawn while the rest is still being decoded.

        On a GPU those of one style and one size that are ready at one time are batches, never padded, and of no more
        than fit. A CPU gains nothing from a batch that is worth its memory, so there each is drawn alone.
        """
        waiting = [item for item in items if item.pending]
        while waiting:
            done = wait([item.pending for item in waiting if item.pending], return_when=FIRST_COMPLETED).done
            ready = [item for item in waiting if item.pending in done and item.picture]
            clips = [(item, item.clip) for item in waiting if item.pending in done and item.clip]
            waiting = [item for item in waiting if item.pending not in done]
            for item, clip in clips:
                self._draw_clip(item, clip)
                item.pending = None
            for group in self._batches(ready) if self.device.type == "cuda" else ([item] for item in ready):
                self._draw_together(group)
                for item in group:
                    item.pending = self._workers.submit(self._encode, item)

    def _batches(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        for group in _grouped(items):
            most = 1
            with phase("run", group):
                options, picture = group[0].options, group[0].picture
                assert options
                assert picture
                most = self._stylizer(options).batch_size(picture.rgb.height, picture.rgb.width)
            for first in range(0, len(group), most):
                yield group[first : first + most]

    def _draw_together(self, group: list[Item]) -> None:
        with phase("run", group), attended(group):
            assert group[0].options
            photos = [Photo(item.picture.rgb, item.picture.small, item.faces) for item in group if item.picture]
            run = self._stylizer(group[0].options).run(photos, group[0].options.wish)
            for index, item in enumerate(group):
                item.plan, item.recovered = run.plan, run.recovered
                if self._is_encoded_on_the_device(item):
                    item.pixels = run.batch[index]
                else:
                    item.drawn = run.picture(index)
        for item in group:
            if item.faces and not item.error:
                item.seconds["run"] -= run.face_seconds
                item.seconds["faces"] += run.face_seconds
        failed = group[0].error
        if isinstance(failed, (OutOfMemory, PictureTooLarge)):
            self.cleaner.release()
            if len(group) > 1:
                for item in group:  # what did not fit together may fit alone
                    item.error = None
                    self._draw_together([item])
                    item.recovered |= isinstance(failed, OutOfMemory) and not item.error

    def _draw_clip(self, item: Item, clip: Clip) -> None:
        """Draw a clip frame by frame, and write its file meanwhile."""
        with phase("run", [item]), attended([item]):
            assert item.options
            options = item.options
            stylizer = self.stylizer_of_clips(options)
            drawing = ClipDrawing(stylizer, options.wish, clip.frames, clip.name, pace=stylizer.pace)
            if isinstance(clip, Video):
                item.encoded = videos.draw(clip, drawing, "mp4", options.quality)
            else:
                item.encoded = drawing.encode(clip, kind_of(options.format, clip.kind), options.quality)
            item.plan, item.recovered = drawing.plan, drawing.recovered
        if not item.error:
            item.seconds["encode"] = item.seconds["run"] - drawing.run_seconds
            item.seconds["run"] = drawing.run_seconds
            item.report = self._report(item, clip, drawing.faces)
        elif isinstance(item.error, (OutOfMemory, PictureTooLarge)):
            self.cleaner.release()

    def encode(self, items: Sequence[Item]) -> None:
        """Wait until each picture that was drawn is encoded and has its report."""
        for item in items:
            if item.pending:
                item.pending.result()

    def _encode(self, item: Item) -> None:
        if item.error or not (item.options and item.picture and item.plan):
            return
        options, picture = item.options, item.picture
        with phase("encode", [item]):
            if item.pixels is not None:
                item.encoded, item.drawn = self._encode_on_the_device(item.pixels, options.quality)
                item.pixels = None
            if item.drawn:
                item.encoded = images.encode(item.drawn, picture.alpha, format=options.format, quality=options.quality)
            faces = len(item.faces) if item.plan.face else 0
            item.report = self._report(item, picture, faces)

    def _report(self, item: Item, source: images.Picture | Clip, faces: int) -> Report:
        assert item.options
        assert item.plan
        stylizer = self.stylizer_of_clips(item.options) if item.clip else self._stylizer(item.options)
        return report_of(item.options, stylizer, source, item.plan, faces, item.seconds)

    def _is_encoded_on_the_device(self, item: Item) -> bool:
        """Whether it becomes an opaque JPEG with chroma at full resolution, and the device writes such files."""
        if not (self._jpeg and item.options and item.picture) or item.picture.alpha:
            return False
        chosen = images.chosen_format(item.options.format, item.picture.alpha)
        return chosen == "jpeg" and item.options.quality >= images.FULL_CHROMA_QUALITY

    def _encode_on_the_device(self, pixels: Tensor, quality: int) -> tuple[images.Encoded | None, Image.Image | None]:
        """The file; or the picture, for Pillow to encode, where the device fails."""
        try:
            assert self._jpeg
            return images.Encoded(self._jpeg(pixels, quality), "image/jpeg"), None
        except RuntimeError as error:  # also torch.OutOfMemoryError
            logger.warning("A picture is encoded on the CPU, since the device failed: %s", error)
            return None, download(pixels[None])[0]

    def stylize(self, data: bytes, options: Mapping[str, str]) -> tuple[images.Encoded, Report]:
        """One picture, start to end. Raises its `AnimeganError`."""
        item = self.decode(data, options)
        self.draw([item])
        self.encode([item])
        if item.error:
            raise item.error
        assert item.encoded
        assert item.report
        return item.encoded, item.report

    def close(self) -> None:
        """End the threads, after what they are at."""
        self._workers.shutdown()


def _most_decoded(max_pixels: int, device: torch.device) -> int:
    """Return how many bytes all threads together may take to decode.

    On a CPU those of the largest picture, whose memory it takes. A GPU would wait: there as many as fit in half of what
    the host has free.
    """
    largest = max_pixels * max(images.DECODED_BYTES.values())
    if device.type != "cuda":
        return largest
    return max(largest, budget.free_bytes(torch.device("cpu")) // 2)


P = ParamSpec("P")
T = TypeVar("T")


class _AtOnce(Executor):
    """Has done what is submitted when `submit` returns."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _grouped(items: Sequence[Item]) -> list[list[Item]]:
    """The items that may be drawn as one batch: of one style, one wish, and one size, also where it was shrunk."""
    groups: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        if item.options and item.picture:
            options, picture = item.options, item.picture
            small = picture.small and picture.small.size
            groups[options.style, options.fast, options.wish, picture.rgb.size, small].append(item)
    return list(groups.values())

"""Bytes in, bytes out: decode, draw, encode. What the handler and the command line share."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from animegan.clips.animation import FRAME_BYTES
from animegan.clips.drawing import ClipDrawing
from animegan.clips.opening import Clip, limits_of, moves, open_clip
from animegan.clips.video import drawing as videos
from animegan.clips.video import reading
from animegan.clips.video.memory import decoder_bytes
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
from animegan.pipeline.items import Decoded, DecodedClip, Drawn, Finished, Item, Method, attend, phase
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
            parsed = parse(options, self.settings)
            self._stylizer(parsed).check(parsed.wish)
        if not item.error:
            item.pending = self._workers.submit(self._decode, item, data, parsed)
        return item

    def _decode(self, item: Item, data: bytes, options: Options) -> None:
        with phase("decode", [item]):
            header = images.inspect(data, self.limits)
            if moves(header, options):
                item.state = DecodedClip(options, self._open(data, header, options))
            else:
                picture = self._decode_picture(data, header, options)
                images.check_side(picture.rgb.size, images.chosen_format(options.format, picture.alpha))
                item.state = Decoded(options, picture)
        if isinstance(item.state, Decoded) and options.wish.mode != "scene":
            with phase("faces", [item]):
                item.state = Decoded(options, picture, find_faces(picture.rgb, options.wish))

    def _decode_picture(self, data: bytes, header: images.Header, options: Options) -> images.Picture:
        sides, shrink = (options.max_side, options.max_pixels), self._stylizer(options).shrink(options.wish)
        if is_video(header):
            with self._decoding(decoder_bytes(header.size)):
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
        width, height = header.size
        with self._decoding(decoder_bytes(header.size) if is_video(header) else width * height * FRAME_BYTES):
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
            futures = wait([item.pending for item in waiting if item.pending], return_when=FIRST_COMPLETED).done
            ready = [item for item in waiting if item.pending in futures]
            waiting = [item for item in waiting if item.pending not in futures]
            for item in ready:
                if isinstance(item.state, DecodedClip):
                    self._draw_clip(item, item.state)
                    item.pending = None
            pictures = [_Picture(item, item.state) for item in ready if isinstance(item.state, Decoded)]
            for group in self._batches(pictures) if self.device.type == "cuda" else ([each] for each in pictures):
                self._draw_together(group)
                for each in group:
                    each.item.pending = self._workers.submit(self._encode, each.item)

    def _batches(self, pictures: Sequence[_Picture]) -> Iterator[list[_Picture]]:
        for group in _group(pictures):
            most = 1
            with phase("run", [each.item for each in group]):
                options, rgb = group[0].decoded.options, group[0].decoded.source.rgb
                most = self._stylizer(options).batch_size(rgb.height, rgb.width)
            for first in range(0, len(group), most):
                yield group[first : first + most]

    def _draw_together(self, group: list[_Picture]) -> None:
        items, options = [each.item for each in group], group[0].decoded.options
        with phase("run", items), attend(items):
            photos = [Photo(each.source.rgb, each.source.small, each.faces) for _, each in group]
            run = self._stylizer(options).run(photos, options.wish)
            for index, (item, decoded) in enumerate(group):
                on_device = self._is_encoded_on_the_device(decoded)
                pixels = run.batch[index] if on_device else run.picture(index)
                item.state = Drawn(decoded, Method(run.plan, run.recovered), pixels)
        for item, decoded in group:
            if decoded.faces and not item.error:
                item.seconds["run"] -= run.face_seconds
                item.seconds["faces"] += run.face_seconds
        failure = group[0].item.error
        if isinstance(failure, (OutOfMemory, PictureTooLarge)):
            self.cleaner.release()
            if len(group) > 1:
                for each in group:  # what did not fit together may fit alone
                    self._draw_alone(each, recovered=isinstance(failure, OutOfMemory))

    def _draw_alone(self, picture: _Picture, *, recovered: bool) -> None:
        picture.item.state = picture.decoded
        self._draw_together([picture])
        if recovered:
            picture.item.recover()

    def _draw_clip(self, item: Item, decoded: DecodedClip) -> None:
        """Draw a clip frame by frame, and write its file meanwhile."""
        options, clip = decoded.options, decoded.source
        with phase("run", [item]), attend([item]):
            stylizer = self.stylizer_of_clips(options)
            drawing = ClipDrawing(stylizer, options.wish, clip.frames, clip.name, pace=stylizer.pace)
            if isinstance(clip, Video):
                encoded = videos.draw(clip, drawing, "mp4", options.quality)
            else:
                encoded = drawing.encode(clip, kind_of(options.format, clip.kind), options.quality)
        if not item.error:
            item.seconds["encode"] = item.seconds["run"] - drawing.run_seconds
            item.seconds["run"] = drawing.run_seconds
            report = report_of(options, stylizer, clip, drawing.plan, drawing.faces, item.seconds)
            item.state = Finished(decoded, Method(drawing.plan, drawing.recovered), encoded, report)
        elif isinstance(item.error, (OutOfMemory, PictureTooLarge)):
            self.cleaner.release()

    def encode(self, items: Sequence[Item]) -> None:
        """Wait until each picture that was drawn is encoded and has its report."""
        for item in items:
            if item.pending:
                item.pending.result()

    def _encode(self, item: Item) -> None:
        if not isinstance(item.state, Drawn):
            return
        decoded, method = item.state.decoded, item.state.method
        options = decoded.options
        with phase("encode", [item]):
            encoded = self._file(item.state)
            faces = len(decoded.faces) if method.plan and method.plan.face else 0
            report = report_of(options, self._stylizer(options), decoded.source, method.plan, faces, item.seconds)
            item.state = Finished(decoded, method, encoded, report)

    def _is_encoded_on_the_device(self, decoded: Decoded) -> bool:
        """Return whether it becomes an opaque JPEG with chroma at full resolution, and the device writes such files."""
        options, alpha = decoded.options, decoded.source.alpha
        if not self._jpeg or alpha:
            return False
        file_format = images.chosen_format(options.format, alpha)
        return file_format == "jpeg" and options.quality >= images.FULL_CHROMA_QUALITY

    def _file(self, picture: Drawn) -> images.Encoded:
        options, pixels = picture.decoded.options, picture.pixels
        if isinstance(pixels, Tensor):
            try:
                assert self._jpeg
                return images.Encoded(self._jpeg(pixels, options.quality), "image/jpeg")
            except RuntimeError as error:  # also torch.OutOfMemoryError
                logger.warning("A picture is encoded on the CPU, since the device failed: %s", error)
                [pixels] = download(pixels[None])
        return images.encode(pixels, picture.decoded.source.alpha, format=options.format, quality=options.quality)

    def stylize(self, data: bytes, options: Mapping[str, str]) -> tuple[images.Encoded, Report]:
        """One picture, start to end. Raises its `AnimeganError`."""
        item = self.decode(data, options)
        self.draw([item])
        self.encode([item])
        result = item.result()
        return result.encoded, result.report

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


class _Picture(NamedTuple):
    item: Item
    decoded: Decoded


def _group(pictures: Sequence[_Picture]) -> list[list[_Picture]]:
    """Return groups that may be drawn as a batch: of one style, one wish, and one size, also where it was shrunk."""
    groups: dict[Hashable, list[_Picture]] = defaultdict(list)
    for each in pictures:
        options, source = each.decoded.options, each.decoded.source
        small = source.small and source.small.size
        groups[options.style, options.fast, options.wish, source.rgb.size, small].append(each)
    return list(groups.values())

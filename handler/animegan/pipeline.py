"""Bytes in, bytes out: decode, draw, encode. What the handler and the command line share."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image

from animegan import images, memory
from animegan.errors import AnimeganError, BadSetting, InternalError, OutOfMemory
from animegan.hardware import pick_device
from animegan.options import Options, parse
from animegan.report import Report
from animegan.settings import Settings
from animegan.styles import styles
from animegan.stylizer import Stylizer

logger = logging.getLogger(__name__)


@dataclass
class Item:
    """One picture on its way through; once `error` is set the later phases pass it by."""

    options: Options | None = None
    picture: images.Picture | None = None
    drawn: Image.Image | None = None
    encoded: images.Encoded | None = None
    report: Report | None = None
    error: AnimeganError | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Pipeline:
    """All styles on one device, behind limits. Each phase takes a batch; a picture's error stays its own."""

    def __init__(self, settings: Settings, gpu: int | None = None) -> None:
        self.settings = settings
        self.device = pick_device(settings.device, gpu)
        self.limits = images.Limits(
            max_bytes=settings.max_upload_mb * 2**20, max_pixels=settings.max_pixels_mpx * 1_000_000
        )
        self.cleaner = memory.Cleaner(settings.cleanup, settings.cleanup_watermark_mb, self.device)
        self._gpu = gpu
        self._stylizers: dict[str, Stylizer] = {}

    def load_styles(self) -> None:
        """Load every style that is on this machine. One that can't be loaded is logged, and fails its own requests.

        Raises `BadSetting` where the default style can't be loaded, or a setting keeps every style from loading.
        """
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
        return [f"{id} ({stylizer.precision})" for id, stylizer in self._stylizers.items()]

    def stylizer(self, style_id: str) -> Stylizer:
        """The style, loaded at its first use. Raises `UnknownStyle`, `StyleNotInstalled` or `BadWeights`."""
        if style_id not in self._stylizers:
            settings = self.settings
            self._stylizers[style_id] = Stylizer(
                style_id,
                device=settings.device,
                precision=settings.precision,
                gpu=self._gpu,
                warmup_px=settings.warmup_px,
            )
        return self._stylizers[style_id]

    def decode(self, data: bytes, options: Mapping[str, str]) -> Item:
        """A picture's bytes, decoded and fitted to the limit, with its options read (see `options.parse`)."""
        item = Item()
        with _phase("decode", [item]):
            item.options = parse(options, self.settings)
            self.stylizer(item.options.style)
            item.picture = images.decode(data, max_side=item.options.max_side, limits=self.limits)
        return item

    def draw(self, items: Sequence[Item]) -> None:
        """Draw the pictures. On a GPU those of one style and one size are one batch, never padded.

        A CPU gains nothing from a batch that is worth its memory, so there each is drawn alone.
        """
        ready = [item for item in items if item.picture and not item.error]
        for group in _grouped(ready) if self.device.type == "cuda" else ([item] for item in ready):
            self._draw_together(group)

    def _draw_together(self, group: list[Item]) -> None:
        with _phase("run", group):
            assert group[0].options
            stylizer = self.stylizer(group[0].options.style)
            drawn = stylizer.draw([item.picture.rgb for item in group if item.picture])
            for item, picture in zip(group, drawn, strict=True):
                item.drawn = picture
        if isinstance(group[0].error, OutOfMemory):
            self.cleaner.release()
            if len(group) > 1:
                for item in group:  # what did not fit together may fit alone
                    item.error = None
                    self._draw_together([item])

    def encode(self, items: Sequence[Item]) -> None:
        """Encode what was drawn, and write each picture's report."""
        for item in items:
            if item.error or not (item.options and item.picture and item.drawn):
                continue
            options, picture, stylizer = item.options, item.picture, self.stylizer(item.options.style)
            with _phase("encode", [item]):
                item.encoded = images.encode(item.drawn, picture.alpha, format=options.format, quality=options.quality)
                item.report = Report(
                    style=options.style,
                    license=stylizer.style.license,
                    precision=stylizer.precision,
                    original_size=picture.original_size,
                    size=picture.rgb.size,
                    frames=picture.frames,
                    seconds=item.seconds,
                )

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


def _grouped(items: Sequence[Item]) -> list[list[Item]]:
    groups: dict[tuple[str, tuple[int, int]], list[Item]] = defaultdict(list)
    for item in items:
        if item.options and item.picture:
            groups[item.options.style, item.picture.rgb.size].append(item)
    return list(groups.values())


@contextmanager
def _phase(name: str, items: Sequence[Item]) -> Iterator[None]:
    """Time a phase of some items, and turn what it raises into the error of each."""
    start = time.perf_counter()
    try:
        yield
    except Exception as error:  # noqa: BLE001 - one picture's fault must not reach the rest of its batch
        known = _known(error, name)
        for item in items:
            item.error = known
    finally:
        for item in items:
            item.seconds[name] = time.perf_counter() - start


def _known(error: Exception, phase: str) -> AnimeganError:
    if isinstance(error, AnimeganError):
        return error
    if memory.is_out_of_memory(error):
        return OutOfMemory("There is not enough memory for this picture now. Lower max_side, or try again later.")
    logger.error("%s failed", phase, exc_info=error)
    return InternalError("The picture could not be drawn, and the fault is the server's: its log has the details.")

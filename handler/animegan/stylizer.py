"""The engine's front: a style, loaded once, that draws pictures."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.profiler import record_function

from animegan.clips.animation import Animation
from animegan.clips.drawing import ClipDrawing
from animegan.drawing import Drawing, Drawn, LookPlan, Photo
from animegan.errors import AnimeganError, PictureTooLarge
from animegan.faces.detector import Face, find
from animegan.finish.chain import shrink
from animegan.finish.continuity import Continuity
from animegan.finish.tone import Curve, measure_curve, typical_photo
from animegan.looks import check_style, look_of
from animegan.networks import graphs
from animegan.networks.families import load_network
from animegan.networks.plan import choose
from animegan.operators.precision import pick_precision
from animegan.options import Wish, check_options
from animegan.picture import images
from animegan.picture.detail import FACTORS
from animegan.picture.sizes import Size
from animegan.picture.sources import LIMITS, Array, File, Source, read
from animegan.picture.transfer import download, wait
from animegan.resources import budget
from animegan.resources.hardware import DTYPES, pick_device
from animegan.resources.memory import is_out_of_memory, release
from animegan.resources.pace import Pace
from animegan.resources.progress import observer
from animegan.settings import MAX_SIDE_PX, WARMUP_PX, Color, Detail, DetailOption, Device, Frames, Mode, Precision, Tone
from animegan.styles import DEFAULT_STYLE, get_style

CLIP_QUALITY = 92  # of WebP and AVIF


def find_faces(photo: Image.Image, wish: Wish) -> tuple[Face, ...]:
    """Return the faces in a fitted photo, RGB, that are to be drawn again."""
    return find(photo, wish.mode) if wish.strength > 0 else ()


@dataclass(frozen=True)
class Run:
    """Pictures that were drawn, and the plan that was followed.

    `batch`: uint8 (N, H, W, 3) on the device, finished. `recovered`: memory ran out against another plan, was given
    back, and these are drawn in smaller bands. `face_seconds`: what faces took that were drawn again.
    """

    batch: Tensor
    plan: LookPlan
    recovered: bool
    face_seconds: float

    def picture(self, index: int) -> Image.Image:
        """Return one of them, on the host."""
        with record_function("transfer"):
            [drawing] = download(self.batch[index : index + 1])
        return drawing

    @property
    def pictures(self) -> list[Image.Image]:
        """All of them, on the host."""
        with record_function("transfer"):
            return download(self.batch)


class Stylizer:
    """One style on one device.

    `device` is auto (CUDA where there is a GPU), cpu or cuda, `gpu` the index of the GPU. `precision` is auto (fp16 on
    CUDA, bf16 on a CPU with AMX, else fp32), fp32, fp16 (CUDA only) or bf16. `max_side` is the limit on
    the longest side in px, or "original", which is none; `max_pixels` that on the pixels of a picture more than twice
    as long as it is wide, or of any picture if it stands alone. Without both they are 1024 and its square.

    `memory_mb` is the memory, in MiB, that drawing may take above the weights; 0: what is free,
    less a reserve (see `budget`). At construction it draws a square of `warmup_px` px (0: none) so that the first
    picture does not wait for what PyTorch sets up late.

    `detail` is auto (by the photo), bold, medium or fine, `strength` from 0 (the photo) to 1 (the drawing), `color`
    style or photo, `tone` auto, style or photo, `mode` auto, portrait or scene: see `options.Wish`. `fast` draws with
    the small network, in a sixteenth of the time and softer; None: animations alone, where the style has one. `frames`
    is all of an animation, or first.

    With a `pace` a picture has a deadline, past which its drawing ends with `PictureTooSlow`.

    Raises `UnknownStyle`, `StyleNotInstalled`, `BadWeights`, `BadLook`, `BadSetting`, and `BadOption` for an option out
    of its range or that the style can't do. `stylize`, `draw` and `run` may be called from several threads; the memory
    is then each call's own.
    """

    def __init__(
        self,
        style: str = DEFAULT_STYLE,
        *,
        device: Device = "auto",
        precision: Precision = "auto",
        max_side: int | Literal["original"] | None = None,
        max_pixels: int | None = None,
        memory_mb: int = 0,
        gpu: int | None = None,
        warmup_px: int = WARMUP_PX,
        detail: DetailOption = "auto",
        strength: float = 1.0,
        color: Color = "style",
        tone: Tone = "auto",
        mode: Mode = "auto",
        fast: bool | None = None,
        frames: Frames = "all",
        pace: Pace | None = None,
    ) -> None:
        self.wish = Wish(detail, strength, color, tone, mode)
        check_options(max_side, max_pixels, self.wish)
        self.style = get_style(style)
        self.device = pick_device(device, gpu)
        self.precision = pick_precision(precision, self.device)
        if max_side is None and max_pixels is None:
            max_side, max_pixels = MAX_SIDE_PX, MAX_SIDE_PX**2
        self.max_side = None if max_side == "original" else max_side
        self.max_pixels = max_pixels
        self.memory_mb = memory_mb
        self.fast = bool(fast)
        self.frames = frames
        self.pace = pace
        look = look_of(self.style)
        check_style(self.style, look, detail, fast=self.fast)
        network = load_network(look.network, self.style, self.device, self.precision, fast=self.fast)
        self._drawing = Drawing(look, network, self.device, DTYPES[self.precision].itemsize)
        if warmup_px:
            self._warm_up(warmup_px)
        self._of_clips = partial(Stylizer, style, device=device, precision=precision, memory_mb=memory_mb, gpu=gpu)
        self._draws_clips_fast = fast is None and self.style.fast is not None

    def check(self, wish: Wish) -> None:
        """Raise `BadOption` for what this style can't do."""
        check_style(self.style, self._drawing.look, wish.detail)

    def __repr__(self) -> str:
        fast = ", fast=True" if self.fast else ""
        return (
            f"Stylizer({self.style.id!r}, device={str(self.device)!r}, precision={self.precision!r}, "
            f"max_side={self.max_side}{fast})"
        )

    @overload
    def stylize(self, source: Array) -> Array: ...

    @overload
    def stylize(self, source: Tensor) -> Tensor: ...

    @overload
    def stylize(self, source: Image.Image | File) -> Image.Image: ...

    def stylize(self, source: Source) -> Any:
        """Draw one picture; a larger one is fitted to the limits.

        A PIL image (of any mode), a path, bytes or a binary file give a PIL image, RGB, or RGBA where there is
        transparency. A file that is an animation gives one: an image with as many frames, which `save` writes with
        `save_all=True`. A NumPy array (H, W, 3 or 4), uint8, gives such an array, a tensor (3 or 4, H, W), uint8 or
        floats in 0..1, such a tensor; both are RGB.

        Raises `PictureTooSmall` where a side, as given or as fitted, is under 16 px, `PictureTooLarge`, of a file
        `BadImage` and `UnsupportedImage`, and as `sources.read` for what is no picture.
        """
        return self._draw(*self._read(source))

    @overload
    def stylize_all(
        self, sources: Iterable[Array], *, on_error: Callable[[Array, Exception], object] | None = None
    ) -> Iterator[Array]: ...

    @overload
    def stylize_all(
        self, sources: Iterable[Tensor], *, on_error: Callable[[Tensor, Exception], object] | None = None
    ) -> Iterator[Tensor]: ...

    @overload
    def stylize_all(
        self,
        sources: Iterable[Image.Image | File],
        *,
        on_error: Callable[[Image.Image | File, Exception], object] | None = None,
    ) -> Iterator[Image.Image]: ...

    def stylize_all(self, sources: Any, *, on_error: Callable[[Any, Exception], object] | None = None) -> Iterator[Any]:
        """Draw pictures as they are taken, in their order; while one is drawn, the next is read and decoded.

        A picture that can't be drawn goes to `on_error` with its error, and is left out; without `on_error` it raises
        that error, as `stylize` would. Raises `TypeError` for a single picture.
        """
        if isinstance(sources, Image.Image | str | PathLike | bytes | bytearray | memoryview | np.ndarray | Tensor):
            raise TypeError(
                f"stylize_all takes several pictures, and this is one {type(sources).__name__}. Use stylize."
            )
        return self._all(iter(sources), on_error)

    def _all(self, sources: Iterator[Any], on_error: Callable[[Any, Exception], object] | None) -> Iterator[Any]:
        with ThreadPoolExecutor(1, "animegan-read") as reader:
            ahead = [(source, reader.submit(self._read, source)) for source in islice(sources, 1)]
            while ahead:
                [(source, reading)] = ahead
                ahead = [(source, reader.submit(self._read, source)) for source in islice(sources, 1)]
                try:
                    drawing = self._draw(*reading.result())
                except (AnimeganError, OSError, TypeError, ValueError) as error:
                    if on_error is None:
                        raise
                    on_error(source, error)
                else:
                    yield drawing

    def _read(self, source: Source) -> tuple[images.Picture | Animation, Callable[[Image.Image], Any]]:
        motion = self.frames == "all"
        return read(source, self.max_side, self.max_pixels, self.shrink(self.wish), motion=motion)

    @functools.cached_property
    def _clip_stylizer(self) -> Stylizer:
        """Return the stylizer for animations: this one, or that of the style's small network."""
        return self._of_clips(fast=True, warmup_px=0, pace=self.pace) if self._draws_clips_fast else self

    def _draw(self, picture: images.Picture | Animation, give_back: Callable[[Image.Image], Any]) -> Any:
        if isinstance(picture, Animation):
            clip = ClipDrawing(self._clip_stylizer, self.wish, picture.frames, pace=self.pace)
            return Image.open(BytesIO(clip.encode(picture, picture.kind, CLIP_QUALITY).data))
        faces = find_faces(picture.rgb, self.wish)
        drawing = self.run([Photo(picture.rgb, picture.small, faces)]).picture(0)
        if picture.alpha:
            drawing.putalpha(picture.alpha)
        return give_back(drawing)

    def stylize_video(
        self, source: str | PathLike[str], out: str | PathLike[str], *, progress: Callable[[float], None] | None = None
    ) -> None:
        """Draw a video's file to `out`: an MP4, or a WebM where it ends so; one that is there is replaced.

        `progress` is told how much of it is drawn, from 0 to 1. Beside the file a folder holds what is drawn until it
        is whole. Raises `BadImage`, `UnsupportedImage`, `PictureTooSmall`, `PictureTooLarge` or `OSError`.
        """
        from animegan.clips.video.files import draw_file  # noqa: PLC0415 - it draws with a stylizer

        target = Path(fspath(out))
        part = target.with_name(f".{target.name}.part")
        kind: Literal["mp4", "webm"] = "webm" if target.suffix.lower() == ".webm" else "mp4"
        limits = (self.max_side, self.max_pixels)
        draw_file(
            self._clip_stylizer, self.wish, Path(fspath(source)), limits, CLIP_QUALITY, kind, part, LIMITS, progress
        )
        part.replace(target)

    def draw(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """Draw RGB pictures of one size as one batch, as they are: no limit, no scaling, no look at faces.

        Raises `PictureTooLarge`.
        """
        return self.run(pictures).pictures

    def shrink(self, wish: Wish) -> Callable[[Image.Image], Size]:
        """Return what tells the size, in px, at which the network takes a fitted photo."""

        def size(photo: Image.Image) -> Size:
            detail, *_ = self._drawing.details(wish.detail, photo)
            return self._drawing.small_size(photo.size, detail)

        return size

    def run(
        self,
        pictures: Sequence[Image.Image | Photo],
        wish: Wish | None = None,
        continuity: Continuity | None = None,
        beside_bytes: int = 0,
    ) -> Run:
        """Draw RGB photos of one size as one batch; of a clip its next frame, with its `continuity`.

        `beside_bytes`: what will be taken meanwhile, beside the drawing. Raises `PictureTooLarge`.

        Memory that runs out against the plan is given back, and the pictures are drawn once more in smaller bands, down
        to the smallest there are.
        """
        wish = wish or self.wish
        photos = [picture if isinstance(picture, Photo) else Photo(picture) for picture in pictures]
        width, height = photos[0].image.size
        with record_function("plan"):
            details = self._details(photos[0], wish)
            faces = any(photo.faces for photo in photos)
            first = plan = self.plan(height, width, len(photos), details, faces=faces, beside_bytes=beside_bytes)
        while True:
            try:
                result = self._run(photos, plan, wish, continuity)
            except Exception as error:
                plans = self._drawing.plans((width, height), len(photos), details, faces=faces)
                smaller = next((other for other in plans if other.peak_bytes < plan.peak_bytes), None)
                if not (smaller and is_out_of_memory(error)):
                    raise
            else:
                return Run(result.batch, plan, recovered=plan is not first, face_seconds=result.face_seconds)
            # The error is gone by now, and with it what its traceback held.
            self._release()
            plan = smaller

    def _run(self, photos: Sequence[Photo], plan: LookPlan, wish: Wish, continuity: Continuity | None) -> Drawn:
        typical = self._typical_tones if self._drawing.takes_photos_tone(wish) else ()
        limit = self.pace.limit(plan.network, photos[0].image.size) if self.pace else contextlib.nullcontext()
        with limit:
            result = self._drawing.draw(photos, plan, wish, typical, continuity)
            wait(self.device)
        return result

    @functools.cached_property
    def _typical_tones(self) -> Curve:
        """Return the curve by which the look draws the tones of a typical photo."""
        photo = Photo(Image.fromarray(typical_photo().numpy()))
        *_, smallest = self._drawing.plans(photo.image.size, 1, self._drawing.details("auto"))
        with observer(None):
            [drawing] = self._drawing.draw([photo], smallest, Wish()).batch
        return measure_curve(shrink(typical_photo()), shrink(drawing))

    def _details(self, photo: Photo, wish: Wish) -> tuple[Detail | None, ...]:
        """The details to try: `auto` was decided when the photo was shrunk, if it was."""
        if wish.detail == "auto" and photo.small:
            for detail in FACTORS:
                if self._drawing.small_size(photo.image.size, detail) == photo.small.size:
                    return self._drawing.up_to(detail)
        return self._drawing.details(wish.detail, photo.image)

    def plan(
        self,
        height: int,
        width: int,
        batch: int = 1,
        details: Sequence[Detail | None] = (),
        *,
        faces: bool = False,
        beside_bytes: int = 0,
    ) -> LookPlan:
        """Return how pictures of that size, in px, would be drawn now. Raises `PictureTooLarge`.

        `details`: those to try, the best first; none: what the stylizer was made with. `faces`: some have faces.
        `beside_bytes`: what will be taken of the budget meanwhile.
        """
        details = details or self._drawing.details(self.wish.detail)
        fastest = next(self._drawing.plans((width, height), batch, details, faces=faces))
        free = max(0, self.budget_bytes() - beside_bytes)
        if not self.memory_mb and fastest.peak_bytes > free:
            self._release()  # what is held and unused is no reason to go slow, or to refuse
            free = max(0, self.budget_bytes() - beside_bytes)
        plans = self._drawing.plans((width, height), batch, details, faces=faces)
        return choose(plans, free, lambda h, w: self._drawing.plans((w, h), 1, details))

    def batch_size(self, height: int, width: int) -> int:
        """Return how many pictures of that size, in px, to draw as one batch now: at least 1."""
        return self._drawing.batch_size((width, height), self.budget_bytes())

    def budget_bytes(self) -> int:
        """Return what drawing may take now, above the weights."""
        if self.memory_mb:
            return self.memory_mb * 2**20
        return budget.free_bytes(self.device) - graphs.held_bytes()

    def _release(self) -> None:
        graphs.release()
        release(self.device)

    def _warm_up(self, side: int) -> None:
        blank = Photo(Image.new("RGB", (side, side)))
        wish = Wish("bold" if self._drawing.look.detail else "auto")
        chosen_by_trial = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True  # cuDNN remembers its choice for this shape
        try:
            with contextlib.suppress(PictureTooLarge), observer(None):  # each picture will hear of it
                for _ in range(2):  # TorchScript profiles the first run and optimises before the second
                    self.run([blank], wish)
        finally:
            torch.backends.cudnn.benchmark = chosen_by_trial

"""The engine's front: a style, loaded once, that draws pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.profiler import record_function

from animegan.drawing import Drawing, LookPlan, Photo
from animegan.errors import BadOption, PictureTooLarge
from animegan.looks import look_of
from animegan.networks import graphs
from animegan.networks.families import load_network
from animegan.networks.plan import choose
from animegan.options import Wish
from animegan.picture import images
from animegan.picture.detail import FACTORS
from animegan.picture.sizes import Size
from animegan.picture.transfer import download, wait
from animegan.resources import budget
from animegan.resources.hardware import DTYPES, pick_device, pick_precision
from animegan.resources.memory import is_out_of_memory, release
from animegan.resources.pace import Pace
from animegan.settings import MAX_SIDE_PX, WARMUP_PX, Color, Detail, DetailOption, Device, Precision
from animegan.styles import DEFAULT_STYLE, get_style


@dataclass(frozen=True)
class Run:
    """Pictures that were drawn, and the plan that was followed.

    `batch`: uint8 (N, H, W, 3) on the device, finished. `recovered`: memory ran out against another plan, was given
    back, and these are drawn in smaller bands.
    """

    batch: Tensor
    plan: LookPlan
    recovered: bool

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
    CUDA, bf16 on a CPU with AMX or AVX512-BF16, else fp32), fp32, fp16 (CUDA only) or bf16. `max_side` is the limit on
    the longest side in px. `memory_mb` is the memory, in MiB, that drawing may take above the weights; 0: what is free,
    less a reserve (see `budget`). At construction it draws a square of `warmup_px` px (0: none) so that the first
    picture does not wait for what PyTorch sets up late.

    `detail` is auto (by the photo), bold, medium or fine, `strength` from 0 (the photo) to 1 (the drawing), `color`
    style or photo: see `options.Wish`. `fast` draws with the small network, in a sixteenth of the time and softer.

    With a `pace` a picture has a deadline, past which its drawing ends with `PictureTooSlow`.

    Raises `UnknownStyle`, `StyleNotInstalled`, `BadWeights`, `BadLook`, `BadSetting`, and `BadOption` where the style
    can't do what is asked. `stylize`, `draw` and `run` may be called from several threads; the memory is then each
    call's own.
    """

    def __init__(
        self,
        style: str = DEFAULT_STYLE,
        *,
        device: Device = "auto",
        precision: Precision = "auto",
        max_side: int = MAX_SIDE_PX,
        memory_mb: int = 0,
        gpu: int | None = None,
        warmup_px: int = WARMUP_PX,
        detail: DetailOption = "auto",
        strength: float = 1.0,
        color: Color = "style",
        fast: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self.style = get_style(style)
        self.device = pick_device(device, gpu)
        self.precision = pick_precision(precision, self.device)
        self.max_side = max_side
        self.memory_mb = memory_mb
        self.wish = Wish(detail, strength, color)
        self._pace = pace
        look = look_of(self.style)
        if fast and not self.style.fast:
            raise BadOption(f"The style {style!r} has no fast network. Leave quality=fast out.", option="quality")
        network = load_network(look.network, self.style, self.device, self.precision, fast=fast)
        self._drawing = Drawing(look, network, self.device, DTYPES[self.precision].itemsize)
        self.check(self.wish)
        if warmup_px:
            self._warm_up(warmup_px)

    def check(self, wish: Wish) -> None:
        """Raise `BadOption` for what this style can't do."""
        if wish.detail != "auto" and self._drawing.look.detail is None:
            raise BadOption(
                f"detail={wish.detail!r}: the style {self.style.id!r} draws a photo at its own size. Use detail=auto.",
                option="detail",
            )

    def stylize(self, image: Image.Image) -> Image.Image:
        """Draw one picture of any mode: RGB, or RGBA where it has transparency; longest side at most `max_side`.

        Raises `PictureTooSmall` where a side, as given or as fitted, is under 16 px, and `PictureTooLarge`.
        """
        picture = images.prepare(image, max_side=self.max_side, shrink=self.shrink(self.wish))
        drawing = self.run([Photo(picture.rgb, picture.small)]).picture(0)
        if picture.alpha:
            drawing.putalpha(picture.alpha)
        return drawing

    def draw(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """Draw RGB pictures of one size as one batch, as they are: no limit, no scaling. Raises `PictureTooLarge`."""
        return self.run(pictures).pictures

    def shrink(self, wish: Wish) -> Callable[[Image.Image], Size]:
        """Return what tells the size, in px, at which the network takes a fitted photo."""

        def size(photo: Image.Image) -> Size:
            detail, *_ = self._drawing.details(wish.detail, photo)
            return self._drawing.small_size(photo.size, detail)

        return size

    def run(self, pictures: Sequence[Image.Image | Photo], wish: Wish | None = None) -> Run:
        """Draw RGB photos of one size as one batch. Raises `PictureTooLarge`.

        Memory that runs out against the plan is given back, and the pictures are drawn once more in smaller bands, down
        to the smallest there are.
        """
        wish = wish or self.wish
        photos = [picture if isinstance(picture, Photo) else Photo(picture) for picture in pictures]
        width, height = photos[0].fitted.size
        with record_function("plan"):
            details = self._details(photos[0], wish)
            first = plan = self.plan(height, width, len(photos), details)
        while True:
            try:
                return Run(self._run(photos, plan, wish), plan, recovered=plan is not first)
            except Exception as error:
                plans = self._drawing.plans((width, height), len(photos), details)
                smaller = next((other for other in plans if other.peak_bytes < plan.peak_bytes), None)
                if not (smaller and is_out_of_memory(error)):
                    raise
            # The error is gone by now, and with it what its traceback held.
            self._release()
            plan = smaller

    def _run(self, photos: Sequence[Photo], plan: LookPlan, wish: Wish) -> Tensor:
        limited = self._pace.limited(plan.network, photos[0].fitted.size) if self._pace else contextlib.nullcontext()
        with limited:
            batch = self._drawing.draw(photos, plan, wish)
            wait(self.device)
        return batch

    def _details(self, photo: Photo, wish: Wish) -> tuple[Detail | None, ...]:
        """The details to try: `auto` was decided when the photo was shrunk, if it was."""
        if wish.detail == "auto" and photo.small:
            for detail in FACTORS:
                if self._drawing.small_size(photo.fitted.size, detail) == photo.small.size:
                    return self._drawing.up_to(detail)
        return self._drawing.details(wish.detail, photo.fitted)

    def plan(self, height: int, width: int, batch: int = 1, details: Sequence[Detail | None] = ()) -> LookPlan:
        """Return how pictures of that size, in px, would be drawn now. Raises `PictureTooLarge`.

        `details`: those to try, the best first; none: what the stylizer was made with.
        """
        details = details or self._drawing.details(self.wish.detail)
        fastest = next(self._drawing.plans((width, height), batch, details))
        if not self.memory_mb and fastest.peak_bytes > self.budget_bytes():
            self._release()  # what is held and unused is no reason to go slow, or to refuse
        plans = self._drawing.plans((width, height), batch, details)
        return choose(plans, self.budget_bytes(), lambda h, w: self._drawing.plans((w, h), 1, details))

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
            with contextlib.suppress(PictureTooLarge):  # each picture will hear of it
                for _ in range(2):  # TorchScript profiles the first run and optimises before the second
                    self.run([blank], wish)
        finally:
            torch.backends.cudnn.benchmark = chosen_by_trial

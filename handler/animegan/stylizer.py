"""The engine's front: a style, loaded once, that draws pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.profiler import record_function

from animegan.errors import PictureTooLarge
from animegan.networks import graphs
from animegan.networks.animegan2.layout import Shape
from animegan.networks.animegan2.network import load_network
from animegan.networks.animegan2.plan import batch_size, plans
from animegan.networks.plan import Plan, choose
from animegan.picture import images
from animegan.picture.transfer import download, upload, wait
from animegan.resources import budget
from animegan.resources.hardware import pick_device, pick_precision
from animegan.resources.memory import is_out_of_memory, release
from animegan.settings import MAX_SIDE_PX, WARMUP_PX, Device, Precision
from animegan.styles import DEFAULT_STYLE, get_style


@dataclass(frozen=True)
class Run:
    """Pictures that were drawn, and the plan that was followed.

    `batch`: uint8 (N, H, W, 3) on the device, finished. `recovered`: memory ran out against another plan, was given
    back, and these are drawn in smaller bands.
    """

    batch: Tensor
    plan: Plan
    recovered: bool

    def picture(self, index: int) -> Image.Image:
        """One of them, on the host."""
        with record_function("transfer"):
            [drawn] = download(self.batch[index : index + 1])
        return drawn

    @property
    def pictures(self) -> list[Image.Image]:
        """All of them, on the host."""
        with record_function("transfer"):
            return download(self.batch)


class Stylizer:
    """One style's generator on one device.

    `device` is auto (CUDA where there is a GPU), cpu or cuda, `gpu` the index of the GPU. `precision` is auto (fp16 on
    CUDA, bf16 on a CPU with AMX or AVX512-BF16, else fp32), fp32, fp16 (CUDA only) or bf16. `max_side` is the limit on
    the longest side in px. `memory_mb` is the memory, in MiB, that drawing may take above the weights; 0: what is free,
    less a reserve (see `budget`). At construction it draws a square of `warmup_px` px (0: none) so that the first
    picture does not wait for what PyTorch sets up late.

    Raises `UnknownStyle`, `StyleNotInstalled`, `BadWeights`, `BadSetting`. `stylize`, `draw` and `run` may be called
    from several threads; the memory is then each call's own.
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
    ) -> None:
        self.style = get_style(style)
        self.device = pick_device(device, gpu)
        self.precision = pick_precision(precision, self.device)
        self.max_side = max_side
        self.memory_mb = memory_mb
        self._network = load_network(self.style, self.device, self.precision)
        if warmup_px:
            self._warm_up(warmup_px)

    def stylize(self, image: Image.Image) -> Image.Image:
        """Draw one picture of any mode: RGB, or RGBA where it has transparency; longest side at most `max_side`.

        Raises `PictureTooSmall` where a side, as given or as fitted, is under 16 px, and `PictureTooLarge`.
        """
        picture = images.prepare(image, max_side=self.max_side)
        [drawn] = self.draw([picture.rgb])
        if picture.alpha:
            drawn.putalpha(picture.alpha)
        return drawn

    def draw(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """Draw RGB pictures of one size as one batch, as they are: no limit, no scaling. Raises `PictureTooLarge`."""
        return self.run(pictures).pictures

    def run(self, pictures: Sequence[Image.Image]) -> Run:
        """As `draw`, and tells how it went.

        Memory that runs out against the plan is given back, and the pictures are drawn once more in smaller bands.
        """
        width, height = pictures[0].size
        with record_function("plan"):
            plan = self.plan(height, width, len(pictures))
        try:
            drawn = self._drawn(pictures, plan)
        except Exception as error:
            known = self._plans(height, width, len(pictures))
            smaller = next((other for other in known if other.peak_bytes < plan.peak_bytes), None)
            if not (smaller and is_out_of_memory(error)):
                raise
        else:
            return Run(drawn, plan, recovered=False)
        # The error is gone by now, and with it what its traceback held.
        self._release()
        return Run(self._drawn(pictures, smaller), smaller, recovered=True)

    def _drawn(self, pictures: Sequence[Image.Image], plan: Plan) -> Tensor:
        with record_function("transfer"):
            batch = upload(pictures, self.device)
        batch = self._network.draw(batch, plan)
        wait(self.device)
        return batch

    def plan(self, height: int, width: int, batch: int = 1) -> Plan:
        """How pictures of that size, in px, would be drawn now. Raises `PictureTooLarge`."""
        known = self._plans(height, width, batch)
        if not self.memory_mb and known[0].peak_bytes > self.budget_bytes():
            self._release()  # what is held and unused is no reason to go slow, or to refuse
        return choose(known, self.budget_bytes(), self._plans)

    def batch_size(self, height: int, width: int) -> int:
        """How many pictures of that size, in px, to draw as one batch now: at least 1, which may still be too large."""
        shape = Shape(height, width, 1, self._network.itemsize)
        return batch_size(shape, self.budget_bytes(), cuda=self.device.type == "cuda")

    def _plans(self, height: int, width: int, batch: int = 1) -> list[Plan]:
        return list(plans(Shape(height, width, batch, self._network.itemsize), cuda=self.device.type == "cuda"))

    def budget_bytes(self) -> int:
        """What drawing may take now, above the weights."""
        if self.memory_mb:
            return self.memory_mb * 2**20
        return budget.free_bytes(self.device) - graphs.held_bytes()

    def _release(self) -> None:
        graphs.release()
        release(self.device)

    def _warm_up(self, side: int) -> None:
        blank = Image.new("RGB", (side, side))
        chosen_by_trial = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True  # cuDNN remembers its choice for this shape
        try:
            with contextlib.suppress(PictureTooLarge):  # each picture will hear of it
                for _ in range(2):  # TorchScript profiles the first run and optimises before the second
                    self.draw([blank])
        finally:
            torch.backends.cudnn.benchmark = chosen_by_trial

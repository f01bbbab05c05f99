"""The engine's front: a style, loaded once, that draws pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from animegan import images
from animegan.hardware import DTYPES, pick_device, pick_precision
from animegan.settings import MAX_SIDE_PX, WARMUP_PX, Device, Precision
from animegan.styles import DEFAULT_STYLE, get_style
from animegan.tracing import load_generator


class Stylizer:
    """One style's generator on one device.

    `device` is auto (CUDA where there is a GPU), cpu or cuda, `gpu` the index of the GPU. `precision` is auto (fp16 on
    CUDA, bf16 on a CPU with AMX or AVX512-BF16, else fp32), fp32, fp16 (CUDA only) or bf16. `max_side` is the limit on
    the longest side in px. At construction it draws a square of `warmup_px` px (0: none) so that the first picture does
    not wait for what PyTorch sets up late.

    Raises `UnknownStyle`, `StyleNotInstalled`, `BadWeights`, `BadSetting`. `stylize` and `draw` may be called from
    several threads.
    """

    def __init__(
        self,
        style: str = DEFAULT_STYLE,
        *,
        device: Device = "auto",
        precision: Precision = "auto",
        max_side: int = MAX_SIDE_PX,
        gpu: int | None = None,
        warmup_px: int = WARMUP_PX,
    ) -> None:
        self.style = get_style(style)
        self.device = pick_device(device, gpu)
        self.precision = pick_precision(precision, self.device)
        self.max_side = max_side
        self._generator = load_generator(self.style, self.device, self.precision)
        if warmup_px:
            for _ in range(2):  # TorchScript profiles the first run and optimises before the second
                self.draw([Image.new("RGB", (warmup_px, warmup_px))])

    def stylize(self, image: Image.Image) -> Image.Image:
        """Draw one picture of any mode: RGB, or RGBA where it has transparency; longest side at most `max_side`.

        Raises `PictureTooSmall` where a side, as given or as fitted, is under 16 px.
        """
        picture = images.prepare(image, max_side=self.max_side)
        [drawn] = self.draw([picture.rgb])
        if picture.alpha:
            drawn.putalpha(picture.alpha)
        return drawn

    def draw(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """Draw RGB pictures of one size as one batch, as they are: no limit, no scaling."""
        batch = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        drawn = self._run(batch.to(self.device)).cpu().numpy()
        return [Image.fromarray(picture) for picture in drawn]

    @torch.inference_mode()
    def _run(self, batch: torch.Tensor) -> torch.Tensor:
        """uint8 (N, H, W, 3) to the same: bytes travel to the device and back, and NHWC is channels-last as it lies."""
        x = batch.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1).to(DTYPES[self.precision])
        y: torch.Tensor = self._generator(x)
        y = y.to(torch.float32).add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        return y.permute(0, 2, 3, 1).contiguous()

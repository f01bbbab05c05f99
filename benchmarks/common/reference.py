"""An independent computation of AnimeGANv2's generator, for parity: functions over the state dict, torch's GroupNorm.

Written from the table in the model's documentation, sharing no line with `animegan.networks.animegan2.generator`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB, the peak being the output's full range, -1 to 1."""
    error = (a.double() - b.double()).square().mean().item()
    return float("inf") if error == 0 else 10 * torch.log10(torch.tensor(4.0 / error)).item()


def generate(weights: Mapping[str, Tensor], x: Tensor, *, asymmetric: bool = False) -> Tensor:
    """Draw (N, 3, H, W) in [-1, 1] to the same, in x's dtype; `asymmetric`: scaled up as TensorFlow 1 does."""
    w = {name: tensor.to(x.dtype) for name, tensor in weights.items()}

    def norm(y: Tensor, name: str) -> Tensor:
        group_norm = nn.GroupNorm(1, y.shape[1], eps=1e-5).to(y.dtype)
        group_norm.load_state_dict({"weight": w[f"{name}.weight"], "bias": w[f"{name}.bias"]})
        out: Tensor = group_norm(y)
        return out

    def layer(y: Tensor, name: str, pad: tuple[int, int, int, int], stride: int = 1, groups: int = 1) -> Tensor:
        if any(pad):
            y = F.pad(y, pad, mode="reflect")
        y = F.conv2d(y, w[f"{name}.1.weight"], w.get(f"{name}.1.bias"), stride=stride, groups=groups)
        return F.leaky_relu(norm(y, f"{name}.2"), 0.2)

    def invert(y: Tensor, name: str) -> Tensor:
        z = layer(y, f"{name}.layers.0", (0, 0, 0, 0))
        z = layer(z, f"{name}.layers.1", (1, 1, 1, 1), groups=z.shape[1])
        z = norm(F.conv2d(z, w[f"{name}.layers.2.weight"]), f"{name}.layers.3")
        return y + z if y.shape == z.shape else z

    def scaled(y: Tensor, sides: Sequence[int]) -> Tensor:
        if not asymmetric:
            return F.interpolate(y, tuple(sides), mode="bilinear", align_corners=True)
        for axis, side in zip((2, 3), sides, strict=True):
            source = torch.arange(side, dtype=torch.float64) * y.shape[axis] / side
            first = source.long()
            share = (source - first).to(y.dtype).view(-1, *[1] * (3 - axis))
            second = (first + 1).clamp(max=y.shape[axis] - 1)
            y = y.index_select(axis, first) * (1 - share) + y.index_select(axis, second) * share
        return y

    down, same, wide = (0, 1, 0, 1), (1, 1, 1, 1), (3, 3, 3, 3)
    size = x.shape[2:]
    with torch.no_grad():
        y = layer(x, "block_a.0", wide)
        y = layer(y, "block_a.1", down, stride=2)
        y = layer(y, "block_a.2", same)
        half = y.shape[2:]
        y = layer(y, "block_b.0", down, stride=2)
        y = layer(y, "block_b.1", same)
        y = layer(y, "block_c.0", same)
        for index in range(1, 5):
            y = invert(y, f"block_c.{index}")
        y = layer(y, "block_c.5", same)
        y = scaled(y, half)
        y = layer(y, "block_d.0", same)
        y = layer(y, "block_d.1", same)
        y = scaled(y, size)
        y = layer(y, "block_e.0", same)
        y = layer(y, "block_e.1", same)
        y = layer(y, "block_e.2", wide)
        return torch.tanh(F.conv2d(y, w["out_layer.0.weight"]))


def redraw(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Draw by Real-ESRGAN's RRDBNet ×4: (N, 3, h, w) in 0..1 to (N, 3, 4h, 4w), in x's dtype."""
    w = {name: tensor.to(x.dtype) for name, tensor in weights.items()}

    def conv(y: Tensor, name: str) -> Tensor:
        return F.conv2d(y, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)

    def dense(y: Tensor, name: str) -> Tensor:
        maps = [y]
        for index in range(4):
            maps.append(F.leaky_relu(conv(torch.cat(maps, 1), f"{name}.c.{index}"), 0.2))
        return y + 0.2 * conv(torch.cat(maps, 1), f"{name}.c.4")

    with torch.no_grad():
        first = y = conv(x, "first")
        for block in sorted({key.split(".")[1] for key in w if key.startswith("body.")}):
            z = y
            for index in range(3):
                z = dense(z, f"body.{block}.r.{index}")
            y = y + 0.2 * z
        y = first + conv(y, "cb")
        for name in ("u1", "u2"):
            y = F.leaky_relu(conv(F.interpolate(y, scale_factor=2, mode="nearest"), name), 0.2)
        return conv(F.leaky_relu(conv(y, "hr"), 0.2), "last")


def redraw_video(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Draw by Real-ESRGAN's SRVGGNetCompact with 16 convolutions, ×4: as `redraw`."""
    w = {name: tensor.to(x.dtype) for name, tensor in weights.items()}
    with torch.no_grad():
        y = x
        for index in range(0, 34, 2):
            y = F.prelu(
                F.conv2d(y, w[f"b.{index}.weight"], w[f"b.{index}.bias"], padding=1), w[f"b.{index + 1}.weight"]
            )
        y = F.conv2d(y, w["b.34.weight"], w["b.34.bias"], padding=1)
        return F.pixel_shuffle(y, 4) + F.interpolate(x, scale_factor=4, mode="nearest")

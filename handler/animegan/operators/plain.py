"""The fused operators in plain PyTorch: their definition, and what runs where nothing faster does. See `operators`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from animegan.operators.passes import Norm, Upsampling, Window

EPS = 1e-5  # of every norm, as published

_CHUNK = 1 << 15  # elements that are widened to fp32 at once: what they take goes into no plan


def plain_moments(x: Tensor) -> Tensor:
    """Mean and variance (biased) of each picture over (C, H, W): fp64 (N, 2).

    Two passes over chunks of rows that stay in the cache, so that a large offset does not cancel; chunks are merged as
    in Chan, Golub, LeVeque: "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
    """
    rows = max(1, _CHUNK // (x.shape[1] * x.shape[3]))
    counts, parts = [], []
    for band in torch.split(x, rows, dim=2):
        wide = band.float()
        mean = wide.mean(dim=(1, 2, 3), keepdim=True)
        variance = wide.sub(mean).square_().mean(dim=(1, 2, 3))
        counts.append(band.shape[2])
        parts.append(torch.stack([mean.flatten(), variance], dim=1).double())
    return merge_moments(parts, counts)


def merge_moments(parts: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    """The moments (N, 2) of a map from those of its bands, all of one height but the last."""
    means, variances = torch.stack(list(parts)).unbind(dim=2)
    shares = torch.full_like(means, rows[0] / sum(rows))  # filled, as a CUDA graph takes nothing from the host
    shares[-1] = rows[-1] / sum(rows)
    mean = (shares * means).sum(dim=0)
    variance = (shares * (variances + (means - mean).square())).sum(dim=0)
    return torch.stack([mean, variance], dim=1)


def affine(moments: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift of the norm, fp32 (N, C, 1, 1): `x * scale + shift`."""
    mean, variance = moments.double().unbind(dim=1)
    scale = weight.double() * torch.rsqrt(variance + EPS)[:, None]
    shift = bias.double() - mean[:, None] * scale
    return scale.float()[:, :, None, None], shift.float()[:, :, None, None]


def plain_norm_act_pad(
    x: Tensor, norm: Norm, residual: Tensor | None, window: Window, *, out: Tensor | None = None
) -> Tensor:
    """The window of `leaky_relu(norm(x)) + residual`, in x's dtype."""
    rows = reflected(window.top, window.bottom, window.height, x.device) - window.first_row
    columns = reflected(window.left, window.right, x.shape[3], x.device)
    scale, shift = affine(norm.moments, norm.weight, norm.bias)
    out = window_like(x, *window.size) if out is None else out
    for target, source in _chunks(out, rows):
        wide = _activated(x[:, :, source][:, :, :, columns], scale, shift, norm.slope)
        if residual is not None:
            wide += residual[:, :, source][:, :, :, columns]
        target.copy_(wide)
    return out


def plain_upsample_pad(
    x: Tensor, norm: Norm, upsampling: Upsampling, window: Window, *, out: Tensor | None = None
) -> Tensor:
    """The window of `leaky_relu(norm(x))` scaled up.

    Where it is asymmetric, source = target × size in / size out.
    """
    height, width, asymmetric = upsampling
    rows = reflected(window.top, window.bottom, height, x.device)
    upper, lower, down = _between(rows, window.height, height, asymmetric)
    columns = reflected(window.left, window.right, width, x.device)
    before, after, across = _between(columns, x.shape[3], width, asymmetric)
    scale, shift = affine(norm.moments, norm.weight, norm.bias)
    out = window_like(x, *window.size) if out is None else out
    across = across.view(1, 1, 1, -1)
    for target, index in _chunks(out, torch.arange(len(rows), device=x.device)):
        above = _activated(x[:, :, upper[index] - window.first_row], scale, shift, norm.slope)
        below = _activated(x[:, :, lower[index] - window.first_row], scale, shift, norm.slope)
        mixed = torch.lerp(above, below, down[index].view(1, 1, -1, 1))
        target.copy_(torch.lerp(mixed[:, :, :, before], mixed[:, :, :, after], across))
    return out


def window_like(x: Tensor, rows: int, columns: int) -> Tensor:
    """An empty window of that size, with x's pictures, channels, dtype and device."""
    size = (x.shape[0], x.shape[1], rows, columns)
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _activated(x: Tensor, scale: Tensor, shift: Tensor, slope: float) -> Tensor:
    wide = torch.addcmul(shift, x.float(), scale)
    return torch.where(wide >= 0, wide, wide * slope) if slope != 1 else wide


def _chunks(out: Tensor, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
    step = max(1, _CHUNK // (out.shape[1] * out.shape[3]))
    return list(zip(torch.split(out, step, dim=2), torch.split(rows, step), strict=True))


def reflected(start: int, stop: int, size: int, device: torch.device) -> Tensor:
    """Indices [start, stop) of an axis, those beyond its ends mirrored without repeating the end."""
    index = torch.arange(start, stop, device=device).abs_()
    return torch.where(index < size, index, 2 * (size - 1) - index)


def _between(index: Tensor, size: int, out_size: int, asymmetric: bool) -> tuple[Tensor, Tensor, Tensor]:
    """For each index of the larger axis: its two neighbours on the smaller one, and the second's share (fp32).

    In whole numbers: fp32 coordinates are a ten-thousandth off at the far end of a large picture.
    """
    span, steps = (size, out_size) if asymmetric else (size - 1, max(out_size - 1, 1))
    place = index * span
    first = place // steps
    share = (place - first * steps).float() / steps
    return first, torch.clamp(first + 1, max=size - 1), share

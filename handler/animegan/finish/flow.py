"""The flow of a picture's edges: the direction along which it changes least."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from animegan.finish.filters import blur, blur_radius

SLIGHT = 1e-7  # of a tensor's trace: below it a place has no direction


def tensor_halo(sigma: float) -> int:
    """Return the rows that `tensor` reads to each side."""
    return blur_radius(sigma) + 1


def tensor(plane: Tensor, sigma: float) -> Tensor:
    """Return the smoothed structure tensor of (1, H, W): its three entries xx, xy, yy as (3, H, W).

    Gradients are Sobel's; each entry is smoothed by a Gaussian of `sigma` px (Brox et al. 2006).
    """
    height, width = plane.shape[1:]
    p = F.pad(plane[None], (1, 1, 1, 1), mode="replicate")[0, 0]
    down = p[:height] + p[1 : height + 1] * 2 + p[2:]
    along = p[:, :width] + p[:, 1 : width + 1] * 2 + p[:, 2:]
    gx = (down[:, 2:] - down[:, :width]) / 8
    gy = (along[2:] - along[:height]) / 8
    return blur(torch.stack([gx * gx, gx * gy, gy * gy]), sigma)


def tangent(entries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (x, y) of the unit vector along the edge, and its coherence in 0..1, (H, W) each.

    The coherence is 0 where the picture changes alike in all directions, 1 at a clean edge.
    The vector is zero where nothing changes.
    """
    xx, xy, yy = entries
    root = ((xx - yy).square() + 4 * xy.square()).sqrt()
    # The eigenvector of the larger eigenvalue lies across the edge; of its two forms the longer one is precise.
    flat = xx < yy
    across_x = torch.where(flat, 2 * xy, xx - yy + root)
    across_y = torch.where(flat, yy - xx + root, 2 * xy)
    length = (across_x.square() + across_y.square()).sqrt().clamp_(min=1e-12)
    return -across_y / length, across_x / length, root / (xx + yy + SLIGHT)


def directions(entries: Tensor) -> Tensor:
    """Return the edge's direction as cosine and sine of twice its angle, times its coherence: (2, H, W).

    Twice the angle, as an edge that runs up runs down as well; so it may be averaged and scaled up.
    """
    xx, xy, yy = entries
    across = torch.stack([yy - xx, -2 * xy])
    return across.div_(xx + yy + SLIGHT)

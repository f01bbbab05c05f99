"""AnimeGANv2's generator on a GPU over whole maps, in 16 bits: cuDNN's convolutions, and ours where they are faster.

The first layer reads the pixels and the last writes them; the widest 7×7 convolution reads its input as it lies, with
the reflection as an index, so that map needs no padded copy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor
from torch.profiler import record_function

from animegan import operators
from animegan.networks.animegan2.bands import Weights
from animegan.networks.animegan2.layers import LAYERS, Layer
from animegan.operators.passes import Norm, Upsampling, Window

logger = logging.getLogger(__name__)

FIRST, *_, WIDE, LAST = LAYERS


class Whole:
    """Draw uint8 pictures (H, W, 3) on a CUDA device, one at a time. Needs Triton."""

    def __init__(self, tensors: Mapping[str, Tensor], weights: Weights) -> None:
        from animegan.operators import triton_convolutions as convolutions  # noqa: PLC0415 - Triton comes with PyTorch for CUDA alone

        self._triton = convolutions
        self._weights = weights
        self._form = operators.form(weights.device)
        first, wide = (tensors[f"{layer.name}.weight"].to(weights.dtype) for layer in (FIRST, WIDE))
        self._first, self._wide = convolutions.pack_first(first), convolutions.pack(wide)
        self._last = tensors[f"{LAST.name}.weight"].float().flatten(1).contiguous()

    @classmethod
    def probe(cls, tensors: Mapping[str, Tensor], weights: Weights) -> Whole | None:
        """Return what draws on the weights' device, None where its kernels do not run there."""
        if weights.dtype == torch.float32:  # tiles of fp32 do not fit into every GPU's shared memory
            return None
        blank = torch.zeros((32, 32, 3), dtype=torch.uint8, device=weights.device)
        try:
            whole = cls(tensors, weights)
            whole.draw(blank, torch.empty_like(blank))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - no Triton, no C compiler, a GPU with too little shared memory
            logger.warning("The GPU's own convolutions do not run here (%s): cuDNN's are used, slower.", error)
            return None
        return whole

    def draw(self, picture: Tensor, out: Tensor) -> None:
        """Draw `picture` into `out`."""
        height, width, _ = picture.shape
        with record_function(FIRST.name):
            x = self._map(FIRST, height, width)
            moments = self._triton.first(picture.contiguous(), self._first, x[0])
        residual: Tensor | None = None
        for below, layer in pairwise(LAYERS[:-1]):
            norm, height_below = Norm(moments, *self._weights.norm(below), below.slope), x.shape[2]
            with record_function(layer.name):
                if layer is WIDE:
                    self._form.norm_act_pad(x, norm, None, Window(0, height, 0, height, 0, width), out=x)
                    output = self._map(layer, height, width)
                    before = (layer.before, layer.before)
                    total = self._triton.conv(x[0], self._wide, output[0], before=before, mirror=True, moments=True)
                    assert total is not None
                    x, moments = output, total
                    continue
                size = layer.size(height), layer.size(width)
                reads = Window(0, height_below, *layer.reads(0, size[0]), *layer.reads(0, size[1]))
                if layer.source == "upsample":
                    upsampling = Upsampling(*size, self._weights.asymmetric)
                    window = self._form.upsample_pad(x, norm, upsampling, reads)
                else:
                    window = self._form.norm_act_pad(x, norm, residual if below.residual else None, reads)
                del x  # the memory is the convolution's
                if below.closes:
                    residual = window
                elif layer.source == "upsample":
                    residual = None
                x, _ = self._weights.conv(layer, window, None)
                del window
                moments = self._form.moments(x)
        with record_function(LAST.name):
            scale, shift = self._weights.norm(WIDE)
            self._triton.last(x[0], moments, scale, shift, WIDE.slope, self._last, out)

    def _map(self, layer: Layer, height: int, width: int) -> Tensor:
        size = (1, layer.channels, layer.size(height), layer.size(width))
        options = {"dtype": self._weights.dtype, "device": self._weights.device}
        return torch.empty(size, memory_format=torch.channels_last, **options)  # type: ignore[call-overload, no-any-return]

"""The generator a band of rows at a time, in an arena that `layout` laid out. The same picture as whole.

Only what is finished is normalised: every statistic covers its whole layer before the next layer reads it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import record_function

from animegan import operators
from animegan.networks.animegan2.generator import RESIZE
from animegan.networks.animegan2.layers import LAYERS, Layer
from animegan.networks.animegan2.layout import Layout, Shape, bands, below, needs_no_window, source_rows
from animegan.operators import native, plain
from animegan.operators.native.convolutions import Convolutions, Kind, Packed, kind_of
from animegan.operators.passes import Norm, Upsampling, Window
from animegan.resources import pages
from animegan.resources.interruption import interrupt_if_asked
from animegan.resources.progress import report
from animegan.styles import Resize

CONVOLUTIONS = {layer.name for layer in LAYERS}  # their weights take the network's dtype, the norms' are fp32

# Window, target if there is one, and whether moments are wanted, to the output and its moments where it takes them.
Conv = Callable[[Tensor, Tensor | None, bool], tuple[Tensor, Tensor | None]]
Packing = Callable[[Layer, Tensor, Tensor | None], Conv]  # of a layer, its weight and its bias


class Weights:
    """The generator's weights as bands read them: packed convolutions in `dtype`, norms in fp32.

    `resize`: how the generator scales up.
    """

    def __init__(self, tensors: Mapping[str, Tensor], dtype: torch.dtype, resize: Resize = RESIZE) -> None:
        self.dtype = dtype
        self.resize = resize
        self.asymmetric = resize == "asymmetric"
        self.device = tensors["out_layer.0.weight"].device
        pack = _packing(self.device, dtype)
        self.writes_out = pack is not None
        self.reorders = pack is _onednn_conv
        self._convs = {layer.name: (pack or _stock_conv)(layer, *_filters(tensors, layer, dtype)) for layer in LAYERS}
        self._norms = {
            layer.norm: (tensors[f"{layer.norm}.weight"].float(), tensors[f"{layer.norm}.bias"].float())
            for layer in LAYERS
            if layer.norm
        }
        ones, zeros = (torch.full((256,), value, device=self.device) for value in (1.0, 0.0))
        unit = torch.tensor([[0, 1 - plain.EPS]], dtype=torch.float64, device=self.device)
        self.identity = Norm(unit, ones, zeros, 1.0)

    def conv(
        self, layer: Layer, window: Tensor, out: Tensor | None, *, moments: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the layer's convolution of a window that is padded already, in `out` if there is one.

        With it what `moments` asks for, mean and variance of the output, where the convolution takes them on its way.
        """
        return self._convs[layer.name](window, out, moments)

    def norm(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """Scale and shift of the norm behind the layer, fp32."""
        return self._norms[layer.norm]


def _filters(tensors: Mapping[str, Tensor], layer: Layer, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    weight, bias = tensors[f"{layer.name}.weight"], tensors.get(f"{layer.name}.bias")
    return weight.to(dtype).contiguous(memory_format=torch.channels_last), None if bias is None else bias.to(dtype)


def _packing(device: torch.device, dtype: torch.dtype) -> Packing | None:
    """Return what makes convolutions that write where they are told, if the device has such: compiled, or oneDNN's."""
    if device.type == "cpu" and (compiled := native.best()) and dtype in compiled.convolutions.dtypes:
        return functools.partial(_compiled_conv, compiled.convolutions, compiled.convolutions.packer())
    return _onednn_conv if _onednn_takes(device, dtype) else None


@functools.cache
def _onednn_takes(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether oneDNN writes where it is told: on a CPU; in bf16 on one with AVX-512 or its like."""
    if device.type != "cpu" or dtype == torch.float16:
        return False
    window, weight = torch.ones(1, 3, 16, 16, dtype=dtype), torch.ones(32, 3, 7, 7, dtype=dtype)
    out = torch.empty(1, 32, 10, 10, dtype=dtype).contiguous(memory_format=torch.channels_last)
    try:  # these operators are PyTorch's own business, and may go
        _onednn_conv(LAYERS[0], weight, None)(window, out, False)
    except (AttributeError, RuntimeError):
        return False
    return bool((out == weight[0].numel()).all())


def _stock_conv(layer: Layer, weight: Tensor, bias: Tensor | None) -> Conv:
    def stock(window: Tensor, out: Tensor | None, moments: bool) -> tuple[Tensor, None]:  # noqa: ARG001
        output = F.conv2d(window, weight, bias, layer.stride, groups=layer.groups)
        return output if out is None else out.copy_(output), None

    return stock


def is_filtered(layer: Layer) -> bool:
    """Return whether the layer's convolution is one that minimal filtering makes of fewer multiplications."""
    return kind_of(layer.channels_in, layer.kernel, layer.stride, layer.groups) is Kind.FILTERING


def _compiled_conv(
    form: Convolutions, pack: Callable[..., Packed], layer: Layer, weight: Tensor, bias: Tensor | None
) -> Conv:
    packed = pack(weight, layer.stride, layer.groups)
    bias = None if bias is None else bias.float()

    def compiled(window: Tensor, out: Tensor | None, moments: bool) -> tuple[Tensor, Tensor | None]:
        assert out is not None
        return out, form.conv(window[0], packed, out[0], before=(0, 0), bias=bias, moments=moments)

    return compiled


def _onednn_conv(layer: Layer, weight: Tensor, bias: Tensor | None) -> Conv:
    """oneDNN's convolution, its weights in oneDNN's own layout: else each call would order them anew."""
    stride, one, none, groups = [layer.stride] * 2, [1, 1], [0, 0], layer.groups
    usual = [1, weight.shape[1] * groups, *(length * layer.stride + layer.kernel for length in (32, 512))]
    packed = torch.ops.mkldnn._reorder_convolution_weight(weight, none, stride, one, groups, usual)

    def onednn(window: Tensor, out: Tensor | None, moments: bool) -> tuple[Tensor, None]:  # noqa: ARG001
        # Of its forms, the one that adds to its output is the one that writes where it is told.
        assert out is not None
        output: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            out.zero_(), window, packed, bias, none, stride, one, groups, "add", 1.0, None, [], None
        )
        return output, None

    return onednn


@torch.inference_mode()
def draw(weights: Weights, picture: Tensor, out: Tensor, layout: Layout) -> None:
    """Draw one picture: uint8 (H, W, 3) into `out`, the same."""
    _Run(weights, picture, out, layout).draw()


class _Run:
    def __init__(self, weights: Weights, picture: Tensor, out: Tensor, layout: Layout) -> None:
        self.weights = weights
        self.picture = picture
        self.out = out
        self.layout = layout
        self.height, self.width = picture.shape[:2]
        self.shape = Shape(self.height, self.width, 1, weights.dtype.itemsize, weights.resize)
        self.arena = pages.empty(layout.arena_bytes // self.shape.itemsize, dtype=weights.dtype, device=picture.device)
        self.maps: dict[str, Tensor] = {}  # of the kept layers that are still whole
        self.moments: dict[str, Tensor] = {}
        closing = next(layer for layer in LAYERS if layer.closes)
        self.residual = self._rows(closing, closing.size(self.height), layout.residual_offset)
        self.form = operators.form(picture.device)

    def draw(self) -> None:
        for number, place in enumerate(self.layout.places):
            report(number / len(self.layout.places))
            *again, kept = place.path
            with record_function(kept.name):
                for layer, rows in zip(again, place.rows, strict=False):
                    self._gather(layer, rows)
                if kept.norm:
                    target = self._rows(kept, kept.size(self.height), place.offset)
                    self._gather(kept, place.rows[-1], target)
                    self.maps = {kept.name: target}
                    if kept.closes:
                        self._write_residual(kept, place.rows[-1])
                else:
                    self._finish(kept, place.rows[-1])

    def _view(self, offset: int, channels: int, height: int, width: int) -> Tensor:
        """A part of the arena, (1, C, H, W), channels-last."""
        start = offset // self.shape.itemsize
        part = self.arena[start : start + channels * height * width]
        return part.view(1, height, width, channels).permute(0, 3, 1, 2)

    def _rows(self, layer: Layer, count: int, offset: int) -> Tensor:
        """Rows of the layer's output in the arena."""
        return self._view(offset, layer.channels, count, layer.size(self.width))

    def _gather(self, layer: Layer, rows: int, target: Tensor | None = None) -> None:
        """The layer's statistics over all of it; its values into `target` if there is one."""
        parts, counts = [], []
        for first, last in bands(layer.size(self.height), rows):
            out = None if target is None else target[:, :, first:last]
            output, moments = self._compute(layer, first, last, out, moments=True)
            parts.append(self.form.moments(output) if moments is None else moments)
            counts.append(last - first)
        self.moments[layer.name] = plain.merge_moments(parts, counts)

    def _compute(
        self, layer: Layer, first: int, last: int, out: Tensor | None = None, *, moments: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Rows [first, last) of the layer's output, before its norm: in `out`, else where the next ones go too.

        And their moments, see `Weights.conv`.
        """
        interrupt_if_asked()
        window = self._window(layer, first, last)
        if out is None and self.weights.writes_out:
            out = self._rows(layer, last - first, self.layout.output_offset)
        return self.weights.conv(layer, window, out, moments=moments)

    def _window(self, layer: Layer, first: int, last: int) -> Tensor:
        """Return what the convolution reads for rows [first, last) of its output: (1, C, rows, columns), padded."""
        top, bottom = layer.reads(first, last)
        left, right = layer.reads(0, layer.size(self.width))
        if needs_no_window(layer):
            return self.residual[:, :, top:bottom]
        out = self._view(self.layout.window_offset, layer.channels_in, bottom - top, right - left)
        if layer.source == "pixels":
            return out.copy_(self._pixels(top, bottom, left, right))
        source = below(layer)
        height = source.size(self.height)
        if source.closes:
            window = Window(0, height, top, bottom, left, right)
            return self.form.norm_act_pad(self.residual, self.weights.identity, None, window, out=out)
        start, output = 0, self.maps.get(source.name)
        if output is None:
            start, stop = source_rows(layer, first, last, self.shape)
            output, _ = self._compute(source, start, stop)
        norm, window = self._norm(source), Window(start, height, top, bottom, left, right)
        if layer.source == "upsample":
            upsampling = Upsampling(layer.size(self.height), layer.size(self.width), self.weights.asymmetric)
            return self.form.upsample_pad(output, norm, upsampling, window, out=out)
        return self.form.norm_act_pad(output, norm, None, window, out=out)

    def _norm(self, layer: Layer) -> Norm:
        return Norm(self.moments[layer.name], *self.weights.norm(layer), layer.slope)

    def _write_residual(self, layer: Layer, rows: int) -> None:
        """Normalise what a block ends with, add its residual, and write it over the residual."""
        output, height = self.maps[layer.name], layer.size(self.height)
        norm, added = self._norm(layer), self.residual if layer.residual else None
        for first, last in bands(height, rows):
            window = Window(0, height, first, last, 0, output.shape[3])
            self.form.norm_act_pad(output, norm, added, window, out=self.residual[:, :, first:last])

    def _pixels(self, top: int, bottom: int, left: int, right: int) -> Tensor:
        rows = plain.reflected(top, bottom, self.height, self.picture.device)
        columns = plain.reflected(left, right, self.width, self.picture.device)
        return from_pixels(self.picture[rows][:, columns]).permute(2, 0, 1)[None]

    def _finish(self, layer: Layer, rows: int) -> None:
        for first, last in bands(self.height, rows):
            output = self._compute(layer, first, last)[0][0].permute(1, 2, 0)
            self.out[first:last] = to_pixels(torch.tanh(output.to(torch.float32)))


def from_pixels(pixels: Tensor) -> Tensor:
    """fp32 in [-1, 1] of uint8."""
    return pixels.to(torch.float32).div_(127.5).sub_(1)


def to_pixels(values: Tensor) -> Tensor:
    """uint8 of values in [-1, 1]; overwrites those that are fp32."""
    return values.to(torch.float32).add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)

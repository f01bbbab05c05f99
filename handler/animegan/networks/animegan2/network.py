"""One style's generator on one device, drawn as a plan says: whole or in bands."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from animegan.networks.animegan2 import bands
from animegan.networks.animegan2.fused import resize_of, trace
from animegan.networks.animegan2.generator import RESIZE, build
from animegan.networks.animegan2.layout import Shape, layout
from animegan.networks.animegan2.plan import batch_size, plans
from animegan.networks.animegan2.whole import Whole
from animegan.networks.graphs import Graphs
from animegan.networks.plan import Plan
from animegan.resources.hardware import DTYPES
from animegan.styles import Resize


class Network:
    """A traced `fused.Fused`, in `precision` on `device`; see `families.Network`."""

    enlarges = 1
    keeps_tone = False  # every norm covers the whole picture

    def __init__(self, traced: torch.jit.ScriptModule, device: torch.device, precision: str) -> None:
        self.device = device
        self.dtype = DTYPES[precision]
        self._traced = traced.to(device)
        tensors = {name.removeprefix("generator."): tensor for name, tensor in traced.state_dict().items()}
        self.resize = resize_of(traced)
        self._weights = bands.Weights(tensors, self.dtype, self.resize)
        self._maps = Whole.probe(tensors, self._weights) if device.type == "cuda" else None
        self._graphs = Graphs(self._run)

    @property
    def itemsize(self) -> int:
        """Bytes of one value of a map."""
        return self.dtype.itemsize

    def plans(self, height: int, width: int, batch: int) -> tuple[Plan, ...]:
        """Return the ways to draw pictures of that size in px, the fastest first."""
        return plans(
            Shape(height, width, batch, self.itemsize, self.resize, self._weights.reorders),
            cuda=self.device.type == "cuda",
        )

    def batch_size(self, height: int, width: int, budget_bytes: int) -> int:
        """Return how many pictures of that size in px to draw as one batch: at least 1, which may be too large."""
        shape = Shape(height, width, 1, self.itemsize, self.resize, self._weights.reorders)
        return batch_size(shape, budget_bytes, cuda=self.device.type == "cuda")

    @torch.inference_mode()
    def draw(self, pictures: Tensor, plan: Plan) -> Tensor:
        """Draw uint8 (N, H, W, 3) on the network's device, to the same."""
        return self._graphs(pictures, plan) if self.device.type == "cuda" else self._run(pictures, plan)

    def _run(self, pictures: Tensor, plan: Plan) -> Tensor:
        if plan.mode == "whole" and not self._maps:
            return self._whole(pictures)
        out = torch.empty_like(pictures)
        if plan.mode == "whole" and self._maps:
            for picture, drawing in zip(pictures, out, strict=True):
                self._maps.draw(picture, drawing)
            return out
        shape = plan.shape.of_one
        for picture, drawing in zip(pictures, out, strict=True):
            bands.draw(self._weights, picture, drawing, layout(shape, plan.mode, plan.band_bytes, cuda=plan.cuda))
        return out

    @torch.inference_mode()
    def generate(self, photos: Tensor) -> Tensor:
        """The traced graph: (N, 3, H, W) in [-1, 1] on the network's device to the same, in the network's dtype."""
        drawing: Tensor = self._frozen(photos.to(self.dtype, memory_format=torch.channels_last))
        return drawing

    def _whole(self, pictures: Tensor) -> Tensor:
        drawing = self.generate(bands.from_pixels(pictures.permute(0, 3, 1, 2)))
        return bands.to_pixels(drawing.permute(0, 2, 3, 1)).contiguous()

    @functools.cached_property
    def _frozen(self) -> torch.jit.ScriptModule:
        """The traced graph with its convolutions in the network's dtype; the norms stay in fp32."""
        for name, parameter in self._traced.named_parameters():
            if ".".join(name.split(".")[1:-1]) in bands.CONVOLUTIONS:
                parameter.data = parameter.data.to(self.dtype)
        frozen: torch.jit.ScriptModule = torch.jit.freeze(self._traced.eval())
        return frozen


def load(
    tensors: Callable[[], Mapping[str, Tensor]],
    packed: torch.jit.ScriptModule | None,
    device: torch.device,
    dtype: str,
    resize: Resize = RESIZE,
) -> Network:
    """Return the archive's traced generator where there is one that scales up so, else one traced now.

    Raises `BadWeights`.
    """
    if packed is None or resize_of(packed) != resize:
        packed = traced(tensors(), resize)
    return Network(packed, device, dtype)


def traced(tensors: Mapping[str, Tensor], resize: Resize = RESIZE) -> torch.jit.ScriptModule:
    """Return the generator traced, in fp32: (N, 3, H, W) in [-1, 1] to the same. Raises `BadWeights`."""
    return trace(build(tensors, resize))

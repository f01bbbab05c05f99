"""Ways to run Real-ESRGAN's anime networks over a photo shrunk to a quarter, for comparisons on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from animegan.networks.redraw import steps
from animegan.networks.redraw.network import Network
from benchmarks.common import reference

Draw = Callable[[Tensor], Tensor]

WEIGHTS = Path(__file__).resolve().parents[2] / "model_store"


class Redrawing:
    """A contender: uint8 (1, H, W, 3) to the same, by `net` on the photo (3, h, w) in 0..1, a quarter of its side."""

    def __init__(self, net: Draw, device: torch.device) -> None:
        self.net = net
        self.device = device

    @torch.inference_mode()
    def draw(self, picture: Tensor) -> Tensor:
        values = self.values(picture).clamp_(0, 1).mul_(255).round_()
        return values.to(torch.uint8).permute(0, 2, 3, 1)

    @torch.inference_mode()
    def values(self, picture: Tensor) -> Tensor:
        size = (picture.shape[1] // 4, picture.shape[2] // 4)
        photo = picture.permute(0, 3, 1, 2).float().div_(255)
        small = F.interpolate(photo, size, mode="bicubic", antialias=True, align_corners=False).clamp_(0, 1)
        return self.net(small[0])[None].float()


class GraphCapture:
    """`net` through a CUDA graph of the last picture's size; on a CPU, `net` itself."""

    def __init__(self, net: Draw) -> None:
        self.net = net
        self.graphs: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, photo: Tensor) -> Tensor:
        if not photo.is_cuda:
            return self.net(photo)
        if photo.shape not in self.graphs:
            buffer, graph = photo.clone(), torch.cuda.CUDAGraph()
            for _ in range(2):
                self.net(buffer)
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                output = self.net(buffer)
            self.graphs = {photo.shape: (graph, buffer, output)}
        graph, buffer, output = self.graphs[photo.shape]
        buffer.copy_(photo)
        graph.replay()
        return output


def tensors(name: str, device: torch.device) -> dict[str, Tensor]:
    """Return a network's weights; on a CPU, which is only for rehearsals, those of its first block alone."""
    loaded = load_file(WEIGHTS / f"{name}.safetensors")
    absent = [f"body.{block}." for block in range(1, 6)] if device.type == "cpu" else []
    return {key: tensor for key, tensor in loaded.items() if not key.startswith(tuple(absent))}


def ours(name: str, *, graph: bool) -> Callable[[torch.device], Redrawing]:
    """Return the engine's form of `redraw` or `redraw_video`."""

    def make(device: torch.device) -> Redrawing:
        precision = "fp16" if device.type == "cuda" else "fp32"
        weights = tensors(name, device)
        program = steps.redraw(_blocks(weights)) if name == "redraw" else steps.REDRAW_VIDEO
        network = Network(weights, device, precision, program)

        def draw(photo: Tensor) -> Tensor:
            pixels = photo.permute(1, 2, 0).mul(255).to(torch.uint8)[None]
            plan = next(network.plans(pixels.shape[1], pixels.shape[2], 1))
            return network.run(pixels, plan)[0].permute(2, 0, 1).float().div_(255)

        return Redrawing(GraphCapture(draw) if graph else draw, device)

    return make


def _blocks(weights: Mapping[str, Tensor]) -> int:
    return len({key.split(".")[1] for key in weights if key.startswith("body.")})


def eager(name: str) -> Callable[[torch.device], Redrawing]:
    """Return the network in stock PyTorch, channels-last, in fp16; in fp32 on a CPU."""

    def make(device: torch.device) -> Redrawing:
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        weights = {
            key: tensor.to(device, dtype).contiguous(memory_format=torch.channels_last)
            if tensor.ndim == 4
            else tensor.to(device, dtype)
            for key, tensor in tensors(name, device).items()
        }
        run = {"redraw": reference.redraw, "redraw_video": reference.redraw_video}[name]
        return Redrawing(lambda x: run(weights, x[None].to(dtype, memory_format=torch.channels_last))[0], device)

    return make


def traced(name: str) -> Callable[[torch.device], Redrawing]:
    """Return the network as `eager` does, traced and frozen."""

    def make(device: torch.device) -> Redrawing:
        stock = eager(name)(device)
        with torch.inference_mode():
            example = torch.zeros(3, 64, 64, device=device)
            graph = torch.jit.trace(stock.net, example, check_trace=False)  # type: ignore[no-untyped-call]
        return Redrawing(graph, device)

    return make

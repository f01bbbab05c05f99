"""One of Real-ESRGAN's networks on one device, drawn as a plan says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from animegan import operators
from animegan.networks.graphs import Graphs
from animegan.networks.plan import Plan, Shape
from animegan.networks.redraw import plan as planning
from animegan.networks.redraw import stream
from animegan.networks.redraw.model import build, is_video
from animegan.networks.redraw.plan import EDGE_PX
from animegan.networks.redraw.steps import ENLARGED, REDRAW, REDRAW_VIDEO, Program
from animegan.networks.torchscript import trace
from animegan.resources.hardware import DTYPES
from animegan.resources.progress import part

EXAMPLE_PX = 16  # any size will do: every size in the graph is read from the input


class Network:
    """Draws four times as large; see `families.Network`."""

    enlarges = ENLARGED
    keeps_tone = True

    def __init__(
        self, tensors: Mapping[str, Tensor], device: torch.device, precision: str, program: Program | None = None
    ) -> None:
        self.device = device
        self.dtype = DTYPES[precision]
        self._program = program or (REDRAW_VIDEO if is_video(tensors) else REDRAW)
        self._form = operators.convolutions(device, self.dtype)
        on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
        self._weights = stream.Weights(on_device, self._program, self._form, self.dtype)
        self._graphs = Graphs(self.run)

    def plans(self, height: int, width: int, batch: int) -> Iterator[Plan]:
        """Yield the ways to draw photos of that size in px, the fastest first."""
        shape = Shape(height, width, batch, self.dtype.itemsize)
        cuda = self.device.type == "cuda"
        return planning.plans(shape, self._program, self._form.scratch_bytes, self._form.alignment, cuda=cuda)

    def batch_size(self, height: int, width: int, budget_bytes: int) -> int:  # noqa: ARG002
        """Return 1: photos are drawn one by one."""
        return 1

    @torch.inference_mode()
    def draw(self, pictures: Tensor, plan: Plan) -> Tensor:
        """Draw uint8 (N, h, w, 3) on the network's device, to (N, 4h, 4w, 3)."""
        return self._graphs(pictures, plan) if self.device.type == "cuda" else self.run(pictures, plan)

    @torch.inference_mode()
    def run(self, pictures: Tensor, plan: Plan) -> Tensor:
        """Draw as `draw`, without a CUDA graph."""
        count, height, width, _ = pictures.shape
        out = pictures.new_empty(count, ENLARGED * height, ENLARGED * width, 3)
        for place, (picture, drawing) in enumerate(zip(pictures, out, strict=True)):
            with part(place / count, (place + 1) / count):
                stream.draw(self._weights, self._photo(picture), self._program, plan.band_rows, drawing)
        return out

    def _photo(self, picture: Tensor) -> Tensor:
        """Return (channels, h', w') in 0..1 with mirrored edges, from uint8 (h, w, 3)."""
        rows, columns = (_mirror(side, self.device) for side in picture.shape[:2])
        values = picture[rows][:, columns].to(torch.float32).div_(255).to(self.dtype)
        return F.pad(values, (0, max(0, self._form.least_channels - 3))).permute(2, 0, 1)


def _mirror(side: int, device: torch.device) -> Tensor:
    """Indices of an axis and of `EDGE_PX` beyond each end, mirrored without repeating the end."""
    period = max(1, 2 * (side - 1))
    index = torch.arange(-EDGE_PX, side + EDGE_PX, device=device) % period
    return torch.minimum(index, period - index)


def load(
    tensors: Callable[[], Mapping[str, Tensor]], packed: torch.jit.ScriptModule | None, device: torch.device, dtype: str
) -> Network:
    """Return the network with the weights of the archive's traced form, else of the file. Raises `BadWeights`."""
    weights = packed.state_dict() if packed else build(tensors()).state_dict()
    return Network(weights, device, dtype)


def traced(tensors: Mapping[str, Tensor]) -> torch.jit.ScriptModule:
    """Return the network traced, in fp32: (N, 3, h, w) in 0..1 to (N, 3, 4h, 4w). Raises `BadWeights`."""
    return trace(build(tensors), torch.rand(1, 3, EXAMPLE_PX, EXAMPLE_PX))

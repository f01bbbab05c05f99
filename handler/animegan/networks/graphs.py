"""CUDA graphs for the pictures that come often: one launch where the network's small kernels would need hundreds."""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch._C._autograd import _profiler_enabled

from animegan.networks.plan import Plan

logger = logging.getLogger(__name__)

MOST_GRAPHS = 4  # of all networks together
MOST_BYTES = 192 * 2**20  # of a run, on any GPU
MOST_SHARE = 128  # of the GPU's memory: a run of one part in so many may be captured where that is more
OFTEN = 3  # runs of a plan, before it is captured
MOST_COUNTS = 1000  # plans that are counted at one time


class _Captured(NamedTuple):
    graph: torch.cuda.CUDAGraph
    photos: Tensor
    drawings: Tensor


# Of the whole process, as the memory they hold is: PyTorch's cache calls it free, and can't give it back.
_captured: OrderedDict[tuple[Graphs, Plan], _Captured] = OrderedDict()
_turn = threading.RLock()  # PyTorch captures one graph at a time


def held_bytes() -> int:
    """Return the bytes of the device's memory that the captured graphs keep: at most `MOST_GRAPHS` × `most_bytes`."""
    with _turn:
        return sum(plan.peak_bytes for _, plan in _captured)


def most_bytes(device: torch.device) -> int:
    """Return the largest run, in bytes, whose graph may be kept on the GPU."""
    return max(MOST_BYTES, torch.cuda.get_device_properties(device).total_memory // MOST_SHARE)


def release() -> None:
    """Give every graph's memory back; plans that come often are captured anew."""
    with _turn:
        _captured.clear()


class Graphs:
    """Runs `draw` on uint8 (N, H, W, 3) CUDA tensors, through a captured graph where the plan came often.

    From several threads one at a time, on one CUDA stream or several.
    """

    def __init__(self, draw: Callable[[Tensor, Plan], Tensor]) -> None:
        self._draw = draw
        self._counts: Counter[Plan] = Counter()
        self._usable = True

    def __call__(self, pictures: Tensor, plan: Plan) -> Tensor:
        if _profiler_enabled() or plan.peak_bytes > most_bytes(
            pictures.device
        ):  # a replay would tell a profiler no layers
            return self._draw(pictures, plan)
        with _turn:
            captured = self._often(pictures, plan)
            if captured is None:
                return self._draw(pictures, plan)
            captured.photos.copy_(pictures)
            captured.graph.replay()
            drawings = captured.drawings.clone()
            torch.cuda.current_stream(pictures.device).synchronize()  # the next caller may be on another stream
            return drawings

    def _often(self, pictures: Tensor, plan: Plan) -> _Captured | None:
        """The plan's graph, captured now if it is time."""
        if captured := _captured.get((self, plan)):
            _captured.move_to_end((self, plan))
            return captured
        if len(self._counts) >= MOST_COUNTS:
            self._counts.clear()
        self._counts[plan] += 1
        return self._capture(pictures, plan) if self._usable and self._counts[plan] >= OFTEN else None

    def _capture(self, pictures: Tensor, plan: Plan) -> _Captured | None:
        photos, graph = pictures.clone(), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.device(pictures.device):
                stream = torch.cuda.Stream(pictures.device)  # type: ignore[no-untyped-call]
                # Other threads decode and scale meanwhile; by default what they allocate would break the capture.
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    drawings = self._draw(photos, plan)
        except torch.OutOfMemoryError:
            self._counts.clear()
            return None
        except RuntimeError as error:
            logger.warning("CUDA graphs are left out: %s", error)
            self._usable = False
            return None
        _captured[self, plan] = captured = _Captured(graph, photos, drawings)
        if len(_captured) > MOST_GRAPHS:
            _captured.popitem(last=False)
        return captured

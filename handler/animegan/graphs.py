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

from animegan.plan import Plan

logger = logging.getLogger(__name__)

MOST_GRAPHS = 4
MOST_BYTES = 192 * 2**20  # of a run: above it the kernels are long enough to hide their launches
OFTEN = 3  # runs of a shape, before it is captured
MOST_SEEN = 1000  # shapes that are counted at one time


class _Captured(NamedTuple):
    graph: torch.cuda.CUDAGraph
    given: Tensor
    drawn: Tensor


class Graphs:
    """Runs `draw` on uint8 (N, H, W, 3) CUDA tensors, through a captured graph where the plan came often.

    A captured graph keeps its run's memory: at most `MOST_GRAPHS` × `MOST_BYTES`. From several threads one at a time.
    """

    def __init__(self, draw: Callable[[Tensor, Plan], Tensor]) -> None:
        self._draw = draw
        self._seen: Counter[Plan] = Counter()
        self._captured: OrderedDict[Plan, _Captured] = OrderedDict()
        self._usable = True
        self._turn = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """What the captured graphs keep of the device's memory."""
        return sum(plan.peak_bytes for plan in self._captured)

    def __call__(self, pictures: Tensor, plan: Plan) -> Tensor:
        with self._turn:
            if _profiler_enabled():  # a replay would tell it no layers
                return self._draw(pictures, plan)
            if len(self._seen) >= MOST_SEEN:
                self._seen.clear()
            self._seen[plan] += 1
            often = self._usable and plan.peak_bytes <= MOST_BYTES and self._seen[plan] >= OFTEN
            if plan not in self._captured and not (often and self._capture(pictures, plan)):
                return self._draw(pictures, plan)
            self._captured.move_to_end(plan)
            captured = self._captured[plan]
            captured.given.copy_(pictures)
            captured.graph.replay()
            return captured.drawn.clone()

    def release(self) -> None:
        """Give every graph's memory back; shapes that come often are captured anew."""
        self._captured.clear()
        self._seen.clear()

    def _capture(self, pictures: Tensor, plan: Plan) -> bool:
        given, graph = pictures.clone(), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                drawn = self._draw(given, plan)
        except RuntimeError as error:
            logger.warning("CUDA graphs are left out: %s", error)
            self._usable = False
            return False
        self._captured[plan] = _Captured(graph, given, drawn)
        if len(self._captured) > MOST_GRAPHS:
            self._captured.popitem(last=False)
        return True

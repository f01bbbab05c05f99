"""How much memory a run takes, as PyTorch's allocator counts it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from animegan.networks.families import Network
from animegan.networks.plan import Plan


def counted_peak(run: Callable[[], object]) -> int:
    """Return the most bytes that the second of two runs held at one time, above what was there before."""
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as session:
        run()
    assert session.profiler
    events = session.profiler.kineto_results.events()
    resident = peak = 0
    for _, size in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        resident += size
        peak = max(peak, resident)
    return peak


def drawing_peak(network: Network, plan: Plan) -> int:
    """Return the same for pictures of the plan's shape, in and out included."""
    shape = plan.shape
    pictures = torch.zeros(shape.batch, shape.height, shape.width, 3, dtype=torch.uint8)
    return pictures.nbytes + counted_peak(lambda: network.draw(pictures, plan))

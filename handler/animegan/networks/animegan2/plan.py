"""Where a run's memory goes, known before it starts. Imports no torch.

The widest maps of the network stand at the picture's full resolution, so how they are kept decides the peak:

whole      each layer's map, the padded copy that the next convolution reads, and its output, all at once;
bands      a band of rows at a time, layer by layer; a layer's output overwrites what of its input nobody reads any
           more, so one map is all there is, and the band in work;
recompute  as bands, but the widest maps are never kept: one pass for a layer's statistics, another for its values.

All three take every norm's statistics over the whole layer: the picture is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

from animegan.networks.animegan2.layers import LAYERS
from animegan.networks.animegan2.layout import Shape, layout, needs_no_window, work
from animegan.networks.plan import Mode, Plan, ever_smaller

WIDEST_BAND_ROWS = 32  # of the traced graph's widest map on the CPU

SPARE_BYTES = 2**17  # moments and indices
REORDER_BYTES = 7 * 2**16  # weights that oneDNN orders anew for a band of another size; on a GPU what cuDNN does
CUDNN_BYTES = 11 * 2**20  # cuDNN's workspace, beside the small buffers of a run that recomputes; on an H200, in fp16
MARGIN = 1.05  # what allocators round up, and what the libraries of convolutions take for themselves
BAND_BYTES = 16 * 2**20  # of a picture that is not large
MOST_BANDS = 16  # of the widest map on CUDA; on a CPU 64, see `_plans`

# Pictures drawn as one batch on CUDA: one of a megapixel keeps a large GPU busy, small ones only together.
MOST_TOGETHER = 16
MOST_TOGETHER_PX = 4 * 2**20


def whole_bytes(shape: Shape, *, cuda: bool) -> int:
    """Peak of the traced graph (`fused`), pictures included."""
    peak, residual = 0, 0
    below = 0
    for layer in LAYERS:
        size = layer.size(shape.height)
        out = shape.map_bytes(layer)
        if layer.source == "upsample" and not cuda:
            band = min(WIDEST_BAND_ROWS, size)
            live_bytes = below + shape.window_bytes(layer, band) + band * shape.row_bytes(layer) + out
        else:
            window = shape.window_bytes(layer, size)
            live_bytes = max(below + window, window + out)
        peak = max(peak, live_bytes + residual)
        below = out
        if needs_no_window(layer):
            residual = window  # which the block's end reads again
        elif layer.closes:
            residual = 0
    read = 3 * shape.height * shape.width * shape.itemsize  # the pictures in the maps' dtype, read for their size
    return int(MARGIN * (shape.batch * (peak + read) + shape.pixels_bytes + SPARE_BYTES + REORDER_BYTES))


@functools.lru_cache(maxsize=256)  # to lay out a large picture's bands takes longer than a GPU takes to draw it
def plans(shape: Shape, *, cuda: bool) -> tuple[Plan, ...]:
    """The ways to run pictures of one shape, the fastest first, each smaller than the one before it.

    On a CPU a band's maps stay in the cache and its buffers are used again, so bands are faster than whole maps there.
    """
    return tuple(ever_smaller(_plans(shape, cuda=cuda)))


def _plans(shape: Shape, *, cuda: bool) -> Iterator[Plan]:
    if cuda:
        yield whole(shape, cuda=True)
    widest = shape.map_bytes(LAYERS[-3])
    # Fewer, higher bands: launches cost a GPU more; on a CPU, what a band makes and reads should stay in its cache.
    least, most_bands = (BAND_BYTES // 2, MOST_BANDS) if cuda else (BAND_BYTES, 64)
    yield banded(shape, "bands", max(least, widest // most_bands), cuda=cuda)
    for band_bytes in _recompute_bytes(max(BAND_BYTES, widest // 24), cuda=cuda):
        yield banded(shape, "recompute", band_bytes, cuda=cuda)


def _recompute_bytes(most: int, *, cuda: bool) -> Iterator[int]:
    """Yield the bytes of bands to recompute with, ever fewer: low bands compute more of their halos twice.

    On a CPU a quarter less costs a large picture a tenth more arithmetic, until bands are so low that it doubles. A GPU
    has no time to lay out so many.
    """
    least = BAND_BYTES // 2
    for step in range(1 if cuda else 4):
        if (band_bytes := most * 3**step // 4**step) > least:
            yield band_bytes
    yield least


def whole(shape: Shape, *, cuda: bool) -> Plan:
    """The plan of whole maps."""
    return Plan("whole", shape, cuda, whole_bytes(shape, cuda=cuda))


def banded(shape: Shape, mode: Mode, band_bytes: int, *, cuda: bool) -> Plan:
    """A plan in bands of about `band_bytes`."""
    memory = layout(shape.of_one, mode, band_bytes, cuda=cuda)
    peak = memory.arena_bytes + memory.loose_bytes + shape.pixels_bytes + SPARE_BYTES
    if cuda or shape.reorders:
        peak += REORDER_BYTES
    if cuda and mode == "recompute":
        peak += CUDNN_BYTES
    again = work(shape.of_one, memory.places) if mode == "recompute" else 1
    return Plan(mode, shape, cuda, int(MARGIN * peak), again, band_bytes)


def batch_size(shape: Shape, budget_bytes: int, *, cuda: bool) -> int:
    """Return the pictures of the shape to draw as one batch: as many as fit whole in the budget and gain by it.

    At least 1, which `choose` may still refuse. Bands take the pictures of a batch one by one: they gain nothing by it.
    """
    most = min(MOST_TOGETHER, MOST_TOGETHER_PX // (shape.height * shape.width))

    def fits(pictures: int) -> bool:
        return whole_bytes(replace(shape, batch=pictures), cuda=cuda) <= budget_bytes

    return next((pictures for pictures in range(most, 1, -1) if fits(pictures)), 1)

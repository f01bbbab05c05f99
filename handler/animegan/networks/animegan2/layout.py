"""Where each map of the network lies while a picture is drawn in bands: one arena, in which maps overwrite each other.

Imports no torch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import starmap

from animegan.networks import plan
from animegan.networks.animegan2.layers import LAYERS, Layer
from animegan.networks.plan import Mode
from animegan.styles import Resize

FROM_PIXELS_BYTES = 5  # a value as uint8 and as fp32
TO_PIXELS_BYTES = 8  # a value before tanh and behind it, as fp32

TILE_ROWS = 4  # that the CPU's convolutions compute together

_ALIGN = 64  # bytes; a cache line

INDEX = {layer.name: index for index, layer in enumerate(LAYERS)}
BLOCKS = tuple(layer.name.partition("layers.")[0] for layer in LAYERS if layer.closes)


def below(layer: Layer) -> Layer:
    """The layer whose output this one reads."""
    return LAYERS[INDEX[layer.name] - 1]


def needs_no_window(layer: Layer) -> bool:
    """Return whether the layer reads a block's end as it lies: normalised, the residual added, nothing to pad."""
    return layer.kernel == 1 and below(layer).closes


@dataclass(frozen=True)
class Shape(plan.Shape):
    """A picture's shape, with what the generator's maps of it take.

    `resize`: how the generator scales up. `reorders`: its convolutions may order their weights anew for a band.
    """

    resize: Resize = "align_corners"
    reorders: bool = False

    def row_bytes(self, layer: Layer) -> int:
        """Bytes of one row of the layer's output, of one picture."""
        return layer.size(self.width) * layer.channels * self.itemsize

    def map_bytes(self, layer: Layer) -> int:
        """Bytes of the layer's output, of one picture."""
        return layer.size(self.height) * self.row_bytes(layer)

    def window_bytes(self, layer: Layer, rows: int) -> int:
        """Bytes of the padded window that the layer reads for so many rows of its output, of one picture."""
        across = (layer.size(self.width) - 1) * layer.stride + layer.kernel
        return ((rows - 1) * layer.stride + layer.kernel) * across * layer.channels_in * self.itemsize


def reflected(top: int, bottom: int, size: int) -> tuple[int, int]:
    """The rows [first, last) of a map that a window's rows [top, bottom) show, mirrored at the map's ends."""
    first, last = max(top, 0), min(bottom, size)
    if top < 0:
        last = max(last, 1 - top)
    if bottom > size:
        first = min(first, 2 * (size - 1) - (bottom - 1))
    return first, last


def source_rows(layer: Layer, first: int, last: int, shape: Shape) -> tuple[int, int]:
    """The rows [first, last) of the map before the layer that rows [first, last) of its output are made from."""
    height = shape.height
    available = below(layer).size(height)
    top, bottom = layer.reads(first, last)
    if layer.source != "upsample":
        return reflected(top, bottom, available)
    size = layer.size(height)
    top, bottom = reflected(top, bottom, size)
    span, steps = (available - 1, max(size - 1, 1)) if shape.resize == "align_corners" else (available, size)
    return top * span // steps, min((bottom - 1) * span // steps + 2, available)


@dataclass(frozen=True)
class Place:
    """A kept layer's place: where its map begins in the arena, in bytes.

    `path`: the layers that are computed for one of its bands, itself last; those before it are not kept. `rows`: how
    many rows a band of each of them has, in the pass that gathers its statistics.
    """

    path: tuple[Layer, ...]
    offset: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """A picture's arena, in bytes: the maps in the order of their making, the residual, and a band's two buffers.

    `output_offset` is of what a band's convolution makes where it is not kept, `window_offset` of what one reads.
    `loose_bytes` is what a band takes outside the arena.
    """

    places: tuple[Place, ...]
    residual_offset: int
    output_offset: int
    window_offset: int
    arena_bytes: int
    loose_bytes: int


def bands(size: int, rows: int) -> Iterator[tuple[int, int]]:
    """[first, last) of each band, none more than `rows` high."""
    return ((first, min(first + rows, size)) for first in range(0, size, rows))


@functools.lru_cache(maxsize=64)
def layout(shape: Shape, mode: Mode, band_bytes: int, *, cuda: bool) -> Layout:
    """Lay out the arena for bands of about `band_bytes`; one row at least.

    The maps lie at the start of the arena, behind them the two buffers of a band.
    """
    paths = _paths(mode)
    rows = [tuple(_rows(shape, path[: end + 1], band_bytes) for end in range(len(path))) for path in paths]
    sizes = [shape.map_bytes(path[-1]) if path[-1].norm else 0 for path in paths]
    offsets, residual = _offsets(shape, paths, sizes, [counts[-1] for counts in rows])
    output = _align(max(offset + size for offset, size in zip(offsets, sizes, strict=True)))
    passes = [
        (path[: end + 1], count) for path, counts in zip(paths, rows, strict=True) for end, count in enumerate(counts)
    ]
    window = output if cuda else output + _output_buffer_bytes(shape, paths, passes)
    return Layout(
        places=tuple(starmap(Place, zip(paths, offsets, rows, strict=True))),
        residual_offset=residual,
        output_offset=output,
        window_offset=window,
        arena_bytes=_align(window + max(_read(shape, path, count) for path, count in passes)),
        loose_bytes=max(_loose(shape, path, count, cuda=cuda) for path, count in passes),
    )


def _offsets(shape: Shape, paths: list[tuple[Layer, ...]], sizes: list[int], rows: list[int]) -> tuple[list[int], int]:
    """Return where each kept map begins in the arena, and where the residual does, in bytes.

    Backwards from the last map, each lies wholly below its successor where there is room, else as low as lets the
    successor overwrite it: before a band of so many `rows` is written, the rows that later bands read must lie above
    its end. The inverted residual blocks share one place for their ends, and their maps lie above it.
    """
    offsets = [0] * len(paths)
    residual, residual_end = 0, 0
    for index in range(len(paths) - 2, -1, -1):
        layer, path, above = paths[index][-1], paths[index + 1], offsets[index + 1]
        gap = _gap(shape, layer, path, rows[index + 1])
        if layer.closes:
            if not residual_end:
                residual = _lowest(0, sizes[index], above, gap)
                residual_end = _align(residual + sizes[index])
            offsets[index] = residual_end
        else:
            floor = residual_end if layer.name.startswith(BLOCKS) else 0
            offsets[index] = _lowest(floor, sizes[index], above, gap)
    return offsets, residual


def _output_buffer_bytes(
    shape: Shape, paths: list[tuple[Layer, ...]], passes: list[tuple[tuple[Layer, ...], int]]
) -> int:
    """Return the most bytes that a band's convolutions make where no map keeps them."""
    map_paths = {path for path in paths if path[-1].norm}
    return _align(max(_output(shape, path, count, last=path not in map_paths) for path, count in passes))


def _lowest(floor: int, size: int, above: int, gap: int) -> int:
    return floor if floor + size <= above else _align(max(floor, above + gap))


@functools.cache
def _paths(mode: Mode) -> list[tuple[Layer, ...]]:
    paths, path = [], []
    for layer in LAYERS:
        path.append(layer)
        if not (layer.again and mode == "recompute"):
            paths.append(tuple(path))
            path = []
    return paths


def spans(path: tuple[Layer, ...], first: int, last: int, shape: Shape) -> list[tuple[int, int]]:
    """Rows [first, last) of each layer on the path, and first of the map before it, for those of the last."""
    reads = [(first, last)]
    for layer in reversed(path):
        reads.append(source_rows(layer, *reads[-1], shape) if layer.source != "pixels" else (0, shape.height))
    return reads[::-1]


def _gap(shape: Shape, source: Layer, path: tuple[Layer, ...], rows: int) -> int:
    """Return the bytes by which a map must begin later than its successor."""
    layer = path[-1]
    if not layer.norm:
        return 0
    size, gap = layer.size(shape.height), -shape.map_bytes(source)
    for _, last in bands(size, rows):
        still = spans(path, last, last + 1, shape)[0][0] if last < size else source.size(shape.height)
        gap = max(gap, last * shape.row_bytes(layer) - still * shape.row_bytes(source))
    return gap


def _align(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _output(shape: Shape, path: tuple[Layer, ...], rows: int, *, last: bool) -> int:
    """The most bytes that one convolution on the path makes for a band; `last`: whether the last one counts."""
    layers = list(zip(path, _band(shape, path, rows), strict=True))[: None if last else -1]
    return max((count * shape.row_bytes(layer) for layer, count in layers), default=0)


def _read(shape: Shape, path: tuple[Layer, ...], rows: int) -> int:
    """The most bytes that one convolution on the path reads for a band, outside the maps."""
    return max(
        0 if needs_no_window(layer) else shape.window_bytes(layer, count)
        for layer, count in zip(path, _band(shape, path, rows), strict=True)
    )


def _loose(shape: Shape, path: tuple[Layer, ...], rows: int, *, cuda: bool) -> int:
    """Return the bytes that a band takes outside the arena: pixels as fp32; on CUDA a convolution's output."""
    first, last = path[0], path[-1]
    count = _band(shape, path, rows)[0]
    values = shape.window_bytes(first, count) // shape.itemsize if first.source == "pixels" else 0
    values_out = 0 if last.norm else rows * shape.row_bytes(last) // shape.itemsize
    output = _output(shape, path, rows, last=True) if cuda else 0
    return output + max(FROM_PIXELS_BYTES * values, TO_PIXELS_BYTES * values_out)


def _band(shape: Shape, path: tuple[Layer, ...], rows: int) -> list[int]:
    """Rows of each layer on the path for a band of the last, in the picture's middle, where no edge cuts it."""
    size = path[-1].size(shape.height)
    first = (size - min(rows, size)) // 2
    return [last - first for first, last in spans(path, first, first + min(rows, size), shape)[1:]]


def _rows(shape: Shape, path: tuple[Layer, ...], band_bytes: int) -> int:
    """Rows of a band that makes and reads about `band_bytes`: linear in the rows but for the halos."""
    one, two = (_output(shape, path, rows, last=True) + _read(shape, path, rows) for rows in (1, 2))
    rows = max(1, (band_bytes - one) // max(two - one, 1) + 1)
    if rows >= 2 * TILE_ROWS and path[-1].stride == path[-1].groups == 1:
        rows -= rows % TILE_ROWS
    return min(rows, path[-1].size(shape.height))


def work(shape: Shape, places: tuple[Place, ...]) -> float:
    """The arithmetic of a run relative to one that computes every row of every layer once."""
    macs = 0
    for place in places:
        for end, count in enumerate(place.rows):  # a pass for each one's statistics, the last one's values with them
            path = place.path[: end + 1]
            for first, last in bands(path[-1].size(shape.height), count):
                rows = spans(path, first, last, shape)[1:]
                macs += sum((b - a) * _row_macs(shape, layer) for layer, (a, b) in zip(path, rows, strict=True))
    return macs / sum(layer.size(shape.height) * _row_macs(shape, layer) for layer in LAYERS)


def _row_macs(shape: Shape, layer: Layer) -> int:
    return layer.size(shape.width) * layer.macs

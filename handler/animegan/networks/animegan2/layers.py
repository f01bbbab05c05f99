"""The generator as a list: its convolutions in the order in which they run. Imports no torch.

What computes in bands, what foretells memory and what runs the fused operators all walk this one table; a test holds it
to `generator.Generator`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Source = Literal["pixels", "norm", "upsample"]


@dataclass(frozen=True)
class Layer:
    """One convolution, and what stands before it.

    `name` and `norm` are the state-dict prefixes of the convolution and of the norm behind it; the last layer has none.
    `scale`: its output has the picture's size divided by this, rounded down. `source`: it reads the pixels, the layer
    before it normalised and activated, or that scaled up to `scale`. `slope` is of the LeakyReLU behind it (1: none).
    `closes`: it ends an inverted residual block, whose input is added behind its norm where `residual`.
    `again`: where memory is shortest its map is never kept, but computed again whenever it is read: so are the widest
    maps, and those that stand beside a block's residual.
    """

    name: str
    norm: str
    channels_in: int
    channels: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    scale: int = 1
    source: Source = "norm"
    slope: float = 0.2
    residual: bool = False
    closes: bool = False
    again: bool = False

    @property
    def before(self) -> int:
        """Rows and columns of padding above and on the left; stride 2 pads on the right and at the bottom only."""
        return self.kernel // 2 if self.stride == 1 else 0

    @property
    def after(self) -> int:
        """Rows and columns of padding below and on the right."""
        return self.kernel // 2

    def size(self, side: int) -> int:
        """The output's side in px for a picture's side."""
        return side // self.scale

    @property
    def macs(self) -> int:
        """Multiplications and additions for one pixel of the output."""
        return self.kernel**2 * self.channels_in * self.channels // self.groups

    def reads(self, first: int, last: int) -> tuple[int, int]:
        """The window's rows [top, bottom), of the map before the convolution, that rows [first, last) are made from."""
        return first * self.stride - self.before, (last - 1) * self.stride - self.before + self.kernel


def _conv(name: str, channels_in: int, channels: int, **rest: int | str | bool) -> Layer:
    return Layer(f"{name}.1", f"{name}.2", channels_in, channels, **rest)  # type: ignore[arg-type]


def _inverted_residual(name: str, channels_in: int, channels: int) -> Iterator[Layer]:
    wide = 2 * channels_in
    residual = channels_in == channels
    yield _conv(f"{name}.layers.0", channels_in, wide, kernel=1, scale=4, again=residual)
    yield _conv(f"{name}.layers.1", wide, wide, groups=wide, scale=4, again=residual)
    name, norm = f"{name}.layers.2", f"{name}.layers.3"
    yield Layer(name, norm, wide, channels, kernel=1, scale=4, slope=1, closes=True, residual=residual)


LAYERS: tuple[Layer, ...] = (
    _conv("block_a.0", 3, 32, kernel=7, source="pixels"),
    _conv("block_a.1", 32, 64, stride=2, scale=2),
    _conv("block_a.2", 64, 64, scale=2),
    _conv("block_b.0", 64, 128, stride=2, scale=4),
    _conv("block_b.1", 128, 128, scale=4),
    _conv("block_c.0", 128, 128, scale=4),
    *_inverted_residual("block_c.1", 128, 256),
    *_inverted_residual("block_c.2", 256, 256),
    *_inverted_residual("block_c.3", 256, 256),
    *_inverted_residual("block_c.4", 256, 256),
    _conv("block_c.5", 256, 128, scale=4),
    _conv("block_d.0", 128, 128, scale=2, source="upsample"),
    _conv("block_d.1", 128, 128, scale=2),
    _conv("block_e.0", 128, 64, source="upsample", again=True),
    _conv("block_e.1", 64, 64, again=True),
    _conv("block_e.2", 64, 32, kernel=7),
    Layer("out_layer.0", "", 32, 3, kernel=1, slope=1),
)

"""AnimeGANv2's generator (Xin Chen, Gang Liu: https://github.com/TachibanaYoshino/AnimeGANv2).

2,143,552 parameters in 77 tensors. The state-dict keys are those of the public PyTorch port
(https://github.com/bryandlee/animegan2-pytorch), so published checkpoints load strictly: hence the integer names of
the layers inside each block, and the numbers that are skipped where a layer has no parameters.

This is the network's definition, in stock PyTorch: `fused` and `bands` compute the same. Every norm is
`GroupNorm(1, channels)`, with PyTorch's default epsilon, as published: mean and variance over the whole picture, all
channels together.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animegan.networks import weights
from animegan.styles import Resize

NAME = "AnimeGANv2's generator"
RESIZE: Resize = "align_corners"  # of the public port
SLOPE = 0.2  # of every LeakyReLU, as published


def conv(
    channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Sequential:
    """Reflection pad, convolution, norm, LeakyReLU; stride 2 pads on the right and at the bottom only."""
    before = kernel // 2 if stride == 1 else 0
    after = kernel // 2
    return nn.Sequential(
        nn.ReflectionPad2d((before, after, before, after)),
        nn.Conv2d(channels_in, channels_out, kernel, stride, groups=groups, bias=bias),
        nn.GroupNorm(1, channels_out),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


class InvertedResidual(nn.Module):
    """1×1 expansion to twice the channels, 3×3 depthwise, 1×1 projection; the input is added where channels match."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        wide = 2 * channels_in
        self.residual = channels_in == channels_out
        self.layers = nn.Sequential(
            conv(channels_in, wide, kernel=1),
            conv(wide, wide, groups=wide, bias=True),
            nn.Conv2d(wide, channels_out, 1, bias=False),
            nn.GroupNorm(1, channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out + x if self.residual else out


class Generator(nn.Module):
    """Photo to anime picture. Both are (N, 3, H, W), RGB in [-1, 1], H and W at least 16 px and unchanged.

    `resize`: how its two upsamplings sample.
    """

    def __init__(self, resize: Resize = RESIZE) -> None:
        super().__init__()
        self.resize = resize
        self.block_a = nn.Sequential(conv(3, 32, kernel=7), conv(32, 64, stride=2), conv(64, 64))
        self.block_b = nn.Sequential(conv(64, 128, stride=2), conv(128, 128))
        self.block_c = nn.Sequential(
            conv(128, 128),
            InvertedResidual(128, 256),
            InvertedResidual(256, 256),
            InvertedResidual(256, 256),
            InvertedResidual(256, 256),
            conv(256, 128),
        )
        self.block_d = nn.Sequential(conv(128, 128), conv(128, 128))
        self.block_e = nn.Sequential(conv(128, 64), conv(64, 64), conv(64, 32, kernel=7))
        self.out_layer = nn.Sequential(nn.Conv2d(32, 3, 1, bias=False), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        half = self.block_a(x)
        out = self.block_c(self.block_b(half))
        out = self.block_d(self._upsample(out, half))
        out = self.block_e(self._upsample(out, x))
        picture: Tensor = self.out_layer(out)
        return picture

    def _upsample(self, x: Tensor, like: Tensor) -> Tensor:
        """Return x at the size of `like`, bilinear."""
        height, width = like.shape[-2:]
        if self.resize == "align_corners":
            return F.interpolate(x, (height, width), mode="bilinear", align_corners=True)
        # One more row and column on both sides turn steps of (in - 1) / (out - 1) into those of in / out.
        more = F.pad(x, (0, 1, 0, 1), mode="replicate")
        return F.interpolate(more, (height + 1, width + 1), mode="bilinear", align_corners=True)[..., :height, :width]


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of the generator's 77 tensors, in the order of its layers."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in Generator().state_dict().items()}


def check_weights(tensors: Mapping[str, Tensor]) -> None:
    """Raise `BadWeights`, naming each tensor that is missing, unexpected, of the wrong shape, or not finite."""
    weights.check_weights(tensors, tensor_shapes(), NAME)


def build(tensors: Mapping[str, Tensor], resize: Resize = RESIZE) -> Generator:
    """Return the generator with those weights, in fp32 and channels-last, ready for inference. Raises `BadWeights`."""
    generator = Generator(resize)
    weights.fill(generator, tensors, NAME)
    return generator

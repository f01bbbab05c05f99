"""The table of layers is the network: names, shapes, sizes."""

from __future__ import annotations

import pytest
import torch

from animegan.networks.animegan2.generator import Generator, tensor_shapes
from animegan.networks.animegan2.layers import LAYERS


def test_every_tensor_is_a_layers() -> None:
    expected: dict[str, tuple[int, ...]] = {}
    for layer in LAYERS:
        expected[f"{layer.name}.weight"] = (layer.channels, layer.channels_in // layer.groups, *[layer.kernel] * 2)
        if layer.groups > 1:
            expected[f"{layer.name}.bias"] = (layer.channels,)
        if layer.norm:
            expected[f"{layer.norm}.weight"] = expected[f"{layer.norm}.bias"] = (layer.channels,)
    assert expected == tensor_shapes()


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (97, 130)])
def test_each_convolution_reads_and_makes_what_the_table_says(size: tuple[int, int]) -> None:
    sizes = {}
    generator = Generator()
    for layer in LAYERS:
        generator.get_submodule(layer.name).register_forward_hook(
            lambda _, inputs, output, name=layer.name: sizes.update({name: (inputs[0].shape[2:], output.shape[2:])})
        )
    with torch.inference_mode():
        generator(torch.zeros(1, 3, *size))
    assert list(sizes) == [layer.name for layer in LAYERS]
    for layer in LAYERS:
        inputs, output = sizes[layer.name]
        assert tuple(output) == tuple(map(layer.size, size))
        for padded, side in zip(inputs, size, strict=True):
            top, bottom = layer.reads(0, layer.size(side))
            assert padded - (bottom - top) in (0, layer.stride - 1)  # an odd side's last row is in no stride's reach


def test_the_arithmetic_is_that_of_the_published_network() -> None:
    side = 512
    flops = sum(2 * layer.macs * layer.size(side) ** 2 for layer in LAYERS)
    assert flops == pytest.approx(210e9, rel=0.01)

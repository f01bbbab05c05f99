"""What is counted is what the convolutions of the definitions multiply."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from animegan.networks.families import define_network
from animegan.networks.redraw.steps import REDRAW, REDRAW_VIDEO
from benchmarks.common.contenders import weights_of
from benchmarks.engine.multiplications import MILLION, SIDE_PX, animegan2, redraw

ROWS = {
    "animegan2": [*animegan2()],
    "redraw": [*redraw("redraw", REDRAW)],
    "redraw_video": [*redraw("redraw_video", REDRAW_VIDEO)],
}


@pytest.mark.parametrize(
    ("network", "side", "shrink"), [("animegan2", 64, 1), ("redraw", 16, 4), ("redraw_video", 16, 4)]
)
def test_the_sum_is_what_the_definition_multiplies(network: str, side: int, shrink: int) -> None:
    definition = define_network(network.partition("_")[0], weights_of(network))
    products: list[int] = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        products.append(output.numel() * layer.weight[0].numel())

    for layer in definition.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        definition(torch.zeros(1, 3, side, side))
    *_, total = ROWS[network]
    multiplications = sum(products) * (SIDE_PX / shrink / side) ** 2 / MILLION
    assert total["direct"] == pytest.approx(multiplications, rel=1e-3)  # redraw's first layer is computed twice


def test_each_form_of_filtering_leaves_its_share() -> None:
    shares = {row["layer"]: row["share"] for rows in ROWS.values() for row in rows}
    assert shares["block_e.1.1"] == pytest.approx(36 / 144, abs=1e-3)
    assert shares["block_e.2.1"] == pytest.approx(100 / 784, abs=1e-3)
    assert shares["64 to 64, ×2"] == pytest.approx(25 / 144, abs=1e-3)
    assert shares["block_b.0.1"] == shares["block_c.2.layers.2"] == shares["block_a.0.1"] == 1

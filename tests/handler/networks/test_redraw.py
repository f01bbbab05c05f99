"""Real-ESRGAN's networks: as an independent computation draws, whole or in bands, in the memory that the plan says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from animegan import operators
from animegan.errors import BadWeights
from animegan.networks.redraw import model, steps
from animegan.networks.redraw.network import Network, load, traced
from animegan.networks.redraw.plan import BAND_ROWS
from animegan.networks.redraw.schedule import _needs, needs
from animegan.networks.weights import load_weights
from animegan.styles import bundled_dir
from benchmarks.common import reference
from harness.engine.peaks import drawing_peak
from harness.pictures import photo

CPU = torch.device("cpu")
NAMES = ("redraw", "redraw_video")
SIZES = ((1, 1), (3, 2), (16, 16), (41, 70))  # height, width
WITHIN = 1.15


@cache
def weights(name: str) -> dict[str, Tensor]:
    return load_weights(bundled_dir() / f"{name}.safetensors")


@cache
def network(name: str) -> Network:
    return load(lambda: weights(name), None, CPU, "fp32")


def pixels(height: int, width: int) -> Tensor:
    return torch.from_numpy(np.array(photo(width, height)))[None]


def expected(name: str, picture: Tensor) -> Tensor:
    """uint8 (4h, 4w, 3), by the reference in fp64, the photo's edges mirrored by hand."""
    values = picture[0].double() / 255
    for axis in (0, 1):
        index = np.pad(np.arange(values.shape[axis]), 4, mode="reflect")
        values = values.index_select(axis, torch.from_numpy(index))
    run = {"redraw": reference.redraw, "redraw_video": reference.redraw_video}[name]
    drawing = run(weights(name), values.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    return drawing[16:-16, 16:-16].mul(255).round().clamp(0, 255).to(torch.uint8)


def difference(a: Tensor, b: Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_it_draws_what_an_independent_computation_draws(name: str, size: tuple[int, int]) -> None:
    picture = pixels(*size)
    drawing = network(name).draw(picture, next(network(name).plans(*size, 1)))
    assert drawing.shape == (1, 4 * size[0], 4 * size[1], 3)
    assert difference(drawing[0], expected(name, picture)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_bands_are_the_whole(name: str) -> None:
    picture, net = pixels(96, 64), network(name)
    plan = next(net.plans(96, 64, 1))
    assert plan.mode == "whole"
    whole = net.draw(picture, plan)
    for rows in BAND_ROWS:
        drawing = net.draw(picture, replace(plan, mode="bands", band_rows=rows))
        if net._form.alignment > 1:  # compiled, see `native.convolutions`
            assert torch.equal(drawing, whole)
        else:  # oneDNN sums in another order for some shapes
            assert difference(drawing, whole) <= 1
            assert (drawing != whole).float().mean() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_pictures(name: str) -> None:
    pictures = torch.cat([pixels(20, 33), pixels(20, 33).flip(1)])
    net = network(name)
    together = net.draw(pictures, next(net.plans(20, 33, 2)))
    alone = [net.draw(picture[None], next(net.plans(20, 33, 1))) for picture in pictures]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_traced_is_eager(name: str) -> None:
    graph, eager = traced(weights(name)), model.build(weights(name))
    for height, width in ((17, 24), (5, 3)):
        x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            assert (graph(x) - eager(x)).abs().max() <= 1e-4
    again = load(lambda: {}, graph, CPU, "fp32")
    picture = pixels(9, 12)
    plan = next(again.plans(9, 12, 1))
    assert torch.equal(again.draw(picture, plan), network(name).draw(picture, plan))


@pytest.mark.parametrize("name", NAMES)
def test_the_steps_are_the_model(name: str) -> None:
    program = steps.REDRAW if name == "redraw" else steps.REDRAW_VIDEO
    names = {step.name for step in program.steps} | {step.prelu.removesuffix(".weight") for step in program.steps} - {
        ""
    }
    assert {key.rpartition(".")[0] for key in model.build(weights(name)).state_dict()} == names - {""}


def test_white_stays_white_and_night_stays_dark() -> None:
    for value in (0, 18, 128, 255):
        flat = torch.full((1, 24, 24, 3), value, dtype=torch.uint8)
        drawing = network("redraw").draw(flat, next(network("redraw").plans(24, 24, 1)))
        assert abs(float(drawing.float().mean()) - value) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_peak_is_within_15_percent_and_never_under(name: str) -> None:
    net = network(name)
    for plan in net.plans(*((128, 96) if name == "redraw" else (288, 224)), 1):
        peak = drawing_peak(net, plan)
        if net._form.alignment > 1:  # compiled convolutions hold their scratch since the first run
            peak += net._form.scratch_bytes()
        assert peak <= plan.peak_bytes <= WITHIN * peak, (plan.mode, plan.band_rows, peak / plan.peak_bytes)


def test_memory_grows_with_the_width_alone() -> None:
    """What 16 megapixels at a quarter, and 3840×2160, take at the least, in fp32: in any form of the convolutions."""
    alignment = operators.convolutions(CPU, torch.float32).alignment
    for height, width, most_mib in ((1024, 1024, 600), (540, 960, 1200)):
        demand = needs(steps.REDRAW, height, 4, alignment)
        assert 4 * width * demand.peak_values + 51 * height * width <= most_mib * 2**20
        assert needs(steps.REDRAW, 4 * height, 4, alignment).peak_values == demand.peak_values


@pytest.mark.parametrize("alignment", [1, 4])
@pytest.mark.parametrize("rows", BAND_ROWS)
@pytest.mark.parametrize("height", [700, 1023])
def test_a_tall_photo_needs_what_a_shorter_one_needs(height: int, rows: int, alignment: int) -> None:
    demand, really = needs(steps.REDRAW, height, rows, alignment), _needs(steps.REDRAW, height, rows, alignment)
    assert (demand.capacity, demand.peak_values) == (really.capacity, really.peak_values)


def test_weights_of_another_network_are_refused() -> None:
    wrong = {key: tensor for key, tensor in weights("redraw").items() if key != "hr.bias"}
    with pytest.raises(BadWeights, match=r"Not the weights of Real-ESRGAN's network Redraw: hr\.bias is missing"):
        load(lambda: wrong, None, CPU, "fp32")

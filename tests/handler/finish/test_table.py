"""The table of colours: read alike by PyTorch and by each compiled form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from animegan.errors import InternalError
from animegan.finish.table import SIDE, Table
from animegan.operators import native

CPU = torch.device("cpu")


def curve(colors: Tensor) -> Tensor:
    red, green, blue = colors
    return torch.stack([red * green + 0.2, (blue - red).sin(), (green + 0.5).sqrt() * blue])


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("form", native.forms())
def test_each_compiled_form_reads_as_pytorch_does(form: str, planes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "best", lambda: native.load(form))
    table = Table(lambda colors: curve(colors)[:planes], CPU)
    picture = torch.rand(3, 150, 90) * 1.2 - 0.1
    picture[:, 0, :4] = torch.tensor([0.0, 1.0, 1 / (SIDE - 1), -0.0])
    read = table.read(picture)
    assert read.shape == (planes, 150, 90)
    torch.testing.assert_close(read, table.plain_read(picture), rtol=0, atol=2e-5)
    assert torch.equal(table.read(picture[:, 70:131]), read[:, 70:131])
    assert torch.equal(table.read(picture.transpose(1, 2)).transpose(1, 2), read)


@pytest.mark.parametrize("form", native.forms())
def test_what_is_no_number_reads_a_value_of_the_table(form: str) -> None:
    values = torch.ones(SIDE, SIDE, SIDE, 4)
    picture = torch.full((3, 2, 2), torch.nan)
    picture[:, 1] = torch.inf
    assert torch.equal(native.load(form).read_table(values, 3, picture), torch.ones(3, 2, 2))


@pytest.mark.parametrize("form", native.forms())
def test_colours_of_another_dtype_are_refused(form: str) -> None:
    with pytest.raises(InternalError, match="float16"):
        native.load(form).read_table(torch.ones(2, 2, 2, 4), 3, torch.zeros(3, 1, 1, dtype=torch.float16))


def test_without_compiled_operators_pytorch_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "best", lambda: None)
    table = Table(curve, CPU)
    picture = torch.rand(3, 5, 7)
    assert torch.equal(table.read(picture), table.plain_read(picture))
    torch.testing.assert_close(table.read(picture), curve(picture), rtol=0, atol=0.01)

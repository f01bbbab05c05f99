"""Images to tensors and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from animegan.picture.pixels import BAND_PX
from animegan.picture.transfer import download, upload
from harness.pictures import photo

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(16, 16), (33, 17), (1500, 1600), (BAND_PX + 1, 2)])
def test_there_and_back(size: tuple[int, int]) -> None:
    """Also where the last band is shorter, and where a row is longer than a band."""
    noise = np.random.default_rng(0).integers(0, 256, (2, size[1], size[0], 3), dtype=np.uint8)
    pictures = [Image.fromarray(picture) for picture in noise]
    batch = upload(pictures, CPU)
    assert np.array_equal(batch.numpy(), noise)
    assert download(batch) == pictures
    assert download(batch.transpose(1, 2).contiguous().transpose(1, 2)) == pictures


def test_pictures_of_two_sizes_are_no_batch() -> None:
    with pytest.raises(ValueError, match="unpack"):
        upload([photo(32, 16), photo(16, 32)], CPU)

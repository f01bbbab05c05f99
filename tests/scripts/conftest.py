"""What the tests of weight files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from animegan_cli.weights import readers
from harness.files import weight_files as files


@pytest.fixture(scope="module")
def cel() -> dict[str, Tensor]:
    return files.bundled_tensors()


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], dict[str, Tensor]]:
    def write_and_read(data: bytes) -> dict[str, Tensor]:
        file = tmp_path / "weights.bin"  # an ending that says nothing
        file.write_bytes(data)
        return readers.read(file).tensors

    return write_and_read

"""Memory on large pages: what asks Linux for them, and what lies on them."""

from __future__ import annotations

from pathlib import Path
from weakref import WeakValueDictionary

import pytest
import torch
from torch import Tensor

from animegan import operators
from animegan.networks import families
from animegan.networks.families import load_network
from animegan.operators import native
from animegan.resources import pages
from animegan.resources.pages import CACHE_LINE, LEAST_BYTES, Pool
from animegan.styles import get_style
from harness.engine.maps import filters

CPU = torch.device("cpu")

linux = pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").is_dir(), reason="this kernel has no transparent huge pages"
)


def _flags(address: int) -> list[str]:
    """Return Linux's flags of the mapping around an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0]:
            first, last = (int(end, 16) for end in words[0].split("-"))
            inside = first <= address < last
        elif inside and words[0] == "VmFlags:":
            return words[1:]
    return []


def _on_large_pages(tensor: Tensor) -> bool:
    return "hg" in _flags(tensor.data_ptr() + tensor.nbytes // 2)


@linux
def test_large_memory_asks_for_large_pages() -> None:
    large = pages.empty(LEAST_BYTES // 4, 2, dtype=torch.float32, device=CPU)
    assert (large.shape, large.dtype, large.is_contiguous()) == ((LEAST_BYTES // 4, 2), torch.float32, True)
    assert _on_large_pages(large)


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Addresses and bytes of which large pages are asked for."""
    ranges: list[tuple[int, int]] = []
    ask = pages._madvise()

    def record(address: int, size: int, advice: int) -> int:
        ranges.append((address, size))
        return ask(address, size, advice) if ask else 0

    monkeypatch.setattr(pages, "_madvise", lambda: record)
    return ranges


def test_what_is_asked_for_lies_within_the_memory(advised: list[tuple[int, int]]) -> None:
    for offset in range(3):
        tensor = pages.empty(LEAST_BYTES + offset, dtype=torch.uint8, device=CPU)
        (start, size) = advised.pop()
        assert tensor.data_ptr() <= start < tensor.data_ptr() + 4096
        assert start + size == tensor.data_ptr() + tensor.nbytes
    pages.empty(LEAST_BYTES - 1, dtype=torch.uint8, device=CPU)
    assert not advised


def test_without_large_pages_it_is_memory_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_madvise", lambda: None)
    tensor = pages.empty(LEAST_BYTES, 2, dtype=torch.uint8, device=CPU)
    assert tensor.fill_(7).sum(dtype=torch.int64) == 14 * LEAST_BYTES


def test_a_pools_memory_is_zero_apart_and_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "CHUNK_BYTES", 4096)
    pool = Pool()
    parts = [pool.zeros(size) for size in (1, 64, 100, 3000, 2000, 9000, 0, 5)]
    assert [len(part) for part in parts] == [1, 64, 100, 3000, 2000, 9000, 0, 5]
    assert not any(bool(part.any()) for part in parts)
    assert all(part.data_ptr() % CACHE_LINE == 0 for part in parts if len(part))
    for number, part in enumerate(parts):
        part.fill_(number + 1)
    assert all(bool((part == number + 1).all()) for number, part in enumerate(parts))


@pytest.mark.skipif(native.best() is None, reason="the operators are not compiled")
def test_the_filters_of_one_network_lie_side_by_side() -> None:
    pack = operators.convolutions(CPU, torch.float32).packer()
    memories = [pack(filters(32, channels, 3)).memory for channels in (64, 96, 128)]
    assert len({memory.untyped_storage().data_ptr() for memory in memories}) == 1
    other = operators.convolutions(CPU, torch.float32).packer()(filters(32, 64, 3)).memory
    assert other.untyped_storage().data_ptr() != memories[0].untyped_storage().data_ptr()


@pytest.mark.parametrize(("family", "style", "side"), [("redraw", "cel", 96), ("animegan2", "classic", 320)])
def test_a_networks_filters_and_what_it_draws_in_lie_on_large_pages(
    advised: list[tuple[int, int]], family: str, style: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "_loaded", WeakValueDictionary())  # another test may hold the network
    network = load_network(family, get_style(style), CPU, "fp32")
    packed = len(advised)
    advised.clear()
    network.draw(torch.zeros(1, side, side, 3, dtype=torch.uint8), next(iter(network.plans(side, side, 1))))
    assert advised
    assert packed or native.best() is None

"""The size of Java's heap: what was asked for, else what is configured, else a share of the memory there is."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from animegan.errors import BadSetting
from animegan_cli.serving.torchserve import memory_bytes, read_properties, with_heap

GIB = 2**30
VMARGS = read_properties(Path(__file__).parents[3] / "config" / "config.properties")["vmargs"]


@pytest.mark.parametrize(("memory_gib", "heap"), [(0.25, 128), (1, 256), (2, 512), (3, 768), (8, 2048), (64, 2048)])
def test_it_is_a_quarter_of_the_memory_within_bounds(memory_gib: float, heap: int) -> None:
    assert with_heap(VMARGS, {}, int(memory_gib * GIB)) == f"{VMARGS} -Xmx{heap}m"
    assert with_heap("", {}, int(memory_gib * GIB)) == f"-Xmx{heap}m"


def test_what_is_configured_stands() -> None:
    assert with_heap("-Xmx1g -XX:+UseSerialGC", {}, 64 * GIB) == "-Xmx1g -XX:+UseSerialGC"


def test_the_variable_comes_last_and_so_wins() -> None:
    assert with_heap("-Xmx1g", {"ANIMEGAN_JAVA_HEAP_MB": "3000"}, 2 * GIB) == "-Xmx1g -Xmx3000m"
    assert with_heap("-Xmx1g", {"ANIMEGAN_JAVA_HEAP_MB": ""}, 2 * GIB) == "-Xmx1g"


@pytest.mark.parametrize("value", ["1g", "0", "127", "-1", "1.5", "99999999", "512 "])
def test_what_is_no_size_is_refused_with_the_way_out(value: str) -> None:
    with pytest.raises(BadSetting, match=f"ANIMEGAN_JAVA_HEAP_MB={value} is no size of a heap. Use a number of MiB"):
        with_heap("", {"ANIMEGAN_JAVA_HEAP_MB": value}, 2 * GIB)


def test_this_machine_has_some_memory() -> None:
    assert 2**26 < memory_bytes() <= psutil.virtual_memory().total

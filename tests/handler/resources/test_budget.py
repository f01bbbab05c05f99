"""The budget is what the host or the tightest cgroup leaves, whichever is less, less a reserve."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from animegan.resources.budget import RESERVE_BYTES, RESERVE_SHARE, free_bytes
from harness import MIB

CPU = torch.device("cpu")
GIB = 2**30


def machine(folder: Path, files: dict[str, str], cgroup: str = "0::/\n", available_mib: int = 8192) -> int:
    texts = {
        "proc/self/cgroup": cgroup,
        "proc/meminfo": f"MemTotal: {16 * MIB} kB\nMemAvailable: {available_mib * 1024} kB\nHugePages_Total: 0\n",
        **{f"cgroups/{name}": text for name, text in files.items()},
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return free_bytes(CPU, proc=folder / "proc", groups=folder / "cgroups")


def test_without_a_cgroup_it_is_what_the_host_has_available(tmp_path: Path) -> None:
    assert machine(tmp_path, {}) == 8192 * MIB - int(16 * GIB * RESERVE_SHARE)


def test_a_container_sees_its_own_limit_and_the_cache_counts_as_free(tmp_path: Path) -> None:
    files = {
        "memory.max": f"{2 * GIB}\n",
        "memory.current": f"{1 * GIB}\n",
        "memory.stat": f"inactive_file {100 * MIB}\n",
    }
    assert machine(tmp_path, files) == GIB + 100 * MIB - int(2 * GIB * RESERVE_SHARE)


@pytest.mark.parametrize("tight", ["a", "a/b", "a/b/c"])
def test_the_tightest_of_nested_cgroups_counts(tmp_path: Path, tight: str) -> None:
    files = {f"{name}/memory.max": "max\n" for name in ("a", "a/b", "a/b/c")}
    files |= {f"{name}/memory.current": "0\n" for name in ("a", "a/b", "a/b/c")}
    files[f"{tight}/memory.max"] = f"{512 * MIB}\n"
    assert machine(tmp_path, files, cgroup="0::/a/b/c\n") == 512 * MIB - RESERVE_BYTES


def test_version_1_of_cgroups_counts_too(tmp_path: Path) -> None:
    files = {
        "memory/box/memory.limit_in_bytes": f"{GIB}\n",
        "memory/box/memory.usage_in_bytes": f"{600 * MIB}\n",
        "memory/box/memory.stat": f"total_inactive_file {50 * MIB}\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "0\n",
    }
    cgroup = "4:cpu,cpuacct:/other\n3:memory:/box\n"
    assert machine(tmp_path, files, cgroup=cgroup) == 474 * MIB - RESERVE_BYTES


def test_nothing_left_is_nothing_and_no_debt(tmp_path: Path) -> None:
    assert machine(tmp_path, {"memory.max": f"{GIB}\n", "memory.current": f"{GIB}\n"}) == 0
    assert machine(tmp_path, {}, available_mib=10) == 0


def test_where_nothing_tells_there_is_no_limit(tmp_path: Path) -> None:
    assert free_bytes(CPU, proc=tmp_path, groups=tmp_path) > 2**60


def test_this_machine_has_some() -> None:
    assert 0 < free_bytes(CPU) < 2**60


def test_a_limit_on_addresses_counts_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = tmp_path / "proc" / "self" / "statm"
    sizes.parent.mkdir(parents=True)
    sizes.write_text(f"{64 * MIB // resource.getpagesize()} 1 1 1 0 1 0\n")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (GIB, resource.RLIM_INFINITY))
    assert machine(tmp_path, {}) == GIB - 64 * MIB

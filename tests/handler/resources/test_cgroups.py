"""Limits of memory and CPU time, wherever in the tree they stand, in both versions of cgroups."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from animegan.resources import cgroups
from animegan.resources.cgroups import Memory

MIB = 2**20
UNLIMITED = "9223372036854771712\n"  # as version 1 says it


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


class Tree:
    """A machine's /proc and /sys/fs/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.folders = folder / "proc", folder / "cgroups"

    def lies(self, cgroup: str, files: dict[str, str]) -> None:
        """Place this process in the tree, and write the tree's files."""
        texts = {self.folders[0] / "self" / "cgroup": cgroup}
        texts |= {self.folders[1] / name: text for name, text in files.items()}
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def v2(folder: str, limit: str, usage: int = 0, cached: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.max": limit,
        f"{folder}/memory.current": f"{usage}\n",
        f"{folder}/memory.stat": f"anon 1\ninactive_file {cached}\n",
    }


def v1(folder: str, limit: str, usage: int = 0, cached: int = 0) -> dict[str, str]:
    return {
        f"memory/{folder}/memory.limit_in_bytes": limit,
        f"memory/{folder}/memory.usage_in_bytes": f"{usage}\n",
        f"memory/{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {cached}\n",
    }


def test_a_pods_limit_binds_its_containers(tree: Tree) -> None:
    tree.lies("0::/pod/box\n", v2(".", "max\n") | v2("pod", f"{700 * MIB}\n", 30 * MIB) | v2("pod/box", "max\n"))
    assert cgroups.memory(*tree.folders) == Memory(700 * MIB, 30 * MIB)


def test_cache_that_can_be_dropped_is_not_used(tree: Tree) -> None:
    tree.lies("0::/\n", v2(".", f"{512 * MIB}\n", 300 * MIB, 100 * MIB))
    memory = cgroups.memory(*tree.folders)
    assert memory == Memory(512 * MIB, 200 * MIB)
    assert memory.free == 312 * MIB


def test_each_limit_is_told_the_innermost_first_and_the_lowest_chosen(tree: Tree) -> None:
    files = v1("a/b", f"{900 * MIB}\n", 80 * MIB, 10 * MIB) | v1("a", f"{800 * MIB}\n", 95 * MIB) | v1(".", UNLIMITED)
    tree.lies("5:cpu,cpuacct:/elsewhere\n4:memory:/a/b\n0::/\n", files)
    assert [*cgroups.memories(*tree.folders)] == [Memory(900 * MIB, 70 * MIB), Memory(800 * MIB, 95 * MIB)]
    assert cgroups.memory(*tree.folders) == Memory(800 * MIB, 95 * MIB)


def test_in_a_container_the_hosts_path_leads_nowhere_and_the_top_is_its_own(tree: Tree) -> None:
    tree.lies("4:memory:/host/libpod-1\n3:cpu:/host/libpod-1\n", v1(".", f"{256 * MIB}\n", MIB))
    assert cgroups.memory(*tree.folders) == Memory(256 * MIB, MIB)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ({"cpu.max": "400000 100000\n", "a/cpu.max": "50000 100000\n", "a/b/cpu.max": "100000 100000\n"}, 0.5),
        ({"cpu/a/b/cpu.cfs_quota_us": "100000\n", "cpu/a/b/cpu.cfs_period_us": "50000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "30000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n"}, None),
        ({"elsewhere/cpu.max": "100000 100000\n"}, None),
        ({}, None),
    ],
)
def test_the_lowest_quota_of_nested_cgroups_counts(tree: Tree, files: dict[str, str], quota: float | None) -> None:
    controllers = "2:cpu,cpuacct:/a/b" if any(name.startswith("cpu/") for name in files) else "0::/a/b"
    tree.lies(f"7:memory:/elsewhere\n{controllers}\n", files)
    assert cgroups.cpus(*tree.folders) == quota


def test_where_nothing_tells_there_is_no_limit(tree: Tree) -> None:
    assert cgroups.memory(*tree.folders) is None
    assert cgroups.cpus(*tree.folders) is None


def test_it_needs_no_torch() -> None:
    code = "import sys, animegan.resources.cgroups as c; c.memory(); c.cpus(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

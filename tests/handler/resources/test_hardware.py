"""Device and CPUs follow what the machine says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from animegan.errors import BadSetting
from animegan.resources import hardware

CPU = torch.device("cpu")


def test_what_is_no_device_is_named() -> None:
    with pytest.raises(BadSetting, match="device='gpu': use one of auto, cpu, cuda"):
        hardware.pick_device("gpu")  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_cuda_without_a_gpu_is_refused() -> None:
    assert hardware.pick_device("auto") == CPU
    with pytest.raises(BadSetting, match="no CUDA GPU"):
        hardware.pick_device("cuda")


def machine(folder: Path, monkeypatch: pytest.MonkeyPatch, quota: str, affinity: int) -> int:
    """Return `cpu_count` there; the quota is that of a container, at the top of its own tree."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(affinity)))
    (folder / "self").mkdir()
    (folder / "self" / "cgroup").write_text("0::/\n")
    (folder / "cpu.max").write_text(quota)
    return hardware.cpu_count(folder, folder)


@pytest.mark.parametrize(("quota", "count"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("", 64)])
def test_cpus_are_the_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, count: int) -> None:
    assert machine(tmp_path, monkeypatch, quota, affinity=64) == count


def test_a_quota_above_the_affinity_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine(tmp_path, monkeypatch, "800000 100000", affinity=2) == 2

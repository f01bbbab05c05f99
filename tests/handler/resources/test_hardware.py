"""Device, precision and CPUs follow what the machine says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from animegan.errors import BadSetting
from animegan.resources import hardware

CPU = torch.device("cpu")


@pytest.mark.parametrize(("cpu_has_bf16", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_on_a_cpu_asks_the_cpu(monkeypatch: pytest.MonkeyPatch, cpu_has_bf16: bool, expected: str) -> None:
    monkeypatch.setattr(hardware, "_cpu_multiplies_bf16", lambda: cpu_has_bf16)
    assert hardware.pick_precision("auto", CPU) == expected


def test_auto_on_a_gpu_is_half() -> None:
    assert hardware.pick_precision("auto", torch.device("cuda", 0)) == "fp16"


def test_what_is_neither_device_nor_precision_is_named() -> None:
    with pytest.raises(BadSetting, match="precision='int8': use one of auto, fp32"):
        hardware.pick_precision("int8", CPU)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match="device='gpu': use one of auto, cpu, cuda"):
        hardware.pick_device("gpu")  # type: ignore[arg-type]


def test_half_on_a_cpu_is_refused() -> None:
    with pytest.raises(BadSetting, match="fp16"):
        hardware.pick_precision("fp16", CPU)


@pytest.mark.parametrize("kernels", [True, False])
def test_bfloat_is_refused_where_it_has_no_kernels(monkeypatch: pytest.MonkeyPatch, kernels: bool) -> None:
    monkeypatch.setattr(hardware, "cpu_convolves_bf16", lambda: kernels)
    assert hardware.pick_precision("bf16", torch.device("cuda", 0)) == "bf16"
    if kernels:
        assert hardware.pick_precision("bf16", CPU) == "bf16"
    else:
        with pytest.raises(BadSetting, match=r"precision='bf16' is slow on this CPU.*Use 'fp32' or 'auto'"):
            hardware.pick_precision("bf16", CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_cuda_without_a_gpu_is_refused() -> None:
    assert hardware.pick_device("auto") == CPU
    with pytest.raises(BadSetting, match="no CUDA GPU"):
        hardware.pick_device("cuda")


def machine(folder: Path, monkeypatch: pytest.MonkeyPatch, quota: str, affinity: int) -> int:
    """What `cpu_count` says there; the quota is that of a container, at the top of its own tree."""
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

"""The compiled operators as they are loaded and called; that they compute the same is in test_operators.py."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from animegan.errors import InternalError
from animegan.operators import native, plain
from animegan.operators.passes import Norm, Upsampling, Window

ROOT = Path(__file__).resolve().parents[3]
every_form = pytest.mark.parametrize("form", native.forms())
compiled = pytest.mark.skipif(not native.forms(), reason="needs compiled libraries")


def some(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    return noise.to(dtype).contiguous(memory_format=torch.channels_last)


def norm_of(x: Tensor) -> Norm:
    weight = some(1, x.shape[1], 1, 1).flatten()
    return Norm(plain.plain_moments(x), weight, weight.clone(), 0.2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in place of the libraries' own, with the sources alone."""
    for source in (*native.FOLDER.glob("*.cpp"), *native.FOLDER.glob("*.h")):
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    return tmp_path


# ---- Loading ---------------------------------------------------------------------------------------------------------


def test_without_a_library_there_is_no_form(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert native.forms() == []
    assert native.best() is None
    assert not caplog.records
    with pytest.raises(InternalError, match="'avx2'"):
        native.load("avx2")


def test_a_form_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InternalError, match="'neon'"):
        native.load("neon")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "other sources"), (b"\x7fELF", "other sources"), (b"DIGEST", "invalid ELF header")],
)
def test_what_is_no_library_is_left_out_with_a_warning(
    content: bytes, message: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digest = native._digest(folder)
    (folder / "liboperators-plain.so").write_bytes(content.replace(b"DIGEST", digest.encode() * 9))
    assert native.best() is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "liboperators-plain.so is left out" in caplog.text
    assert message in caplog.text


@compiled
@pytest.mark.parametrize("source", ["operators.cpp", "gemm.h"])
def test_a_library_of_another_source_is_left_out(source: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(ROOT / "handler" / "animegan" / "operators" / "native" / "liboperators-plain.so", folder)
    (folder / source).write_text("// its functions take other arguments\n")
    assert native.forms() == []
    assert "other sources" in caplog.text


@compiled
def test_a_cpu_gets_only_what_it_can_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in (ROOT / "handler" / "animegan" / "operators" / "native").glob("*.so"):
        shutil.copy(library, folder)
    monkeypatch.setattr(native, "_cpu_flags", lambda: frozenset({"sse2", "avx2"}))
    assert native.forms() == ["plain"]
    best = native.best()
    assert best is not None
    assert best.form == "plain"


# ---- What it does not take -------------------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("kind", ["fp16", "fp64", "planes", "sparse columns"])
def test_what_it_does_not_take_the_plain_form_does(form: str, kind: str) -> None:
    x = some(2, 32, 6, 10)
    if kind == "fp16":
        x = x.half()
    elif kind == "fp64":
        x = x.double()
    elif kind == "planes":
        x = x.contiguous()
    else:
        x = x[:, :, :, ::2]
    fast, norm, window = native.load(form), norm_of(x), Window(0, 6, -1, 7, -2, 3)
    assert torch.equal(fast.moments(x), plain.plain_moments(x))
    assert torch.equal(fast.norm_act_pad(x, norm, None, window), plain.plain_norm_act_pad(x, norm, None, window))
    twice = Upsampling(12, 20, asymmetric=True)
    assert torch.equal(fast.upsample_pad(x, norm, twice, window), plain.plain_upsample_pad(x, norm, twice, window))


@every_form
def test_rows_that_the_band_does_not_hold_are_not_read(form: str) -> None:
    x = some(1, 16, 4, 8)
    fast, norm = native.load(form), norm_of(x)
    with pytest.raises(IndexError):
        fast.norm_act_pad(x, norm, None, Window(2, 9, 2, 8, 0, 8))
    with pytest.raises(IndexError):
        fast.norm_act_pad(x, norm, None, Window(0, 4, 0, 4, 0, 24))
    with pytest.raises(IndexError):
        fast.upsample_pad(x, norm, Upsampling(18, 16, asymmetric=False), Window(2, 9, 4, 16, 0, 16))


@every_form
def test_parameters_of_another_map_are_not_read(form: str) -> None:
    x = some(1, 16, 4, 8)
    norm = norm_of(x)
    with pytest.raises(RuntimeError):
        native.load(form).norm_act_pad(x, norm._replace(weight=norm.weight[:7]), None, Window(0, 4, 0, 4, 0, 8))
    with pytest.raises(RuntimeError):
        native.load(form).upsample_pad(
            x, norm._replace(bias=norm.bias[:7]), Upsampling(8, 16, asymmetric=False), Window(0, 4, 0, 8, 0, 16)
        )


# ---- Where it writes -------------------------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_writes_where_it_is_told(form: str, dtype: torch.dtype) -> None:
    x = some(2, 48, 6, 10, dtype=dtype)
    fast, norm = native.load(form), norm_of(x)

    def window(out: Tensor | None = None) -> Tensor:
        return fast.norm_act_pad(x, norm, x, Window(0, 6, -1, 6, -1, 11), out=out)

    def upsample(out: Tensor | None = None) -> Tensor:
        return fast.upsample_pad(x, norm, Upsampling(12, 20, asymmetric=False), Window(0, 6, -1, 12, 0, 21), out=out)

    for height, width, call in ((7, 12, window), (13, 21, upsample)):
        buffer = torch.zeros(2, height + 3, width + 2, 48, dtype=dtype).permute(0, 3, 1, 2)
        out = buffer[:, :, 2 : height + 2, 1 : width + 1]
        assert call(out) is out
        assert torch.equal(out, call())
        out.zero_()
        assert not buffer.any()


@every_form
def test_it_may_write_over_what_it_reads(form: str) -> None:
    x, residual = some(1, 40, 9, 30, dtype=torch.bfloat16), some(1, 40, 9, 30, dtype=torch.bfloat16) * 2
    fast, norm, same = native.load(form), norm_of(x), Window(0, 9, 0, 9, 0, 30)
    expected = fast.norm_act_pad(x, norm, residual, same)
    for over in ("residual", "x"):
        copies: dict[str, Any] = {"x": x.clone(), "residual": residual.clone()}
        fast.norm_act_pad(copies["x"], norm, copies["residual"], same, out=copies[over])
        assert torch.equal(copies[over], expected)


@every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_too_large_for_the_caches_is_written_alike(form: str, dtype: torch.dtype) -> None:
    """Such stores go past the caches; a buffer that begins elsewhere than on a cache line does not get them."""
    x = some(1, 64, 66, 520, dtype=dtype)
    fast, norm = native.load(form), norm_of(x)
    twice, window = Upsampling(132, 1040, asymmetric=True), Window(0, 66, 0, 132, -1, 1041)
    room = torch.empty(132 * 1042 * 64 + 1, dtype=dtype)[1:].view(1, 132, 1042, 64).permute(0, 3, 1, 2)
    whole = fast.upsample_pad(x, norm, twice, window)
    assert torch.equal(whole, fast.upsample_pad(x, norm, twice, window, out=room))
    bands = [fast.upsample_pad(x, norm, twice, window._replace(top=top, bottom=top + 12)) for top in range(0, 132, 12)]
    assert torch.equal(whole, torch.cat(bands, dim=2))


# ---- Threads ---------------------------------------------------------------------------------------------------------

THREADS = """
import os, sys, torch
from animegan.operators import native

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(1)
x = torch.randn(1, 64, 64, 64).contiguous(memory_format=torch.channels_last)
form = native.load(sys.argv[1])
before = threads()
alone = form.moments(x)
assert threads() == before, "one thread was asked for"
torch.set_num_threads(3)
assert torch.equal(form.moments(x), alone), "the result depends on the threads"
assert threads() == before + 2, "three threads were asked for"
torch.randn(2000, 2000).exp_()
assert threads() == before + 2, "PyTorch has a pool of its own"
runtimes = {line.split()[-1] for line in open("/proc/self/maps") if "omp" in line.split()[-1]}
assert len(runtimes) == 1, runtimes
"""


@pytest.mark.slow
@every_form
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_it_shares_the_threads_of_pytorch(form: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "handler")}
    process = subprocess.run(
        [sys.executable, "-c", THREADS, form], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


@every_form
def test_calls_from_many_threads_do_not_meet(form: str) -> None:
    fast, maps = native.load(form), [some(1, 64, 33 + i, 50, dtype=torch.bfloat16) for i in range(8)]

    def passes(x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        norm = norm_of(x)._replace(moments=fast.moments(x))
        x = fast.norm_act_pad(x, norm, x, Window(0, height, 0, height, 0, width))
        twice = Upsampling(2 * height, 2 * width, asymmetric=False)
        return fast.upsample_pad(x, norm, twice, Window(0, height, -1, 2 * height + 1, -1, 2 * width + 1))

    expected = [passes(x) for x in maps]
    with ThreadPoolExecutor(8) as pool:
        for several, one in zip(pool.map(passes, maps), expected, strict=True):
            assert torch.equal(several, one)

"""Trace, check and save the network of every bundled style: `python -m animegan_cli.archive.torchscript FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from animegan.errors import InternalError
from animegan.looks import look_of
from animegan.networks.families import define_network, trace_network
from animegan.networks.torchscript import traced_name
from animegan.styles import Resize, bundled_styles, verify
from animegan_cli.archive.archiver import normalise_zip

CHECKED_SIZES = ((17, 24), (70, 35))  # height, width: not the traced example's, odd somewhere, one above a band
TOLERANCE = 1e-4  # of an output in [-1, 1]; both compute in fp32, in another order


def check(traced: torch.jit.ScriptModule, eager: nn.Module) -> None:
    """Raise `InternalError` unless the traced network draws as the eager one, at sizes it was not traced at."""
    for height, width in CHECKED_SIZES:
        noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).mul_(2).sub_(1)
        x = noise.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            difference = (traced(x) - eager(x)).abs().max().item()
        if not difference <= TOLERANCE:
            raise InternalError(f"At {width}x{height} px the traced network is off by {difference}.")


def save(traced: torch.jit.ScriptModule, file: Path) -> None:
    """Save without what differs from run to run: debug records and the serialisation id."""
    raw = file.with_suffix(".raw")
    torch.jit.save(traced, raw)
    normalise_zip(raw, file, edit=_without_debug_records)
    raw.unlink()


def _without_debug_records(name: str, data: bytes) -> bytes | None:
    return None if name.endswith((".debug_pkl", "/.data/serialization_id")) else data


def networks() -> Iterator[tuple[str, Path, Resize | None]]:
    """Yield the family, the weights and the resize of each network that a bundled style draws with, once."""
    files = set()
    for style in bundled_styles().values():
        if not style.weights:
            continue
        family = look_of(style).network
        for fast in (False, True) if style.fast else (False,):
            weights = verify(style, fast=fast)
            if weights not in files:
                files.add(weights)
                yield family, weights, style.resize


def main(store: Path) -> None:
    for family, weights, resize in networks():
        traced = trace_network(family, weights, resize)
        check(traced, define_network(family, weights, resize))
        file = store / traced_name(weights.name)
        file.parent.mkdir(exist_ok=True)
        save(traced, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The launches of the Triton operators, the bands and the graphs' limit, swept on a GPU: `scripts/gpu tuning`.

`best` goes into `kernels.LAUNCHES`, `plan` and `graphs`, whose names it has. An operator's time is the sum over the
network's layers at 1024²; its tile is chosen first, then its warps, then its rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from unittest import mock

import torch

from animegan.networks import graphs
from animegan.networks.animegan2.layers import LAYERS
from animegan.networks.animegan2.layout import Shape, below
from animegan.networks.animegan2.plan import banded, whole
from animegan.operators import kernels, plain
from animegan.operators.passes import Norm, Upsampling, Window
from benchmarks.common.contenders import Ours, photo
from benchmarks.common.fresh import MIB, Watch
from benchmarks.gpu import gpu

SWEEPS = {"tile": (4096, 2048, 8192, 1024), "warps": (4, 8, 2), "rows": (4, 8, 2, 1)}
WORTH = 1.03  # times as fast a graph must be

Call = Callable[[], object]


def main() -> None:
    rehearse = gpu.rehearsal()
    results, where = gpu.Results("tuning", rehearse=rehearse), gpu.device(rehearse=rehearse)
    best: gpu.Row = {"LAUNCHES": {}}
    results.figures["best"] = best
    for operator, calls in operator_calls(where, 16 if rehearse else 1024).items():
        best["LAUNCHES"][operator] = tune(results, where, operator, calls[:2] if rehearse else calls, rehearse=rehearse)
    tune_graphs(results, where, best, [24] if rehearse else [256, 384, 512, 640, 768, 896, 1024])
    tune_bands(results, where, best, [32] if rehearse else [1024, 2048])
    results.end()


def operator_calls(where: torch.device, side: int) -> dict[str, list[Call]]:
    """Return every call that a picture of that side makes, by operator."""
    calls: dict[str, list[Call]] = {"norm_act_pad": [], "moments": [], "upsample_pad": []}
    for layer in LAYERS[1:]:
        source = below(layer)
        shape = (1, source.channels, source.size(side), source.size(side))
        x = torch.randn(shape, device=where).half().contiguous(memory_format=torch.channels_last)
        weight, bias = torch.randn(2, source.channels, device=where)
        norm = Norm(plain.plain_moments(x), weight, bias, source.slope)
        span = layer.reads(0, layer.size(side))
        calls["moments"].append(functools.partial(kernels.moments, x))
        window = Window(0, source.size(side), *span, *span)
        if layer.source == "upsample":
            upsampling = Upsampling(layer.size(side), layer.size(side), asymmetric=False)
            calls["upsample_pad"].append(functools.partial(kernels.upsample_pad, x, norm, upsampling, window))
        else:
            residual = x if source.residual else None
            calls["norm_act_pad"].append(functools.partial(kernels.norm_act_pad, x, norm, residual, window))
    return calls


def tune(
    results: gpu.Results, where: torch.device, operator: str, calls: list[Call], *, rehearse: bool
) -> dict[str, int]:
    """Return the best launch of an operator; add a row for each that was tried."""
    best, least = kernels.LAUNCHES[operator], float("inf")
    for name, values in SWEEPS.items():
        if name == "rows" and operator != "upsample_pad":
            continue
        for launch in [best._replace(**{name: value}) for value in values[: 2 if rehearse else None]]:
            with (
                results.trial("launches", operator=operator, **launch._asdict()) as row,
                mock.patch.dict(kernels.LAUNCHES, {operator: launch}),
            ):
                for call in calls:
                    call()
                row.update(gpu.times_ms(lambda: [call() for call in calls], where, most_s=0.3, runs=20))
            if row.get("ms", least) < least:
                best, least = launch, row["ms"]
    return best._asdict()


def tune_graphs(results: gpu.Results, where: torch.device, best: gpu.Row, sides: list[int]) -> None:
    """Add a row for each side, with and without a graph; record up to how many bytes a graph is worth its memory."""
    network = Ours(where, "whole").network
    for side in sides:
        with results.trial("graphs", side_px=side) as row:
            plan = whole(Shape(side, side, 1, network.itemsize), cuda=where.type == "cuda")
            picture, row["plan_mib"] = photo(side, side).to(where), plan.peak_bytes / MIB
            for name, most_bytes in (("ms", -1), ("graph_ms", 2**60)):
                with mock.patch.object(graphs, "most_bytes", return_value=most_bytes):
                    for _ in range(graphs.OFTEN + 1):
                        network.draw(picture, plan)
                    row[name] = gpu.times_ms(lambda: network.draw(picture, plan), where, most_s=0.5)["ms"]  # noqa: B023
            graphs.release()
            if row["ms"] >= WORTH * row["graph_ms"]:
                best["MOST_BYTES"] = max(plan.peak_bytes, best.get("MOST_BYTES", 0))


def tune_bands(results: gpu.Results, where: torch.device, best: gpu.Row, sides: list[int]) -> None:
    """Add a row for each size of bands; record each side's fastest among those within a quarter of the least memory."""
    network, cuda = Ours(where, "bands").network, where.type == "cuda"
    for side in sides:
        for mebibytes, mode in candidates():
            with results.trial("bands", side_px=side, mode=mode, band_mib=mebibytes) as row:
                plan = banded(Shape(side, side, 1, network.itemsize), mode, mebibytes * MIB, cuda=cuda)  # type: ignore[arg-type]
                picture = photo(side, side).to(where)
                with torch.inference_mode(), Watch(where) as watch:
                    network._run(picture, plan)
                with torch.inference_mode():
                    row.update(gpu.times_ms(lambda: network._run(picture, plan), where, most_s=0.5))  # noqa: B023
                row.update({"peak_mib": watch.peak_mib, "plan_mib": plan.peak_bytes / MIB})
        rows = [
            row for row in results.figures["bands"] if row["side_px"] == side and row["mode"] == "bands" and "ms" in row
        ]
        lean = [row for row in rows if row["plan_mib"] <= 1.25 * min(other["plan_mib"] for other in rows)]
        if lean:
            best[f"band_bytes at {side}"] = min(lean, key=lambda row: row["ms"])["band_mib"] * MIB


def candidates() -> Iterator[tuple[int, str]]:
    for mode in ("bands", "recompute"):
        yield from ((mebibytes, mode) for mebibytes in (4, 8, 16, 32, 64))


if __name__ == "__main__":
    main()

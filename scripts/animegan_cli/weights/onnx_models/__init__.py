"""A network as an ONNX model of standard operators, written from its family's own table; no exporter takes part.

A module for each family has `graph`, which returns a `nodes.Graph`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from animegan.styles import Resize
from animegan_cli.weights.onnx_models.nodes import INPUT, OUTPUT, Graph

_OPSET = 17  # the last before reductions take their axes as an input: runtimes since 2022 read it
_IR_VERSION = 8  # the format's own version that belongs to it


def onnx_model(
    family: str,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    producer_version: str,
    resize: Resize | None = None,
) -> onnx.ModelProto:
    """Return the network of that family with those tensors, in fp32: `photo` (N, 3, H, W) to `anime`.

    `resize`: how AnimeGANv2's generator scales up, where a style's entry says it. The tensors keep the names and shapes
    that they have in PyTorch. What the file holds is in its `doc_string`.
    """
    graph: Graph = import_module(f"{__name__}.{family}").graph(tensors, **({"resize": resize} if resize else {}))
    sides = [f"{graph.enlarges}*{side}" if graph.enlarges > 1 else side for side in ("height", "width")]
    model = helper.make_model(
        helper.make_graph(
            graph.content.nodes,
            graph.name,
            [_picture(INPUT, ["height", "width"])],
            [_picture(OUTPUT, sides)],
            [
                *graph.content.constants.values(),
                *(numpy_helper.from_array(value.float().numpy(), name) for name, value in tensors.items()),
            ],
            doc_string=graph.description,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="animegan-serve",
        producer_version=producer_version,
        doc_string=graph.description,
    )
    helper.set_model_props(model, dict(metadata))
    return model


def _picture(name: str, sides: list[str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, *sides])

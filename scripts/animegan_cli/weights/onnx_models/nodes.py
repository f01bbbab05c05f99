"""Nodes, constants and graphs of ONNX, for every family of networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import helper, numpy_helper

INPUT, OUTPUT = "photo", "anime"


class Nodes:
    """Collects a graph's nodes, in the order in which they run, and their constants beside the network's tensors.

    `prefix` begins the nodes' names: the layer that is written.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.prefix = ""

    def add(self, kind: str, *inputs: str, role: str = "", result: str = "", **attributes: Any) -> str:
        """Add a node of that kind and return the name of its result."""
        name = f"{self.prefix}/{role or kind}"
        result = result or name
        self.nodes.append(helper.make_node(kind, inputs, [result], name, **attributes))
        return result

    def constant(self, name: str, values: ArrayLike, dtype: DTypeLike = np.int64) -> str:
        """Return the name, of a constant that is there once."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.asarray(values, dtype), name)
        return name


@dataclass(frozen=True)
class Graph:
    """A network from `INPUT` to `OUTPUT`; `enlarges`: how many times as large as the photo the drawing is."""

    name: str
    description: str
    content: Nodes
    enlarges: int = 1

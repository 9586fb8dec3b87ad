"""Grows a random ONNX graph node by node: every value's type and shape are known, so that each choice is legal."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
}


@dataclasses.dataclass(frozen=True)
class Value:
    """One value of the graph."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


class Graph:
    """A model under construction. `rng` decides everything."""

    def __init__(self, rng: random.Random, opset: int) -> None:
        self.rng = rng
        self.np = np.random.default_rng(rng.getrandbits(32))
        self.opset = opset
        self.nodes: list = []
        self.initializers: list = []
        self.inputs: dict[str, np.ndarray] = {}
        self.values: list[Value] = []
        self.outputs: list[Value] = []
        self.count = 0

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def array(self, shape: tuple[int, ...], dtype=np.float32, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        """Random contents; integers from low to high."""
        dtype = np.dtype(dtype)
        if dtype == np.bool_:
            return self.np.random(shape) < 0.5
        if dtype.kind in "iu":
            return self.np.integers(int(low), int(high) + 1, shape).astype(dtype)
        return self.np.uniform(low, high, shape).astype(dtype)

    def input(self, shape: tuple[int, ...], dtype=np.float32, low: float = -1.0, high: float = 1.0) -> Value:
        value = Value(self.name("in"), np.dtype(dtype), tuple(shape))
        self.inputs[value.name] = self.array(shape, dtype, low, high)
        self.values.append(value)
        return value

    def constant(self, array) -> Value:
        array = np.asarray(array)
        value = Value(self.name("w"), array.dtype, array.shape)
        if self.rng.random() < 0.15:
            self.nodes.append(helper.make_node("Constant", [], [value.name], value=numpy_helper.from_array(array)))
        else:
            self.initializers.append(numpy_helper.from_array(array, value.name))
        return value

    def ints(self, *values: int) -> Value:
        return self.constant(np.array(values, np.int64))

    def weight(self, *shape: int, low: float = -0.5, high: float = 0.5) -> Value:
        return self.constant(self.array(shape, np.float32, low, high))

    def op(self, kind: str, inputs, shape, dtype=None, **attributes) -> Value:
        """Adds a node with one output of the given shape."""
        return self.ops(kind, inputs, [shape], dtype, **attributes)[0]

    def ops(self, kind: str, inputs, shapes, dtype=None, **attributes) -> list[Value]:
        dtype = np.dtype(dtype or next(i for i in inputs if i is not None).dtype)
        outs = [Value(self.name("v"), dtype, tuple(int(d) for d in shape)) for shape in shapes]
        names = [i.name if i is not None else "" for i in inputs]
        while names and not names[-1]:
            names.pop()
        self.nodes.append(helper.make_node(kind, names, [o.name for o in outs], name=self.name(kind.lower()), **attributes))
        self.values.extend(outs)
        return outs

    def pick(self, condition=lambda v: True) -> Value | None:
        """A value that exists and fits; later ones are likelier."""
        fitting = [v for v in self.values if condition(v)]
        if not fitting:
            return None
        return fitting[max(self.rng.randrange(len(fitting)) for _ in range(2))]

    def finish(self, dynamic: bool) -> ModelProto:
        """Chooses outputs: what nobody reads, and now and then a value on the way, an input, or one value twice."""
        read = {name for node in self.nodes for name in node.input}
        made = {name for node in self.nodes for name in node.output}
        ends = [v for v in self.values if v.name in made and v.name not in read]
        inner = [v for v in self.values if v.name in made and v.name in read]
        self.rng.shuffle(inner)
        chosen = ends + inner[: self.rng.choice([0, 0, 1, 2])]
        if self.rng.random() < 0.05 and self.inputs:
            chosen.append(next(v for v in self.values if v.name in self.inputs))
        self.outputs = list(dict.fromkeys(chosen))
        batch = None
        if dynamic:
            batch = "N"

        def port(value: Value, is_input: bool):
            shape = list(value.shape)
            if batch and is_input and len(shape) > 1 and shape[0] == 2:
                shape = [batch, *shape[1:]]
            return helper.make_tensor_value_info(value.name, TYPES[value.dtype], shape if is_input else None)

        inputs = [port(v, True) for v in self.values if v.name in self.inputs]
        outputs = [port(v, False) for v in self.outputs]
        graph = helper.make_graph(self.nodes, "random", inputs, outputs, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

"""Grows a random ONNX graph node by node: every value's type and shape are known, so that each choice is legal. Opsets differ in how
they say axes, sizes and bounds (attributes, later inputs); the methods named after operators know that."""

from __future__ import annotations

import dataclasses
import functools
import random

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper

DTYPES = {
    np.dtype(t): helper.np_dtype_to_tensor_dtype(np.dtype(t))
    for t in ("f4", "f8", "f2", "i4", "i8", "i1", "i2", "u1", "u2", "u4", "u8", "?")
}
FLOAT = np.dtype(np.float32)
INT64 = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)
# How often a value that may have any type has which.
COMMON = [FLOAT] * 8 + [np.dtype(t) for t in ("f2", "f8", "i4", "i8", "i8", "?")] + [np.dtype(t) for t in ("i1", "i2", "u1", "u2", "u4", "u8")]


class Dim(int):
    """A size that is open in the model: `symbol` is its name, None where it was computed; the number is its first size. What is
    computed from it is open, too. `grows`: its other sizes are larger."""

    def __new__(cls, size: int, symbol: str | None = None, grows: bool = False):
        dim = super().__new__(cls, size)
        dim.symbol = symbol
        dim.grows = grows
        return dim

    def __hash__(self) -> int:
        return int.__hash__(self)


def _keep_open(name: str):
    return lambda self, other: Dim(getattr(int, name)(self, int(other)), grows=self.grows)


for _name in ("add", "sub", "mul", "floordiv"):
    setattr(Dim, f"__{_name}__", _keep_open(f"__{_name}__"))
    setattr(Dim, f"__r{_name}__", _keep_open(f"__r{_name}__"))
Dim.__neg__ = lambda self: Dim(-int(self), grows=self.grows)


def is_open(dim) -> bool:
    return isinstance(dim, Dim)


def product(shape) -> int:
    """Open where a factor is."""
    size = 1
    for d in shape:
        size = size * d
    return size


def broadcast(*shapes) -> tuple | None:
    """The common shape, with its open sizes; None when there is none."""
    out = []
    for i in range(max(len(s) for s in shapes)):
        dims = [s[len(s) - 1 - i] for s in shapes if i < len(s)]
        other = [d for d in dims if d != 1]
        if any(d != other[0] for d in other):
            return None
        out.append(next((d for d in other or dims if is_open(d)), (other or dims)[0]))
    return tuple(reversed(out))


@dataclasses.dataclass(frozen=True)
class Value:
    """One value of the graph."""

    name: str
    dtype: np.dtype
    shape: tuple

    @property
    def size(self) -> int:
        return product(self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        return self.dtype == FLOAT


@functools.lru_cache(maxsize=None)
def runs(kind: str, domain: str, opset: int, dtypes: tuple, attributes: tuple) -> bool:
    """Whether ONNX Runtime has this operator for these types."""
    inputs = [helper.make_tensor_value_info(f"x{i}", DTYPES[t], None) for i, t in enumerate(dtypes) if t is not None]
    names = [f"x{i}" if t is not None else "" for i, t in enumerate(dtypes)]
    node = helper.make_node(kind, names, ["y"], domain=domain, **dict(attributes))
    graph = helper.make_graph([node], "probe", inputs, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)], ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - whatever it raises
        return not any(word in str(error) for word in ("NOT_IMPLEMENTED", "INVALID_GRAPH", "No opset import", "is not a registered", "Type Error"))
    return True


class Graph:
    """A model under construction. `rng` decides everything. `open_sizes`: inputs may have symbolic dimensions."""

    def __init__(self, rng: random.Random, opset: int, open_sizes: bool = False) -> None:
        self.rng = rng
        self.np = np.random.default_rng(rng.getrandbits(32))
        self.opset = opset
        self.open_sizes = open_sizes
        self.nodes: list = []
        self.initializers: list = []
        self.inputs: dict[str, np.ndarray] = {}
        self.ranges: dict[str, tuple[float, float]] = {}
        self.symbols: dict[str, list[int]] = {}
        self.positive = False  # open sizes must not be 0
        self.hidden: set[str] = set()  # values that no further node may pick
        self.values: list[Value] = []
        self.constants: list[Value] = []
        self.outputs: list[Value] = []
        self.count = 0

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    # ---- where values come from

    def size(self, *choices: int) -> int:
        """A dimension of an input, perhaps an open one."""
        size = self.rng.choice(choices)
        if not self.open_sizes or self.chance(0.4):
            return size
        symbol = self.rng.choice(["N", "L", "M"])
        if symbol not in self.symbols:
            self.symbols[symbol] = [size, *self.rng.sample([1, 2, 3, 5, 7, 0], 2)]
        return Dim(self.symbols[symbol][0], symbol)

    def pixels(self, *choices: int) -> int:
        """The same for a spatial one, which windows must go on fitting into: its other sizes are larger."""
        size = self.rng.choice(choices)
        if not self.open_sizes or self.chance(0.4):
            return size
        symbol = self.rng.choice(["H", "W"])
        if symbol not in self.symbols:
            self.symbols[symbol] = [size, size + 1, size + self.rng.choice([2, 4, 7])]
        return Dim(self.symbols[symbol][0], symbol, grows=True)

    def array(self, shape, dtype=np.float32, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        """Random contents; integers from low to high."""
        dtype, shape = np.dtype(dtype), tuple(int(d) for d in shape)
        if dtype == np.bool_:
            return np.asarray(self.np.random(shape) < 0.5)
        if dtype.kind in "iu":
            return self.np.integers(max(0, int(low)) if dtype.kind == "u" else int(low), int(high) + 1, shape).astype(dtype)
        return self.np.uniform(low, high, shape).astype(dtype)

    def input(self, shape, dtype=np.float32, low: float = -1.0, high: float = 1.0) -> Value:
        shape = tuple(int(d) if is_open(d) and d.symbol is None else d for d in shape)
        value = Value(self.name("in"), np.dtype(dtype), shape)
        self.inputs[value.name] = self.array(shape, dtype, low, high)
        self.ranges[value.name] = (low, high)
        self.values.append(value)
        return value

    def constant(self, array) -> Value:
        """An initializer or a Constant node; now and then one that exists already with the same bytes."""
        array = np.asarray(array)
        value = Value(self.name("w"), array.dtype, array.shape)
        if self.chance(0.15):
            self.nodes.append(helper.make_node("Constant", [], [value.name], value=numpy_helper.from_array(array)))
        else:
            self.initializers.append(numpy_helper.from_array(array, value.name))
        self.constants.append(value)
        return value

    def scalar(self, number: float, dtype=np.float32) -> Value:
        """A number, as a scalar or as one of the shapes that broadcast like one."""
        return self.constant(np.full(self.rng.choice([(), (), (1,)]), number, dtype))

    def ints(self, *values: int, dtype=np.int64) -> Value:
        return self.constant(np.array([int(v) for v in values], dtype))

    def weight(self, *shape: int, low: float = -0.5, high: float = 0.5) -> Value:
        """Mostly fresh; sometimes one that another node reads already."""
        if self.chance(0.1) and low < 0:
            same = [v for v in self.constants if v.is_float and v.shape == tuple(shape)]
            if same:
                return self.rng.choice(same)
        return self.constant(self.array(shape, np.float32, low, high))

    def pick(self, condition=lambda v: True) -> Value | None:
        """A value that exists and fits; later ones are likelier."""
        fitting = [v for v in self.values if v.name not in self.hidden and condition(v)]
        if not fitting:
            return None
        return fitting[max(self.rng.randrange(len(fitting)) for _ in range(2))]

    # ---- nodes

    def op(self, kind: str, inputs, shape, dtype=None, **attributes) -> Value:
        """Adds a node with one output of the given shape."""
        return self.ops(kind, inputs, [shape], dtype, **attributes)[0]

    def ops(self, kind: str, inputs, shapes, dtype=None, domain: str = "", **attributes) -> list[Value]:
        dtype = np.dtype(dtype or next(i for i in inputs if i is not None).dtype)
        dtypes = dtype if isinstance(dtype, list) else [dtype] * len(shapes)
        outs = [Value(self.name("v"), t, tuple(d if is_open(d) else int(d) for d in s)) for s, t in zip(shapes, dtypes)]
        names = [i.name if i is not None else "" for i in inputs]
        while names and not names[-1]:
            names.pop()
        self.nodes.append(helper.make_node(kind, names, [o.name for o in outs], name=self.name(kind.lower()), domain=domain, **attributes))
        self.values.extend(outs)
        return outs

    def has(self, kind: str, *dtypes, domain: str = "", **attributes) -> bool:
        return runs(kind, domain, self.opset, tuple(np.dtype(t) if t is not None else None for t in dtypes), tuple(sorted(attributes.items())))

    def cast(self, x: Value, dtype) -> Value:
        """Never a float that does not fit: what becomes of it is anybody's choice."""
        dtype = np.dtype(dtype)
        if x.dtype.kind == "f" and dtype.kind in "iu":
            x = self.clip(self.cast(x, FLOAT), 0 if dtype.kind == "u" else -100, 100)
        return x if x.dtype == dtype else self.op("Cast", [x], x.shape, dtype, to=DTYPES[dtype])

    def add(self, a: Value, b: Value) -> Value:
        return self.binary("Add", *self.rng.sample([a, b], 2))

    def mul(self, a: Value, b: Value) -> Value:
        return self.binary("Mul", *self.rng.sample([a, b], 2))

    def binary(self, kind: str, a: Value, b: Value, dtype=None) -> Value:
        return self.op(kind, [a, b], broadcast(a.shape, b.shape), dtype)

    def unary(self, kind: str, x: Value, **attributes) -> Value:
        return self.op(kind, [x], x.shape, **attributes)

    def axis(self, axis: int, rank: int) -> int:
        """The same axis, perhaps counted from the end."""
        return axis - self.rng.choice([0, rank])

    def transpose(self, x: Value, *perm: int) -> Value:
        return self.op("Transpose", [x], [x.shape[p] for p in perm], perm=list(perm))

    def squeeze(self, x: Value, *axes: int) -> Value:
        out = [d for i, d in enumerate(x.shape) if i not in axes]
        axes = [self.axis(a, x.rank) for a in axes]
        return self.op("Squeeze", [x, self.ints(*axes)], out) if self.opset >= 13 else self.op("Squeeze", [x], out, axes=axes)

    def unsqueeze(self, x: Value, *axes: int) -> Value:
        out = list(x.shape)
        for a in sorted(axes):
            out.insert(a, 1)
        if self.opset < 13:
            return self.op("Unsqueeze", [x], out, axes=list(axes))
        return self.op("Unsqueeze", [x, self.ints(*(self.axis(a, len(out)) for a in axes))], out)

    def split(self, x: Value, sizes, axis: int) -> list[Value]:
        shapes = [(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n in sizes]
        attributes, inputs = {"axis": self.axis(axis, x.rank)}, [x]
        if len(set(sizes)) > 1 or self.chance(0.5):
            if self.opset >= 13:
                inputs.append(self.ints(*sizes))
            else:
                attributes["split"] = list(sizes)
        elif self.opset >= 18:
            attributes["num_outputs"] = len(sizes)
        return self.ops("Split", inputs, shapes, **attributes)

    def slice(self, x: Value, cuts) -> Value:
        """cuts: (axis, start, end, step)."""
        out = list(x.shape)
        for axis, start, end, step in cuts:
            out[axis] = len(range(*slice(start, end, step).indices(int(x.shape[axis]))))
        axes = [self.axis(c[0], x.rank) for c in cuts]
        if self.opset < 10:
            return self.op("Slice", [x], out, axes=[c[0] for c in cuts], starts=[c[1] for c in cuts], ends=[min(c[2], 2**62) for c in cuts])
        dtype = self.rng.choice([np.int64, np.int64, np.int32])
        ends = [min(c[2], np.iinfo(dtype).max) for c in cuts]
        inputs = [x, self.ints(*(c[1] for c in cuts), dtype=dtype), self.ints(*ends, dtype=dtype)]
        steps = self.ints(*(c[3] for c in cuts), dtype=dtype) if any(c[3] != 1 for c in cuts) or self.chance(0.5) else None
        whole = [c[0] for c in cuts] == list(range(len(cuts))) and self.chance(0.5)
        inputs += [None if whole else self.ints(*axes, dtype=dtype), steps]
        return self.op("Slice", inputs, out)

    def one(self, x: Value, axis: int, start: int, end: int) -> Value:
        return self.slice(x, [(axis, start, end, 1)])

    def clip(self, x: Value, low, high) -> Value:
        if self.opset < 11:
            return self.unary("Clip", x, **({"min": float(low)} if low is not None else {}), **({"max": float(high)} if high is not None else {}))
        bounds = [None if b is None else self.constant(np.array(b, x.dtype)) for b in (low, high)]
        return self.op("Clip", [x, *bounds], x.shape)

    def reduce(self, kind: str, x: Value, axes, keep: bool = True, **attributes) -> Value:
        """axes None: all of them."""
        done = range(x.rank) if axes is None else axes
        out = [1 if i in done else d for i, d in enumerate(x.shape) if keep or i not in done]
        inputs = [x]
        if axes is not None:
            told = [self.axis(a, x.rank) if self.opset >= 11 else a for a in axes]
            if self.opset >= (13 if kind == "ReduceSum" else 18):
                inputs.append(self.ints(*told))
            else:
                attributes["axes"] = told
        if not keep or self.chance(0.5):
            attributes["keepdims"] = int(keep)
        return self.op(kind, inputs, out, **attributes)

    def dim(self, x: Value, axis: int) -> Value:
        """One size of x, as exporters ask for it."""
        shape = self.op("Shape", [x], (x.rank,), np.int64)
        if self.opset >= 15 and self.chance(0.3):
            return self.op("Shape", [x], (1,), np.int64, start=axis, end=axis + 1)
        if self.chance(0.5):
            return self.unsqueeze(self.op("Gather", [shape, self.constant(np.int64(axis))], (), np.int64, axis=0), 0)
        return self.slice(shape, [(0, axis, axis + 1, 1)])

    def reshape(self, x: Value, shape, **attributes) -> Value:
        """To a shape of the same size, said in one of the ways there are: numbers, 0, -1, sizes of x computed in the graph."""
        shape = tuple(shape)
        told, computed = [], False
        free = x.size > 0 and self.chance(0.5)
        last = [i for i, d in enumerate(shape) if is_open(d) and not any(d is e for e in x.shape)]
        for i, d in enumerate(shape):
            kept = i < x.rank and (x.shape[i] is d if is_open(d) else x.shape[i] == d and not is_open(x.shape[i]))
            source = next((k for k, e in enumerate(x.shape) if is_open(d) and e is d), None)
            if i in last:
                told.append(-1)
            elif kept and "allowzero" not in attributes and self.chance(0.7 if is_open(d) else 0.2):
                told.append(0)
            elif free and not last and -1 not in told and (is_open(d) or self.chance(0.3)):
                told.append(-1)
            elif source is not None:
                told.append(self.dim(x, source))
                computed = True
                self.positive |= source != i  # a size of 0 would mean another one
            else:
                told.append(int(d))
        if not computed:
            return self.op("Reshape", [x, self.ints(*told)], shape, **attributes)
        parts = [t if isinstance(t, Value) else self.ints(t) for t in told]
        target = self.op("Concat", parts, (len(parts),), np.int64, axis=0)
        return self.op("Reshape", [x, target], shape, **attributes)

    # ---- the model

    def choose_outputs(self) -> None:
        """What nobody reads, now and then values on the way, an input, a constant, one value twice; some ends stay dead."""
        read = {name for node in self.nodes for name in node.input}
        made = {name for node in self.nodes for name in node.output}
        ends = [v for v in self.values if v.name in made and v.name not in read]
        inner = [v for v in self.values if v.name in made and v.name in read]
        self.rng.shuffle(inner)
        if len(ends) > 1 and self.chance(0.1):
            ends.pop(self.rng.randrange(len(ends)))
        chosen = ends + inner[: self.rng.choice([0, 0, 0, 1, 2, 4])]
        if self.chance(0.08) and self.inputs:
            chosen.append(next(v for v in self.values if v.name in self.inputs))
        if self.chance(0.05) and self.constants:
            kept = {i.name for i in self.initializers}
            chosen += [v for v in self.constants if v.name in kept][:1]
        if self.chance(0.08) and chosen:
            twin = self.rng.choice(chosen)
            chosen.append(self.op("Identity", [twin], twin.shape))
        self.outputs = list(dict.fromkeys(chosen))
        self.rng.shuffle(self.outputs)

    def port(self, value: Value, how: str):
        """how: whole, rank, type: what a declaration says of the shape."""
        shape = None
        if how == "whole":
            shape = [d.symbol or self.name("unk__") if is_open(d) else int(d) for d in value.shape]
        elif how == "rank":
            shape = [self.name("unk__") for _ in value.shape]
        return helper.make_tensor_value_info(value.name, DTYPES[value.dtype], shape)

    def finish(self) -> ModelProto:
        self.choose_outputs()
        if self.chance(0.05):
            self.input(self.rng.choice([(2, 3), (), (0,)]))  # nobody reads it
        inputs = [self.port(v, "whole") for v in self.values if v.name in self.inputs]
        ways = ["type", "rank", "whole"]
        outputs = [self.port(v, self.rng.choice(ways)) for v in self.outputs]
        known = {o.name for o in self.outputs} | set(self.inputs)
        told = [v for v in [*self.values, *self.constants] if v.name not in known]
        plain = all(v.dtype in (FLOAT, INT64, BOOL) for v in told)
        if plain and self.chance(0.6):
            told = []
        how = self.rng.choice(ways)
        infos = [self.port(v, how) for v in told if v.name not in {i.name for i in self.initializers}]
        if self.chance(0.05) and self.initializers:  # as IR version 3 wanted: an initializer is an input with a default
            twin = self.initializers[0]
            inputs.append(helper.make_tensor_value_info(twin.name, twin.data_type, list(twin.dims)))
        graph = helper.make_graph(self.nodes, "random", inputs, outputs, self.initializers, value_info=infos)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=self.rng.choice([7, 8, 10]))

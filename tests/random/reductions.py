"""Reductions over any axes and types, softmaxes of both rules, and shape arithmetic."""

from __future__ import annotations

import numpy as np
from builder import DTYPES, FLOAT, INT64, Graph, Value, is_open, product
from elementwise import any_value, usable

KINDS = ["ReduceMean", "ReduceMean", "ReduceSum", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"]
KINDS += ["ReduceLogSumExp", "ReduceLogSum", "Softmax", "Softmax", "LogSoftmax"]


def reduction(g: Graph) -> Value | None:
    r = g.rng
    kind = r.choice(KINDS)
    x = usable(g, kind, any_value(g), 1)
    if x is None:
        return None
    if kind in ("Softmax", "LogSoftmax"):
        if not x.rank:
            return None
        axis = r.randrange(x.rank)
        extra = {"axis": g.axis(axis, x.rank) if g.opset >= 11 else axis} if g.chance(0.8) else {}
        return g.op(kind, [x], x.shape, **extra)
    if x.size == 0 and kind not in ("ReduceSum", "ReduceProd", "ReduceL1"):
        return None
    if kind == "ReduceLogSum":
        x = g.add(g.unary("Abs", g.cast(x, FLOAT)), g.scalar(1))
    if kind.startswith("ReduceLog"):
        x = g.clip(g.cast(x, FLOAT), -3, 3)  # of integers: nobody says how to round
    if g.chance(0.15):
        return g.reduce(kind, x, None, keep=g.chance(0.5))
    axes = sorted(r.sample(range(x.rank), r.randrange(1, x.rank + 1))) if x.rank else None
    if axes and g.chance(0.1) and g.opset >= 18:
        return g.op(kind, [x, g.ints()], x.shape, noop_with_empty_axes=1)
    y = g.reduce(kind, x, axes, keep=g.chance(0.6))
    if axes and y.rank < x.rank and g.chance(0.4):  # the axes put back
        return g.unsqueeze(y, *axes)
    return y


def shapes(g: Graph) -> Value | None:
    """Arithmetic on sizes, and what it is for."""
    r = g.rng
    x = any_value(g)
    if not x.rank:
        return g.op("Shape", [x], (0,), INT64)
    how = r.choice(["shape", "size", "fill", "expand", "double", "flatten", "half", "zeros", "position"])
    if how == "shape":
        start = r.randrange(-x.rank, x.rank)
        if g.opset >= 15 and g.chance(0.5):
            return g.op("Shape", [x], (len(x.shape[start:]),), INT64, start=start)
        return g.op("Shape", [x], (x.rank,), INT64)
    if how == "size":
        return g.op("Size", [x], (), INT64)
    s = g.op("Shape", [x], (x.rank,), INT64)
    if how == "fill" and g.opset >= 9:
        value = {"value": g_tensor(np.array([r.choice([0, 1, 2.5])], np.float32))} if g.chance(0.7) else {}
        return g.op("ConstantOfShape", [s], x.shape, FLOAT, **value)
    if how == "expand" and x.is_float:
        small = g.weight(*([1] * x.rank))
        return g.add(x, g.op("Expand", [small, s], x.shape))
    if how == "double" and not any(is_open(d) for d in x.shape) and x.size < 1000 and x.size > 0:
        d = g.mul(s, g.ints(*([1] * (x.rank - 1)), 2))
        return g.op("Expand", [g.constant(np.ones((), x.dtype)), d], [*x.shape[:-1], 2 * x.shape[-1]])
    if how == "flatten" and x.size > 0:
        total = g.reduce("ReduceProd", s, [0]) if g.has("ReduceProd", INT64) else None
        if total is not None:
            return g.op("Reshape", [x, total], (x.size,))
    if how == "half" and not is_open(x.shape[0]) and x.shape[0] >= 2 and g.opset >= 10:
        end = g.binary("Div", g.dim(x, 0), g.ints(2))
        return g.op("Slice", [x, g.ints(0), end, g.ints(0)], (x.shape[0] // 2, *x.shape[1:]))
    if how == "zeros" and x.is_float and g.opset >= 9:
        zeros = g.op("ConstantOfShape", [s], x.shape, FLOAT)
        return g.op("Concat", [x, zeros], (*x.shape[:-1], x.shape[-1] * 2), axis=-1)
    if how == "position" and g.opset >= 11:  # 0, 1, .. along an axis, as position embeddings have it
        n = g.squeeze(g.dim(x, x.rank - 1), 0)
        row = g.op("Range", [g.constant(np.int64(0)), n, g.constant(np.int64(1))], (x.shape[-1],))
        return g.add(g.cast(row, x.dtype), x) if x.dtype in (FLOAT, INT64) else row
    return None


def g_tensor(array: np.ndarray):
    from onnx import numpy_helper

    return numpy_helper.from_array(array)

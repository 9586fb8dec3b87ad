"""Elementwise operators over all types, with every way of broadcasting, and integers through what fusions look for."""

from __future__ import annotations

import numpy as np
from builder import BOOL, COMMON, DTYPES, FLOAT, Graph, Value, broadcast, is_open
from spellings import activation

ARITHMETIC = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Mod", "Sum", "Mean", "PRelu", "Equal", "Less", "Greater", "LessOrEqual"]
ARITHMETIC += ["GreaterOrEqual", "Where", "Where", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Add", "Mul", "Sub"]
COMPARISONS = ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
LOGIC = ["And", "Or", "Xor", "Equal", "Where", "Not"]
UNARY = ["Abs", "Neg", "Sign", "Relu", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh"]
UNARY += ["Cosh", "Asinh", "Acosh", "Atanh", "Erf", "Exp", "Sigmoid", "Tanh", "IsNaN", "IsInf", "BitwiseNot", "Shrink", "Clip", "Softplus", "Cast"]
# Where a function's argument must stay, so that results are numbers and not steep.
DOMAIN = {"Sqrt": (0, 4), "Log": (0.1, 4), "Asin": (-0.9, 0.9), "Acos": (-0.9, 0.9), "Acosh": (1.1, 4), "Atanh": (-0.9, 0.9), "Tan": (-1, 1)}
DOMAIN |= {"Exp": (-4, 2), "Sinh": (-3, 3), "Cosh": (-3, 3), "Reciprocal": (0.3, 4)}


def shape_of(g: Graph, most: int = 4) -> list[int]:
    return [g.size(0, 1, 1, 2, 3, 5) if g.chance(0.3) else g.size(1, 2, 3, 4, 7) for _ in range(g.rng.randrange(0, most + 1))]


def fresh(g: Graph) -> Value:
    return g.input(shape_of(g), g.rng.choice(COMMON), -3, 3)


def any_value(g: Graph) -> Value:
    x = g.pick(lambda v: v.size < 5000)
    return fresh(g) if x is None or g.chance(0.2) else x


def partner(g: Graph, x: Value) -> Value:
    """A value that broadcasts with x: the same one, a constant, an input, another value."""
    r = g.rng
    shape = list(x.shape)
    how = r.choice(["same", "ones", "scalar", "tail", "wider", "self", "stretch"])
    if how == "self":
        return x
    if how == "ones":
        shape = [r.choice([1, d]) for d in shape]
    elif how == "scalar":
        shape = [1] * r.choice([0, 0, 1, x.rank, x.rank + 1])
    elif how == "tail":
        shape = shape[r.randrange(0, len(shape) + 1) :]
    elif how == "wider":
        shape = [g.size(1, 2, 3)] + shape
    elif how == "stretch":
        shape = [r.choice([0, 2, 3]) if d == 1 and not is_open(d) else d for d in shape]
    if g.chance(0.3):
        other = g.pick(lambda v: v.dtype == x.dtype and v.shape == tuple(shape))
        if other is not None:
            return other
    if g.chance(0.5) and not any(is_open(d) for d in shape):
        return g.constant(g.array(shape, x.dtype, -3, 3))
    return g.input(shape, x.dtype, -3, 3)


def nonzero(g: Graph, x: Value) -> Value:
    """|x| + 1, in x's type."""
    if x.dtype.kind != "u":
        x = g.unary("Abs", x)
    one = g.constant(np.array(1, x.dtype))
    return g.binary("Add", x, one) if x.dtype.kind == "f" else g.op("Max", [x, one], x.shape)


def usable(g: Graph, kind: str, x: Value, n: int) -> Value | None:
    """x in a type that ONNX Runtime has the operator for; mostly its own."""
    if g.has(kind, *[x.dtype] * n):
        return x
    for dtype in (FLOAT, np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.uint8)):
        if g.has(kind, *[dtype] * n):
            return g.cast(x, dtype) if g.has("Cast", x.dtype, to=DTYPES[dtype]) else None
    return None


def elementwise(g: Graph) -> Value | None:
    x = any_value(g)
    if x.is_float and g.chance(0.25):
        return activation(g, x)
    return binary(g, x) if g.chance(0.65) else unary(g, x)


def binary(g: Graph, x: Value) -> Value | None:
    r = g.rng
    kind = r.choice(LOGIC if x.dtype == BOOL else ARITHMETIC)
    if kind == "Not":
        return g.unary(kind, x)
    if kind == "Where":
        return where(g, x)
    shift = {"direction": r.choice(["LEFT", "RIGHT"])} if kind == "BitShift" else {}
    if kind == "BitShift":
        x = g.cast(x, np.uint8) if x.dtype.kind not in "u" else x
        if not g.has(kind, x.dtype, x.dtype, **shift):
            return None
        few = g.constant(g.array(r.choice([x.shape, ()]), x.dtype, 0, 3)) if not any(is_open(d) for d in x.shape) else g.constant(np.array(1, x.dtype))
        return g.op(kind, [x, few], broadcast(x.shape, few.shape), **shift)
    if kind == "Mod" and x.dtype.kind == "f":
        kind = "Div"
    x = usable(g, kind, x, 2)
    if x is None:
        return None
    other = partner(g, x)
    out = broadcast(x.shape, other.shape)
    if out is None or int(np.prod([int(d) for d in out])) > 20000:
        return None
    if kind in ("Div", "Mod"):
        if x.dtype.kind != "f" and not g.has("Max", x.dtype, x.dtype):
            return None
        other = nonzero(g, other)
    if kind == "Pow":
        return power(g, x)
    if kind == "PRelu":
        return g.op(kind, [x, other], x.shape) if out == x.shape else None
    if kind in COMPARISONS:
        return g.op(kind, [x, other], out, BOOL)
    if kind in ("Sum", "Mean", "Max", "Min") and g.chance(0.3):
        third = partner(g, x)
        most = broadcast(out, third.shape)
        return g.op(kind, [x, other, third], most) if most is not None else None
    if kind in ("Sum", "Mean", "Max", "Min") and g.chance(0.1):
        return g.op(kind, [x], x.shape)
    inputs = [x, other] if kind in ("Div", "Mod", "PRelu") else r.sample([x, other], 2)
    return g.op(kind, inputs, out)


def power(g: Graph, x: Value) -> Value | None:
    if x.dtype.kind == "f":
        base = nonzero(g, x) if g.chance(0.5) else g.unary("Abs", x)
        exponent = g.rng.choice([2, 0.5, 3, 1, 0]) if g.has("Pow", x.dtype, x.dtype) else 2
        return g.binary("Pow", base, g.constant(np.array(exponent, x.dtype)))
    return g.binary("Pow", x, g.constant(np.array(g.rng.choice([0, 1, 2]), x.dtype)))


def where(g: Graph, x: Value) -> Value | None:
    if not g.has("Where", BOOL, x.dtype, x.dtype):
        return None
    other = partner(g, x)
    out = broadcast(x.shape, other.shape)
    condition = g.pick(lambda v: v.dtype == BOOL and v.size < 2000 and broadcast(v.shape, out) is not None)
    if condition is None:
        shape = [d if is_open(d) else g.rng.choice([1, d]) for d in out]
        condition = g.input(shape, BOOL) if any(is_open(d) for d in shape) or g.chance(0.3) else g.constant(g.array(shape, BOOL))
    out = broadcast(out, condition.shape)
    if int(np.prod([int(d) for d in out])) > 20000:
        return None
    return g.op("Where", [condition, *g.rng.sample([x, other], 2)], out, x.dtype)


def unary(g: Graph, x: Value) -> Value | None:
    r = g.rng
    kind = r.choice(UNARY) if x.dtype != BOOL else r.choice(["Not", "Cast", "Identity"])
    if kind == "Cast":
        to = r.choice(COMMON)
        if x.dtype.kind == "f" and to.kind in "iu":
            return g.cast(x, to)
        return g.op("Cast", [x], x.shape, to, to=DTYPES[to])
    if kind == "Clip":
        x = usable(g, kind, x, 1)
        low = r.choice([-2, -1, None])
        return None if x is None else g.clip(x, 0 if x.dtype.kind == "u" and low is not None else low, r.choice([1, 2, None]))
    x = usable(g, kind, x, 1)
    if x is None:
        return None
    if kind in DOMAIN and x.dtype.kind == "f":
        x = g.clip(g.cast(x, FLOAT), *DOMAIN[kind])
    if kind in ("IsNaN", "IsInf"):
        return g.op(kind, [x], x.shape, BOOL)
    attributes = {"lambd": 0.5, "bias": r.choice([0.0, 0.25])} if kind == "Shrink" else {}
    return g.unary(kind, x, **attributes)


def special(g: Graph) -> Value:
    """NaN, infinities and zeros of both signs through what handles them element by element."""
    r = g.rng
    x = g.input(shape_of(g, 3), r.choice([FLOAT, FLOAT, np.dtype(np.float64)]))
    wild = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 3e38], x.dtype)
    given = g.inputs[x.name]
    g.inputs[x.name] = np.where(g.np.random(given.shape) < 0.4, g.np.choice(wild, given.shape), given).astype(x.dtype)
    y = of_special(g, x)
    g.hidden |= {x.name, y.name}
    return y


def of_special(g: Graph, x: Value) -> Value:
    kind = g.rng.choice(["Abs", "Neg", "IsNaN", "IsInf", "Floor", "Add", "Mul", "Sub", "Div", "Relu", "Less", "Equal", "Where", "Sqrt", "ReduceSum"])
    if kind == "ReduceSum" and x.rank and x.size:
        return g.reduce(kind, x, [x.rank - 1])
    if kind == "Where" and g.opset >= 9:
        return g.op(kind, [g.op("IsNaN", [x], x.shape, BOOL), g.constant(np.zeros((), x.dtype)), x], x.shape, x.dtype)
    if kind in ("IsNaN", "IsInf") and g.opset >= 10 and g.has(kind, x.dtype):
        return g.op(kind, [x], x.shape, BOOL)
    if kind in ("Add", "Mul", "Sub", "Div"):
        return g.binary(kind, x, g.input(x.shape, x.dtype))
    if kind in ("Less", "Equal"):
        return g.op(kind, [x, g.input(x.shape, x.dtype)], x.shape, BOOL)
    if kind in ("Floor", "Sqrt", "Relu", "Abs"):
        return g.unary(kind, x)
    return g.unary("Neg", x)


def integers(g: Graph) -> Value | None:
    """Whole numbers through what a fusion of floats looks for: products, bias, residual, norms, activations."""
    r = g.rng
    dtype = np.dtype(r.choice([np.int32, np.int64, np.float64, np.float16]))
    x = g.input([g.size(1, 2, 3), g.size(1, 2, 4), r.choice([2, 4])], dtype, -3, 3)
    kind = r.choice(["product", "affine", "norm", "attention", "silu", "sink"])
    n = x.shape[-1]

    def constant(*shape: int) -> Value:
        return g.constant(g.array(shape, dtype, -2, 3))

    if kind == "product":
        y = g.op("MatMul", [x, constant(n, 3)], (*x.shape[:-1], 3))
        y = g.add(y, constant(3))
        return g.unary("Relu", y) if g.has("Relu", dtype) else y
    if kind == "affine":
        return g.add(g.mul(g.add(x, constant(n)), constant(1, n)), x)
    if kind == "norm":
        if not g.has("ReduceMean", dtype, axes=(-1,)) and g.opset < 18:
            return None
        d = g.binary("Sub", x, g.reduce("ReduceMean", x, [2]))
        return g.add(g.reduce("ReduceSum", g.mul(d, d), [2]), constant(1))
    if kind == "attention":
        if dtype.kind != "f":
            return g.op("MatMul", [x, g.transpose(x, 0, 2, 1)], (*x.shape[:2], x.shape[1]))
        s = g.op("MatMul", [x, g.transpose(x, 0, 2, 1)], (*x.shape[:2], x.shape[1]))
        p = g.op("Softmax", [g.mul(s, constant())], s.shape, axis=-1)
        return g.op("MatMul", [p, x], x.shape)
    if kind == "silu":
        return g.mul(x, g.unary("Sigmoid", x)) if dtype.kind == "f" else g.mul(x, g.unary("Abs", x))
    return g.one(g.add(x, constant(n)), 2, 0, 1)

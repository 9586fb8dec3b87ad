"""Matrix products and what networks write around them."""

from __future__ import annotations

import numpy as np
from builder import Graph, Value, broadcast, is_open
from spellings import activation


def linear(g: Graph, x: Value | None = None, n: int | None = None) -> Value | None:
    """A product with a constant matrix, bias, activation, scale, residual."""
    r = g.rng
    if x is None:
        x = g.pick(lambda v: v.is_float and v.rank >= 1 and v.shape[-1] <= 64 and not is_open(v.shape[-1]))
    if x is None:
        return None
    k, n = x.shape[-1], n or r.choice([1, 3, 8, 17, 33])
    if x.rank == 2 and g.chance(0.4):
        y = gemm(g, x, k, n)
    elif x.rank > 2 and g.chance(0.2):
        batch = [r.choice([1, d]) if not is_open(d) else 1 for d in x.shape[:-2]]
        y = g.op("MatMul", [x, g.weight(*batch, k, n)], (*x.shape[:-1], n))
    elif g.chance(0.05):  # a vector on the right
        return g.op("MatMul", [x, g.weight(k)], x.shape[:-1])
    elif g.chance(0.05):  # the constant on the left
        if x.rank < 2 or is_open(x.shape[-2]):
            return None
        return g.op("MatMul", [g.weight(n, x.shape[-2]), x], (*x.shape[:-2], n, k))
    else:
        w = g.weight(k, n)
        if g.chance(0.2):
            w = g.transpose(g.weight(n, k), 1, 0)
        if g.chance(0.05):
            w = g.add(w, g.weight(1, n))  # computed from constants
        y = g.op("MatMul", [x, w], (*x.shape[:-1], n))
        if g.chance(0.7):
            shapes = [[n], [n], [n], [1, n], [1], [], [1] * y.rank, [1] * (y.rank + 1)] + ([[y.shape[-2], 1], [y.shape[-2], n]] if y.rank > 1 and not is_open(y.shape[-2]) else [])
            y = g.add(y, g.weight(*r.choice(shapes)))
    return after(g, x, y)


def gemm(g: Graph, x: Value, k: int, n: int) -> Value:
    r = g.rng
    m = x.shape[0]
    t = r.choice([0, 1])
    a, extra = x, {}
    if g.chance(0.15) and not is_open(m):
        a, extra = g.transpose(x, 1, 0), {"transA": 1}
    w = g.weight(n, k) if t else g.weight(k, n)
    if g.chance(0.15):
        w = g.input(w.shape)
    shapes = [[n], [1, n], [1], [1, 1]] + ([[]] if g.opset >= 7 else []) + ([[m, n], [m, 1]] if not is_open(m) else [])
    c = g.weight(*r.choice(shapes)) if g.chance(0.8) else None
    if c is None and g.opset < 11:
        c = g.weight(n)
    if g.chance(0.5):
        extra["alpha"] = r.choice([1.0, 0.5, 0.0, -2.0])
    if g.chance(0.5):
        extra["beta"] = r.choice([1.0, 2.0, 0.0, -0.5])
    return g.op("Gemm", [a, w, c], (m, n), transB=t, **extra)


def after(g: Graph, x: Value, y: Value) -> Value:
    """An epilogue in any order, with things around it that must not move in."""
    r = g.rng
    n = y.shape[-1]
    for step in r.choices(["act", "scale", "residual", "bias", "reshape", "twice", "silu"], k=r.choice([0, 1, 2, 3])):
        if step == "act":
            y = activation(g, y)
        elif step == "scale":
            shapes = [[n], [n], [1], [1] * y.rank] + ([[y.shape[-2], 1]] if y.rank > 1 and not is_open(y.shape[-2]) else [])
            y = g.mul(y, g.weight(*r.choice(shapes)))
        elif step == "residual":
            other = x if y.shape == x.shape and y.rank == x.rank else g.pick(lambda v: v.is_float and v.shape == y.shape and v.name != y.name)
            if other is None and g.chance(0.3):
                other = g.input(y.shape)
            if other is not None:
                y = g.add(y, other) if g.chance(0.8) else g.binary("Sub", y, other)
        elif step == "bias":
            y = g.add(y, g.weight(n))
        elif step == "reshape" and y.rank >= 2 and y.size > 0 and not any(is_open(d) for d in y.shape):
            y = g.reshape(y, (y.size // n, n)) if y.rank != 2 else g.reshape(y, (1, *y.shape))
        elif step == "twice":
            y = g.add(y, y)
        elif step == "silu":
            y = g.mul(y, g.unary("Sigmoid", y))
    return y


def matmul(g: Graph) -> Value | None:
    """A product of two computed values of any rank, with broadcasting and empty sizes."""
    r = g.rng
    dtype = r.choice([np.float32] * 6 + [np.float64, np.int32, np.int64, np.float16])
    a = g.pick(lambda v: v.is_float and v.rank >= 1 and v.size <= 4000) if dtype == np.float32 else None
    if a is None:
        shape = [g.size(0, 1, 2, 3, 5) for _ in range(r.randrange(1, 5))]
        a = g.input(shape, dtype, -3, 3)
    k = a.shape[-1]
    if g.chance(0.15):
        b = g.input((k,), a.dtype, -3, 3)
        return g.op("MatMul", [a, b], a.shape[:-1])
    n = g.size(0, 1, 2, 4, 9) if g.chance(0.3) else g.size(1, 2, 4, 9)
    batch = [d if is_open(d) else r.choice([1, d]) for d in a.shape[:-2]][r.randrange(0, max(1, a.rank - 1)) :]
    if g.chance(0.2):
        batch = [2] + batch if len(batch) == max(a.rank - 2, 0) else batch
    b = g.input((*batch, k, n), a.dtype, -3, 3)
    if a.rank == 1:
        return g.op("MatMul", [a, b], (*batch, n))
    return g.op("MatMul", [a, b], (*broadcast(a.shape[:-2], tuple(batch)), a.shape[-2], n))


def einsum(g: Graph) -> Value | None:
    """Contractions: matrix products in disguise, traces, sums, outer products, broadcasting axes."""
    r = g.rng
    if g.opset < 12:
        return None
    sizes = {c: g.size(1, 2, 3, 4) for c in "abcdef"}
    left = "".join(r.sample("abcdef", r.randrange(1, 5)))
    if g.chance(0.25):  # one operand
        if g.chance(0.2):
            left += left[0]
        out = "".join(r.sample(sorted(set(left)), r.randrange(0, len(set(left)) + 1)))
        x = g.input([sizes[c] for c in left])
        return g.op("Einsum", [x], [sizes[c] for c in out], equation=f"{left}->{out}")
    right = "".join(r.sample("abcdef", r.randrange(1, 5)))
    used = sorted(set(left + right))
    out = "".join(r.sample(used, r.randrange(0, min(len(used), 5) + 1)))
    equation = f"{left},{right}->{out}"
    if g.chance(0.1):
        equation = f"{left},{right}"
        out = "".join(c for c in used if (left + right).count(c) == 1)
    if g.chance(0.2):
        equation = equation.replace(",", " , ")
    x, y = g.input([sizes[c] for c in left]), g.input([sizes[c] for c in right])
    return g.op("Einsum", [x, y], [sizes[c] for c in out], equation=equation)

"""What moves elements and computes none: views, chains of views before operators that work in place, padding, repeating."""

from __future__ import annotations

import numpy as np
from builder import BOOL, FLOAT, INT64, Graph, Value, is_open, product
from elementwise import any_value

KINDS = ["Reshape"] * 3 + ["Transpose"] * 3 + ["Slice"] * 3 + ["Concat"] * 2 + ["Split"] * 2 + ["Gather", "Tile", "Expand", "Pad", "Squeeze", "Unsqueeze"]
KINDS += ["Identity", "Flatten", "view", "Dropout", "self_concat", "steps"]


def movement(g: Graph, x: Value | None = None) -> Value | None:
    x = x or any_value(g)
    kind = g.rng.choice(KINDS)
    return globals()[f"move_{kind.lower()}"](g, x)


def factors(g: Graph, size: int) -> list[int]:
    out = []
    while size > 1 and len(out) < 4:
        d = g.rng.choice([k for k in range(1, min(size, 16) + 1) if size % k == 0])
        out.append(d)
        size //= d
    return out + [size]


def move_reshape(g: Graph, x: Value) -> Value | None:
    r = g.rng
    if any(is_open(d) for d in x.shape):
        kept = [d for d in x.shape if is_open(d)]
        rest = product(d for d in x.shape if not is_open(d))
        if rest == 0:
            return None
        shape = factors(g, rest)
        at = r.randrange(len(shape) + 1)
        return g.reshape(x, [*shape[:at], *kept, *shape[at:]])
    if x.size == 0:
        shape = [d for d in x.shape if d != 0] or [1]
        if g.opset >= 14 and g.chance(0.3):
            return g.op("Reshape", [x, g.ints(0, 3)], (0, 3), allowzero=1)
        at = next(i for i, d in enumerate(x.shape) if d == 0)
        return g.op("Reshape", [x, g.ints(*(d if i != at else 0 for i, d in enumerate(x.shape)))], x.shape) if shape else None
    extra = {"allowzero": 1} if g.opset >= 14 and g.chance(0.1) else {}
    return g.reshape(x, factors(g, x.size), **extra)


def move_view(g: Graph, x: Value) -> Value | None:
    """What exporters write for view(x.size(0), -1)."""
    if x.rank < 2 or x.size == 0:
        return None
    rest = product(x.shape[1:])
    target = g.op("Concat", [g.dim(x, 0), g.ints(-1)], (2,), INT64, axis=0)
    return g.op("Reshape", [x, target], (x.shape[0], rest))


def move_transpose(g: Graph, x: Value) -> Value | None:
    perm = list(range(x.rank))
    g.rng.shuffle(perm)
    if g.chance(0.1):
        return g.op("Transpose", [x], x.shape[::-1])
    return g.transpose(x, *perm) if x.rank else None


def move_slice(g: Graph, x: Value) -> Value | None:
    r = g.rng
    if not x.rank or x.dtype == BOOL and g.opset < 10:
        return None
    cuts = []
    for axis in r.sample(range(x.rank), r.choice([1, 1, min(2, x.rank)])):
        size = int(x.shape[axis])
        if is_open(x.shape[axis]):
            if g.chance(0.7):
                continue
            cuts.append((axis, 0, r.choice([1, 2, 2**31 - 1]), 1))
            continue
        step = r.choice([1, 1, 1, 2, 3, -1, -2]) if g.opset >= 10 else 1
        start, end = r.randrange(-size - 2, size + 2), r.randrange(-size - 2, size + 3)
        if g.chance(0.3):
            start, end = (0, 2**63 - 1) if step > 0 else (-1, -(2**31))
        cuts.append((axis, start, end, step))
    return g.slice(x, cuts) if cuts and all(is_open(x.shape[c[0]]) is False or c[3] == 1 for c in cuts) else None


def move_steps(g: Graph, x: Value) -> Value | None:
    """Backwards along every axis: a view with negative strides, twice."""
    if not x.rank or g.opset < 10 or any(is_open(d) for d in x.shape):
        return None
    cuts = [(i, -1, -(2**31), -1) for i in range(x.rank)]
    y = g.slice(x, cuts)
    return g.slice(y, cuts) if g.chance(0.5) else y


def move_concat(g: Graph, x: Value) -> Value | None:
    r = g.rng
    if not x.rank:
        return None
    axis = r.randrange(x.rank)

    def fits(v: Value) -> bool:
        return v.dtype == x.dtype and v.rank == x.rank and all(i == axis or a == b and is_open(a) == is_open(b) for i, (a, b) in enumerate(zip(v.shape, x.shape)))

    parts = [x]
    for _ in range(r.choice([0, 1, 1, 1, 2])):
        other = g.pick(fits)
        if g.chance(0.3) and not any(is_open(d) for d in x.shape):
            other = g.constant(g.array([r.choice([0, 1, 2]) if i == axis else d for i, d in enumerate(x.shape)], x.dtype, -2, 2))
        parts.append(other or x)
    r.shuffle(parts)
    if sum(p.size for p in parts) > 20000:
        return None
    out = list(x.shape)
    out[axis] = sum(int(p.shape[axis]) for p in parts) if len(parts) > 1 else x.shape[axis]
    return g.op("Concat", parts, out, axis=g.axis(axis, x.rank))


def move_self_concat(g: Graph, x: Value) -> Value | None:
    """A value beside itself, or in two pieces put together again."""
    r = g.rng
    if not x.rank:
        return None
    axis = r.randrange(x.rank)
    if is_open(x.shape[axis]) or x.shape[axis] < 2:
        return g.op("Concat", [x, x], [2 * d if i == axis else d for i, d in enumerate(x.shape)], axis=axis) if x.size < 5000 else None
    first = r.randrange(1, x.shape[axis])
    a, b = g.split(x, [first, x.shape[axis] - first], axis)
    if g.chance(0.5) and a.dtype == FLOAT:
        a = g.unary("Relu", a)
    if g.chance(0.3):
        a, b = b, a
    return g.op("Concat", [a, b], x.shape, axis=axis)


def move_split(g: Graph, x: Value) -> Value | None:
    r = g.rng
    if not x.rank:
        return None
    axis = r.randrange(x.rank)
    if is_open(x.shape[axis]):
        return None
    count = r.choice([1, 2, 2, 3])
    if g.chance(0.3) and x.shape[axis] % count == 0 and x.shape[axis] > 0:
        sizes = [x.shape[axis] // count] * count
    else:
        cuts = sorted(r.randrange(0, x.shape[axis] + 1) for _ in range(count - 1))
        sizes = [b - a for a, b in zip([0, *cuts], [*cuts, x.shape[axis]])]
    parts = g.split(x, sizes, axis)
    if g.chance(0.3) and parts[0].dtype.kind == "f" and len(parts) > 1 and parts[0].shape == parts[1].shape:
        return g.add(parts[0], parts[1])
    return parts[-1]


def move_gather(g: Graph, x: Value) -> Value | None:
    r = g.rng
    if not x.rank:
        return None
    axis = r.randrange(x.rank)
    size = x.shape[axis]
    if size == 0 or is_open(size):
        return None
    shape = r.choice([(), (1,), (3,), (2, 2), (0,)])
    index = g.array(shape, r.choice([np.int64, np.int32]), -size, size - 1)
    if g.chance(0.3) and len(shape) == 1 and size > 1:  # a run
        first = r.randrange(size - 1)
        index = np.arange(first, r.randrange(first + 1, size + 1))
    where = g.constant(index) if g.chance(0.8) else g.input(index.shape, index.dtype, -size, size - 1)
    return g.op("Gather", [x, where], (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), axis=g.axis(axis, x.rank))


def move_tile(g: Graph, x: Value) -> Value | None:
    if not x.rank or x.size > 2000:
        return None
    repeats = [g.rng.choice([1, 1, 1, 2, 3, 0]) if g.chance(0.5) else 1 for _ in x.shape]
    return g.op("Tile", [x, g.ints(*repeats)], [d if k == 1 else d * k for d, k in zip(x.shape, repeats)])


def move_expand(g: Graph, x: Value) -> Value | None:
    r = g.rng
    if x.size > 2000 or g.opset < 8:
        return None
    shape = [d if d != 1 or is_open(d) else r.choice([1, 3, 0]) for d in x.shape]
    told = [1 if is_open(d) else r.choice([1, d]) if d == x.shape[i] else d for i, d in enumerate(shape)]
    while told and g.chance(0.2) and told[0] == 1:  # fewer axes than x has
        told.pop(0)
    lead = [r.choice([1, 2])] if len(told) == x.rank and g.chance(0.4) else []
    return g.op("Expand", [x, g.ints(*lead, *told)], [*lead, *shape])


def move_pad(g: Graph, x: Value) -> Value | None:
    r = g.rng
    modes = ["constant"] * 3 + ["reflect", "edge"] + (["wrap"] if g.opset >= 19 else [])
    mode = r.choice(modes)
    if not x.rank or x.size == 0 or any(is_open(d) for d in x.shape) or x.size > 5000 or not g.has("Pad", x.dtype, INT64) and g.opset >= 11:
        return None
    if g.opset < 11 and not x.is_float:
        return None
    most = [min(2, d - 1) if mode == "reflect" else 2 for d in x.shape]
    begin, end = [r.choice([0, 0, m]) for m in most], [r.choice([0, 0, m]) for m in most]
    if mode == "constant" and g.chance(0.3):
        begin = [r.choice([0, -1]) if d > 2 else 0 for d in x.shape]
    out = [d + b + e for d, b, e in zip(x.shape, begin, end)]
    if g.opset < 11:
        return g.op("Pad", [x], out, pads=begin + end, mode=mode)
    value = g.constant(np.array(r.choice([0, 1]), x.dtype)) if mode == "constant" and g.chance(0.6) else None
    inputs = [x, g.ints(*begin, *end), value]
    if g.opset >= 18 and g.chance(0.3):
        axes = sorted(r.sample(range(x.rank), r.randrange(1, x.rank + 1)))
        out = [d + (begin[i] + end[i] if i in axes else 0) for i, d in enumerate(x.shape)]
        inputs = [x, g.ints(*(begin[a] for a in axes), *(end[a] for a in axes)), value, g.ints(*(g.axis(a, x.rank) for a in axes))]
    return g.op("Pad", inputs, out, mode=mode)


def move_squeeze(g: Graph, x: Value) -> Value | None:
    ones = [i for i, d in enumerate(x.shape) if d == 1 and not is_open(d)]
    if not ones:
        return None
    if g.chance(0.2) and not any(is_open(d) for d in x.shape):
        return g.op("Squeeze", [x], [d for d in x.shape if d != 1])
    return g.squeeze(x, *g.rng.sample(ones, g.rng.randrange(1, len(ones) + 1)))


def move_unsqueeze(g: Graph, x: Value) -> Value | None:
    if x.rank >= 5:
        return None
    count = g.rng.choice([1, 1, 2]) if x.rank < 4 else 1
    return g.unsqueeze(x, *g.rng.sample(range(x.rank + count), count))


def move_flatten(g: Graph, x: Value) -> Value | None:
    axis = g.rng.randrange(x.rank + 1)
    if not g.has("Flatten", x.dtype):
        return None
    sides = [side[0] if len(side) == 1 else product(side) for side in (x.shape[:axis], x.shape[axis:])]
    return g.op("Flatten", [x], sides, axis=axis if g.opset < 11 or axis == x.rank else g.axis(axis, x.rank))


def move_identity(g: Graph, x: Value) -> Value:
    return g.op("Identity", [x], x.shape)


def move_dropout(g: Graph, x: Value) -> Value | None:
    if x.dtype.kind != "f":
        return None
    if g.opset < 12:
        return g.op("Dropout", [x], x.shape, ratio=0.3)
    return g.op("Dropout", [x, g.constant(np.float32(0.3)), g.constant(np.array(False)) if g.chance(0.5) else None], x.shape)


def chain(g: Graph) -> Value | None:
    """A chain of views, what works in place on it, and the start read once more."""
    r = g.rng
    start = any_value(g)
    x = start
    for _ in range(r.randrange(1, 5)):
        x = movement(g, x) or x
    if x.is_float:
        y = g.unary(r.choice(["Relu", "Neg", "Tanh", "Abs"]), x)
        if g.chance(0.5):
            g.unary("Neg", start) if start.is_float else None
        for _ in range(r.randrange(0, 3)):
            y = movement(g, y) or y
        return g.add(y, x) if y.shape == x.shape else y
    return x

"""Operators whose result follows from indices or order: gathers, scatters, sorts, counts, masks."""

from __future__ import annotations

import numpy as np
from builder import BOOL, FLOAT, INT64, Graph, Value, is_open
from elementwise import any_value, fresh

KINDS = ["gather_elements", "gather_nd", "scatter_elements", "scatter_nd", "top_k", "one_hot", "compress", "non_zero", "arg", "cum_sum", "reverse"]
KINDS += ["trilu", "hardmax", "eye", "range", "lookup", "unique_rows"]


def indexing(g: Graph) -> Value | None:
    x = any_value(g)
    if x.rank == 0 or any(is_open(d) for d in x.shape) or x.size > 2000:
        x = fresh(g)
    if any(is_open(d) for d in x.shape):
        return None
    return globals()[f"index_{g.rng.choice(KINDS)}"](g, x)


def _indices(g: Graph, shape, size: int) -> Value:
    dtype = g.rng.choice([np.int64, np.int64, np.int32])
    if g.chance(0.7):
        return g.constant(g.array(shape, dtype, -size, size - 1))
    return g.input(shape, dtype, -size, size - 1)


def index_gather_elements(g: Graph, x: Value) -> Value | None:
    if not x.rank or x.size == 0 or g.opset < 11:
        return None
    axis = g.rng.randrange(x.rank)
    shape = [g.rng.choice([0, 1, 2, 4]) if i == axis else g.rng.randrange(1, d + 1) for i, d in enumerate(x.shape)]
    return g.op("GatherElements", [x, _indices(g, shape, x.shape[axis])], shape, axis=g.axis(axis, x.rank))


def _places(g: Graph, shape, count: int, depth: int) -> np.ndarray:
    """`count` index vectors of `depth` numbers, none twice where there are enough places."""
    sizes = [int(d) for d in shape[:depth]]
    every = int(np.prod(sizes))
    flat = g.np.permutation(every)[: min(count, every)]
    return np.stack(np.unravel_index(flat, sizes), axis=-1).reshape(-1, depth).astype(np.int64)


def index_gather_nd(g: Graph, x: Value) -> Value | None:
    if not x.rank or x.size == 0 or g.opset < 11:
        return None
    depth = g.rng.randrange(1, x.rank + 1)
    places = _places(g, x.shape, g.rng.choice([1, 3]), depth)
    if g.chance(0.3):
        places = places - np.array([int(d) for d in x.shape[:depth]])
    return g.op("GatherND", [x, g.constant(places)], (places.shape[0], *x.shape[depth:]))


def index_scatter_elements(g: Graph, x: Value) -> Value | None:
    if not x.rank or x.size == 0 or g.opset < 11:
        return None
    axis = g.rng.randrange(x.rank)
    count = g.rng.randrange(1, x.shape[axis] + 1)
    shape = [count if i == axis else d for i, d in enumerate(x.shape)]
    order = np.argsort(g.np.random(tuple(int(d) for d in x.shape)), axis=axis)
    index = np.take(order, range(count), axis=axis).astype(np.int64)
    extra = {"reduction": g.rng.choice(["add", "none"])} if g.opset >= 16 and x.dtype.kind in "f" else {}
    if not g.has("ScatterElements", x.dtype, INT64, x.dtype, **extra):
        return None
    updates = g.constant(g.array(shape, x.dtype, -2, 2))
    return g.op("ScatterElements", [x, g.constant(index), updates], x.shape, axis=g.axis(axis, x.rank), **extra)


def index_scatter_nd(g: Graph, x: Value) -> Value | None:
    if not x.rank or x.size == 0 or g.opset < 11:
        return None
    depth = g.rng.randrange(1, x.rank + 1)
    places = _places(g, x.shape, g.rng.choice([1, 2]), depth)
    updates = g.array((places.shape[0], *x.shape[depth:]), x.dtype, -2, 2)
    if not g.has("ScatterND", x.dtype, INT64, x.dtype):
        return None
    return g.op("ScatterND", [x, g.constant(places), g.constant(updates)], x.shape)


def index_top_k(g: Graph, x: Value) -> Value | None:
    if not x.rank or g.opset < 10 or not g.has("TopK", x.dtype, INT64):
        return None
    axis = g.rng.randrange(x.rank)
    k = g.rng.randrange(0, x.shape[axis] + 1)
    shape = [k if i == axis else d for i, d in enumerate(x.shape)]
    extra = {"largest": g.rng.choice([0, 1])} if g.opset >= 11 else {}
    values, where = g.ops("TopK", [x, g.ints(k)], [shape, shape], axis=g.axis(axis, x.rank), **extra)
    g.values.remove(where)
    return values


def index_one_hot(g: Graph, x: Value) -> Value | None:
    shape = g.rng.choice([(1,), (3,), (2, 2), (0,)])
    n = g.rng.choice([1, 4])
    index = g.input(shape, INT64, -n, n - 1)
    axis = g.rng.choice([-1, 0])
    out = (*shape, n) if axis == -1 else (n, *shape)
    return g.op("OneHot", [index, g.constant(np.int64(n)), g.constant(np.array([0, 2], np.float32))], out, FLOAT, axis=axis)


def index_compress(g: Graph, x: Value) -> Value | None:
    if not x.rank or x.size == 0:
        return None
    axis = g.rng.randrange(x.rank)
    kept = g.array((x.shape[axis],), BOOL)
    if g.chance(0.2):
        kept = kept[:1]
    out = [int(kept.sum()) if i == axis else d for i, d in enumerate(x.shape)]
    return g.op("Compress", [x, g.constant(kept)], out, axis=g.axis(axis, x.rank) if g.opset >= 11 else axis)


def index_non_zero(g: Graph, x: Value) -> Value | None:
    """A constant's, whose result has a size that is known."""
    array = g.array([g.rng.choice([0, 1, 3]) for _ in range(g.rng.randrange(1, 3))], g.rng.choice([FLOAT, INT64, BOOL]), 0, 1)
    found = np.stack(np.nonzero(array)) if array.ndim else np.zeros((0, 0))
    return g.op("NonZero", [g.constant(array)], found.shape, INT64)


def index_arg(g: Graph, x: Value) -> Value | None:
    kind = g.rng.choice(["ArgMax", "ArgMin"])
    if not x.rank or not g.has(kind, x.dtype):
        return None
    axis = g.rng.randrange(x.rank)
    if x.shape[axis] == 0:
        return None
    keep = g.rng.choice([0, 1])
    out = [1 if i == axis else d for i, d in enumerate(x.shape) if keep or i != axis]
    extra = {"select_last_index": g.rng.choice([0, 1])} if g.opset >= 12 else {}
    return g.op(kind, [x], out, INT64, axis=g.axis(axis, x.rank) if g.opset >= 11 else axis, keepdims=keep, **extra)


def index_cum_sum(g: Graph, x: Value) -> Value | None:
    if not x.rank or g.opset < 11 or not g.has("CumSum", x.dtype, INT64):
        return None
    axis = g.axis(g.rng.randrange(x.rank), x.rank)
    return g.op("CumSum", [x, g.constant(np.int64(axis))], x.shape, exclusive=g.rng.choice([0, 1]), reverse=g.rng.choice([0, 1]))


def index_reverse(g: Graph, x: Value) -> Value | None:
    if x.rank < 2 or x.size == 0 or g.opset < 10:
        return None
    batch = g.rng.choice([0, 1])
    lengths = g.array((x.shape[batch],), INT64, 1, x.shape[1 - batch])
    return g.op("ReverseSequence", [x, g.constant(lengths)], x.shape, batch_axis=batch, time_axis=1 - batch)


def index_trilu(g: Graph, x: Value) -> Value | None:
    if x.rank < 2 or g.opset < 14 or not g.has("Trilu", x.dtype):
        return None
    k = g.constant(np.int64(g.rng.choice([-1, 0, 2, 9]))) if g.chance(0.7) else None
    return g.op("Trilu", [x, k], x.shape, upper=g.rng.choice([0, 1]))


def index_hardmax(g: Graph, x: Value) -> Value | None:
    if not x.is_float or not x.rank or x.size == 0:
        return None
    axis = x.rank - 1
    return g.op("Hardmax", [x], x.shape, axis=axis)


def index_eye(g: Graph, x: Value) -> Value | None:
    if x.rank != 2 or not x.is_float:
        return None
    return g.op("EyeLike", [x], x.shape, k=g.rng.choice([0, 1, -1]))


def index_range(g: Graph, x: Value) -> Value | None:
    if g.opset < 11:
        return None
    start, delta, count = g.rng.choice([0, 2, -3]), g.rng.choice([1, 2, -1]), g.rng.choice([0, 1, 4])
    dtype = g.rng.choice([np.int64, np.float32, np.int32])
    return g.op("Range", [g.constant(np.array(v, dtype)) for v in (start, start + delta * count, delta)], (count,))


def index_lookup(g: Graph, x: Value) -> Value:
    """An embedding."""
    n, d = g.rng.choice([1, 5]), g.rng.choice([1, 4, 8])
    index = g.input([g.size(1, 2, 3), g.size(0, 1, 4)], INT64, 0, n - 1)
    return g.op("Gather", [g.weight(n, d), index], (*index.shape, d), axis=0)


def index_unique_rows(g: Graph, x: Value) -> Value | None:
    """The same rows gathered twice and one after the other."""
    if not x.rank or x.shape[0] == 0:
        return None
    index = g.constant(g.array((2,), INT64, 0, x.shape[0] - 1))
    shape = (2, *x.shape[1:])
    a, b = (g.op("Gather", [x, index], shape, axis=0) for _ in "ab")
    return g.op("Concat", [a, b], (4, *x.shape[1:]), axis=0)

"""Families of random nodes. Each function adds a few nodes to a Graph and is legal for what it picks."""

from __future__ import annotations

import math

import numpy as np
from builder import Graph, Value

FLOAT = np.dtype(np.float32)


def is_float(v: Value) -> bool:
    return v.dtype == FLOAT


def activation(g: Graph, x: Value) -> Value:
    kind = g.rng.choice(["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "PRelu", "HardSwish", "Elu", "gelu", "silu", "Softplus", "Erf", "Abs", "Neg", "Exp"])
    if kind == "LeakyRelu":
        return g.op(kind, [x], x.shape, alpha=g.rng.choice([0.01, 0.2, -0.3]))
    if kind == "Clip":
        low = g.constant(np.float32(-0.4)) if g.rng.random() < 0.8 else None
        high = g.constant(np.float32(0.6)) if g.rng.random() < 0.8 else None
        return g.op(kind, [x, low, high], x.shape)
    if kind == "PRelu":
        channel = [x.shape[1]] + [1] * (len(x.shape) - 2) if len(x.shape) > 1 else [1] * len(x.shape)
        return g.op(kind, [x, g.weight(*g.rng.choice([channel, [1] * min(1, len(x.shape))]))], x.shape)
    if kind == "HardSwish" and g.opset < 14:
        kind = "Relu"
    if kind == "gelu":
        return gelu(g, x)
    if kind == "silu":
        return g.op("Mul", [x, g.op("Sigmoid", [x], x.shape)], x.shape)
    if kind == "Exp":
        x = g.op("Clip", [x, g.constant(np.float32(-4)), g.constant(np.float32(2))], x.shape)
    return g.op(kind, [x], x.shape)


def gelu(g: Graph, x: Value) -> Value:
    """All spellings of the erf form that exporters write, and Gelu whole."""
    if g.opset >= 20 and g.rng.random() < 0.4:
        return g.op("Gelu", [x], x.shape, approximate=g.rng.choice(["none", "tanh"]))
    root = np.float32(math.sqrt(2))
    inner = g.op("Div", [x, g.constant(root)], x.shape) if g.rng.random() < 0.5 else g.op("Mul", [x, g.constant(np.float32(1 / root))], x.shape)
    plus = g.op("Add", pair(g, g.op("Erf", [inner], x.shape), g.constant(np.float32(1))), x.shape)
    half = g.constant(np.float32(0.5))
    order = g.rng.randrange(3)
    if order == 0:
        return g.op("Mul", pair(g, g.op("Mul", pair(g, x, plus), x.shape), half), x.shape)
    if order == 1:
        return g.op("Mul", pair(g, g.op("Mul", pair(g, x, half), x.shape), plus), x.shape)
    return g.op("Mul", pair(g, x, g.op("Mul", pair(g, plus, half), x.shape)), x.shape)


def pair(g: Graph, a: Value, b: Value) -> list[Value]:
    return [a, b] if g.rng.random() < 0.5 else [b, a]


def normalise(g: Graph, x: Value) -> Value:
    """LayerNormalization over the last axis, whole or spelled."""
    n = x.shape[-1]
    gamma, beta = g.weight(n), g.weight(n)
    if g.opset >= 17 and g.rng.random() < 0.4:
        return g.op("LayerNormalization", [x, gamma, beta], x.shape, axis=-1, epsilon=1e-5)
    one = (*x.shape[:-1], 1)

    def mean(v: Value) -> Value:
        if g.opset >= 18:
            return g.op("ReduceMean", [v, g.ints(-1)], one)
        return g.op("ReduceMean", [v], one, axes=[-1])

    d = g.op("Sub", [x, mean(x)], x.shape)
    square = g.op("Pow", [d, g.constant(np.float32(2))], x.shape) if g.rng.random() < 0.5 else g.op("Mul", [d, d], x.shape)
    s = g.op("Sqrt", [g.op("Add", pair(g, mean(square), g.constant(np.float32(1e-5))), one)], one)
    y = g.op("Div", [d, s], x.shape) if g.rng.random() < 0.7 else g.op("Mul", [d, g.op("Reciprocal", [s], one)], x.shape)
    if g.rng.random() < 0.8:
        y = g.op("Add", pair(g, g.op("Mul", pair(g, y, gamma), x.shape), beta), x.shape)
    return y


def batch_norm(g: Graph, x: Value) -> Value:
    c = x.shape[1]
    parameters = [g.weight(c), g.weight(c), g.weight(c), g.weight(c, low=0.3, high=2.0)]
    return g.op("BatchNormalization", [x, *parameters], x.shape, epsilon=g.rng.choice([1e-5, 1e-3]))


def convolution(g: Graph, x: Value | None = None) -> Value | None:
    """One convolution with any geometry, with what stands around it in networks."""
    if x is None:
        x = g.pick(lambda v: is_float(v) and 3 <= len(v.shape) <= 5 and v.size > 0)
    if x is None:
        rank = g.rng.choice([1, 2, 2, 2, 3])
        x = g.input((g.rng.choice([1, 2]), g.rng.choice([1, 3, 4, 8, 17]), *(g.rng.randrange(3, 13) for _ in range(rank))))
    if g.rng.random() < 0.3:
        x = batch_norm(g, x)
    c, spatial = x.shape[1], x.shape[2:]
    group = g.rng.choice([d for d in range(1, c + 1) if c % d == 0]) if g.rng.random() < 0.35 else 1
    m = group * g.rng.choice([1, 1, 2, 5, 16]) if group > 1 else g.rng.choice([1, 2, 5, 16, 33, c])
    kernel = [g.rng.choice([k for k in (1, 2, 3, 3, 3, 5) if k <= s + 2]) for s in spatial]
    dilation = [g.rng.choice([1, 1, 1, 2]) if k > 1 else 1 for k in kernel]
    stride = [g.rng.choice([1, 1, 2, 3]) for _ in spatial]
    attributes = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "group": group}
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    automatic = g.rng.choice([None, None, None, "SAME_UPPER", "SAME_LOWER", "VALID"])
    if automatic and all(d == 1 for d in dilation):
        attributes["auto_pad"] = automatic
        if automatic == "VALID":
            if any(e > s for e, s in zip(extent, spatial)):
                return None
            out = [(s - e) // t + 1 for s, e, t in zip(spatial, extent, stride)]
        else:
            out = [-(-s // t) for s, t in zip(spatial, stride)]
    else:
        begin = [g.rng.choice([0, 1, k // 2]) for k in kernel]
        end = [g.rng.choice([0, 1, b]) for b in begin]
        attributes["pads"] = begin + end
        if any(e > s + b + f for e, s, b, f in zip(extent, spatial, begin, end)):
            return None
        out = [(s + b + f - e) // t + 1 for s, b, f, e, t in zip(spatial, begin, end, extent, stride)]
    bias = g.weight(m) if g.rng.random() < 0.6 else None
    y = g.op("Conv", [x, g.weight(m, c // group, *kernel), bias], (x.shape[0], m, *out), **attributes)
    if g.rng.random() < 0.3:
        y = batch_norm(g, y)
    if g.rng.random() < 0.5:
        y = activation(g, y)
    if g.rng.random() < 0.3:
        if y.shape == x.shape:
            y = g.op("Add", pair(g, y, x), y.shape)
        else:
            y = g.op(g.rng.choice(["Add", "Mul"]), pair(g, y, g.weight(*([m] + [1] * len(out)))), y.shape)
        if g.rng.random() < 0.5:
            y = activation(g, y)
    return y


def pool(g: Graph) -> Value | None:
    x = g.pick(lambda v: is_float(v) and 3 <= len(v.shape) <= 5 and v.size > 0)
    if x is None:
        return None
    spatial = x.shape[2:]
    if g.rng.random() < 0.25:
        return g.op("GlobalAveragePool", [x], (*x.shape[:2], *[1] * len(spatial)))
    kernel = [g.rng.choice([k for k in (1, 1, 2, 3) if k <= s]) for s in spatial]
    stride = [g.rng.choice([1, 2]) for _ in spatial]
    pads = [g.rng.choice([0, k // 2]) for k in kernel] * 2
    out = [(s + pads[i] + pads[i + len(spatial)] - k) // t + 1 for i, (s, k, t) in enumerate(zip(spatial, kernel, stride))]
    if g.rng.random() < 0.5:
        return g.op("MaxPool", [x], (*x.shape[:2], *out), kernel_shape=kernel, strides=stride, pads=pads)
    return g.op("AveragePool", [x], (*x.shape[:2], *out), kernel_shape=kernel, strides=stride, pads=pads, count_include_pad=g.rng.choice([0, 1]))


def linear(g: Graph, x: Value | None = None, n: int | None = None) -> Value | None:
    if x is None:
        x = g.pick(lambda v: is_float(v) and len(v.shape) >= 1)
    if x is None:
        return None
    k, n = x.shape[-1], n or g.rng.choice([1, 3, 8, 33])
    if len(x.shape) == 2 and g.rng.random() < 0.3:
        t = g.rng.random() < 0.5
        w = g.weight(n, k) if t else g.weight(k, n)
        c = g.weight(*g.rng.choice([[n], [1, n], [x.shape[0], n], [1], []])) if g.rng.random() < 0.8 else None
        y = g.op("Gemm", [x, w, c], (x.shape[0], n), transB=int(t), alpha=g.rng.choice([1.0, 1.0, 0.5]), beta=g.rng.choice([1.0, 1.0, 2.0]))
    elif len(x.shape) > 2 and g.rng.random() < 0.2:
        batch = [g.rng.choice([1, d]) for d in x.shape[:-2]]
        y = g.op("MatMul", [x, g.weight(*batch, k, n)], (*x.shape[:-1], n))
    else:
        w = g.weight(k, n)
        if g.rng.random() < 0.2:
            w = g.op("Transpose", [g.weight(n, k)], (k, n), perm=[1, 0])
        y = g.op("MatMul", [x, w], (*x.shape[:-1], n))
        if g.rng.random() < 0.7:
            y = g.op("Add", pair(g, y, g.weight(*g.rng.choice([[n], [1, n], [1]]))), y.shape) if len(y.shape) >= 2 else g.op("Add", [y, g.weight(n)], y.shape)
    if g.rng.random() < 0.4:
        y = activation(g, y)
    if g.rng.random() < 0.2:
        y = g.op("Mul", pair(g, y, g.weight(n)), y.shape)
    if y.shape == x.shape and g.rng.random() < 0.5:
        y = g.op("Add", pair(g, y, x), y.shape)
    return y


def attention(g: Graph) -> Value:
    """Multi-head attention over tokens, in one of the spellings that exporters write."""
    r = g.rng
    b, n, heads, d = r.choice([1, 2]), r.choice([1, 4, 9, 15]), r.choice([1, 2, 3]), r.choice([1, 4, 8])
    c = heads * d
    x = g.pick(lambda v: is_float(v) and len(v.shape) == 3 and v.size > 0 and v.shape[2] % 2 == 0)
    if x is None or r.random() < 0.5:
        x = g.input((b, n, c))
    b, n = x.shape[0], x.shape[1]
    c = x.shape[2]
    heads = r.choice([h for h in range(1, min(c, 4) + 1) if c % h == 0])
    d = c // heads
    cross = r.random() < 0.3
    kv = g.input((b, r.choice([1, 3, 7]), c)) if cross else x
    nk = kv.shape[1]

    def split_heads(t: Value, tokens: int) -> Value:
        t = g.op("Reshape", [t, g.ints(b, tokens, heads, d)], (b, tokens, heads, d))
        return g.op("Transpose", [t], (b, heads, tokens, d), perm=[0, 2, 1, 3])

    def project(t: Value, width: int) -> Value:
        y = g.op("MatMul", [t, g.weight(c, width)], (*t.shape[:-1], width))
        return g.op("Add", pair(g, y, g.weight(width)), y.shape) if r.random() < 0.8 else y

    spelling = r.choice(["three", "gather", "split5", "chunk", "slice"]) if not cross else "three"
    if spelling == "three":
        q, k, v = split_heads(project(x, c), n), split_heads(project(kv, c), nk), split_heads(project(kv, c), nk)
    else:
        qkv = project(x, 3 * c)
        if spelling in ("gather", "split5"):
            five = g.op("Reshape", [qkv, g.ints(b, n, 3, heads, d)], (b, n, 3, heads, d))
            five = g.op("Transpose", [five], (3, b, heads, n, d), perm=[2, 0, 3, 1, 4])
            if spelling == "gather":
                q, k, v = (g.op("Gather", [five, g.constant(np.int64(i))], (b, heads, n, d), axis=0) for i in range(3))
            else:
                parts = g.ops("Split", [five, g.ints(1, 1, 1)], [(1, b, heads, n, d)] * 3, axis=0)
                q, k, v = (g.op("Squeeze", [p, g.ints(0)], (b, heads, n, d)) for p in parts)
        elif spelling == "chunk":
            parts = g.ops("Split", [qkv, g.ints(c, c, c)], [(b, n, c)] * 3, axis=-1)
            q, k, v = (split_heads(p, n) for p in parts)
        else:
            parts = [g.op("Slice", [qkv, g.ints(i * c), g.ints((i + 1) * c), g.ints(2)], (b, n, c)) for i in range(3)]
            q, k, v = (split_heads(p, n) for p in parts)
    scale = g.constant(np.float32(d**-0.5))
    where = r.choice(["q", "k", "both", "after", "div", "none"])
    if where in ("q", "both"):
        q = g.op("Mul", pair(g, q, g.constant(np.float32(d**-0.25)) if where == "both" else scale), q.shape)
    kt = g.op("Transpose", [k], (b, heads, d, nk), perm=[0, 1, 3, 2])
    if where in ("k", "both"):
        kt = g.op("Mul", pair(g, kt, g.constant(np.float32(d**-0.25)) if where == "both" else scale), kt.shape)
    logits = g.op("MatMul", [q, kt], (b, heads, n, nk))
    if where == "after":
        logits = g.op("Mul", pair(g, logits, scale), logits.shape)
    if where == "div":
        logits = g.op("Div", [logits, g.constant(np.float32(d**0.5))], logits.shape)
    if r.random() < 0.4:
        shape = r.choice([(n, nk), (1, 1, n, nk), (heads, n, nk), (1, nk), (b, 1, 1, nk), ()])
        logits = g.op("Add", pair(g, logits, g.constant(g.array(shape))), logits.shape)
    p = g.op("Softmax", [logits], logits.shape, axis=r.choice([-1, 3]))
    y = g.op("MatMul", [p, v], (b, heads, n, d))
    if r.random() < 0.9:
        y = g.op("Transpose", [y], (b, n, heads, d), perm=[0, 2, 1, 3])
        y = g.op("Reshape", [y, g.ints(*r.choice([(b, n, c), (b, -1, c), (0, n, -1)]))], (b, n, c))
        if r.random() < 0.7:
            y = linear(g, y, c) or y
        if r.random() < 0.3:  # the class token alone
            y = g.op("Gather", [y, g.constant(np.int64(0))], (b, c), axis=1) if r.random() < 0.5 else g.op("Slice", [y, g.ints(0), g.ints(1), g.ints(1)], (b, 1, c))
    return y


def elementwise(g: Graph) -> Value | None:
    r = g.rng
    x = g.pick(lambda v: v.dtype.kind in "fi")
    if x is None:
        x = g.input(tuple(r.choice([0, 1, 2, 3, 5]) for _ in range(r.randrange(0, 5))), r.choice([np.float32, np.float32, np.float64, np.int32, np.int64, np.float16]), -3, 3)
    if r.random() < 0.3 and is_float(x):
        return activation(g, x)
    shape = list(x.shape)
    how = r.choice(["same", "ones", "scalar", "tail", "wider", "self"])
    if how == "ones":
        shape = [r.choice([1, d]) for d in shape]
    elif how == "scalar":
        shape = []
    elif how == "tail":
        shape = shape[r.randrange(0, len(shape) + 1) :]
    elif how == "wider":
        shape = [r.choice([1, 2])] + shape
    other = x if how == "self" else None
    if other is None and r.random() < 0.3:
        other = g.pick(lambda v: v.dtype == x.dtype and v.shape == tuple(shape))
    if other is None:
        low = 1 if x.dtype.kind == "i" else -1
        array = g.array(tuple(shape), x.dtype, low, 3)
        other = g.constant(array) if r.random() < 0.6 else g.input(tuple(shape), x.dtype, low, 3)
    out = np.broadcast_shapes(x.shape, other.shape)
    kind = r.choice(["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Equal", "Less", "Greater", "Where", "Sum"])
    if kind == "Div" and x.dtype.kind == "i" and other is x:
        kind = "Add"
    if kind == "Div" and x.dtype.kind == "i":  # never by zero
        other = g.op("Max", [g.op("Abs", [other], other.shape), g.constant(np.array(1, x.dtype))], other.shape)
    if kind == "Div" and x.dtype.kind == "f":
        other = g.op("Add", [g.op("Abs", [other], other.shape), g.constant(np.array(0.5, x.dtype))], other.shape)
    if kind == "Pow":
        if x.dtype != FLOAT:
            kind = "Mul"
        else:
            return g.op("Pow", [g.op("Abs", [x], x.shape), g.constant(np.float32(r.choice([2, 0.5, 3])))], x.shape)
    if kind in ("Equal", "Less", "Greater"):
        return g.op(kind, [x, other], out, np.bool_)
    if kind == "Where":
        condition = g.pick(lambda v: v.dtype == np.bool_ and _broadcasts(v.shape, out)) or g.constant(g.array(tuple(r.choice([1, d]) for d in out), np.bool_))
        return g.op("Where", [condition, *pair(g, x, other)], np.broadcast_shapes(out, condition.shape), x.dtype)
    if kind == "Sum" and x.dtype.kind != "f":
        kind = "Add"
    return g.op(kind, pair(g, x, other) if kind not in ("Sub", "Div") else [x, other], out)


def _broadcasts(a, b) -> bool:
    try:
        np.broadcast_shapes(a, b)
        return True
    except ValueError:
        return False


def movement(g: Graph) -> Value | None:
    r = g.rng
    x = g.pick()
    if x is None:
        return None
    rank, shape = len(x.shape), x.shape
    kind = r.choice(["Reshape", "Transpose", "Slice", "Gather", "Concat", "Split", "Tile", "Expand", "Pad", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Cast", "reshape-shape"])
    if kind == "Reshape" and x.size > 0:
        flat, target = x.size, []
        while flat > 1 and len(target) < 3:
            d = r.choice([k for k in range(1, min(flat, 16) + 1) if flat % k == 0])
            target.append(d)
            flat //= d
        target.append(flat)
        wanted = list(target)
        if r.random() < 0.5:
            wanted[r.randrange(len(wanted))] = -1
        return g.op("Reshape", [x, g.ints(*wanted)], target)
    if kind == "reshape-shape" and rank >= 2 and x.size > 0:  # what exporters write for view(x.size(0), -1)
        s = g.op("Shape", [x], (rank,), np.int64)
        first = g.op("Gather", [s, g.constant(np.int64(0))], (), np.int64, axis=0)
        parts = [g.op("Unsqueeze", [first, g.ints(0)], (1,), np.int64), g.ints(-1)]
        return g.op("Reshape", [x, g.op("Concat", parts, (2,), np.int64, axis=0)], (shape[0], x.size // shape[0]))
    if kind == "Transpose" and rank:
        perm = list(range(rank))
        r.shuffle(perm)
        return g.op("Transpose", [x], [shape[p] for p in perm], perm=perm)
    if kind == "Slice" and rank and x.dtype != np.bool_:
        axis = r.randrange(rank)
        begin, end, step = r.randrange(-shape[axis] - 1, shape[axis] + 1), r.randrange(-shape[axis] - 1, shape[axis] + 2), r.choice([1, 1, 2, -1])
        out = list(shape)
        out[axis] = len(range(*slice(begin, end, step).indices(shape[axis])))
        return g.op("Slice", [x, g.ints(begin), g.ints(end), g.ints(axis - r.choice([0, rank])), g.ints(step)], out)
    if kind == "Gather" and rank:
        axis = r.randrange(rank)
        if shape[axis] == 0:
            return None
        index = g.array(r.choice([(), (1,), (3,), (2, 2)]), np.int64, -shape[axis], shape[axis] - 1)
        return g.op("Gather", [x, g.constant(index)], (*shape[:axis], *index.shape, *shape[axis + 1 :]), axis=axis)
    if kind == "Concat" and rank:
        axis = r.randrange(rank)
        other = g.pick(lambda v: v.dtype == x.dtype and len(v.shape) == rank and all(i == axis or a == b for i, (a, b) in enumerate(zip(v.shape, shape)))) or x
        out = list(shape)
        out[axis] += other.shape[axis]
        return g.op("Concat", [x, other], out, axis=axis - r.choice([0, rank]))
    if kind == "Split" and rank:
        axis = r.randrange(rank)
        first = r.randrange(0, shape[axis] + 1)
        parts = [(*shape[:axis], k, *shape[axis + 1 :]) for k in (first, shape[axis] - first)]
        return g.ops("Split", [x, g.ints(first, shape[axis] - first)], parts, axis=axis)[0]
    if kind == "Tile" and rank and x.size < 2000:
        repeats = [r.choice([1, 1, 2]) for _ in shape]
        return g.op("Tile", [x, g.ints(*repeats)], [d * k for d, k in zip(shape, repeats)])
    if kind == "Expand" and x.size < 2000:
        target = [r.choice([1, 2])] + [d if d != 1 else r.choice([1, 3]) for d in shape]
        return g.op("Expand", [x, g.ints(*target)], target)
    if kind == "Pad" and rank and is_float(x) and x.size > 0:
        begin, end = [r.choice([0, 1, -1 if d > 2 else 0]) for d in shape], [r.choice([0, 2]) for _ in shape]
        out = [d + b + e for d, b, e in zip(shape, begin, end)]
        return g.op("Pad", [x, g.ints(*begin, *end), g.constant(np.float32(r.choice([0, 1.5])))], out)
    if kind == "Squeeze" and 1 in shape:
        axis = r.choice([i for i, d in enumerate(shape) if d == 1])
        return g.op("Squeeze", [x, g.ints(axis)], [d for i, d in enumerate(shape) if i != axis])
    if kind == "Unsqueeze" and rank < 5:
        axis = r.randrange(rank + 1)
        return g.op("Unsqueeze", [x, g.ints(axis)], [*shape[:axis], 1, *shape[axis:]])
    if kind == "Flatten" and rank:
        axis = r.randrange(rank + 1)
        return g.op("Flatten", [x], (math.prod(shape[:axis]), math.prod(shape[axis:])), axis=axis)
    if kind == "Cast":
        return g.op("Cast", [x], shape, np.float32, to=1)
    return g.op("Identity", [x], shape)


def reduction(g: Graph) -> Value | None:
    r = g.rng
    x = g.pick(lambda v: is_float(v) and v.size > 0)
    if x is None:
        return None
    kind = r.choice(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "Softmax", "LogSoftmax", "ArgMax"])
    rank = len(x.shape)
    if kind in ("Softmax", "LogSoftmax", "ArgMax"):
        if rank == 0:
            return None
        axis = r.randrange(-rank, rank)
        if kind == "ArgMax":
            return g.op(kind, [x], [1 if i == axis % rank else d for i, d in enumerate(x.shape)], np.int64, axis=axis, keepdims=1)
        return g.op(kind, [x], x.shape, axis=axis)
    axes = sorted(r.sample(range(rank), r.randrange(0, rank + 1)))
    keep = r.choice([0, 1])
    done = axes or list(range(rank))
    out = [1 if i in done else d for i, d in enumerate(x.shape) if keep or i not in done]
    attributes, inputs = {"keepdims": keep}, [x]
    if axes:
        if g.opset >= 18 or kind == "ReduceSum":
            inputs.append(g.ints(*axes))
        else:
            attributes["axes"] = axes
    return g.op(kind, inputs, out, **attributes)


def layer(g: Graph) -> Value | None:
    x = g.pick(lambda v: is_float(v) and len(v.shape) >= 2 and v.size > 0)
    return None if x is None else normalise(g, x)

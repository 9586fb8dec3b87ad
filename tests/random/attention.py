"""Attention in every spelling that a person or an exporter writes, and near misses that must stay what they are."""

from __future__ import annotations

import dataclasses

import numpy as np
from builder import BOOL, INT64, Graph, Value, broadcast, is_open, product
from products import linear


@dataclasses.dataclass
class Sizes:
    """Of one attention: batch, heads, depth, and how batch and heads stand in the operands."""

    b: int
    h: int
    d: int
    c: int
    flat: bool = False  # batch and heads are one axis: rank 3


def tokens(g: Graph) -> Value:
    """[batch, tokens, columns]."""
    x = g.pick(lambda v: v.is_float and v.rank == 3 and v.size > 0 and 1 <= v.shape[2] <= 64 and not is_open(v.shape[2]))
    if x is None or g.chance(0.5):
        heads, depth = g.rng.choice([1, 2, 3]), g.rng.choice([1, 3, 4, 5, 8])
        x = g.input((g.size(1, 2, 3), g.size(1, 4, 9, 15), heads * depth))
    return x


def projected(g: Graph, x: Value, width: int) -> Value:
    """x W + b, with the matrix before or after the reshape that makes rows of tokens."""
    c = x.shape[-1]
    how = g.rng.choice(["matmul", "matmul", "matmul", "gemm", "turned", "einsum"])
    out = (*x.shape[:-1], width)
    bias = g.weight(width) if g.chance(0.8) else None
    if how == "gemm":
        rows = g.reshape(x, (product(x.shape[:-1]), c)) if not any(is_open(d) for d in x.shape[1:]) else None
        if rows is not None:
            t = g.rng.choice([0, 1])
            y = g.op("Gemm", [rows, g.weight(width, c) if t else g.weight(c, width), bias], (rows.shape[0], width), transB=t)
            return g.reshape(y, out)
    if how == "einsum" and g.opset >= 12 and x.rank == 3:
        y = g.op("Einsum", [x, g.weight(c, width)], out, equation=g.rng.choice(["bnc,cd->bnd", "b n c, c d -> b n d"]))
    elif how == "turned":
        y = g.op("MatMul", [x, g.transpose(g.weight(width, c), 1, 0)], out)
    else:
        y = g.op("MatMul", [x, g.weight(c, width)], out)
    return g.add(y, bias) if bias is not None else y


def split_heads(g: Graph, z: Sizes, t: Value) -> Value:
    """[b, n, c] -> [b, h, n, d] or [b * h, n, d]."""
    n = t.shape[1]
    if z.flat and g.chance(0.3) and not (is_open(n) or is_open(z.b)):  # MultiheadAttention: tokens first
        t = g.transpose(t, 1, 0, 2)
        t = g.reshape(t, (n, z.b * z.h, z.d))
        return g.transpose(t, 1, 0, 2)
    t = g.transpose(g.reshape(t, (z.b, n, z.h, z.d)), 0, 2, 1, 3)
    return flat(g, z, t)


def flat(g: Graph, z: Sizes, t: Value) -> Value:
    if not z.flat or t.rank == 3:
        return t
    return g.reshape(t, (z.b * z.h, *t.shape[2:]))


def operands(g: Graph, z: Sizes, x: Value, kv: Value) -> tuple[Value, Value, Value]:
    """q, k, v as [.., n, d]: three projections, or parts of one."""
    r, n = g.rng, x.shape[1]
    spellings = ["three"] if kv is not x else ["three", "gather", "split5", "chunk", "slice", "middle", "pair"]
    spelling = r.choice(spellings)
    if spelling == "three":
        return split_heads(g, z, projected(g, x, z.c)), split_heads(g, z, projected(g, kv, z.c)), split_heads(g, z, projected(g, kv, z.c))
    if spelling == "pair":
        q, both = split_heads(g, z, projected(g, x, z.c)), projected(g, kv, 2 * z.c)
        k, v = g.split(both, [z.c, z.c], 2) if r.random() < 0.5 else (g.one(both, 2, 0, z.c), g.one(both, 2, z.c, 2 * z.c))
        return q, split_heads(g, z, k), split_heads(g, z, v)
    qkv = projected(g, x, 3 * z.c)
    if spelling == "chunk":
        parts = g.split(qkv, [z.c] * 3, 2)
    elif spelling == "slice":
        parts = [g.one(qkv, 2, i * z.c, (i + 1) * z.c) for i in range(3)]
    elif spelling == "middle":  # heads outside, q k v inside
        five = g.reshape(qkv, (z.b, n, z.h, 3 * z.d))
        parts = [flat(g, z, g.transpose(p, 0, 2, 1, 3)) for p in g.split(five, [z.d] * 3, 3)]
        return parts[0], parts[1], parts[2]
    else:
        five = g.transpose(g.reshape(qkv, (z.b, n, 3, z.h, z.d)), 2, 0, 3, 1, 4)
        if spelling == "gather":
            parts = [g.op("Gather", [five, g.constant(np.int64(i - r.choice([0, 3])))], five.shape[1:], axis=0) for i in range(3)]
        else:
            parts = [g.squeeze(p, 0) for p in g.split(five, [1, 1, 1], 0)]
        return tuple(flat(g, z, p) for p in parts)
    return tuple(split_heads(g, z, p) for p in parts)


def factor(g: Graph, x: Value, number: float) -> Value:
    """number * x, as a product, a quotient, or with the root spelled out."""
    how = g.rng.choice(["mul", "div", "sqrt", "pow", "unit"])
    if how == "div":
        return g.op("Div", [x, g.scalar(1 / number)], x.shape)
    if how == "sqrt":
        return g.op("Div", [x, g.unary("Sqrt", g.scalar(1 / number**2))], x.shape)
    if how == "pow":
        return g.mul(x, g.binary("Pow", g.scalar(1 / number**2), g.scalar(-0.5)))
    if how == "unit":
        return g.mul(x, g.binary("Div", g.scalar(1.0), g.scalar(1 / number)))
    return g.mul(x, g.scalar(number))


def head_scale(g: Graph, x: Value) -> Value:
    """1 / sqrt(size of the last axis), computed from the shape as dynamo and scripted code do."""
    d = g.cast(g.dim(x, x.rank - 1), np.float32)
    root = g.unary("Sqrt", d) if g.chance(0.5) else g.binary("Pow", d, g.scalar(0.5))
    return g.op("Div", [g.scalar(1.0), root], (1,))


def turned_keys(g: Graph, k: Value) -> Value:
    if k.rank == 4 and g.chance(0.2):  # by way of another order
        return g.transpose(g.transpose(k, 0, 2, 3, 1), 0, 3, 2, 1)
    return g.transpose(k, *range(k.rank - 2), k.rank - 1, k.rank - 2)


def mask(g: Graph, z: Sizes, logits: Value) -> Value:
    """An additive, boolean or causal mask; a bias in any position."""
    r = g.rng
    nq, nk = logits.shape[-2:]
    lead = logits.shape[:-2]
    fixed = not any(is_open(d) for d in logits.shape)
    shapes = [(nq, nk), (1, nk), (nq, 1), (nk,), (1,), (), (1,) * len(lead) + (nq, nk), (*lead, nq, nk), (*lead, 1, nk)]
    if len(lead) == 2:
        shapes += [(z.h, nq, nk), (z.h, 1, 1), (z.h, 1, nk), (lead[0], 1, 1, nk), (lead[0], 1, nq, nk), (1, z.h, nq, nk), (1, lead[1], nq, 1)]
    shape = r.choice(shapes)
    how = r.choice(["add", "add", "input", "sub", "where", "where", "causal", "float", "outer"])
    if how == "outer":  # broadcasts the scores themselves: no mask
        shape = (2, *logits.shape)
    if how == "causal" and fixed and g.opset >= 14:
        upper = g.op("Trilu", [g.constant(np.ones((nq, nk), np.float32)), g.ints(1)], (nq, nk), upper=1)
        return g.add(logits, g.mul(upper, g.scalar(-40)))
    if how == "where":
        condition = g.input(shape, BOOL) if g.chance(0.5) or any(is_open(d) for d in shape) else g.constant(g.array(shape, BOOL))
        if g.chance(0.3):
            condition = g.unary("Not", condition)
        low = g.scalar(r.choice([-1e4, -1e9, float(np.finfo(np.float32).min)]))
        parts = [logits, low] if g.chance(0.5) else [low, logits]
        masked = g.op("Where", [condition, *parts], broadcast(shape, logits.shape), np.float32)
        g.hidden.add(masked.name)  # numbers of this size are for a softmax alone
        return masked
    if how == "float":  # (1 - mask) * -10000 of whole numbers, as BERT has it; less, so that a row that is masked whole keeps its digits
        kept = g.cast(g.input(shape, INT64, 0, 1), np.float32)
        return g.add(logits, g.mul(g.binary("Sub", g.scalar(1.0), kept), g.scalar(-40)))
    dynamic = how == "input" or any(is_open(d) for d in shape)
    bias = g.input(shape) if dynamic else g.constant(g.array(shape))
    return g.binary("Sub", logits, bias) if how == "sub" else g.add(logits, bias)


def softmax(g: Graph, logits: Value) -> Value:
    r = g.rng
    if g.chance(0.08):  # spelled out
        e = g.unary("Exp", g.binary("Sub", logits, g.reduce("ReduceMax", logits, [logits.rank - 1])))
        return g.op("Div", [e, g.reduce("ReduceSum", e, [logits.rank - 1])], e.shape)
    axis = r.choice([-1, logits.rank - 1])
    if g.chance(0.08):
        axis = r.randrange(logits.rank)
    return g.op("Softmax", [logits], logits.shape, axis=axis)


def scores(g: Graph, z: Sizes, q: Value, k: Value) -> Value:
    r = g.rng
    number = r.choice([z.d**-0.5, z.d**-0.5, 0.3, 2.0])
    where = r.choice(["q", "k", "kt", "both", "after", "after", "none", "shape", "twice"])
    if where == "shape":
        number = 1.0
        q = g.mul(q, head_scale(g, q))
    if where in ("q", "both"):
        q = factor(g, q, number**0.5 if where == "both" else number)
    if where in ("k", "both"):
        k = factor(g, k, number**0.5 if where == "both" else number)
    out = (*q.shape[:-1], k.shape[-2])
    if g.opset >= 12 and g.chance(0.15):
        logits = g.op("Einsum", [q, k], out, equation="bhqd,bhkd->bhqk" if q.rank == 4 else "bqd,bkd->bqk")
    else:
        kt = turned_keys(g, k)
        if where == "kt":
            kt = factor(g, kt, number)
        logits = g.op("MatMul", [q, kt], out)
    if where in ("after", "twice"):
        logits = factor(g, logits, number)
    if where == "twice":
        logits = factor(g, mask(g, z, logits), 0.7)
    return logits


def finish(g: Graph, z: Sizes, y: Value, b: int, n: int) -> Value:
    """[.., n, d] back to [b, n, c], perhaps the output projection, perhaps only the class token."""
    r = g.rng
    if y.rank > 4:
        return y
    if z.flat:
        if is_open(z.b) or is_open(n):
            return y
        if g.chance(0.3):
            y = g.reshape(g.transpose(y, 1, 0, 2), (n, z.b, z.c))
            y = g.transpose(y, 1, 0, 2)
        else:
            y = g.reshape(g.transpose(g.reshape(y, (z.b, z.h, n, z.d)), 0, 2, 1, 3), (z.b, n, z.c))
    else:
        y = g.reshape(g.transpose(y, 0, 2, 1, 3), (y.shape[0], n, z.c))
    if g.chance(0.6):
        y = linear(g, y, z.c) or y
    if g.chance(0.3) and y.rank == 3 and y.shape[1] > 0 and not is_open(y.shape[1]):
        at = r.randrange(y.shape[1])
        y = g.op("Gather", [y, g.constant(np.int64(at))], (y.shape[0], y.shape[2]), axis=1) if g.chance(0.5) else g.one(y, 1, at, at + 1)
    return y


def attention(g: Graph) -> Value:
    """Multi-head attention over tokens, self or cross, heads as an axis or merged with the batch."""
    r = g.rng
    x = tokens(g)
    b, n, c = x.shape
    heads = r.choice([h for h in range(1, min(c, 4) + 1) if c % h == 0])
    z = Sizes(b, heads, c // heads, c, flat=r.random() < 0.25 and not is_open(b))
    kv = x
    if g.chance(0.3):
        kv = g.input((b, g.size(1, 3, 7), c))
    q, k, v = operands(g, z, x, kv)
    if g.chance(0.05):  # other heads for q: broadcast over the batch
        q = g.one(q, 0, 0, 1) if q.shape[0] > 1 and not is_open(q.shape[0]) else q
    logits = scores(g, z, q, k) if q.shape[:-2] == k.shape[:-2] else g.op("MatMul", [q, turned_keys(g, k)], (*k.shape[:-2], q.shape[-2], k.shape[-2]))
    for _ in range(r.choice([0, 0, 1, 1, 2])):
        logits = mask(g, z, logits)
    p = softmax(g, logits)
    if g.chance(0.05):
        p = g.op("Dropout", [p], p.shape)
    if g.chance(0.05):
        p = g.mul(p, g.scalar(0.5))
    lead = broadcast(p.shape[:-2], v.shape[:-2])
    if g.chance(0.1) and g.opset >= 12 and p.rank == 4 and v.rank == 4 and p.shape[:2] == v.shape[:2]:
        # Straight to tokens.
        y = g.op("Einsum", [p, v], (p.shape[0], p.shape[2], p.shape[1], z.d), equation="bhqk,bhkd->bqhd")
        return g.reshape(y, (y.shape[0], y.shape[1], z.c))
    y = g.op("MatMul", [p, v], (*lead, p.shape[-2], v.shape[-1]))
    return finish(g, z, y, b, n) if g.chance(0.9) else y


def plain(g: Graph) -> Value | None:
    """Products around a softmax over operands of any rank that are no projections: matrices, runtime inputs, one head."""
    r = g.rng
    rank = r.choice([2, 3, 4, 4, 5])
    lead = tuple(g.size(1, 2, 3) for _ in range(rank - 2))
    nq, nk, d, dv = g.size(1, 2, 5), g.size(1, 3, 6), r.choice([1, 3, 4, 7]), r.choice([1, 2, 5])
    q = g.input((*lead, nq, d))
    k = g.input((*(r.choice([1, e]) if not is_open(e) else e for e in lead), nk, d)) if g.chance(0.3) else g.input((*lead, nk, d))
    if g.chance(0.3):  # keys that come transposed
        kt = g.input((*k.shape[:-2], d, nk))
    else:
        kt = g.transpose(k, *range(k.rank - 2), k.rank - 1, k.rank - 2)
    same = g.chance(0.15) and k.size > 0
    v = k if same else g.input((*lead, nk, dv))
    logits = g.op("MatMul", [q, kt], (*broadcast(q.shape[:-2], kt.shape[:-2]), nq, nk))
    if g.chance(0.6):
        logits = factor(g, logits, d**-0.5)
    z = Sizes(lead[0] if lead else 1, lead[1] if len(lead) > 1 else 1, d, d)
    if g.chance(0.5):
        logits = mask(g, z, logits)
    p = softmax(g, logits)
    return g.op("MatMul", [p, v], (*broadcast(p.shape[:-2], v.shape[:-2]), nq, v.shape[-1]))


def whole(g: Graph) -> Value | None:
    """Attention of opset 23, which exporters of today write."""
    r = g.rng
    if g.opset < 23:
        return attention(g)
    b, n, nk, h, d, dv = g.size(1, 2), g.size(1, 4, 7), g.size(1, 3, 6), r.choice([1, 2, 4]), r.choice([1, 4, 6]), r.choice([2, 4])
    kv = r.choice([e for e in (1, h) if h % e == 0])
    extra = {}
    if g.chance(0.4):
        extra["scale"] = r.choice([0.5, 1.0])
    if g.chance(0.2) and n == nk:
        extra["is_causal"] = 1
    if g.chance(0.2):
        extra["softcap"] = 2.0
    attn_mask = g.input((n, nk)) if g.chance(0.3) else g.input((n, nk), BOOL) if g.chance(0.2) else None
    if g.chance(0.5):
        q, k, v = g.input((b, h, n, d)), g.input((b, kv, nk, d)), g.input((b, kv, nk, dv))
        return g.op("Attention", [q, k, v, attn_mask], (b, h, n, dv), **extra)
    q, k, v = g.input((b, n, h * d)), g.input((b, nk, kv * d)), g.input((b, nk, kv * dv))
    return g.op("Attention", [q, k, v, attn_mask], (b, n, h * dv), q_num_heads=h, kv_num_heads=kv, **extra)

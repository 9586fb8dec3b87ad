"""Convolutions of any geometry, pools, normalisations by channel, resizing, and what stands around them in networks."""

from __future__ import annotations

import numpy as np
from builder import FLOAT, INT64, Graph, Value, is_open
from spellings import activation


def image(g: Graph, empty: bool = False) -> Value:
    """[N, C, spatial...] with one to three spatial axes."""
    r = g.rng
    x = g.pick(lambda v: v.is_float and 3 <= v.rank <= 5 and v.size > 0 and v.size < 20000 and not is_open(v.shape[1]))
    if x is not None and g.chance(0.8):
        return x
    spatial = [g.pixels(*range(1 if g.chance(0.2) else 3, 13)) for _ in range(r.choice([1, 2, 2, 2, 3]))]
    batch = 0 if empty and g.chance(0.1) and not any(is_open(d) for d in spatial) else g.size(1, 2, 3)
    return g.input((batch, r.choice([1, 2, 3, 4, 8, 17]), *spatial))


def batch_norm(g: Graph, x: Value) -> Value:
    """Over axis 1; a near miss has parameters that are no constants, a scale of 0, or is spelled as Mul and Add."""
    r = g.rng
    c = x.shape[1]
    if g.chance(0.15):  # the same as a scale and a shift
        shape = [c] + [1] * (x.rank - 2)
        return g.add(g.mul(x, g.weight(*shape)), g.weight(*shape))
    scale = g.array((c,), low=-1, high=1)
    if g.chance(0.1):
        scale[0] = 0
    variance = g.input((c,), low=0.3, high=2) if g.chance(0.05) else g.weight(c, low=0.3, high=2.0)
    extra = {"epsilon": r.choice([1e-5, 1e-3, 0.0])} if g.chance(0.8) else {}
    return g.op("BatchNormalization", [x, g.constant(scale), g.weight(c), g.weight(c), variance], x.shape, **extra)


def geometry(g: Graph, spatial, window: bool = False):
    """kernel, attributes and result sizes; None when it would not fit."""
    r = g.rng
    # What is a number of tokens or items elsewhere may become smaller than a window.
    small = [is_open(s) and not s.grows for s in spatial]
    sizes = (1, 2, 3) if window else (1, 2, 3, 3, 3, 5, 7)
    kernel = [1 if few else r.choice([k for k in sizes if k <= s + 2]) for s, few in zip(spatial, small)]
    dilation = [r.choice([1, 1, 1, 2, 3]) if k > 1 else 1 for k in kernel] if not window or g.opset >= 10 else [1] * len(kernel)
    stride = [r.choice([1, 1, 1, 2, 3]) for _ in spatial]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    attributes = {"kernel_shape": kernel}
    if any(s != 1 for s in stride) or g.chance(0.7):
        attributes["strides"] = stride
    if any(d != 1 for d in dilation) or g.chance(0.5):
        attributes["dilations"] = dilation
    automatic = r.choice([None, None, None, "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
    if automatic in ("SAME_UPPER", "SAME_LOWER") and any(d != 1 for d in dilation):
        automatic = None
    if window and any(k < t for k, t in zip(kernel, stride)):  # ONNX Runtime's padding turns negative
        automatic = None
    if automatic:
        attributes["auto_pad"] = automatic
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        return kernel, attributes, [-(-s // t) for s, t in zip(spatial, stride)]
    begin, end = [0] * len(kernel), [0] * len(kernel)
    if automatic != "VALID":
        begin = [r.choice([0, 1, k // 2, (k - 1) * d // 2]) for k, d in zip(kernel, dilation)]
        end = [r.choice([0, 1, b, b]) for b in begin]
        if window:
            begin, end = [min(b, k - 1) for b, k in zip(begin, kernel)], [min(e, k - 1) for e, k in zip(end, kernel)]
        if any(begin + end) or g.chance(0.5):
            attributes["pads"] = begin + end
    room = [s + b + f - e for e, s, b, f in zip(extent, spatial, begin, end)]
    if any(x < 0 for x in room):
        return None
    return kernel, attributes, [x // t + 1 for x, t in zip(room, stride)]


def convolution(g: Graph, x: Value | None = None) -> Value | None:
    r = g.rng
    x = x or image(g, empty=True)
    if g.chance(0.25):
        x = batch_norm(g, x)
    if g.chance(0.1):
        x = activation(g, x)
    c, spatial = x.shape[1], x.shape[2:]
    group = r.choice([d for d in range(1, c + 1) if c % d == 0]) if g.chance(0.35) else 1
    m = group * r.choice([1, 1, 2, 5, 16]) if group > 1 else r.choice([1, 2, 5, 16, 33, c])
    shaped = geometry(g, spatial)
    if shaped is None:
        return None
    kernel, attributes, out = shaped
    if group > 1 or g.chance(0.5):
        attributes["group"] = group
    if g.chance(0.2):
        del attributes["kernel_shape"]
    w = g.input((m, c // group, *kernel), low=-0.5, high=0.5) if g.chance(0.08) else g.weight(m, c // group, *kernel)
    bias = None
    if g.chance(0.6):
        bias = g.input((m,)) if g.chance(0.08) else g.weight(m)
    y = g.op("Conv", [x, w, bias], (x.shape[0], m, *out), **attributes)
    return after(g, x, y)


def after(g: Graph, x: Value, y: Value) -> Value:
    """What follows a convolution, in any order."""
    r = g.rng
    m, spatial = y.shape[1], y.shape[2:]
    for step in r.choices(["bn", "act", "act", "residual", "scale", "bias", "twice", "gate", "pool"], k=r.choice([0, 1, 1, 2, 3])):
        if step == "bn":
            y = batch_norm(g, y)
        elif step == "act":
            y = activation(g, y)
        elif step == "residual":
            other = x if y.shape == x.shape else g.pick(lambda v: v.is_float and v.shape == y.shape and v.name != y.name)
            if other is not None:
                y = g.add(y, other) if g.chance(0.85) else g.binary(r.choice(["Sub", "Mul", "Max"]), y, other)
        elif step in ("scale", "bias"):
            shapes = [[m] + [1] * len(spatial), [1, m] + [1] * len(spatial), [1], []]
            if not any(is_open(d) for d in y.shape[2:]):
                shapes += [[spatial[-1]], [1, *spatial]]
            w = g.weight(*r.choice(shapes))
            y = g.mul(y, w) if step == "scale" else g.add(y, w)
        elif step == "twice":
            y = g.add(y, g.unary("Relu", y))
        elif step == "gate" and y.size > 0 and g.opset >= 11:  # squeeze and excitation
            s = g.reduce("ReduceMean", y, list(range(2, y.rank))) if g.chance(0.3) else g.op("GlobalAveragePool", [y], (*y.shape[:2], *[1] * len(spatial)))
            s = g.op("Conv", [s, g.weight(m, m, *[1] * len(spatial))], s.shape)
            y = g.mul(y, g.unary(r.choice(["Sigmoid", "HardSigmoid"]), s))
        elif step == "pool" and y.size > 0:
            y = pool(g, y) or y
            m, spatial = y.shape[1], y.shape[2:]
    return y


def shared(g: Graph) -> Value | None:
    """Two convolutions with the same weights over values of one shape, and their sum."""
    x = image(g)
    if g.chance(0.5):
        a, b = x, g.input(x.shape)
    else:
        a, b = batch_norm(g, x), x
    shaped = geometry(g, x.shape[2:])
    if shaped is None:
        return None
    kernel, attributes, out = shaped
    m = g.rng.choice([2, 8])
    w, bias = g.weight(m, x.shape[1], *kernel), g.weight(m)
    ya, yb = (g.op("Conv", [v, w, bias], (x.shape[0], m, *out), **attributes) for v in (a, b))
    if g.chance(0.5):
        ya = batch_norm(g, ya)
    if g.chance(0.5):
        yb = g.mul(yb, g.weight(m, *[1] * len(out)))
    return g.add(ya, activation(g, yb) if g.chance(0.5) else yb)


def transposed(g: Graph) -> Value | None:
    r = g.rng
    x = image(g)
    if x.size > 3000:
        return None
    c, spatial = x.shape[1], x.shape[2:]
    group = r.choice([d for d in range(1, c + 1) if c % d == 0]) if g.chance(0.3) else 1
    m = r.choice([1, 2, 4])
    kernel = [r.choice([1, 2, 3]) for _ in spatial]
    stride = [r.choice([1, 2]) for _ in spatial]
    dilation = [r.choice([1, 1, 2]) for _ in spatial]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    begin, end = [r.choice([0, e // 2]) for e in extent], [r.choice([0, e // 2]) for e in extent]
    more = [r.choice([0, 0, t - 1]) for t in stride]
    out = [(s - 1) * t + o + e - b - f for s, t, o, e, b, f in zip(spatial, stride, more, extent, begin, end)]
    if any(d < 1 for d in out):
        return None
    attributes = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "group": group, "output_padding": more, "pads": begin + end}
    bias = g.weight(m * group) if g.chance(0.5) else None
    y = g.op("ConvTranspose", [x, g.weight(c, m, *kernel), bias], (x.shape[0], m * group, *out), **attributes)
    return after(g, x, y) if g.chance(0.5) else y


def pool(g: Graph, x: Value | None = None) -> Value | None:
    r = g.rng
    x = x or image(g)
    spatial = x.shape[2:]
    if g.chance(0.2):
        return g.op(r.choice(["GlobalAveragePool", "GlobalMaxPool"]), [x], (*x.shape[:2], *[1] * len(spatial)))
    kind = r.choice(["MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool"])
    shaped = geometry(g, spatial, window=True)
    if shaped is None:
        return None
    _, attributes, out = shaped
    if kind != "MaxPool" and not (kind == "AveragePool" and g.opset >= 19):
        if any(d != 1 for d in attributes.pop("dilations", [])):
            return None
    if kind == "AveragePool" and g.chance(0.6):
        attributes["count_include_pad"] = r.choice([0, 1])
    if kind == "LpPool":
        attributes["p"] = r.choice([1, 2, 3])
        attributes.pop("dilations", None)
    if kind == "MaxPool" and g.chance(0.15):
        y, where = g.ops(kind, [x], [(*x.shape[:2], *out)] * 2, **attributes)
        g.values.remove(where)
        g.values.append(Value(where.name, INT64, where.shape))
        return y
    return g.op(kind, [x], (*x.shape[:2], *out), **attributes)


def channel_norm(g: Graph) -> Value | None:
    r = g.rng
    x = image(g)
    c = x.shape[1]
    kind = r.choice(["InstanceNormalization", "GroupNormalization", "LRN", "BatchNormalization", "LpNormalization", "spelled"])
    if kind == "GroupNormalization" and g.opset >= 21:
        return g.op(kind, [x, g.weight(c), g.weight(c)], x.shape, num_groups=r.choice([d for d in range(1, c + 1) if c % d == 0]))
    if kind in ("GroupNormalization", "spelled"):  # as PyTorch exports it
        groups = r.choice([d for d in range(1, c + 1) if c % d == 0])
        if any(is_open(d) for d in x.shape):
            return None
        y = g.reshape(x, (x.shape[0], groups, x.size // (x.shape[0] * groups)))
        y = g.op("InstanceNormalization", [y, g.constant(np.ones(groups, np.float32)), g.constant(np.zeros(groups, np.float32))], y.shape)
        y = g.reshape(y, x.shape)
        shape = [c] + [1] * (x.rank - 2)
        return g.add(g.mul(y, g.weight(*shape)), g.weight(*shape))
    if kind == "InstanceNormalization":
        return g.op(kind, [x, g.weight(c), g.weight(c)], x.shape, epsilon=r.choice([1e-5, 1e-3]))
    if kind == "LRN":
        return g.op(kind, [x], x.shape, size=r.choice([1, 3, 5]), alpha=0.3, beta=0.75, bias=1.0) if x.rank == 4 else None
    if kind == "LpNormalization":
        return g.op(kind, [x], x.shape, axis=r.randrange(x.rank), p=r.choice([1, 2]))
    return batch_norm(g, x)


def resize(g: Graph) -> Value | None:
    r = g.rng
    x = image(g)
    spatial = x.shape[2:]
    if g.opset < 11 or len(spatial) > 2:
        return None
    mode = r.choice(["nearest", "nearest", "linear", "cubic"]) if len(spatial) == 2 else r.choice(["nearest", "linear"])
    where = r.choice(["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"])
    attributes = {"mode": mode, "coordinate_transformation_mode": where}
    if mode == "nearest":
        attributes["nearest_mode"] = r.choice(["floor", "round_prefer_floor", "ceil"])
    roi = None if g.opset >= 13 else g.constant(np.zeros(0, np.float32))
    if g.chance(0.5):
        scale = [r.choice([1.0, 2.0, 0.5, 1.5, 3.0]) for _ in spatial]
        out = [int(np.floor(s * f)) for s, f in zip(spatial, scale)]
        if any(d < 1 for d in out):
            return None
        if where == "align_corners" and any(is_open(s) or s * f != int(s * f) for s, f in zip(spatial, scale)):
            return None  # ONNX's own data take the size before rounding, ONNX Runtime the one after it
        return g.op("Resize", [x, roi, g.constant(np.array([1, 1, *scale], np.float32))], (*x.shape[:2], *out), **attributes)
    if any(is_open(d) for d in x.shape):
        return None
    out = [r.choice([1, max(1, s // 2), 2 * s, s, s + 1]) for s in spatial]
    empty = None if g.opset >= 13 else g.constant(np.zeros(0, np.float32))
    return g.op("Resize", [x, roi, empty, g.ints(*x.shape[:2], *out)], (*x.shape[:2], *out), **attributes)


def depth(g: Graph) -> Value | None:
    r = g.rng
    x = g.pick(lambda v: v.dtype == FLOAT and v.rank == 4)
    if x is None:
        x = g.input((g.size(0, 1, 2), r.choice([4, 8, 9]), g.size(2, 3, 4), g.size(2, 4, 6)))
    n, c, h, w = x.shape
    if c % 4 == 0 and g.chance(0.5):
        extra = {"mode": r.choice(["DCR", "CRD"])} if g.opset >= 11 else {}
        return g.op("DepthToSpace", [x], (n, c // 4, h * 2, w * 2), blocksize=2, **extra)
    if h % 2 == 0 and w % 2 == 0:
        return g.op("SpaceToDepth", [x], (n, c * 4, h // 2, w // 2), blocksize=2)
    return None

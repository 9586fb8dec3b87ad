"""Activations and normalisations as exporters spell them, whole or in parts, and near misses: one number, one axis or one place off."""

from __future__ import annotations

import math

import numpy as np
from builder import Graph, Value, broadcast, is_open

NEAR = 0.12  # how often a spelling is made wrong on purpose

UNARY = ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "PRelu", "HardSwish", "Elu", "Softplus", "Erf", "Abs", "Neg", "Exp", "Selu", "Celu"]
UNARY += ["HardSigmoid", "Softsign", "Mish", "ThresholdedRelu", "gelu", "gelu", "gelu_tanh", "silu", "silu", "hard_swish", "Swish"]


def activation(g: Graph, x: Value) -> Value:
    r = g.rng
    kind = r.choice(UNARY)
    if kind in ("gelu", "gelu_tanh", "silu", "hard_swish"):
        return globals()[kind](g, x)
    if kind == "Clip":
        low, high = r.choice([(-0.4, 0.6), (None, 0.6), (-0.4, None), (0.0, 6.0), (0.5, -0.5), (None, None)])
        if (low, high) == (0.5, -0.5) and g.opset >= 11:  # ONNX Runtime answers min where min > max; the specification says max
            low = -0.5
        return g.clip(x, low, high)
    if kind == "PRelu":
        channel = [x.shape[1]] + [1] * (x.rank - 2) if x.rank > 1 else [1] * x.rank
        shapes = [channel, [1] * min(1, x.rank), [x.shape[-1]] if x.rank else [], [1] * x.rank]
        shape = r.choice(shapes)
        return g.op(kind, [x, g.weight(*shape) if not any(is_open(d) for d in shape) else g.weight(1)], x.shape)
    attributes = {
        "LeakyRelu": {"alpha": r.choice([0.01, 0.2, -0.3, 0.0, 1.5])},
        "Elu": {"alpha": r.choice([1.0, 0.5])},
        "Celu": {"alpha": r.choice([1.0, 2.0])},
        "HardSigmoid": {"alpha": r.choice([0.2, 1 / 6]), "beta": 0.5},
        "ThresholdedRelu": {"alpha": 0.3},
    }.get(kind, {})
    least = {"HardSwish": 14, "Mish": 18, "Swish": 24, "Celu": 12, "ThresholdedRelu": 10, "Erf": 9}
    if g.opset < least.get(kind, 0):
        kind, attributes = "Relu", {}
    if kind == "Exp":
        x = g.clip(x, -4, 2)
    return g.unary(kind, x, **attributes)


def number(g: Graph, value: float) -> Value:
    """A constant of a spelling: a near miss is off by a little."""
    if g.chance(NEAR / 4):
        value = value * g.rng.choice([0.9, 1.01, 1.1]) + g.rng.choice([0, 0, 0.1])
    shape = g.rng.choice([(), (), (), (1,), (1, 1)])
    return g.constant(np.full(shape, value, np.float32))


def other(g: Graph, x: Value) -> Value:
    """x; in a near miss another value of its shape."""
    if g.chance(NEAR / 3):
        return g.pick(lambda v: v.is_float and v.shape == x.shape) or x
    return x


def tap(g: Graph, v: Value) -> Value:
    """v, which now and then gets another reader."""
    if g.chance(NEAR):
        g.unary(g.rng.choice(["Neg", "Relu", "Identity"]), v)
    return v


def halved(g: Graph, x: Value, gate: Value) -> Value:
    """x * gate / 2 in any order."""
    order = g.rng.randrange(6)
    x = other(g, x)
    if order == 0:
        return g.mul(tap(g, g.mul(x, gate)), number(g, 0.5))
    if order == 1:
        return g.mul(g.mul(x, number(g, 0.5)), gate)
    if order == 2:
        return g.mul(x, g.mul(gate, number(g, 0.5)))
    if order == 3:
        return g.binary("Div", g.mul(x, gate), number(g, 2))
    if order == 4:
        return g.mul(g.binary("Div", x, number(g, 2)), gate)
    return g.mul(x, g.binary("Div", gate, number(g, 2)))


def gelu(g: Graph, x: Value) -> Value:
    if g.opset >= 20 and g.chance(0.4):
        return g.unary("Gelu", x, approximate=g.rng.choice(["none", "tanh"]))
    root = math.sqrt(2)
    inner = g.binary("Div", x, number(g, root)) if g.chance(0.5) else g.mul(x, number(g, 1 / root))
    if g.opset < 9:
        return x
    gate = g.add(tap(g, g.unary("Erf", inner)), number(g, 1))
    return halved(g, x, gate)


def gelu_tanh(g: Graph, x: Value) -> Value:
    r = g.rng
    s, k = number(g, math.sqrt(2 / math.pi)), number(g, 0.044715)
    order = r.randrange(6)
    if order == 0:
        inner = g.mul(g.add(x, g.mul(g.binary("Pow", x, number(g, 3)), k)), s)
    elif order == 1:
        inner = g.mul(g.add(x, g.mul(g.mul(g.mul(x, x), x), k)), s)
    elif order == 2:
        inner = g.mul(g.mul(x, s), g.add(g.mul(g.mul(x, x), k), number(g, 1)))
    elif order == 3:
        inner = g.mul(x, g.mul(g.add(g.mul(g.mul(x, x), k), number(g, 1)), s))
    elif order == 4:
        inner = g.mul(g.mul(x, g.add(g.mul(g.mul(x, x), k), number(g, 1))), s)
    else:
        inner = g.mul(g.add(x, g.mul(x, g.mul(g.mul(x, x), k))), s)
    gate = g.add(g.unary("Tanh", inner), number(g, 1))
    return halved(g, x, gate)


def silu(g: Graph, x: Value) -> Value:
    gate = g.unary("Sigmoid", x)
    if g.chance(NEAR):
        gate = g.unary("Sigmoid", g.mul(x, g.scalar(1.702)))
    return g.mul(other(g, x), tap(g, gate))


def hard_swish(g: Graph, x: Value) -> Value:
    r = g.rng
    if g.chance(0.3):
        gate = g.unary("HardSigmoid", x, alpha=r.choice([1 / 6, 1 / 6, 0.2]), beta=0.5)
        return g.mul(x, gate)
    relu6 = g.clip(g.add(x, number(g, 3)), 0, r.choice([6, 6, 6, 5]))
    order = r.randrange(4)
    if order == 0:
        return g.binary("Div", g.mul(x, relu6), number(g, 6))
    if order == 1:
        return g.mul(x, g.binary("Div", relu6, number(g, 6)))
    if order == 2:
        return g.mul(g.mul(x, relu6), number(g, 1 / 6))
    return g.mul(other(g, x), g.mul(relu6, number(g, 1 / 6)))


def near_miss(g: Graph, x: Value, axes: list[int]) -> list[int]:
    """Other axes than those."""
    if not g.chance(NEAR):
        return axes
    return sorted(g.rng.sample(range(x.rank), g.rng.randrange(1, x.rank + 1)))


def parameter(g: Graph, x: Value, axes: list[int]) -> Value:
    """gamma or beta: over the normalised axes, or in a near miss over others."""
    shape = [x.shape[a] for a in axes]
    if any(is_open(d) for d in shape):
        shape = []
    elif g.chance(NEAR):
        shape = g.rng.choice([[], [1], [1] * x.rank, [1 if is_open(d) else d for d in x.shape], [shape[-1]]])
    elif g.chance(0.2):
        shape = [1] * (x.rank - len(shape)) + shape
    return g.weight(*shape)


def layer_norm(g: Graph, x: Value) -> Value:
    """LayerNormalization over the last axes, whole or spelled."""
    r = g.rng
    count = r.choice([1, 1, 1, 2]) if x.rank > 1 else 1
    axes = list(range(x.rank - count, x.rank))
    row = [x.shape[a] for a in axes]
    if g.opset >= 17 and g.chance(0.3) and not any(is_open(d) for d in row):
        beta = g.weight(*row) if g.chance(0.7) else None
        y = g.op("LayerNormalization", [x, g.weight(*row), beta], x.shape, axis=axes[0] - r.choice([0, x.rank]), epsilon=r.choice([1e-5, 1e-3]))
    else:
        y = spelled_norm(g, x, axes)
    if g.chance(0.8):
        y = g.mul(y, parameter(g, x, axes)) if broadcast(y.shape, x.shape) == y.shape else y
        if g.chance(0.8):
            y = g.add(tap(g, y), parameter(g, x, axes))
    return y


def spelled_norm(g: Graph, x: Value, axes: list[int]) -> Value:
    r = g.rng
    keep = not g.chance(0.1)

    def mean(v: Value) -> Value:
        over = near_miss(g, v, axes)
        if keep:
            return g.reduce("ReduceMean", v, over)
        return g.unsqueeze(g.reduce("ReduceMean", v, over, keep=False), *over)

    first = mean(x)
    d = tap(g, g.binary("Sub", x, first))
    d2 = d if g.chance(0.7) else g.binary("Sub", x, mean(x) if g.chance(0.8) else first)
    square = g.binary("Pow", d2, number(g, 2)) if g.chance(0.5) else g.mul(d2, d2)
    variance = mean(square)
    epsilon = g.constant(np.float32(r.choice([1e-5, 1e-6, 1e-3])))
    place = r.choice(["in", "in", "in", "out"]) if g.chance(NEAR) else "in"
    if place == "out":  # PyTorch's old spelling: epsilon outside of the root
        s = g.add(g.unary("Sqrt", variance), epsilon)
        return g.binary("Div", d, s)
    inside = g.add(variance, epsilon)
    how = r.randrange(5)
    if how == 0:
        return g.binary("Div", d, g.unary("Sqrt", inside))
    if how == 1:
        return g.mul(d, g.unary("Reciprocal", g.unary("Sqrt", inside)))
    if how == 2:
        return g.mul(d, g.binary("Div", number(g, 1), g.unary("Sqrt", inside)))
    if how == 3:
        return g.mul(d, g.binary("Pow", inside, number(g, -0.5)))
    return g.binary("Div", d, g.binary("Pow", inside, number(g, 0.5)))


def rms_norm(g: Graph, x: Value) -> Value:
    if g.opset >= 23 and g.chance(0.5) and not is_open(x.shape[-1]):
        return g.op("RMSNormalization", [x, g.weight(x.shape[-1])], x.shape, axis=-1)
    square = g.mul(x, x) if g.chance(0.5) else g.binary("Pow", x, number(g, 2))
    inside = g.add(g.reduce("ReduceMean", square, [x.rank - 1]), g.constant(np.float32(1e-5)))
    y = g.mul(x, g.unary("Reciprocal", g.unary("Sqrt", inside))) if g.chance(0.5) else g.binary("Div", x, g.unary("Sqrt", inside))
    return g.mul(y, parameter(g, x, [x.rank - 1]))


def normalise(g: Graph) -> Value | None:
    x = g.pick(lambda v: v.is_float and v.rank >= 1 and v.size > 0)
    if x is None:
        x = g.input([g.size(1, 2, 3), g.size(1, 4, 7), g.rng.choice([1, 4, 8, 9])])
    return rms_norm(g, x) if g.chance(0.2) else layer_norm(g, x)


def act(g: Graph) -> Value | None:
    x = g.pick(lambda v: v.is_float)
    return activation(g, x) if x is not None else None

"""Seeded weights: nothing trained and nothing trivial, so that whatever a converter gets wrong shows in the outputs.

Batch norms have means, variances and some negative gammas; layer scales are near 0.1 instead of 1e-5; position biases
move the softmax; activations stay of order one through all depths. Values depend on the seed and on a parameter's name
and shape alone, and come from numpy, so they are the same on every machine.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

# The last batch norm of a residual branch is small, else deep backbones grow without bound.
RESIDUAL_END = re.compile(r"(res_layer\.4|conv_\d\.model\.\d+\.project\.bn|bn3|branch\.3)$")
RESIDUAL_GAIN = 0.4

Random = np.random.Generator
Fill = Callable[[Random, tuple[int, ...]], np.ndarray]


def normal(std: float, mean: float = 0.0) -> Fill:
    """Normal values."""
    return lambda random, shape: mean + std * random.standard_normal(shape)


def uniform(low: float, high: float, negative: float = 0.0) -> Fill:
    """Uniform values, a share of them with their sign turned."""
    def fill(random: Random, shape: tuple[int, ...]) -> np.ndarray:
        values = random.uniform(low, high, shape)
        return np.where(random.random(shape) < negative, -values, values)
    return fill


def fan_in(weight: torch.Tensor, gain: float) -> Fill:
    """Normal values that keep the variance of what they multiply, times ``gain``."""
    return normal((gain / (weight.numel() // weight.shape[0])) ** 0.5)


LOOSE = (
    # What is a parameter of its own rather than of a layer, by the end of its name.
    ("relative_position_bias_table", normal(1.0)),
    ("level_embeds", normal(0.5)),
    ("cls_token", normal(0.3)),
    ("pos_embed", normal(0.2)),
    ("in_proj_weight", normal(0.6)),
    ("in_proj_bias", normal(0.1)),
    ("gamma1", normal(0.03, 0.1)),
    ("gamma2", normal(0.03, 0.1)),
)


def layer_fills(name: str, layer: nn.Module) -> dict[str, Fill]:
    """How the parameters and buffers of one layer are filled, by their own names."""
    if isinstance(layer, nn.Conv2d):
        return {"weight": fan_in(layer.weight, 1.5), "bias": normal(0.1)}
    if isinstance(layer, nn.Linear):
        if name.endswith("fc_logvar"):
            return {"weight": fan_in(layer.weight, 4.0), "bias": normal(0.3, -1.0)}
        gain = 4.0 if name.endswith((".qkv", "fc_mu", "head.linear")) else 1.0
        return {"weight": fan_in(layer.weight, gain), "bias": normal(0.1)}
    if isinstance(layer, nn.BatchNorm2d):
        size = RESIDUAL_GAIN if RESIDUAL_END.search(name) else 1.0
        return {"weight": uniform(0.6 * size, 1.4 * size, negative=0.2), "bias": normal(0.2),
                "running_mean": normal(0.2), "running_var": uniform(0.5, 1.5)}
    if isinstance(layer, nn.LayerNorm):
        return {"weight": uniform(0.6, 1.4, negative=0.1), "bias": normal(0.1)}
    if isinstance(layer, nn.PReLU):
        return {"weight": uniform(0.05, 0.45)}
    return {}


def fills(model: nn.Module) -> dict[str, Fill]:
    """How every parameter and every buffer that is not derived or a counter is filled, by full name."""
    found: dict[str, Fill] = {}
    for prefix, layer in model.named_modules():
        for own, fill in layer_fills(prefix, layer).items():
            if getattr(layer, own, None) is not None:
                found[f"{prefix}.{own}" if prefix else own] = fill
    for name, _ in model.named_parameters():
        for end, fill in LOOSE:
            if name.endswith(end):
                found[name] = fill
    return found


@torch.no_grad()
def seed_weights(model: nn.Module, seed: int) -> None:
    """Fills ``model`` in place. A parameter without a rule is a mistake in this file, said by name."""
    found = fills(model)
    missing = [name for name, _ in model.named_parameters() if name not in found]
    if missing:
        raise ValueError(f"no rule for the seeded values of {', '.join(missing)}")
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, fill in found.items():
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        target = state[name]
        target.copy_(torch.from_numpy(fill(random, tuple(target.shape)).astype(np.float32)))


def seeded_image(seed: int, batch: int = 1, side: int = 224) -> torch.Tensor:
    """An input that is smooth in places and noisy in others, with the range of normalised pictures."""
    random = np.random.default_rng([seed, zlib.crc32(b"image")])
    coarse = random.standard_normal((batch, 3, 7, 7))
    smooth = np.repeat(np.repeat(coarse, side // 7, axis=2), side // 7, axis=3)
    noise = random.standard_normal((batch, 3, side, side))
    return torch.from_numpy((0.9 * smooth + 0.4 * noise).astype(np.float32))

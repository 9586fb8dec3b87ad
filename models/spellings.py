"""The same few ideas in the many spellings of published code, each as a network of a few numbers.

A converter has to see one idea behind all spellings of it. SPELLINGS names every network with its input shapes;
``python -m models.make_spellings`` exports them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.vit import Attention, ChannelAttention, VariationalHead
from models.window_attention import WindowCrossAttention, WindowFeedForward, WindowTokens, landmark_query

DIM, HEADS, TOKENS, WINDOW = 12, 3, 5, 3


class SpelledAttention(Attention):
    """Self-attention of width DIM; spellings replace its parts."""

    def __init__(self) -> None:
        super().__init__(DIM, HEADS)

    def heads_of(self, x: Tensor) -> Tensor:
        """(N, T, C) to (N, heads, T, C / heads)."""
        n, t, c = x.shape
        return x.view(n, t, self.heads, c // self.heads).transpose(1, 2)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values by head, from the tokens."""
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The weighted values by head."""
        scores = (q @ k.transpose(-2, -1)) * self.scale
        return scores.softmax(dim=-1) @ v

    def forward(self, x: Tensor) -> Tensor:
        y = self.attend(*self.split(x))
        return self.proj(y.transpose(1, 2).reshape(x.shape))


class Chunked(SpelledAttention):
    """The linear layer's output chunked, then split into heads."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.heads_of(q), self.heads_of(k), self.heads_of(v)


class Sliced(SpelledAttention):
    """The linear layer's output sliced, then split into heads."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(x)
        return (self.heads_of(qkv[..., :DIM]), self.heads_of(qkv[..., DIM:2 * DIM]),
                self.heads_of(qkv[..., 2 * DIM:]))


class SplitByHead(SpelledAttention):
    """Queries, keys and values side by side within each head."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, t, c = x.shape
        q, k, v = self.qkv(x).view(n, t, self.heads, 3 * c // self.heads).split(c // self.heads, dim=-1)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


class ThreeLinears(SpelledAttention):
    """A linear layer each for queries, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        del self.qkv
        self.query, self.key, self.value = (nn.Linear(DIM, DIM) for _ in range(3))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.heads_of(self.query(x)), self.heads_of(self.key(x)), self.heads_of(self.value(x))


class ScaledQuery(SpelledAttention):
    """The scale on the queries."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.softmax((q * self.scale) @ k.transpose(-2, -1), dim=-1) @ v


class Divided(SpelledAttention):
    """The scores divided by a square root."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.matmul(q, k.permute(0, 1, 3, 2)) / math.sqrt(q.shape[-1])
        return torch.matmul(nn.functional.softmax(scores, -1), v)


class Fused(SpelledAttention):
    """PyTorch's one function."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class Einsum(SpelledAttention):
    """Sums of products by letters, with heads last in the tokens' layout."""

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, c // self.heads).unbind(2)
        scores = torch.einsum("nqhd,nkhd->nhqk", q, k) * self.scale
        y = torch.einsum("nhqk,nkhd->nqhd", scores.softmax(dim=-1), v)
        return self.proj(y.reshape(n, t, c))


class BatchedProducts(SpelledAttention):
    """Heads folded into the batch, matrices of rank 3."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        n, h, t, d = q.shape
        q, k, v = (part.reshape(n * h, t, d) for part in (q, k, v))
        scores = torch.bmm(q * self.scale, k.transpose(1, 2))
        return torch.bmm(scores.softmax(dim=2), v).view(n, h, t, d)


def by_rows(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer as one product of matrices, all tokens as rows: what optimisers make of a product and a sum."""
    rows = torch.addmm(layer.bias, x.reshape(-1, x.shape[-1]), layer.weight.t())
    return rows.view(*x.shape[:-1], rows.shape[-1])


class Rows(SpelledAttention):
    """Linear layers over merged rows."""

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        qkv = by_rows(self.qkv, x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = self.attend(qkv[0], qkv[1], qkv[2])
        return by_rows(self.proj, y.transpose(1, 2).reshape(x.shape))


class Library(nn.Module):
    """PyTorch's own module."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class WindowBlock(nn.Module):
    """Window cross-attention and what follows, from two maps: the image's and the landmarks', one window's size."""

    attention: Callable[..., WindowCrossAttention] = WindowCrossAttention

    def __init__(self) -> None:
        super().__init__()
        self.window = WindowTokens(WINDOW, DIM)
        self.attn = type(self).attention(DIM, HEADS, WINDOW)
        self.ffn = WindowFeedForward(DIM, WINDOW)

    def forward(self, image: Tensor, landmarks: Tensor) -> Tensor:
        windows, shortcut = self.window(image)
        return self.ffn(self.attn(windows, landmark_query(landmarks, HEADS)), shortcut)


class FusedWindows(WindowCrossAttention):
    """PyTorch's one function, the position bias as its mask."""

    def forward(self, windows: Tensor, query: Tensor) -> Tensor:
        count, tokens, dim = windows.shape
        k, v = self.qkv(windows).view(count, tokens, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q = query.expand(-1, count // query.shape[0], -1, -1, -1).reshape(k.shape)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.position_bias()[None])
        return self.proj(y.transpose(1, 2).reshape(count, tokens, dim))


class EinsumWindows(WindowCrossAttention):
    """Sums of products by letters, the bias by embedding, the scale on the scores."""

    def forward(self, windows: Tensor, query: Tensor) -> Tensor:
        count, tokens, dim = windows.shape
        k, v = self.qkv(windows).chunk(2, dim=-1)
        k = k.view(count, tokens, self.heads, -1)
        v = v.view(count, tokens, self.heads, -1)
        q = query.repeat_interleave(count // query.shape[0], dim=1).flatten(0, 1)
        bias = F.embedding(self.relative_position_index, self.relative_position_bias_table).permute(2, 0, 1)
        scores = torch.einsum("bhqd,bkhd->bhqk", q, k).mul(self.scale).add(bias)
        y = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)
        return self.proj(y.reshape(count, tokens, dim))


class RowsWindows(WindowCrossAttention):
    """Linear layers over merged rows."""

    def forward(self, windows: Tensor, query: Tensor) -> Tensor:
        count, tokens, dim = windows.shape
        kv = by_rows(self.qkv, windows).view(count, tokens, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        q = query.expand(-1, count // query.shape[0], -1, -1, -1).reshape(kv[0].shape) * self.scale
        scores = q @ kv[0].transpose(-2, -1) + self.position_bias()[None]
        y = scores.softmax(-1) @ kv[1]
        return by_rows(self.proj, y.transpose(1, 2).reshape(count, tokens, dim))


class FusedWindowBlock(WindowBlock):
    """WindowBlock with FusedWindows."""

    attention = FusedWindows


class EinsumWindowBlock(WindowBlock):
    """WindowBlock with EinsumWindows."""

    attention = EinsumWindows


class RowsWindowBlock(WindowBlock):
    """WindowBlock with RowsWindows."""

    attention = RowsWindows


class ChannelGateConv(nn.Module):
    """Channel attention by 1x1 convolutions on a map of one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(DIM, DIM, 1)
        self.up = nn.Conv2d(DIM, DIM, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x[:, :, None, None]
        y = torch.sigmoid(self.up(F.relu(self.down(y))))
        return x * y.flatten(1)


class OneLinearHead(nn.Module):
    """The variational head by one linear layer, chunked."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(DIM, 14)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.fc(x).chunk(2, dim=1)
        return mu, logvar


class Normal(nn.Module):
    """Layer norm as ``spelled`` computes it, with weight and bias."""

    def __init__(self, spelled: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.spelled = spelled
        self.norm = nn.LayerNorm(DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.spelled(x) * self.norm.weight + self.norm.bias


def centred_by_pow(x: Tensor) -> Tensor:
    """Mean, difference, power, mean, square root, quotient."""
    difference = x - x.mean(-1, keepdim=True)
    return difference / (difference.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def centred_by_product(x: Tensor) -> Tensor:
    """A product for the square and a reciprocal square root."""
    difference = x - x.mean(-1, keepdim=True)
    return difference * torch.rsqrt((difference * difference).mean(-1, keepdim=True) + 1e-5)


def centred_by_var(x: Tensor) -> Tensor:
    """PyTorch's variance."""
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)


class Pointwise(nn.Module):
    """A function of one value."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@dataclass(frozen=True)
class Spelling:
    """A network, its inputs by name and shape, and its outputs."""

    make: Callable[[], nn.Module]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...] = ("y",)


SEQUENCE = {"x": (2, TOKENS, DIM)}
ROW = {"x": (2, DIM)}
ONE_WINDOW = {"image": (2, DIM, WINDOW, WINDOW), "landmarks": (2, DIM, WINDOW, WINDOW)}
FOUR_WINDOWS = {"image": (2, DIM, 2 * WINDOW, 2 * WINDOW), "landmarks": (2, DIM, WINDOW, WINDOW)}
VICH = ("mu", "logvar")

SPELLINGS = {
    "attention_index": Spelling(lambda: Attention(DIM, HEADS), SEQUENCE),
    "attention_first_tokens": Spelling(lambda: Attention(DIM, HEADS, TOKENS), SEQUENCE),
    "attention_unbind": Spelling(SpelledAttention, SEQUENCE),
    "attention_chunk": Spelling(Chunked, SEQUENCE),
    "attention_slice": Spelling(Sliced, SEQUENCE),
    "attention_split_by_head": Spelling(SplitByHead, SEQUENCE),
    "attention_three_linears": Spelling(ThreeLinears, SEQUENCE),
    "attention_scaled_query": Spelling(ScaledQuery, SEQUENCE),
    "attention_divided": Spelling(Divided, SEQUENCE),
    "attention_sdpa": Spelling(Fused, SEQUENCE),
    "attention_einsum": Spelling(Einsum, SEQUENCE),
    "attention_bmm": Spelling(BatchedProducts, SEQUENCE),
    "attention_library": Spelling(Library, SEQUENCE),
    "attention_rows": Spelling(Rows, SEQUENCE),
    "window_one": Spelling(WindowBlock, ONE_WINDOW),
    "window_four": Spelling(WindowBlock, FOUR_WINDOWS),
    "window_sdpa": Spelling(FusedWindowBlock, FOUR_WINDOWS),
    "window_einsum": Spelling(EinsumWindowBlock, FOUR_WINDOWS),
    "window_rows": Spelling(RowsWindowBlock, FOUR_WINDOWS),
    "window_one_rows": Spelling(RowsWindowBlock, ONE_WINDOW),
    "channel_gate_linear": Spelling(lambda: ChannelAttention(DIM), ROW),
    "channel_gate_conv": Spelling(ChannelGateConv, ROW),
    "vich_two_linears": Spelling(lambda: VariationalHead(DIM, 7), ROW, VICH),
    "vich_one_linear": Spelling(OneLinearHead, ROW, VICH),
    "layer_norm_module": Spelling(lambda: nn.LayerNorm(DIM), SEQUENCE),
    "layer_norm_pow": Spelling(lambda: Normal(centred_by_pow), SEQUENCE),
    "layer_norm_rsqrt": Spelling(lambda: Normal(centred_by_product), SEQUENCE),
    "layer_norm_var": Spelling(lambda: Normal(centred_by_var), SEQUENCE),
    "gelu_module": Spelling(nn.GELU, SEQUENCE),
    "gelu_tanh": Spelling(lambda: nn.GELU(approximate="tanh"), SEQUENCE),
    "gelu_erf_divided": Spelling(lambda: Pointwise(lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))), SEQUENCE),
    "gelu_erf_scaled": Spelling(lambda: Pointwise(lambda x: 0.5 * x * (torch.erf(x * math.sqrt(0.5)) + 1.0)), SEQUENCE),
}

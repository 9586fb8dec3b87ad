"""Window cross-attention: image tokens attended by landmark queries, and the feed-forward part after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def window_partition(x: Tensor, size: int) -> Tensor:
    """(N, H, W, C) to (windows x N, size, size, C)."""
    n, h, w, c = x.shape
    rows, columns = h // size, w // size
    x = x.view(n, rows, size, columns, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size, size, c)


def window_reverse(windows: Tensor, size: int, h: int, w: int) -> Tensor:
    """(windows x N, size x size, C) to (N, H, W, C)."""
    rows, columns = h // size, w // size
    n = windows.shape[0] // (rows * columns)
    x = windows.view(n, rows, columns, size, size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(n, h, w, -1)


def landmark_query(x: Tensor, heads: int) -> Tensor:
    """A landmark feature map (N, C, H, W) as queries (N, 1, heads, H x W, C / heads), without a projection."""
    x = x.permute(0, 2, 3, 1)
    n, h, w, c = x.shape
    return x.reshape(n, 1, h * w, heads, c // heads).permute(0, 1, 3, 2, 4)


def relative_position_index(size: int) -> Tensor:
    """For every pair of positions in a window, the row of the bias table: (size^2, size^2) of int64."""
    axis = torch.arange(size)
    positions = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    offsets = positions[:, :, None] - positions[:, None, :] + (size - 1)
    return offsets[0] * (2 * size - 1) + offsets[1]


class WindowTokens(nn.Module):
    """Channels last, normalised, cut into windows. Returns the windows and the normalised map, the shortcut."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shortcut = self.norm(x.permute(0, 2, 3, 1))
        windows = window_partition(shortcut, self.size)
        return windows.view(-1, self.size * self.size, shortcut.shape[-1]), shortcut


class WindowCrossAttention(nn.Module):
    """Keys and values from the windows' tokens, queries given, with a relative position bias."""

    def __init__(self, dim: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.size = size
        self.scale = (dim // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * size - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_position_index(size))
        self.qkv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def position_bias(self) -> Tensor:
        """The bias of every head: (heads, size^2, size^2)."""
        tokens = self.size * self.size
        rows = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        return rows.view(tokens, tokens, -1).permute(2, 0, 1).contiguous()

    def forward(self, windows: Tensor, query: Tensor) -> Tensor:
        count, tokens, dim = windows.shape
        head_dim = dim // self.heads
        per_image = count // query.shape[0]
        kv = self.qkv(windows).reshape(count, tokens, 2, self.heads, head_dim).permute(2, 0, 3, 1, 4)
        k, v = kv[0], kv[1]
        query = query.repeat(1, per_image, 1, 1, 1)
        q = query.reshape(count, self.heads, tokens, head_dim) * self.scale
        scores = q @ k.transpose(-2, -1)
        scores = scores + self.position_bias().unsqueeze(0)
        scores = scores.softmax(dim=-1)
        x = (scores @ v).transpose(1, 2).reshape(count, tokens, dim)
        return self.proj(x)


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between them."""

    def __init__(self, dim: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class WindowFeedForward(nn.Module):
    """Windows back to a map, and two residual steps with a layer scale each."""

    def __init__(self, dim: int, size: int, layer_scale: float = 1e-5) -> None:
        super().__init__()
        self.size = size
        self.gamma1 = nn.Parameter(layer_scale * torch.ones(dim))
        self.gamma2 = nn.Parameter(layer_scale * torch.ones(dim))
        self.mlp = Mlp(dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, windows: Tensor, shortcut: Tensor) -> Tensor:
        _, h, w, _ = shortcut.shape
        x = shortcut + self.gamma1 * window_reverse(windows, self.size, h, w)
        return x + self.gamma2 * self.mlp(self.norm(x))

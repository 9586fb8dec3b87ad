"""The transformer over the fused tokens, channel attention and the two heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.window_attention import Mlp


class Attention(nn.Module):
    """Multi-head self-attention, queries, keys and values from one linear layer.

    With ``tokens`` it attends to that many of the first tokens. The published network passes the number of all: its
    exports have a Slice there which changes nothing.
    """

    def __init__(self, dim: int, heads: int, tokens: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.tokens = tokens
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        if self.tokens is not None:
            x = x[:, :self.tokens, :]
        n, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q @ k.transpose(-2, -1)) * self.scale
        scores = scores.softmax(dim=-1)
        x = (scores @ v).transpose(1, 2).reshape(n, tokens, dim)
        return self.proj(x)


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, tokens: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, tokens)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ChannelAttention(nn.Module):
    """Every channel of a token times a gate in 0..1 computed from the whole token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dim, dim)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(dim, dim)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gate = self.sigmoid(self.linear2(self.relu(self.linear1(x))))
        return x * gate


class LinearHead(nn.Module):
    """Logits by one linear layer."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.size(0), -1)
        return self.linear(x)


class VariationalHead(nn.Module):
    """VICH: mean and log variance of a normal distribution over the logits. At test time the logits are the mean.

    With ``mean_only`` set it returns the mean alone, as published exports do.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.fc_mu = nn.Linear(dim, classes)
        self.fc_logvar = nn.Linear(dim, classes)
        self.mean_only = False

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = x.view(x.size(0), -1)
        if self.mean_only:
            return self.fc_mu(x)
        return self.fc_mu(x), self.fc_logvar(x)


class VisionTransformer(nn.Module):
    """A class token before ``tokens`` given ones, ``depth`` blocks, channel attention, one head.

    Returns ``(mu, logvar)`` with a ``vich`` head and the logits with a ``linear`` one.
    """

    def __init__(self, dim: int, heads: int, depth: int, tokens: int, classes: int, head: str) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens + 1, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads, tokens + 1) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.se_block = ChannelAttention(dim)
        self.variational = head == "vich"
        if self.variational:
            self.head_vae = VariationalHead(dim, classes)
        else:
            self.head = LinearHead(dim, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        cls_token = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat((cls_token, x), dim=1)
        x = x + self.pos_embed
        x = self.norm(self.blocks(x))
        x = self.se_block(x[:, 0])
        return self.head_vae(x) if self.variational else self.head(x)

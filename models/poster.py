"""POSTER-Var and POSTER++: two backbones, window cross-attention at three scales, fusion, transformer, head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.ir50 import IR50
from models.mobilefacenet import MobileFaceNet
from models.variants import Variant
from models.vit import VisionTransformer
from models.window_attention import WindowCrossAttention, WindowFeedForward, WindowTokens, landmark_query

BACKBONE_SIDE = 112
WINDOWS = (28, 14, 7)
TOKENS = 3 * 7 * 7


class PatchEmbed(nn.Module):
    """POSTER++'s embedding of the third scale: a bare 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


def embeddings(dims: tuple[int, int, int], width: int, nonlinear: bool) -> tuple[nn.Module, nn.Module, nn.Module]:
    """What brings the three scales to 7 x 7 tokens of one width."""
    def down(inputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, width, 3, 2, 1)] + ([nn.GELU()] if nonlinear else [])

    large = nn.Sequential(*down(dims[0]), *down(width))
    middle = nn.Sequential(*down(dims[1]))
    if nonlinear:
        return large, middle, nn.Sequential(nn.Conv2d(dims[2], width, 1), nn.GELU())
    return large, middle, PatchEmbed(dims[2], width)


class Poster(nn.Module):
    """The network of one variant. Parameters have the names of published checkpoints; unused ones are left out.

    Returns ``(mu, logvar)`` with a ``vich`` head and the logits with a ``linear`` one.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        size = variant.size
        dims, heads = size.dims, size.heads
        self.heads = heads
        self.layer_embedding = variant.layer_embedding
        self.nonlinear = variant.nonlinear
        if self.layer_embedding:
            self.level_embeds = nn.Parameter(torch.zeros(3, 1, size.vit_dim))
        self.face_landback = MobileFaceNet((dims[0], dims[1], size.landmark_width), size.landmark_depths)
        self.VIT = VisionTransformer(size.vit_dim, size.vit_heads, size.vit_depth, TOKENS,
                                     len(variant.dataset.labels), variant.head)
        self.ir_back = IR50(dims, size.image_depths)
        self.attn1 = WindowCrossAttention(dims[0], heads[0], WINDOWS[0])
        self.attn2 = WindowCrossAttention(dims[1], heads[1], WINDOWS[1])
        self.attn3 = WindowCrossAttention(dims[2], heads[2], WINDOWS[2])
        self.window1 = WindowTokens(WINDOWS[0], dims[0])
        self.window2 = WindowTokens(WINDOWS[1], dims[1])
        self.window3 = WindowTokens(WINDOWS[2], dims[2])
        self.conv1 = nn.Conv2d(dims[0], dims[0], 3, 2, 1)
        self.conv2 = nn.Conv2d(dims[1], dims[1], 3, 2, 1)
        self.conv3 = nn.Conv2d(dims[2], dims[2], 3, 2, 1)
        self.ffn1 = WindowFeedForward(dims[0], WINDOWS[0])
        self.ffn2 = WindowFeedForward(dims[1], WINDOWS[1])
        self.ffn3 = WindowFeedForward(dims[2], WINDOWS[2])
        self.last_face_conv = nn.Conv2d(size.landmark_width, dims[2], 3, 1, 1)
        self.embed_q, self.embed_k, self.embed_v = embeddings(dims, size.vit_dim, self.nonlinear)
        if self.nonlinear:
            self.fusion_norm = nn.LayerNorm(size.vit_dim)

    def queries(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the landmark backbone asks at each scale."""
        large, middle, small = self.face_landback(F.interpolate(image, size=BACKBONE_SIDE))
        small = self.last_face_conv(small)
        return (landmark_query(large, self.heads[0]), landmark_query(middle, self.heads[1]),
                landmark_query(small, self.heads[2]))

    def features(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the image backbone sees at each scale."""
        large, middle, small = self.ir_back(F.interpolate(image, size=BACKBONE_SIDE))
        return self.conv1(large), self.conv2(middle), self.conv3(small)

    def fuse(self, large: Tensor, middle: Tensor, small: Tensor) -> Tensor:
        """Three channels-last maps as one sequence of tokens."""
        o1 = self.embed_q(large.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        o2 = self.embed_k(middle.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        o3 = self.embed_v(small.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
        if self.layer_embedding:
            o1 = o1 + self.level_embeds[0]
            o2 = o2 + self.level_embeds[1]
            o3 = o3 + self.level_embeds[2]
        tokens = torch.cat((o1, o2, o3), dim=1)
        return self.fusion_norm(tokens) if self.nonlinear else tokens

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        q1, q2, q3 = self.queries(image)
        x1, x2, x3 = self.features(image)
        windows1, shortcut1 = self.window1(x1)
        windows2, shortcut2 = self.window2(x2)
        windows3, shortcut3 = self.window3(x3)
        o1 = self.ffn1(self.attn1(windows1, q1), shortcut1)
        o2 = self.ffn2(self.attn2(windows2, q2), shortcut2)
        o3 = self.ffn3(self.attn3(windows3, q3), shortcut3)
        return self.VIT(self.fuse(o1, o2, o3))

"""Networks for benchmarks on 224 x 224, 1000 classes: ResNet-50, MobileNetV2 and ViT-S/16, which others measure too, and a tiny one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.vit import Block

CLASSES = 1000


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width; plus the shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNet50(nn.Module):
    """ResNet-50 with the stride in the 3x3 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self.stage(64, 64, 3, 1)
        self.layer2 = self.stage(256, 128, 4, 2)
        self.layer3 = self.stage(512, 256, 6, 2)
        self.layer4 = self.stage(1024, 512, 3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, CLASSES)

    @staticmethod
    def stage(inputs: int, width: int, depth: int, stride: int) -> nn.Sequential:
        """``depth`` blocks, the first of them with the stride."""
        rest = (Bottleneck(4 * width, width, 1) for _ in range(depth - 1))
        return nn.Sequential(Bottleneck(inputs, width, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def conv_unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


def linear_bottleneck(inputs: int, outputs: int, stride: int, expand: int) -> nn.Sequential:
    """MobileNetV2's block: expand, depthwise, project."""
    hidden = inputs * expand
    units = [] if expand == 1 else [conv_unit(inputs, hidden)]
    units.append(conv_unit(hidden, hidden, 3, stride, hidden))
    return nn.Sequential(*units, nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """A branch plus its input."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 of width 1."""

    # expansion, width, blocks, stride of the first
    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        width = 32
        layers: list[nn.Module] = [conv_unit(3, width, 3, 2)]
        for expand, outputs, depth, stride in self.STAGES:
            for i in range(depth):
                block = linear_bottleneck(width, outputs, stride if i == 0 else 1, expand)
                layers.append(Residual(block) if i > 0 else block)
                width = outputs
        layers.append(conv_unit(width, 1280))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class ViTSmall16(nn.Module):
    """ViT-S/16: patches of 16, 12 blocks of width 384 with 6 heads."""

    def __init__(self, dim: int = 384, heads: int = 6, depth: int = 12, patch: int = 16, side: int = 224) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = self.norm(self.blocks(x + self.pos_embed))
        return self.head(x[:, 0])


class TinyConv(nn.Module):
    """Some 20 million multiplications, half a millisecond: to see what a runtime burns between calls, not how fast it is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_unit(3, 16, 7, 4), conv_unit(16, 32, 3, 2), conv_unit(32, 64, 3, 2), conv_unit(64, 64, 3))
        self.classifier = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


ZOO: dict[str, Callable[[], nn.Module]] = {
    "resnet50": ResNet50,
    "mobilenetv2": MobileNetV2,
    "vit_s16": ViTSmall16,
    "tiny_conv": TinyConv,
}

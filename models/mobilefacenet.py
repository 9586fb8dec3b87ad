"""MobileFaceNet, the landmark backbone: three feature maps of a 112 x 112 face."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class ConvUnit(nn.Module):
    """Convolution and batch norm, with a PReLU unless the unit is linear."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1,
                 linear: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = None if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if self.prelu is None else self.prelu(x)


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; plus the shortcut where shapes allow."""

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.conv = ConvUnit(inputs, hidden)
        self.conv_dw = ConvUnit(hidden, hidden, kernel=3, stride=stride, groups=hidden)
        self.project = ConvUnit(hidden, outputs, linear=True)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.residual else y


class ResidualStage(nn.Module):
    """Blocks of one width at one resolution."""

    def __init__(self, width: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(InvertedResidual(width, hidden, width, residual=True) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class MobileFaceNet(nn.Module):
    """Taps at strides 4, 8 and 16 of its input; the landmark head of the checkpoint is not part of it.

    ``widths`` are the channels of the three taps, ``depths`` the blocks of ``conv_3``, ``conv_4``, ``conv_5``.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 512), depths: Sequence[int] = (4, 6, 2)) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = ConvUnit(3, first, kernel=3, stride=2)
        self.conv2_dw = ConvUnit(first, first, kernel=3, groups=first)
        self.conv_23 = InvertedResidual(first, 2 * first, first, stride=2)
        self.conv_3 = ResidualStage(first, 2 * first, depths[0])
        self.conv_34 = InvertedResidual(first, 4 * first, second, stride=2)
        self.conv_4 = ResidualStage(second, 2 * second, depths[1])
        self.conv_45 = InvertedResidual(second, 4 * second, second, stride=2)
        self.conv_5 = ResidualStage(second, 2 * second, depths[2])
        self.conv_6_sep = ConvUnit(second, third)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        large = self.conv_3(self.conv_23(self.conv2_dw(self.conv1(x))))
        middle = self.conv_4(self.conv_34(large))
        small = self.conv_6_sep(self.conv_5(self.conv_45(middle)))
        return large, middle, small

"""The first three stages of IR-50, the image backbone: three feature maps of a 112 x 112 face."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class IRBlock(nn.Module):
    """Batch norm, 3x3, PReLU, 3x3 with the stride, batch norm; plus the shortcut.

    The shortcut is a strided 1x1 convolution where the width changes, else a max pool of window 1: a strided slice,
    or nothing at all at stride 1.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shortcut_layer(x)
        return self.res_layer(x) + shortcut


def stage(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    """``depth`` blocks, the first of them with stride 2."""
    blocks = [IRBlock(inputs, outputs, 2)]
    blocks += [IRBlock(outputs, outputs, 1) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


class IR50(nn.Module):
    """Taps after each of the three stages, at strides 2, 4 and 8 of its input."""

    def __init__(self, widths: Sequence[int] = (64, 128, 256), depths: Sequence[int] = (3, 4, 14)) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.PReLU(widths[0]),
        )
        self.body1 = stage(widths[0], widths[0], depths[0])
        self.body2 = stage(widths[0], widths[1], depths[1])
        self.body3 = stage(widths[1], widths[2], depths[2])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        large = self.body1(self.input_layer(x))
        middle = self.body2(large)
        small = self.body3(middle)
        return large, middle, small

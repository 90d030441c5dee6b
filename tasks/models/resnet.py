"""Residual networks for small images."""

from torch import Tensor, nn
from torch.nn import functional as F

from objectives.domains import Count, checked
from tasks.models.feedforward import Headed

STAGES = (1, 2, 4, 8)
"""Width of each stage, in units of the first; every stage but that one halves the image."""


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch norm, around which the input is passed."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(inputs)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))


@checked
def resnet18(input_shape: tuple[int, ...], num_outputs: int, *, width: Count = 64) -> Headed:
    """ResNet-18 with the stem for small images: a 3 x 3 convolution, no pooling.

    Source:
        He et al. 2016, arXiv:1512.03385; the stem as in section 4.2 for CIFAR.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    channels = width
    for factor in STAGES:
        stride = 1 if factor == 1 else 2
        layers += [
            Block(channels, width * factor, stride),
            Block(width * factor, width * factor, 1),
        ]
        channels = width * factor
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Headed(nn.Sequential(*layers), channels, num_outputs)

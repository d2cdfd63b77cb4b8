"""The peer of cold_start.py: one photo named by eager PyTorch, as most people's scripts do it.

    python cold_start_torch.py PHOTO WEIGHTS.pth FACTS.json [--torchvision]

Without torchvision the network is the same modules under the same names, so that only PyTorch,
NumPy and Pillow are imported; with it, its own model and transforms. Nothing of this project.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

SETTINGS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def divisible(value: float) -> int:
    found = max(8, int(value + 4) // 8 * 8)
    return found + 8 if found < 0.9 * value else found


class Padded(nn.Conv2d):
    """TensorFlow's 'same' at stride 2, for weights that were trained with it."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return super().forward(nn.functional.pad(x, (width % 2, 1, height % 2, 1)))


def convolution(
    given: int, out: int, kernel: int, stride: int, groups: int, facts: dict[str, Any]
) -> nn.Sequential:
    same = facts["same"] and stride == 2
    kind = Padded if same else nn.Conv2d
    return nn.Sequential(
        kind(
            given, out, kernel, stride, 0 if same else kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out, eps=facts["epsilon"]),
        nn.ReLU6(inplace=True),
    )  # fmt: skip


class InvertedResidual(nn.Module):
    def __init__(
        self, given: int, out: int, stride: int, expansion: int, facts: dict[str, Any]
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and given == out
        hidden = given * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(convolution(given, hidden, 1, 1, 1, facts))
        layers += [
            convolution(hidden, hidden, 3, stride, hidden, facts),
            nn.Conv2d(hidden, out, 1, bias=False),
            nn.BatchNorm2d(out, eps=facts["epsilon"]),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        width = facts["width"]
        channels, last = divisible(32 * width), divisible(1280 * max(1.0, width))
        layers: list[nn.Module] = [convolution(3, channels, 3, 2, 1, facts)]
        for expansion, out, repeats, stride in SETTINGS:
            for index in range(repeats):
                given, channels = channels, divisible(out * width)
                step = stride if index == 0 else 1
                layers.append(InvertedResidual(given, channels, step, expansion, facts))
        layers.append(convolution(channels, last, 1, 1, 1, facts))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, len(facts["labels"])))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return y


def tensor(image: Image.Image, facts: dict[str, Any]) -> Tensor:
    (height, width), (rows, columns) = facts["resize"], facts["size"]
    if facts["cover"]:
        scale = max(width / image.width, height / image.height)
        width, height = (
            max(least, int(side * scale + 1e-6))
            for side, least in ((image.width, width), (image.height, height))
        )
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - columns) / 2), round((height - rows) / 2)
    image = image.crop((left, top, left + columns, top + rows))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    mean, std = (torch.tensor(facts[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (pixels - mean) / std


def with_torchvision(photo: Image.Image, facts: dict[str, Any]) -> tuple[nn.Module, Tensor]:
    from torchvision import models, transforms

    network: nn.Module = models.mobilenet_v2(
        num_classes=len(facts["labels"]), width_mult=facts["width"]
    )
    prepare = transforms.Compose([
        transforms.Resize(min(facts["resize"])),
        transforms.CenterCrop(facts["size"]),
        transforms.ToTensor(),
        transforms.Normalize([m / 255 for m in facts["mean"]], [s / 255 for s in facts["std"]]),
    ])  # fmt: skip
    prepared: Tensor = prepare(photo)
    return network, prepared


def main(arguments: Sequence[str]) -> None:
    photo = Image.open(arguments[0]).convert("RGB")
    with open(arguments[2], encoding="utf-8") as file:
        facts = json.load(file)
    network: nn.Module
    if "--torchvision" in arguments:
        network, x = with_torchvision(photo, facts)
    else:
        network, x = MobileNetV2(facts), tensor(photo, facts)
    network.load_state_dict(torch.load(arguments[1], weights_only=True))
    network.eval()
    with torch.inference_mode():
        probabilities = network(x[None]).softmax(1)[0]
    for probability, index in zip(*probabilities.topk(5), strict=True):
        print(f"{float(probability):.1%}\t{facts['labels'][int(index)]}")


if __name__ == "__main__":
    main(sys.argv[1:])

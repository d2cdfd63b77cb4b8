"""Networks that no package installs, written here from their publishers' definitions.

tonylins/pytorch-mobilenet-v2 and d-li14/mobilenetv2.pytorch as PyTorch modules, and TF-slim's
MobileNetV2 as TensorFlow variables and operations. Channel counts come from each definition's own
rule, not from this project's spec.
"""

import math
from typing import Any

from torch import Tensor, nn

#        t   c   n  s
ROWS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip


def nearest(value: float, divisor: int) -> int:
    """Rounded to a multiple, never more than a tenth below."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def up(value: float, divisor: int) -> int:
    return math.ceil(value / divisor) * divisor


class Block(nn.Module):
    """Both publishers': one flat Sequential, no expansion where t is 1."""

    def __init__(self, ins: int, outs: int, stride: int, t: int) -> None:
        super().__init__()
        inner = round(ins * t)
        layers: list[nn.Module] = []
        if t > 1:
            layers += [nn.Conv2d(ins, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, outs, 1, bias=False),
            nn.BatchNorm2d(outs),
        ]
        self.conv = nn.Sequential(*layers)
        self.identity = stride == 1 and ins == outs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.identity else y


def bn_relu(ins: int, outs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outs),
        nn.ReLU6(),
    )


class Tonylins(nn.Module):
    """Rounds up; stem always 32, first block always 16; the head inside ``features``."""

    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [bn_relu(3, 32, 3, 2)]
        ins = 32
        for t, c, n, s in ROWS:
            outs = up(c * width, 8) if t > 1 else c
            for index in range(n):
                layers.append(Block(ins, outs, s if index == 0 else 1, t))
                ins = outs
        last = up(1280 * width, 8) if width > 1 else 1280
        layers.append(bn_relu(ins, last, 1, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.features(x).mean(3).mean(2))
        return y


class DLi14(nn.Module):
    """Rounds to the nearest, by 4 at width 0.1; the head is ``conv``, beside ``features``."""

    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        divisor = 4 if width == 0.1 else 8
        ins = nearest(32 * width, divisor)
        layers: list[nn.Module] = [bn_relu(3, ins, 3, 2)]
        for t, c, n, s in ROWS:
            outs = nearest(c * width, divisor)
            for index in range(n):
                layers.append(Block(ins, outs, s if index == 0 else 1, t))
                ins = outs
        last = nearest(1280 * width, divisor) if width > 1 else 1280
        self.features = nn.Sequential(*layers)
        self.conv = bn_relu(ins, last, 1, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.avgpool(self.conv(self.features(x))).flatten(1))
        return y


def slim_variables(tf: Any, width: float, classes: int, seed: int) -> dict[str, Any]:
    """TF-slim's variables by name, random; BatchNorm far from the identity."""
    import numpy as np

    random, found = np.random.default_rng(seed), {}

    def variable(name: str, *shape: int, low: float | None = None) -> None:
        if low is not None:
            values = random.uniform(low, 1.5, shape)
        elif len(shape) == 1:
            values = random.normal(0, 0.3, shape)
        else:
            fan_in = shape[0] * shape[1] * (1 if name.endswith("depthwise_weights") else shape[2])
            values = random.normal(0, np.sqrt(1.4 / fan_in), shape)
        found[f"MobilenetV2/{name}"] = tf.constant(values.astype(np.float32))

    def norm(name: str, channels: int) -> None:
        variable(f"{name}/BatchNorm/gamma", channels, low=0.5)
        variable(f"{name}/BatchNorm/beta", channels)
        variable(f"{name}/BatchNorm/moving_mean", channels)
        variable(f"{name}/BatchNorm/moving_variance", channels, low=0.5)

    ins = nearest(32 * width, 8)
    variable("Conv/weights", 3, 3, 3, ins)
    norm("Conv", ins)
    number = 0
    for t, c, n, _ in ROWS:
        outs = nearest(c * width, 8)
        for _ in range(n):
            name = f"expanded_conv_{number}" if number else "expanded_conv"
            inner = ins * t
            if t > 1:
                variable(f"{name}/expand/weights", 1, 1, ins, inner)
                norm(f"{name}/expand", inner)
            variable(f"{name}/depthwise/depthwise_weights", 3, 3, inner, 1)
            norm(f"{name}/depthwise", inner)
            variable(f"{name}/project/weights", 1, 1, inner, outs)
            norm(f"{name}/project", outs)
            ins, number = outs, number + 1
    last = max(1280, nearest(1280 * width, 8))
    variable("Conv_1/weights", 1, 1, ins, last)
    norm("Conv_1", last)
    variable("Logits/Conv2d_1c_1x1/weights", 1, 1, last, classes)
    variable("Logits/Conv2d_1c_1x1/biases", classes)
    return found


def slim_logits(tf: Any, variables: dict[str, Any], x: Any) -> Any:
    """The forward pass of TF-slim's definition: 'SAME' everywhere, epsilon 1e-3."""

    def of(name: str) -> Any:
        return variables[f"MobilenetV2/{name}"]

    def norm(y: Any, name: str) -> Any:
        parts = ("moving_mean", "moving_variance", "beta", "gamma")
        mean, variance, beta, gamma = (of(f"{name}/BatchNorm/{part}") for part in parts)
        return tf.nn.batch_normalization(y, mean, variance, beta, gamma, 1e-3)

    def conv(y: Any, name: str, stride: int = 1) -> Any:
        return norm(tf.nn.conv2d(y, of(f"{name}/weights"), stride, "SAME"), name)

    y = tf.nn.relu6(conv(x, "Conv", 2))
    number = 0
    for t, _, n, s in ROWS:
        for index in range(n):
            name = f"expanded_conv_{number}" if number else "expanded_conv"
            stride, before = s if index == 0 else 1, y
            if t > 1:
                y = tf.nn.relu6(conv(y, f"{name}/expand"))
            kernel = of(f"{name}/depthwise/depthwise_weights")
            y = tf.nn.depthwise_conv2d(y, kernel, [1, stride, stride, 1], "SAME")
            y = conv(tf.nn.relu6(norm(y, f"{name}/depthwise")), f"{name}/project")
            if stride == 1 and before.shape == y.shape:
                y = y + before
            number += 1
    y = tf.nn.relu6(conv(y, "Conv_1"))
    y = tf.reduce_mean(y, [1, 2], keepdims=True)
    logits = tf.nn.conv2d(y, of("Logits/Conv2d_1c_1x1/weights"), 1, "SAME")
    return tf.squeeze(logits + of("Logits/Conv2d_1c_1x1/biases"), [1, 2])

"""One training step as ours, a plain PyTorch loop and keras.applications write it.

All begin from the same weights, those of seed 0, and go by SGD with Nesterov's momentum, as this
project's recipes do; torchvision's script calls it ``--opt sgd_nesterov``. A step takes uint8
(batch, height, width, 3) and labels, and gives the loss. Frameworks are imported inside: TensorFlow
and PyTorch in one process share two cores badly.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

Step = Callable[[np.ndarray, np.ndarray], float]
RATE, MOMENTUM, DECAY = 0.01, 0.9, 4e-5


def plain_network(classes: int, dropout: float) -> Any:
    """MobileNetV2 as torchvision's reference has it: plain layers, ReLU6 in place, NCHW."""
    from torch import nn

    def layer(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True)]

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
            super().__init__()
            hidden = inputs * expansion
            layers = layer(inputs, hidden, 1, 1, 1) if expansion > 1 else []
            layers += layer(hidden, hidden, 3, stride, hidden)
            layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
            self.conv, self.add = nn.Sequential(*layers), stride == 1 and inputs == outputs

        def forward(self, x: Any) -> Any:
            return x + self.conv(x) if self.add else self.conv(x)

    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1)]  # fmt: skip
    layers, channels = layer(3, 32, 3, 2, 1), 32
    for expansion, outputs, repeats, stride in rows:
        for index in range(repeats):
            layers.append(Block(channels, outputs, stride if index == 0 else 1, expansion))
            channels = outputs
    layers += layer(channels, 1280, 1, 1, 1)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(1280, classes)]
    return nn.Sequential(*layers)


def plain_torch(
    spec: NetworkSpec, layout: str = "nchw", seed: int = 0, decay: float = DECAY
) -> Step:
    """A step as torchvision's reference script writes it, on float NCHW pictures.

    Args:
        spec: its size, classes and dropout; the rest is torchvision's.
        layout: 'nchw' or 'channels_last', with '-again' (only to time it twice), '-compiled', or
            '-bfloat16' (autocast).
        seed: of dropout.
        decay: of all parameters.
    """
    import torch
    from torch.nn import functional

    network = plain_network(spec.classes, spec.dropout)
    with torch.no_grad():
        arrays = parameters(spec)
        for parameter, array in zip(network.parameters(), arrays, strict=True):
            parameter.copy_(torch.from_numpy(array))
    torch.manual_seed(seed)
    layout, _, how = layout.partition("-")
    if layout == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    network.train()
    answer = torch.compile(network) if how == "compiled" else network
    optimizer = torch.optim.SGD(
        network.parameters(), RATE, MOMENTUM, weight_decay=decay, nesterov=True
    )

    def step(pictures: np.ndarray, labels: np.ndarray) -> float:
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        x = x.float().div(127.5).sub(1)
        x = x if layout == "channels_last" else x.contiguous()
        with torch.autocast("cpu", torch.bfloat16, enabled=how == "bfloat16"):
            loss = functional.cross_entropy(answer(x), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def parameters(spec: NetworkSpec) -> list[np.ndarray]:
    """The first weights in the order of a plain network's parameters: that of canonical names."""
    arrays = initialise(parameter_shapes(spec), "torchvision", seed=0)
    learned = (".weight", ".bias", ".scale", ".shift")
    return [array for name, array in arrays.items() if name.endswith(learned)]


def ours(
    spec: NetworkSpec, precision: Any = "float32", seed: int = 0, decay: float = DECAY,
    everywhere: bool = False,
) -> Step:  # fmt: skip
    """A step of this project's PyTorch trainer.

    Args:
        seed: of dropout.
        decay: of all parameters but BatchNorm's and biases.
        everywhere: bfloat16 in every layer, which the trainer does not do.
    """
    from mobilenetv2.data.augment import targets
    from mobilenetv2.editions.torch import MobileNetV2
    from mobilenetv2.training.recipe import Recipe
    from mobilenetv2.training.steps import torch as layers
    from mobilenetv2.training.steps.torch import TorchTrainer

    seen = Preprocessing(spec.size, mean=(127.5,) * 3, std=(127.5,) * 3)
    config = ModelConfig(spec, seen, Labels.numbered(spec.classes, None))
    recipe = Recipe().changed(
        momentum=MOMENTUM, weight_decay=decay, label_smoothing=0.0, precision=precision, seed=seed
    )
    kept = layers.keep_slow_layers_in_float32
    if everywhere:
        layers.keep_slow_layers_in_float32 = lambda network: None
    trainer = TorchTrainer(MobileNetV2(config, seed=0), recipe)
    layers.keep_slow_layers_in_float32 = kept
    return lambda pictures, labels: trainer.step(pictures, targets(labels, spec.classes), RATE)[0]


def keras_network(spec: NetworkSpec, policy: str = "float32") -> Any:
    """keras.applications with ``compile``: no decay, no dropout, Keras's own numerics.

    Args:
        policy: Keras's name of a precision, such as 'mixed_bfloat16'.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    from mobilenetv2.editions.keras.weights import assign

    keras.config.set_dtype_policy(policy)
    network = keras.applications.MobileNetV2(
        input_shape=(*spec.size, 3), weights=None, classes=spec.classes
    )
    network.config = ModelConfig.default(spec)  # its layers have the names of our edition's
    assign(network, initialise(parameter_shapes(spec), "torchvision", seed=0))
    optimizer = keras.optimizers.SGD(RATE, MOMENTUM, nesterov=True)
    network.compile(optimizer, "sparse_categorical_crossentropy")
    return network


def keras_step(network: Any) -> Step:
    """A step of ``train_on_batch``; it gives the mean loss since the last ``reset_metrics``."""

    def step(pictures: np.ndarray, labels: np.ndarray) -> float:
        network.reset_metrics()
        return float(network.train_on_batch(pictures.astype(np.float32) / 127.5 - 1, labels))

    return step

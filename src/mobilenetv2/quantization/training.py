"""Quantisation-aware training: a few epochs at a low learning rate, with rounding in the network.

It is for networks that otherwise lose too much accuracy. The ranges of tensors stay as calibration
found them, and the weights adapt to them. By default half of the loss is from the labels, and half
from the float network's outputs for the same image.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.data.augment import Augmentation, augment, generator, least_view, targets
from mobilenetv2.data.batches import batches, chunked, epoch_order
from mobilenetv2.data.dataset import Split
from mobilenetv2.data.scan import readable_photos
from mobilenetv2.editions.torch.network import normalise
from mobilenetv2.evaluation.predictions import best_classes
from mobilenetv2.graph.graph import INPUT, LOGITS, Add, Conv, Linear, Normalise, Operation, Pool
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.folding import Folded
from mobilenetv2.progress import say, track
from mobilenetv2.quantization.scheme import LEVELS, SMALLEST_SCALE, Scheme
from mobilenetv2.spec.network import Outputs
from mobilenetv2.training.schedule import cosine
from mobilenetv2.training.steps.torch import cross_entropy

LEARNING_RATE = 1e-4
"""Largest step of a weight, relative to its channel's largest; an integer step is 1 / 127."""
GENTLE = Augmentation(crop_least=0.5, flip=False)
"""Weak augmentation that also suits text and digits."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of training: Adam, with a learning rate that follows half a cosine."""

    epochs: int = 2
    batch_size: int = 32
    distillation: float = 0.5
    """Weight of the float network's outputs in the loss, from 0 to 1; the labels have the rest."""
    augmentation: Augmentation = GENTLE
    seed: int = 0


def train(
    scheme: Scheme, arrays: Arrays, split: Split, outputs: Sequence[int], recipe: Recipe
) -> Scheme:
    """Return the scheme with trained weights; everything else stays the same.

    Args:
        arrays: canonical, of the float network, which is the teacher.
        split: labelled photos, which must not be those on which the result is measured.
        outputs: output of the network for each class of the split.

    Raises:
        DataError: too many photos cannot be read.
    """
    split, notes = readable_photos(split)
    for note in notes:
        say(note)
    record = scheme.config.preprocessing
    network, teacher = FakeQuantised(scheme), GraphModule(lower(scheme.config, arrays))
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    spec = scheme.config.spec
    meaning = spec.classifier.outputs
    truth = np.array([outputs[photo.label] for photo in split.photos])
    labels = torch.from_numpy(targets(truth, spec.classes)[:, -spec.logits :])
    batch_size = min(recipe.batch_size, len(split))
    steps = len(split) // batch_size

    def view(epoch: int, index: int) -> NDArray:
        photo, random = split.photos[index], generator(recipe.seed, epoch, index)
        least = least_view(recipe.augmentation, record, record.size)
        image, name = split.image(photo, least), split.full_name(photo)
        return augment(image, recipe.augmentation, record, record.size, random, name)

    for epoch in range(recipe.epochs):
        started, right = time.monotonic(), 0
        losses: list[float] = []
        order = epoch_order(truth, recipe.seed, epoch)
        chunks = chunked(order, batch_size, drop_last=True)
        todo = batches(partial(view, epoch), chunks)
        label = f"quantisation-aware epoch {epoch + 1}/{recipe.epochs}"
        for pictures, indices in track(todo, label, steps * batch_size, batch_size):
            step = epoch * steps + len(losses)
            for group in optimizer.param_groups:
                group["lr"] = cosine(step, recipe.epochs * steps, LEARNING_RATE)
            x = normalise(pictures, record)
            logits, answers = network(x), teacher(x)
            loss = loss_of(logits, labels[indices], answers, meaning, recipe.distillation)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            found = best_classes(logits.detach().numpy(), meaning)
            right += int((found == truth[indices]).sum())
        say(
            f"{label}: loss {np.mean(losses):.3f} top-1 {right / (steps * batch_size):.1%} | "
            f"{time.monotonic() - started:.0f} s"
        )
    method = f"{scheme.method}, {recipe.epochs} epochs of quantisation-aware training"
    return dataclasses.replace(scheme, folded=network.folded(), method=method.removeprefix(", "))


def loss_of(
    logits: Tensor, labels: Tensor, answers: Tensor, outputs: Outputs, share: float
) -> Tensor:
    """Return the weighted sum of the cross-entropy with the labels and the teacher's divergence.

    The divergence is the cross-entropy with the teacher's probabilities minus their entropy.

    Args:
        logits, labels, answers: (batch, logits); answers are the teacher's logits.
        outputs: meaning of the logits.
        share: weight of the divergence, from 0 to 1.
    """
    soft = answers.softmax(1) if outputs == "softmax" else answers.sigmoid()
    with_teacher = cross_entropy(logits, soft, outputs) - cross_entropy(answers, soft, outputs)
    return (1 - share) * cross_entropy(logits, labels, outputs) + share * with_teacher


class FakeQuantised(nn.Module):
    """Trainable network of a scheme with the rounding of 8 bits, from images to logits (batch, n).

    The input is (batch, channels, height, width), normalised. Values are rounded as integers would
    be but stay float32. Rounding has no gradient, so the gradient passes straight through, and is 0
    for a value outside its range (Jacob et al., arXiv 1712.05877).

    The parameters are each weight relative to its channel's largest, and each bias relative to its
    layer's range. Folding leaves channels whose weights differ by a factor of a thousand; with
    relative parameters a step has the same effect on all.
    """

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        self.scheme, self.graph = scheme, scheme.graph
        self.shares = nn.ParameterDict()
        self.units: dict[str, Tensor] = {}
        """Unit of each weight or bias, by which its relative parameter is multiplied."""
        for layer in self.graph.layers():
            weight, bias = (torch.tensor(values) for values in scheme.folded[layer.name])
            peaks = weight.abs().flatten(1).amax(1).clamp_min(SMALLEST_SCALE)
            self.units[f"{layer.name}.weight"] = peaks.view(-1, *[1] * (weight.ndim - 1))
            steps = scheme.ranges[layer.output].steps
            self.units[f"{layer.name}.bias"] = torch.tensor(steps.scale * LEVELS)
            for part, values in (("weight", weight), ("bias", bias)):
                name = f"{layer.name}.{part}"
                self.shares[_key(name)] = nn.Parameter(values / self.units[name])

    def real(self, name: str) -> tuple[Tensor, Tensor]:
        """Return a layer's weight and bias before they are rounded."""
        weight, bias = (
            self.shares[_key(part)] * self.units[part]
            for part in (f"{name}.weight", f"{name}.bias")
        )
        return weight, bias

    def rounded(self, layer: Conv | Linear) -> tuple[Tensor, Tensor]:
        """Return a layer's weight and bias as the integers represent them."""
        weight, bias = self.real(layer.name)
        most = self.scheme.most
        with torch.no_grad():
            peaks = weight.abs().flatten(1).amax(1)
            if not self.scheme.per_channel:
                peaks = peaks.amax().expand_as(peaks)
            scales = (peaks / most).clamp_min(SMALLEST_SCALE).contiguous()
        zeros = torch.zeros(len(scales), dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -most, most)
        steps = scales.double() * self.scheme.ranges[layer.input].scale
        return weight, through((bias / steps).round() * steps, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, n) for normalised (batch, channels, height, width)."""
        found = {INPUT: self.quantised(INPUT, x)}
        for operation in self.graph.operations:
            y = self.compute(operation, *(found[name] for name in operation.inputs))
            found[operation.output] = self.quantised(operation.output, y)
        return found[LOGITS]

    def compute(self, operation: Operation, *inputs: Tensor) -> Tensor:
        """Return the output of one operation, in float."""
        assert not isinstance(operation, Normalise)
        x = inputs[0]
        if isinstance(operation, Pool):
            return x.mean((2, 3)) if operation.kind == "average" else x.amax((2, 3))
        if isinstance(operation, Add):
            y = inputs[0] + inputs[1]
        elif isinstance(operation, Linear):
            y = functional.linear(x, *self.rounded(operation))
        else:
            rows, columns = operation.padding
            if rows[0] == rows[1] and columns[0] == columns[1]:
                padding = (rows[0], columns[0])
            else:
                x, padding = functional.pad(x, (*columns, *rows)), (0, 0)
            y = functional.conv2d(
                x, *self.rounded(operation), operation.stride, padding, 1, operation.groups
            )
        if operation.activation == "relu6":
            return functional.relu6(y)
        return functional.relu(y) if operation.activation == "relu" else y

    def quantised(self, name: str, x: Tensor) -> Tensor:
        """Return a tensor quantised and dequantised."""
        steps = self.scheme.ranges[name].steps
        return torch.fake_quantize_per_tensor_affine(x, steps.scale, steps.zero_point, 0, LEVELS)

    def folded(self) -> Folded:
        """Return the current weights and biases of a scheme, float32, not rounded."""
        with torch.no_grad():
            return {
                layer.name: (weight.numpy().copy(), bias.numpy().copy())
                for layer in self.graph.layers()
                for weight, bias in [self.real(layer.name)]
            }


def _key(name: str) -> str:
    """Return a name without dots, which PyTorch does not allow in names of parameters."""
    return name.replace(".", "_")


def through(rounded: Tensor, x: Tensor) -> Tensor:
    """Return the rounded values, with the gradient of ``x``."""
    return x + (rounded.to(x.dtype) - x).detach()

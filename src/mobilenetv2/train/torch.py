"""A training step in PyTorch."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.editions.torch import MobileNetV2, dump, load
from mobilenetv2.editions.torch.inference import check_device, normalise, predictor
from mobilenetv2.evaluate.predictions import Predictor
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import depth, precision
from mobilenetv2.train.batchnorm import reestimate, set_policy
from mobilenetv2.train.optimizer import make_optimizer
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.replicas import Replicas
from mobilenetv2.train.trainer import State
from mobilenetv2.train.views import PhotoViews, Views


def check(recipe: Recipe, device: str) -> None:
    """See :class:`mobilenetv2.train.trainer.TrainerModule`; every key is supported."""
    check_device(device)


def make(config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str) -> "TorchTrainer":
    """See :class:`mobilenetv2.train.trainer.TrainerModule`."""
    network = MobileNetV2(config, seed=recipe.seed)
    load(network, arrays)
    if recipe.trained == "later":
        from mobilenetv2.train.later import LaterTrainer

        return LaterTrainer(network, recipe, device)
    return TorchTrainer(network, recipe, device)


class Part(NamedTuple):
    """What a step makes of some pictures of its batch: sums over them."""

    loss: float
    right: int
    gradients: tuple[Tensor, ...]
    """Of the parameters that learn."""


class TorchTrainer:
    """See :class:`mobilenetv2.train.trainer.Trainer`."""

    def __init__(self, network: MobileNetV2, recipe: Recipe, device: str = "cpu") -> None:
        self.network, self.recipe, self.device = network, recipe, torch.device(device)
        self.precision = precision.choose(recipe.precision, device)
        if self.precision == torch.bfloat16 and device == "cpu":
            precision.keep_slow_layers_in_float32(network)
        network.place(self.device)
        network.dropout.p = network.spec.dropout if recipe.dropout is None else recipe.dropout
        self.optimizer = make_optimizer(network, recipe)
        # Side by side on the cores of a CPU; elsewhere the parts come one after the other.
        most = max(1, recipe.batch_size // 2)  # BatchNorm needs two pictures in each
        self.replicas = Replicas(network, min(recipe.replicas, most) if device == "cpu" else 1)
        self.thaw(recipe.unfreeze_epochs)
        torch.manual_seed(recipe.seed)  # of dropout

    @property
    def computes(self) -> str:
        """See the protocol."""
        return f"{str(self.precision).removeprefix('torch.')} on {self.device}"

    def step(self, pictures: NDArray, targets: NDArray, rate: float) -> tuple[float, int]:
        """See the protocol."""
        set_policy(self.network, self.recipe.batch_norm)
        self._freeze()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        wanted = torch.from_numpy(targets).to(self.device, self.network.classifier.weight.dtype)
        kept = self._kept(len(pictures))

        def answered(network: MobileNetV2, rows: slice) -> Part:
            left = None if kept is None else kept[rows]
            return self._part(network, pictures[rows], wanted[rows], left)

        parts = self.replicas.each(answered, divided(len(pictures), self.recipe))
        self._learn([part.gradients for part in parts], len(pictures))
        self.optimizer.step()
        return sum(part.loss for part in parts) / len(pictures), sum(part.right for part in parts)

    def _kept(self, count: int) -> Tensor | None:
        """What dropout leaves of each picture's features: (count, features); None: all. Drawn here,
        for parts of a batch that run at the same time would draw in any order."""
        network = self.network
        if not network.dropout.p:
            return None
        weight = network.classifier.weight
        ones = torch.ones(count, network.classifier.in_features, dtype=weight.dtype)
        return functional.dropout(ones.to(self.device), network.dropout.p)

    def _part(
        self, network: MobileNetV2, pictures: NDArray, wanted: Tensor, kept: Tensor | None
    ) -> Part:
        """Loss and gradients, summed over some pictures of a batch."""
        x = self._inputs(pictures)
        with torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        ):
            features = self._features(network, x)
            logits = network.classifier(features if kept is None else features * kept)
        logits = logits.to(wanted.dtype)
        loss = functional.cross_entropy(logits, wanted, reduction="sum")
        right = int((logits.argmax(1) == wanted.argmax(1)).sum())
        learning = [p for p in network.parameters() if p.requires_grad]
        return Part(loss.item(), right, torch.autograd.grad(loss, learning))

    def _learn(self, gradients: list[tuple[Tensor, ...]], pictures: int) -> None:
        """Put the gradients of a batch's parts together."""
        learning = [p for p in self.network.parameters() if p.requires_grad]
        for parameter, *parts in zip(learning, *gradients, strict=True):
            # Sums of floats hang on their order: that of the parts.
            parameter.grad = sum(parts[1:], start=parts[0]) / pictures
        if self.recipe.gradient_clip:
            nn.utils.clip_grad_norm_(learning, self.recipe.gradient_clip)

    def _inputs(self, pictures: NDArray) -> Tensor:
        x = normalise(pictures, self.network.config.preprocessing, self.device)
        return x.to(self.network.classifier.weight.dtype)

    def _features(self, network: MobileNetV2, x: Tensor) -> Tensor:
        return network.features(x)

    def views(self, photos: PhotoViews, cache: Path) -> Views:
        """See the protocol."""
        return photos

    def thaw(self, epoch: float) -> None:
        """See the protocol."""
        recipe = self.recipe
        self.thawed = depth.thawed(
            epoch, recipe.unfreeze_epochs, recipe.frozen_blocks, self.network.spec
        )

    def _freeze(self) -> None:
        """Let what lies deeper than ``thawed`` compute as in evaluation, without gradients."""
        if not (self.recipe.unfreeze_epochs or self.recipe.frozen_blocks):
            return
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(depth.depth(name, self.network.spec) <= self.thawed)
        for module in self._frozen_norms():
            module.eval()

    def _frozen_norms(self) -> frozenset[nn.Module]:
        """BatchNorms that lie deeper than what is trained."""
        return frozenset(
            module
            for name, module in self.network.named_modules()
            if isinstance(module, nn.BatchNorm2d)
            and depth.depth(name, self.network.spec) > self.thawed
        )

    def reestimate(self, batches: Iterable[NDArray]) -> None:
        """See the protocol."""
        inputs = (self._inputs(pictures) for pictures in batches)
        reestimate(self.network, inputs, self._frozen_norms())

    def predictor(self, outputs: Literal["logits", "features"] = "logits") -> Predictor:
        """See the protocol."""
        return predictor(self.network, str(self.device), outputs)

    def dump(self) -> Arrays:
        """See the protocol."""
        return dump(self.network)

    def load(self, arrays: Arrays) -> None:
        """See the protocol."""
        load(self.network, arrays)

    def state(self) -> State:
        """See the protocol."""
        tensors = {f"network/{name}": t for name, t in self.network.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in values.items()}
        tensors["random"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(self.device)
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}

    def restore(self, state: State) -> None:
        """See the protocol."""
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
        network = {n.removeprefix("network/"): t for n, t in tensors.items() if "network/" in n}
        self.network.load_state_dict(network)
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, index, key = name.split("/")
                slots.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        torch.set_rng_state(tensors["random"])
        if self.device.type == "cuda" and "random/cuda" in tensors:  # else it began on the CPU
            torch.cuda.set_rng_state(tensors["random/cuda"], self.device)


def divided(count: int, recipe: Recipe) -> list[slice]:
    """The parts of a batch of ``count`` pictures: BatchNorm needs two in each."""
    parts = max(1, min(recipe.accumulate * recipe.replicas, count // 2))
    edges = [count * part // parts for part in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(edges)]

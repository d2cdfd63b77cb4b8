"""A training step in PyTorch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.editions.torch import MobileNetV2, dump, load
from mobilenetv2.editions.torch.inference import check_device, normalise, predictor
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluate.accuracy import Predictor
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train import depth, precision
from mobilenetv2.train.batchnorm import reestimate, set_policy
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.rmsprop import RMSProp
from mobilenetv2.train.trainer import EPSILON_OF_ADAM, MOMENTUM_OF_ADAM, State
from mobilenetv2.train.views import PhotoViews, Views
from mobilenetv2.weights.canonical import Arrays


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
        blocks = len(network.blocks)
        if recipe.frozen_blocks > blocks:
            raise RecipeError(
                f"frozen_blocks {recipe.frozen_blocks}: the network has {blocks} blocks"
            )
        self.thaw(recipe.unfreeze_epochs)
        torch.manual_seed(recipe.seed)  # of dropout

    def step(self, pictures: NDArray, targets: NDArray, rate: float) -> tuple[float, int]:
        """See the protocol."""
        set_policy(self.network, self.recipe.batch_norm)
        self._freeze()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        total, right = 0.0, 0
        parts = max(1, min(self.recipe.accumulate, len(pictures) // 2))  # BatchNorm needs two
        for part in np.array_split(np.arange(len(pictures)), parts):
            target = torch.from_numpy(targets[part]).to(self.device)
            loss, logits = self._loss(pictures[part], target)
            (loss * (len(part) / len(pictures))).backward()
            total += loss.item() * len(part) / len(pictures)
            right += int((logits.argmax(1) == target.argmax(1)).sum())
        if self.recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
        self.optimizer.step()
        return total, right

    def _loss(self, pictures: NDArray, target: Tensor) -> tuple[Tensor, Tensor]:
        """(mean cross-entropy, logits)."""
        x = self._inputs(pictures)
        with torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        ):
            logits = self._forward(x)
        if logits.dtype == torch.bfloat16:
            logits = logits.float()
        return functional.cross_entropy(logits, target.to(logits.dtype)), logits

    def _inputs(self, pictures: NDArray) -> Tensor:
        x = normalise(pictures, self.network.config.preprocessing, self.device)
        return x.to(self.network.classifier.weight.dtype)

    def _forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits

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
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], self.device)


def make_optimizer(network: MobileNetV2, recipe: Recipe) -> torch.optim.Optimizer:
    """Matrices and kernels decay, BatchNorm and biases do not; each group's rate has its scale."""
    parts: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        scale = depth.scale(recipe.layer_decay, name, network.spec)
        parts.setdefault((scale, decay), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": decay, "scale": scale}
        for (scale, decay), parameters in parts.items()
    ]
    rate = recipe.learning_rate
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=MOMENTUM_OF_ADAM, eps=EPSILON_OF_ADAM)
    if recipe.optimizer == "rmsprop":
        return RMSProp(groups, lr=rate, momentum=recipe.momentum)
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)

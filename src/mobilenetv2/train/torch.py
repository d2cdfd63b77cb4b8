"""A training step in PyTorch."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from mobilenetv2.editions.torch import MobileNetV2, dump, load
from mobilenetv2.editions.torch.inference import check_device, normalise, predictor
from mobilenetv2.evaluate.accuracy import Predictor
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.train.batchnorm import set_policy
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.trainer import EPSILON_OF_ADAM, MOMENTUM_OF_ADAM, State
from mobilenetv2.weights.canonical import Arrays


def check(recipe: Recipe, device: str) -> None:
    """See :class:`mobilenetv2.train.trainer.TrainerModule`; every key is supported."""
    check_device(device)


def make(config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str) -> "TorchTrainer":
    """See :class:`mobilenetv2.train.trainer.TrainerModule`."""
    network = MobileNetV2(config, seed=recipe.seed)
    load(network, arrays)
    return TorchTrainer(network, recipe, device)


class TorchTrainer:
    """See :class:`mobilenetv2.train.trainer.Trainer`."""

    def __init__(self, network: MobileNetV2, recipe: Recipe, device: str = "cpu") -> None:
        self.network, self.recipe, self.device = network, recipe, torch.device(device)
        self.precision = choose_precision(recipe.precision, device)
        network.place(self.device)
        network.dropout.p = network.spec.dropout if recipe.dropout is None else recipe.dropout
        self.optimizer = make_optimizer(network, recipe)
        torch.manual_seed(recipe.seed)  # of dropout

    def step(self, pictures: NDArray, labels: NDArray, rate: float) -> tuple[float, int]:
        """See the protocol."""
        set_policy(self.network, self.recipe.batch_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        x = normalise(pictures, self.network.config.preprocessing, self.device)
        x = x.to(self.network.classifier.weight.dtype)
        target = torch.from_numpy(labels).to(self.device)
        with torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        ):
            logits = self.network(x)
        if logits.dtype == torch.bfloat16:
            logits = logits.float()
        loss = functional.cross_entropy(logits, target, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item(), int((logits.argmax(1) == target).sum())

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


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW; matrices and kernels decay, BatchNorm and biases do not."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    rate = recipe.learning_rate
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=MOMENTUM_OF_ADAM, eps=EPSILON_OF_ADAM)
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def choose_precision(wish: str, device: str) -> torch.dtype:
    """bfloat16 only where the hardware computes in it: emulated, it is slower than float32."""
    if wish != "auto":
        return torch.bfloat16 if wish == "bfloat16" else torch.float32
    if device.startswith("cuda"):
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        able = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        able = False
    return torch.bfloat16 if able else torch.float32

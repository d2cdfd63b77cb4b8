"""Training steps in PyTorch, on images or on cached feature maps.

If only the later blocks are trained (:class:`CachedFeaturesTrainer`), the feature maps of the
earlier blocks are computed once and cached. The early blocks have the largest feature maps and take
most of the time of a step, and training changes them least. With these blocks frozen, a step takes
a fraction of the time. All epochs use a few random views of each photo, computed in advance.
"""

import copy
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, assert_never

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mobilenetv2.data.batches import Batches, batches, chunked
from mobilenetv2.editions import torch as edition
from mobilenetv2.editions.torch.network import (
    HiddenLayer,
    MobileNetV2,
    check_device,
    normalise,
    on_device,
)
from mobilenetv2.errors import RecipeError, RunError
from mobilenetv2.evaluation.predictions import Predictor
from mobilenetv2.files import TEMPORARY, naming, take_place
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.progress import say, track
from mobilenetv2.spec.network import Outputs
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.training.distributed import ALONE, Group
from mobilenetv2.training.inputs import PhotoViews, Views
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.schedule import depth, thawed_depth
from mobilenetv2.training.steps import State, Trainer, dropout_of, require_same_state
from mobilenetv2.training.steps.torch_batch_norm import separately, synchronise
from mobilenetv2.training.steps.torch_network import (
    Replicas,
    choose_precision,
    keep_slow_layers_in_float32,
    reestimate,
    set_policy,
)
from mobilenetv2.training.steps.torch_optimizers import make_optimizer

__all__ = ["check_device", "make_trainer"]

AT_ONCE = 16
"""Number of photos in a batch for computing feature maps."""
CUDA_RANDOM = "random/cuda"
"""Name of the random state of a GPU, which a run may gain or lose with its device."""


def make_trainer(
    config: ModelConfig, arrays: Arrays, recipe: Recipe, device: str = "cpu"
) -> "TorchTrainer":
    """Return a trainer for a network and its weights, with the settings of a recipe."""
    network = MobileNetV2(config, seed=recipe.seed)
    edition.load(network, arrays)
    kind = CachedFeaturesTrainer if recipe.trained == "later" else TorchTrainer
    return kind(network, recipe, device)


class Part(NamedTuple):
    """Sums over a part of a batch."""

    loss: Tensor
    right: Tensor
    gradients: tuple[Tensor, ...]
    """Gradients of the trained parameters."""


class TorchTrainer(Trainer):
    """A trainer in PyTorch, which supports all keys of a recipe."""

    edition = edition
    start: int | None = None
    """Number of the block that gets the inputs of a step; None if the inputs are images."""

    def __init__(self, network: MobileNetV2, recipe: Recipe, device: str = "cpu") -> None:
        self.network, self.recipe, self.device = network, recipe, torch.device(device)
        self.dtype = choose_precision(recipe.computation.precision, device)
        if self.dtype == torch.bfloat16 and device == "cpu":
            keep_slow_layers_in_float32(network)
        network.place(self.device)
        self.precision = str(self.dtype).removeprefix("torch.")
        self.computes = f"{self.precision} on {self.device}"
        network.dropout.p = dropout_of(network.spec, recipe)
        self.optimizer = make_optimizer(network, recipe, self.dtype)
        # In parallel on the cores of a CPU; on other devices one after the other.
        most = max(1, recipe.batch_size // 2)  # BatchNorm needs two images in each part
        replicas = min(recipe.computation.replicas, most) if device == "cpu" else 1
        self.replicas = Replicas(network, replicas)
        self.group = ALONE
        self.thaw(recipe.freezing.unfreeze_epochs)
        torch.manual_seed(recipe.seed)  # for dropout

    def join(self, group: Group) -> None:
        """Compute a part of each batch from now on, as one process of a group."""
        self.group = group
        if self.recipe.computation.sync_batch_norm and group.size > 1:
            synchronise(self.network, group)

    def rows(self, count: int) -> NDArray:
        """Return the rows of a batch of ``count`` images that this process computes."""
        parts = divided(count, self.recipe, self.group)
        return np.concatenate([np.arange(part.start, part.stop) for part in parts])

    def step(
        self, pictures: NDArray, targets: NDArray, rate: float, whole: int | None = None
    ) -> tuple[float, int]:
        """Take one optimiser step; return (mean loss, number of correct answers) before it."""
        set_policy(self.network, self.recipe.freezing.batch_norm)
        self._freeze()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        wanted = on_device(targets, self.device).to(self.network.classifier.weight.dtype)
        count = whole or len(pictures)
        masks = self._masks(count)  # of the whole batch, so that all processes draw the same
        parts = divided(count, self.recipe, self.group)
        ends = np.cumsum([part.stop - part.start for part in parts])
        places = dict(zip(ends, parts, strict=True))

        def answered(network: MobileNetV2, own: slice) -> Part:
            rows = places[own.stop]
            left = [mask if mask is None else mask[rows] for mask in masks]
            return self._part(network, pictures[own], wanted[own], left)

        own = [slice(*pair) for pair in pairwise([0, *map(int, ends)])]
        found = self.replicas.each(answered, own, self._share_statistics)
        self._learn([part.gradients for part in found], count)
        self.optimizer.step()
        loss, right = self.group.total(
            sum(float(part.loss) for part in found), sum(int(part.right) for part in found)
        )
        return loss / count, int(right)

    def _share_statistics(self) -> None:
        """Give the BatchNorm layers the mean of the running statistics of all processes."""
        if self.group.size == 1 or self.recipe.computation.sync_batch_norm:
            return
        moved = [
            buffer
            for module in self.network.modules()
            if isinstance(module, nn.BatchNorm2d) and module.training
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]
        self.group.add(moved)
        for buffer in moved:
            buffer.div_(self.group.size)

    def _masks(self, count: int) -> list[Tensor | None]:
        """Return the dropout masks of the features and of each hidden layer, (count, width).

        None keeps all values. The masks are drawn here, since parts of a batch that run in parallel
        would draw in random order.
        """
        hidden, last = hidden_layers(self.network), self.network.classifier
        width = hidden[0].in_features if hidden else last.in_features
        places = [(self.network.dropout, width), *((y.dropout, y.out_features) for y in hidden)]
        masks: list[Tensor | None] = []
        for dropout, width in places:
            ones = torch.ones(count, width, dtype=last.weight.dtype).to(self.device)
            masks.append(functional.dropout(ones, dropout.p) if dropout.p else None)
        return masks

    def _part(
        self, network: MobileNetV2, pictures: NDArray, wanted: Tensor, masks: list[Tensor | None]
    ) -> Part:
        """Return loss, correct answers and gradients, summed over a part of a batch."""
        x = self._inputs(pictures)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            y = _masked(network.pooled_features(x, self.start), masks[0])
            for layer, mask in zip(hidden_layers(network), masks[1:], strict=True):
                y = _masked(layer.activation(nn.Linear.forward(layer, y)), mask)
            logits = network.classifier(y)
        logits = logits.to(wanted.dtype)
        loss = cross_entropy(logits, wanted, network.spec.classifier.outputs, "sum")
        if logits.shape[1] == 1:
            right = ((logits > 0) == (wanted > 0.5)).sum()
        else:
            right = (logits.argmax(1) == wanted.argmax(1)).sum()
        learning = [p for p in network.parameters() if p.requires_grad]
        # Still tensors: to read a number of a GPU is to wait for it.
        return Part(loss.detach(), right, torch.autograd.grad(loss, learning))

    def _learn(self, gradients: list[tuple[Tensor, ...]], pictures: int) -> None:
        """Set the mean gradients of a batch from the gradients of its parts."""
        learning = [p for p in self.network.parameters() if p.requires_grad]
        for parameter, *parts in zip(learning, *gradients, strict=True):
            # In the order of the parts, since a sum of floats depends on the order.
            parameter.grad = sum(parts[1:], start=parts[0])
        self.group.add([p.grad for p in learning if p.grad is not None])
        for parameter in learning:
            assert parameter.grad is not None
            parameter.grad = parameter.grad / pictures
        if clip := self.recipe.optimizer.gradient_clip:
            nn.utils.clip_grad_norm_(learning, clip)

    def _inputs(self, pictures: NDArray) -> Tensor:
        x = normalise(pictures, self.network.config.preprocessing, self.device)
        return x.to(self.network.classifier.weight.dtype)

    def thaw(self, epoch: float) -> None:
        """Unfreeze the layers that are trained at an epoch of gradual unfreezing."""
        self.thawed = thawed_depth(epoch, self.recipe, self.network.spec)

    def _freeze(self) -> None:
        """Put the layers deeper than ``thawed`` into evaluation mode, without gradients."""
        freezing = self.recipe.freezing
        if not (freezing.unfreeze_epochs or freezing.blocks):
            return
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(depth(name, self.network.spec) <= self.thawed)
        for module in self._frozen_norms():
            module.eval()

    def _frozen_norms(self) -> frozenset[nn.Module]:
        """Return the BatchNorm layers that are deeper than ``thawed``."""
        return frozenset(
            module
            for name, module in self.network.named_modules()
            if isinstance(module, nn.BatchNorm2d) and depth(name, self.network.spec) > self.thawed
        )

    def reestimate(self, batches: Iterable[NDArray]) -> None:
        """Measure the BatchNorm statistics again, on batches of step inputs."""
        inputs = (self._inputs(pictures) for pictures in batches)
        with separately(self.network):  # processes may have different numbers of batches
            reestimate(self.network, inputs, self._frozen_norms(), self.group)

    def predictor(self, outputs: Literal["logits", "features"] = "logits") -> Predictor:
        """Return a function that runs the network in evaluation mode, with its current weights."""
        return edition.predictor(self.network, str(self.device), outputs)

    def state(self) -> State:
        """Return the weights, the optimiser's state and the random state, for a checkpoint."""
        state = self._own_state() | _slots(self.optimizer)
        if self.device.type == "cuda":
            state[CUDA_RANDOM] = torch.cuda.get_rng_state(self.device).cpu().numpy()
        return state

    def _own_state(self) -> State:
        """Return the part of the state that every checkpoint has, on any device."""
        tensors = {f"network/{name}": t for name, t in self.network.state_dict().items()}
        return _arrays(tensors | {"random": torch.get_rng_state()})

    def _trained_state(self) -> State:
        """Return the optimiser's state for this network once all its parameters were trained."""
        twin = copy.deepcopy(self.network)
        for parameter in twin.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer = make_optimizer(twin, self.recipe, self.dtype)
        optimizer.step()
        return _slots(optimizer)

    def restore(self, state: State) -> None:
        """Restore a state from :meth:`state`."""
        found = {name: array for name, array in state.items() if name != CUDA_RANDOM}
        trained = {name.split("/")[1] for name in found if name.startswith("optimizer/")}
        if trained and not self.recipe.freezing.unfreeze_epochs:  # else some may not have begun
            self._freeze()
            every = [one for group in self.optimizer.param_groups for one in group["params"]]
            trained |= {str(index) for index, one in enumerate(every) if one.requires_grad}
        full = self._trained_state() if trained else {}
        learnt = {name: array for name, array in full.items() if name.split("/")[1] in trained}
        require_same_state(self._own_state() | learnt, found)
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
        if self.device.type == "cuda" and CUDA_RANDOM in tensors:  # else it started on the CPU
            torch.cuda.set_rng_state(tensors[CUDA_RANDOM], self.device)


def _slots(optimizer: torch.optim.Optimizer) -> State:
    """Return the state that an optimiser keeps for each parameter, by index and key."""
    slots = optimizer.state_dict()["state"].items()
    return _arrays(
        {f"optimizer/{index}/{key}": one for index, kept in slots for key, one in kept.items()}
    )


def _arrays(tensors: Mapping[str, Tensor]) -> State:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def cross_entropy(
    logits: Tensor, targets: Tensor, outputs: Outputs, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """Return the cross-entropy with soft targets; binary unless the outputs are 'softmax'.

    Args:
        logits: float (batch, logits).
        targets: float (batch, logits), from 0 to 1.
        outputs: meaning of the logits.
        reduction: 'mean' or 'sum'. A binary mean is over batch and logits. Default: 'mean'.
    """
    if outputs == "softmax":
        return functional.cross_entropy(logits, targets, reduction=reduction)
    if outputs == "sigmoid" or outputs == "logit":
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction=reduction)
    assert_never(outputs)


def hidden_layers(network: MobileNetV2) -> list[HiddenLayer]:
    """Return the hidden linear layers of the classifier."""
    return [layer for layer in network.hidden if isinstance(layer, HiddenLayer)]


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def divided(count: int, recipe: Recipe, group: Group = ALONE) -> list[slice]:
    """Return the parts of a batch of ``count`` images that a process computes.

    Each has at least two images, for BatchNorm.
    """
    computation = recipe.computation
    return group.rows(count, computation.accumulate, computation.replicas)


class CachedFeaturesTrainer(TorchTrainer):
    """A trainer whose steps take cached feature maps instead of images."""

    def __init__(self, network: MobileNetV2, recipe: Recipe, device: str = "cpu") -> None:
        self.start = self.blocks = recipe.cache.blocks
        if self.blocks > len(network.blocks):
            raise RecipeError(
                f"cache.blocks {self.blocks}: the network has {len(network.blocks)} blocks"
            )
        super().__init__(network, recipe, device)
        deepest = 1 + len(network.blocks) - self.blocks
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(depth(name, network.spec) <= deepest)

    def views(self, photos: PhotoViews, cache: Path) -> Views:
        """Return the feature maps of the photos, from the cache file or computed into it."""
        return cached_maps(self, photos, cache)

    def early(self, pictures: NDArray) -> NDArray:
        """Return the feature maps of the frozen blocks, float16 (batch, h, w, k).

        Args:
            pictures: images, uint8 (batch, height, width, channels).
        """
        self.network.eval()
        with torch.inference_mode():
            x = self.network.stem(super()._inputs(pictures))
            for block in self.network.blocks[: self.blocks]:
                x = block(x)
        return np.asarray(x.permute(0, 2, 3, 1).half().cpu().numpy())

    def _inputs(self, pictures: NDArray) -> Tensor:
        maps = on_device(pictures, self.device)
        return maps.to(self.network.classifier.weight.dtype).permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class MapViews:
    """Cached feature maps of a few views of each photo, as inputs of steps."""

    maps: NDArray
    """Feature maps, float16 (views, photos, h, w, k), read from the file on access."""

    def batches(self, chunks: Sequence[NDArray], epoch: int) -> Batches:
        """Yield (float16 maps (batch, h, w, k), indices); the epochs use the views in turn."""
        maps = self.maps[epoch % len(self.maps)]
        return batches(lambda index: np.asarray(maps[index]), chunks)


def cached_maps(trainer: CachedFeaturesTrainer, photos: PhotoViews, path: Path) -> MapViews:
    """Return the feature maps in a file, which is computed if it does not exist or does not fit.

    Args:
        trainer: the trainer with the frozen blocks.
        photos: the views of the photos.
        path: the file.

    Raises:
        RunError: the disk has too little space.
    """
    views = min(photos.recipe.cache.views, max(1, photos.recipe.epochs))  # each view is used
    count = len(photos.split)
    if path.is_file():
        if stored := _stored_maps(path, views, count, next(_maps(trainer, photos, views))[1]):
            return stored
        say(f"note: {path} has not the maps of this network and is computed anew")
    partial = path.with_name(f"{TEMPORARY}{path.name}")
    file: np.memmap | None = None
    try:
        with naming(path, partial):
            for place, maps in track(_maps(trainer, photos, views), "maps", views * count, AT_ONCE):
                if file is None:
                    shape = (views, count, *maps.shape[1:])
                    _require_space(shape, path.parent)
                    file = open_memmap(partial, "w+", np.float16, shape)
                    reserve(partial)
                file.reshape(-1, *maps.shape[1:])[place : place + len(maps)] = maps
            assert file is not None
            file.flush()
            del file
            take_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return MapViews(np.load(path, mmap_mode="r"))


def _stored_maps(path: Path, views: int, count: int, first: NDArray) -> MapViews | None:
    """Return the maps in a file; None unless they begin with those of the first photos.

    Args:
        path: the file.
        views: number of views of each photo.
        count: number of photos.
        first: maps of the first photos in the first view, computed now.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # no file of an array
        return None
    fits = isinstance(found, np.memmap) and found.shape == (views, count, *first.shape[1:])
    if not fits or found.dtype != np.float16:
        return None
    stored, computed = found[0, : len(first)].astype(np.float32), first.astype(np.float32)
    # Another number of threads, or another machine, rounds in another way.
    near = np.allclose(stored, computed, rtol=0.02, atol=0.02 * float(np.abs(computed).max()))
    return MapViews(found) if near else None


def _require_space(shape: tuple[int, ...], folder: Path) -> None:
    needed, free = 2 * int(np.prod(shape)), shutil.disk_usage(folder).free
    if needed > free:
        raise RunError(
            f"{folder}: {needed / 1e9:.1f} GB are needed for the feature maps of {shape[0]} views, "
            f"{free / 1e9:.1f} GB are free; lower cache.views"
        )


def reserve(path: Path) -> None:
    """Allocate a file's disk space; a full disk would kill a process with a memory map silently."""
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _maps(
    trainer: CachedFeaturesTrainer, photos: PhotoViews, views: int
) -> Iterator[tuple[int, NDArray]]:
    """Yield (index of the first view, feature maps) of a batch at a time."""
    count = len(photos.split)
    for number in range(views):
        todo = photos.batches(chunked(range(count), AT_ONCE), number)
        for start, (pictures, _) in enumerate(todo):
            yield number * count + start * AT_ONCE, trainer.early(pictures)

"""What several of this room's tests share."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from mobilenetv2.data.dataset import Split
from mobilenetv2.model import store
from mobilenetv2.model.arrays import identity_batch_norm
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig, Origin
from mobilenetv2.training.distributed import Group
from mobilenetv2.training.folder import RunFolder
from mobilenetv2.training.job import Job, Run
from mobilenetv2.training.recipe import Recipe
from mobilenetv2.training.splits import Splits
from mobilenetv2.training.steps import find_steps


@pytest.fixture
def folded(model: Path, tmp_path: Path) -> Path:
    """The random model as LiteRT files come: BatchNorm an identity that carries the bias."""
    config, arrays = store.load(model)
    for name in {name.partition(".bn.")[0] for name in arrays if ".bn." in name}:
        bias = arrays[f"{name}.bn.shift"]
        arrays |= identity_batch_norm(name, bias, config.spec.numerics.epsilon)
    store.save(tmp_path / "folded", replace(config, origin=Origin("x", folded=True)), arrays)
    return tmp_path / "folded"


@pytest.fixture(scope="session")
def begun() -> Callable[..., Run]:
    """A run of fresh weights (seed 0) as it is before its first step, without a folder."""

    def make(
        folder: Path, photos: Split | Splits, recipe: Recipe, spec: NetworkSpec,
        edition: str = "torch", **known: Any,
    ) -> Run:  # fmt: skip
        from mobilenetv2.model.initialisation import initialise
        from mobilenetv2.spec.names import parameter_shapes

        splits = photos if isinstance(photos, Splits) else Splits(photos, photos, photos)
        config = ModelConfig.default(spec)
        arrays = initialise(parameter_shapes(spec), "torchvision", 0)
        trainer = find_steps(edition).make_trainer(config, arrays, recipe, "cpu")
        job = Job("photos/", folder, None, recipe)
        return Run(job, RunFolder(folder), recipe, config, splits, trainer, **known)

    return make


class Threads(Group):
    """A process of a group, as a thread: the processes' messages without processes."""

    def __init__(self, rank: int, size: int, meet: Callable[[int, Any], list[Any]]) -> None:
        self.rank, self.size, self._meet = rank, size, meet

    def first(self, function: Callable[[], Any]) -> Any:
        return self.gather(function() if self.writes else None)[0]

    def gather(self, value: Any) -> list[Any]:
        return self._meet(self.rank, value)

    def total(self, *values: float) -> list[float]:
        return [sum(column) for column in zip(*self.gather(values), strict=True)]

    def add(self, tensors: Sequence[Any]) -> None:
        found = self.gather([tensor.detach().clone() for tensor in tensors])
        for place, tensor in enumerate(tensors):
            tensor.data.copy_(sum(one[place] for one in found))


@pytest.fixture(scope="session")
def together() -> Callable[[int, Callable[[Group], Any]], list[Any]]:
    """Call a function as several processes of a group, in threads; return their results."""

    def run(size: int, function: Callable[[Group], Any]) -> list[Any]:
        barrier, table = Barrier(size, timeout=60), [None] * size

        def meet(rank: int, value: Any) -> list[Any]:
            table[rank] = value
            barrier.wait()
            found = list(table)
            barrier.wait()
            return found

        def called(rank: int) -> Any:
            try:
                return function(Threads(rank, size, meet))
            except BaseException:
                barrier.abort()
                raise

        with ThreadPoolExecutor(size) as pool:
            return list(pool.map(called, range(size)))

    return run

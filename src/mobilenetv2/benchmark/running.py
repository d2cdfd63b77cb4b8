"""What a contestant does in its own process: load, run against the clock, answer."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.benchmark import memory
from mobilenetv2.errors import ArtifactError
from mobilenetv2.formats import FORMATS, RUNTIMES
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.spec.records import ModelConfig

LEAST = 2
"""Runs of a burst that are counted, however long one takes."""
STEP, QUIET, PATIENCE = 0.02, 0.1, 1.0
"""Seconds looked at in one go; the share of a core in it that is quiet; seconds waited for that."""


class Runner:
    """A file in its runtime.

    Args:
        request: 'runtime', 'format', 'path', 'threads', and 'config' (JSON) of the network that
            the file has to be of.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        expected = ModelConfig.from_mapping(request["config"], "the benchmark's own request")
        began = time.perf_counter()
        self.engine, config = start(request)
        self.load = time.perf_counter() - began
        self.record = (config or expected).preprocessing
        if config is not None:
            _require_same(config, expected, request["path"])
        self._inputs: dict[int, NDArray] = {}
        self.memory_after_load = memory.peak()

    def loaded(self) -> dict[str, Any]:
        """Seconds and bytes."""
        return {"load_s": self.load, "memory_after_load": self.memory_after_load}

    def burst(self, pictures: Path, batch: int, seconds: float) -> dict[str, Any]:
        """Run one batch again and again.

        Returns:
            'first_s': the first run, which is not counted: threads wake up and caches fill;
            'seconds': of each counted run; 'busy': whether it went on computing afterwards.
        """
        x = self._input(pictures, batch)
        first = self._once(x)
        counted: list[float] = []
        end = time.perf_counter() + seconds
        while len(counted) < LEAST or time.perf_counter() < end:
            counted.append(self._once(x))
        return {
            "first_s": first, "seconds": counted, "busy": not settled(),
            "memory": memory.peak(),
        }  # fmt: skip

    def answer(self, pictures: Path, out: Path, batch: int) -> dict[str, Any]:
        """The logits of all pictures, float32 (pictures, classes), as the file ``out``."""
        given = np.load(pictures, mmap_mode="r")
        parts = [
            self.engine.run(self._prepared(np.asarray(given[i : i + batch])), "logits")
            for i in range(0, len(given), batch)
        ]
        np.save(out, np.concatenate(parts).astype(np.float32))
        return {"busy": not settled()}

    def _once(self, x: NDArray) -> float:
        began = time.perf_counter()
        self.engine.run(x, "logits")
        return time.perf_counter() - began

    def _input(self, pictures: Path, batch: int) -> NDArray:
        """The first ``batch`` pictures as the graph takes them, from the first again if there are
        fewer. Prepared once, outside the clock: what is compared is runtimes."""
        if batch not in self._inputs:
            given = np.load(pictures, mmap_mode="r")
            chosen = np.asarray(given[np.arange(batch) % len(given)])
            self._inputs[batch] = np.ascontiguousarray(self._prepared(chosen))
        return self._inputs[batch]

    def _prepared(self, pictures: NDArray) -> NDArray:
        return pictures if self.engine.takes_pictures else normalise(pictures, self.record)


def start(request: dict[str, Any]) -> tuple[Engine, ModelConfig | None]:
    """The engine, and the config inside the file, where the runtime's module gives it.

    Raises:
        MobileNetV2Error: the file or the runtime does not do.
    """
    path, threads, runtime = Path(request["path"]), request["threads"], request["runtime"]
    if RUNTIMES[runtime].engine:
        from mobilenetv2.runtime import artifact, engine

        loaded = artifact.load(path)
        return engine.start(loaded, runtime, threads), loaded.config
    from mobilenetv2.export.format import module_of

    return module_of(FORMATS[request["format"]]).reload(path, threads), None


def settled() -> bool:
    """Wait until the threads of this process sleep; False if they never do.

    Thread pools spin for a while after a run, in case there is another one. In the turn of the next
    contestant that would be its loss.
    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        before, began = time.process_time(), time.monotonic()
        time.sleep(STEP)
        if time.process_time() - before < QUIET * (time.monotonic() - began):
            return True
    return False


def _require_same(config: ModelConfig, expected: ModelConfig, where: str) -> None:
    """Raise unless a file takes the same pictures and gives the same classes."""
    for what, found, wanted in (
        ("size", config.spec.size, expected.spec.size),
        ("number of colours", config.spec.input_channels, expected.spec.input_channels),
        ("number of classes", config.spec.classes, expected.spec.classes),
        ("labels", config.labels.names, expected.labels.names),
    ):
        if found != wanted:
            raise ArtifactError(f"{where}: it is of another network than MODEL: its {what} differs")

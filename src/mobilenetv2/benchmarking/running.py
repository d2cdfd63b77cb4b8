"""A candidate's work in its own process: write the file, load it, run it against the clock."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.benchmarking import machine
from mobilenetv2.errors import ArtifactError
from mobilenetv2.formats import FORMATS, INT8, RUNTIMES
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.spec.records import ModelConfig

LEAST = 2
"""Runs of a burst that are counted, however long one takes."""
STEP, QUIET, PATIENCE = 0.02, 0.1, 1.0
"""Seconds looked at in one go; the share of a core in it that is quiet; seconds waited for that."""
Request = dict[str, Any]


class Runner:
    """A process's one candidate. Each method answers a request: plain values for JSON."""

    engine: Engine
    config: ModelConfig
    """Of the loaded file: its own, or the network's that it has to be of."""

    def __init__(self) -> None:
        self._inputs: dict[int, NDArray] = {}

    def write(self, request: Request) -> Request:
        """Write one file. A converter that crashes takes nothing else with it.

        Args:
            request: 'model' (folder), 'format', 'precision', 'out'; of int8 also 'scheme' (made
                by ``quantization.scheme.save_scheme``).
        """
        from mobilenetv2.exporting.job import Options, writer_of
        from mobilenetv2.model import store

        config, arrays = store.load(Path(request["model"]))
        out, name = Path(request["out"]), request["format"]
        if request["precision"] == INT8:
            from mobilenetv2.quantization.job import write_int8
            from mobilenetv2.quantization.scheme import load_scheme

            write_int8(name, load_scheme(Path(request["scheme"]), config), out)
        else:
            options = Options(precision=request["precision"])
            writer_of(FORMATS[name])(config, arrays, out, options)
        return {}

    def load(self, request: Request) -> Request:
        """Make a file ready to run.

        Args:
            request: 'runtime', 'format', 'path', 'threads', and 'config' (JSON) of the network that
                the file has to be of.

        Returns:
            'load_s' and 'memory_after_load' (bytes).
        """
        expected = ModelConfig.from_mapping(request["config"], "the benchmark's own request")
        began = time.perf_counter()
        self.engine, config = create_engine(request)
        seconds = time.perf_counter() - began
        self.config = config or expected
        _require_same(self.config, expected, request["path"])
        return {"load_s": seconds, "memory_after_load": machine.peak_memory()}

    def burst(self, request: Request) -> Request:
        """Run one batch again and again.

        Args:
            request: 'pictures' (a .npy), 'batch', 'seconds'.

        Returns:
            'first_s': the first run, which is not counted: threads wake up and caches fill;
            'seconds': of each counted run; 'busy': whether it went on computing afterwards;
            'memory': bytes at most.
        """
        x = self._input(Path(request["pictures"]), request["batch"])
        first = self._once(x)
        counted: list[float] = []
        end = time.perf_counter() + request["seconds"]
        while len(counted) < LEAST or time.perf_counter() < end:
            counted.append(self._once(x))
        return {
            "first_s": first, "seconds": counted, "busy": not is_idle(),
            "memory": machine.peak_memory(),
        }  # fmt: skip

    def answer(self, request: Request) -> Request:
        """Write the logits of all 'pictures', float32 (pictures, outputs), as the file 'out'."""
        given, batch = np.load(request["pictures"], mmap_mode="r"), request["batch"]
        parts = [
            self.engine.run(self._prepared(np.asarray(given[i : i + batch])), "logits")
            for i in range(0, len(given), batch)
        ]
        np.save(request["out"], np.concatenate(parts).astype(np.float32))
        return {"busy": not is_idle()}

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
        if self.engine.takes_pictures:
            return pictures
        return engine_input(pictures, self.config.preprocessing)


def create_engine(request: Request) -> tuple[Engine, ModelConfig | None]:
    """Return the engine, and the config inside the file, where the runtime's module gives it."""
    path, threads, runtime = Path(request["path"]), request["threads"], request["runtime"]
    if RUNTIMES[runtime].engine:
        from mobilenetv2.runtime import predictor

        loaded = predictor.load_artifact(path)
        return predictor.create_engine(loaded, runtime, threads), loaded.config
    from mobilenetv2.exporting.job import reload

    return reload(FORMATS[request["format"]], path, threads), None


def is_idle() -> bool:
    """Wait until the threads of this process sleep; False if they never do.

    Thread pools spin for a while after a run, in case there is another one. In the turn of the next
    candidate that would be its loss.
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

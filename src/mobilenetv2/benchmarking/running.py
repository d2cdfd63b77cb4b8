"""Work of one candidate in its own process: write the file, load it, measure it."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2 import machine
from mobilenetv2.errors import ArtifactError
from mobilenetv2.formats import FORMATS, INT8, RUNTIMES
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.runtime.engines.engine import Engine
from mobilenetv2.spec.foreign import AnyConfig, ForeignConfig, config_from_mapping

LEAST = 2
"""Minimum number of counted runs in a burst, even if one takes long."""
STEP, QUIET, PATIENCE = 0.02, 0.1, 1.0
"""Seconds per check, fraction of a core that counts as idle, and seconds to wait for it."""
Request = dict[str, Any]


class Runner:
    """Runner of one candidate; each method answers a request with plain values for JSON."""

    engine: Engine
    config: AnyConfig
    """Config of the loaded file, or else of the network that the file must be."""

    def __init__(self) -> None:
        self._inputs: dict[int, NDArray] = {}

    def write(self, request: Request) -> Request:
        """Write one file; a crash of the converter ends only this process.

        Args:
            request: 'model' (folder), 'format', 'precision', 'out'; for int8 also 'scheme' (a file
                of ``quantization.scheme.save_scheme``).
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
        """Load a file so that it is ready to run.

        Args:
            request: 'runtime', 'format', 'path', 'threads', and 'config' (JSON) of the network that
                the file must be.

        Returns:
            'load_s' and 'memory_after_load' (bytes).
        """
        expected = config_from_mapping(request["config"], "the benchmark's own request")
        began = time.perf_counter()
        self.engine, config = create_engine(request, expected)
        seconds = time.perf_counter() - began
        self.config = config or expected
        _require_same(self.config, expected, request["path"])
        return {"load_s": seconds, "memory_after_load": machine.peak_memory()}

    def burst(self, request: Request) -> Request:
        """Run one batch repeatedly.

        Args:
            request: 'pictures' (a .npy file), 'batch', 'seconds'.

        Returns:
            'first_s': seconds of the first run, which is not counted, since it wakes threads and
            fills caches; 'seconds': of each counted run; 'busy': True if it kept computing
            afterwards; 'memory': maximum number of bytes.
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
        """Write the logits of all 'pictures', float32 (pictures, outputs), to the file 'out'."""
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
        """Return the first ``batch`` images in the graph's layout, repeated if there are fewer.

        They are prepared once and not measured, because the benchmark compares runtimes.
        """
        if batch not in self._inputs:
            given = np.load(pictures, mmap_mode="r")
            chosen = np.asarray(given[np.arange(batch) % len(given)])
            self._inputs[batch] = np.ascontiguousarray(self._prepared(chosen))
        return self._inputs[batch]

    def _prepared(self, pictures: NDArray) -> NDArray:
        if self.engine.takes_pictures:
            return pictures
        return engine_input(pictures, self.config.preprocessing)


def create_engine(request: Request, expected: AnyConfig) -> tuple[Engine, AnyConfig | None]:
    """Return the engine, and the config in the file if the runtime's module reads it.

    Args:
        request: the request of :meth:`Runner.load`.
        expected: config of the model; of a foreign one, it is not found out once more.
    """
    path, threads, runtime = Path(request["path"]), request["threads"], request["runtime"]
    if RUNTIMES[runtime].engine:
        from mobilenetv2.runtime import predictor

        if isinstance(expected, ForeignConfig) and path.suffix.lower() == expected.ending:
            from mobilenetv2.runtime import foreign

            known = foreign.known_artifact(path, expected)
            if known is not None:
                return predictor.create_engine(known, runtime, threads), expected
        loaded = predictor.load_any_artifact(path)
        return predictor.create_engine(loaded, runtime, threads), loaded.config
    from mobilenetv2.exporting.job import reload

    return reload(FORMATS[request["format"]], path, threads), None


def is_idle() -> bool:
    """Wait until this process's threads sleep, and return False if they never do.

    Thread pools keep spinning for a while after a run, in case another run follows. This would slow
    down the next candidate.
    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        before, began = time.process_time(), time.monotonic()
        time.sleep(STEP)
        if time.process_time() - before < QUIET * (time.monotonic() - began):
            return True
    return False


def _require_same(config: AnyConfig, expected: AnyConfig, where: str) -> None:
    """Raise unless a file takes the same images and gives the same classes."""
    for what, found, wanted in (
        ("size", config.size, expected.size),
        ("number of colours", config.channels, expected.channels),
        ("number of classes", config.classes, expected.classes),
        ("labels", config.labels.names, expected.labels.names),
    ):
        if found != wanted:
            raise ArtifactError(f"{where}: it is of another network than MODEL: its {what} differs")

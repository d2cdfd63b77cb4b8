"""Latency and memory of networks in ONNX Runtime, measured in turns with a reference."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mobilenetv2.benchmarking.process import Process
from mobilenetv2.exporting.direct import write_onnx
from mobilenetv2.exporting.job import Options
from mobilenetv2.files import temporary_folder
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.mapping import to_mapping
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig

RUNTIME = "onnxruntime"
ROUNDS = 8
"""Number of turns of each network; a machine that slows down slows all of them."""


@dataclass(slots=True)
class Timing:
    """Measurements of one network."""

    seconds: list[float] = field(default_factory=list)
    """Seconds of every counted run."""
    memory: int = 0
    """Largest number of resident bytes of a process that runs the network and nothing else."""

    @property
    def milliseconds(self) -> float:
        """Median latency."""
        return float(1e3 * np.median(self.seconds))


def time_in_turns(
    specs: Sequence[NetworkSpec], seed: int, seconds: float, threads: int = 1
) -> list[Timing]:
    """Measure networks with random weights, one photo at a time, each in a process of its own.

    Args:
        specs: the networks.
        seed: seed of the weights and the photo, which the speed does not depend on.
        seconds: seconds of counted runs of each network.
        threads: threads of the runtime.

    Raises:
        ArtifactError: a network cannot be exported or run.
    """
    timings = [Timing() for _ in specs]
    with temporary_folder() as folder, ExitStack() as stack:
        processes = [
            stack.enter_context(_loaded(spec, seed, folder / str(number), threads))
            for number, spec in enumerate(specs)
        ]
        for _ in range(ROUNDS):
            for number, (process, timing) in enumerate(zip(processes, timings, strict=True)):
                answer = process.ask(
                    {
                        "do": "burst", "pictures": str(folder / str(number) / "picture.npy"),
                        "batch": 1, "seconds": seconds / ROUNDS,
                    }
                )  # fmt: skip
                timing.seconds += answer["seconds"]
                timing.memory = max(timing.memory, answer["memory"])
    return timings


def _loaded(spec: NetworkSpec, seed: int, folder: Path, threads: int) -> Process:
    """Return a process that has loaded a network from an ONNX file in ``folder``."""
    folder.mkdir()
    config, out = ModelConfig.default(spec), folder / "model.onnx"
    write_onnx(config, random_arrays(spec, seed), out, Options())
    random = np.random.default_rng(seed)
    np.save(folder / "picture.npy", random.integers(0, 256, (1, *spec.size, 3), np.uint8))
    process = Process("ONNX Runtime", folder / "log", threads)
    process.ask(
        {
            "do": "load", "runtime": RUNTIME, "format": "onnx", "path": str(out),
            "threads": threads, "config": to_mapping(config),
        }
    )  # fmt: skip
    return process

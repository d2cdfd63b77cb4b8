"""Runs of editions on the same images, each in its own process.

Keras has only one backend in a process, and some frameworks conflict with each other.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions.edition import find
from mobilenetv2.errors import MissingExtra, MobileNetV2Error
from mobilenetv2.model import store
from mobilenetv2.spec.network import Size

MISSING, ERROR = "edition: missing: ", "edition: error: "
"""Prefixes of error messages of the child process."""
AT_ONCE = 4
"""Number of images whose tensors are in memory at once."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model and a batch of images to compare editions on."""

    model: Path
    """Model folder."""
    x: NDArray
    """Normalised images, float32 (images, height, width, channels)."""
    size: Size | None = None
    """Height and width of the images; None for the model's own."""
    detailed: int = 2
    """Number of images whose tensors are all compared; of the others, only the logits are."""


def run_edition(edition: str, cases: Sequence[Case], folder: Path) -> list[dict[str, NDArray]]:
    """Run an edition in a child process, and return the tensors of each case.

    Args:
        edition: name of the edition, such as 'torch', 'numpy:float64' or 'keras:jax'.
        cases: the models and images.
        folder: folder with the images, ``x0.npy``, ``x1.npy`` ...; the child writes into it, too.

    Returns:
        Tensors by name for each case; 'all' has the logits of all images.

    Raises:
        MissingExtra: the framework of the edition is not installed.
        MobileNetV2Error: the edition failed; the message has its reason.
    """
    jobs = [
        {"model": str(case.model), "size": case.size, "detailed": case.detailed} for case in cases
    ]
    child = subprocess.run(
        [sys.executable, "-m", "mobilenetv2.evaluation.edition_runs", edition, str(folder)],
        input=json.dumps(jobs), capture_output=True, text=True, encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"}, check=False,
        errors="backslashreplace",
    )  # fmt: skip
    if child.returncode:
        lines = child.stderr.strip().splitlines()
        for line in lines:  # frameworks also write to stderr
            if line.startswith(MISSING):
                raise MissingExtra(line.removeprefix(MISSING))
            if line.startswith(ERROR):
                raise MobileNetV2Error(f"{edition} edition: {line.removeprefix(ERROR)}")
        last = lines[-1] if lines else "no message"
        models = ", ".join(dict.fromkeys(str(case.model) for case in cases))
        raise MobileNetV2Error(
            f"{edition} edition on {models}: failed with exit status {child.returncode} ({last})"
        )
    results = []
    for index in range(len(cases)):
        with np.load(folder / f"tensors{index}.npz") as stored:
            results.append(dict(stored))
    return results


def compute(name: str, job: dict[str, Any], x: NDArray) -> dict[str, NDArray]:
    """Return all named tensors of the first ``detailed`` images, and the logits of all as 'all'."""
    name, _, option = name.partition(":")
    options: dict[str, Any] = {}
    if option:
        options[{"numpy": "dtype", "keras": "backend"}[name]] = option
    config, arrays = store.load(Path(job["model"]))
    if job["size"]:
        size = (job["size"][0], job["size"][1])
        config = dataclasses.replace(
            config, spec=config.spec.replace(size=size), preprocessing=config.preprocessing.at(size)
        )
    edition = find(name)
    network = edition.build(config, **options)
    edition.load(network, arrays, job["model"])
    tensors = edition.intermediates(network, x[: job["detailed"]])
    logits = [tensors["logits"]]
    for start in range(job["detailed"], len(x), AT_ONCE):
        part = x[start : start + AT_ONCE]
        logits.append(edition.intermediates(network, part)["logits"])
    return {**tensors, "all": np.concatenate(logits)}


def main(edition: str, folder: Path, jobs: list[dict[str, Any]]) -> None:
    """Run an edition on ``FOLDER/x0.npy`` ..., and write the tensors to ``FOLDER/tensors0.npz`` ...

    Args:
        edition: name of the edition.
        folder: folder of the files.
        jobs: model, size and number of detailed images of each file, from :func:`run_edition`.
    """
    for index, job in enumerate(jobs):
        stored: dict[str, Any] = compute(edition, job, np.load(folder / f"x{index}.npy"))
        np.savez(folder / f"tensors{index}.npz", **stored)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin))
    except MissingExtra as error:
        sys.exit(f"{MISSING}{error}")
    except MobileNetV2Error as error:
        sys.exit(f"{ERROR}{error}")

"""Editions run on the same pictures, each in a process of its own.

Keras has one backend in a process, and frameworks do not always get on with each other.
"""

import dataclasses
import json
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
"""Beginnings of the child's own messages."""
AT_ONCE = 4
"""Pictures whose tensors are held at once."""


@dataclass(frozen=True, slots=True)
class Case:
    """One model on one batch of pictures."""

    model: Path
    """A model folder."""
    x: NDArray
    """float32 (pictures, height, width, channels), normalised."""
    size: Size | None = None
    """Height and width of the pictures, if not the model's own."""
    detailed: int = 2
    """Number of pictures of which all tensors are compared; of the others only the logits."""


def run_edition(edition: str, cases: Sequence[Case], folder: Path) -> list[dict[str, NDArray]]:
    """Run one edition in a child process; return each case's tensors, 'all' being all logits.

    ``folder`` has the pictures, ``x0.npy`` and so on; the child writes there too.
    """
    jobs = [
        {"model": str(case.model), "size": case.size, "detailed": case.detailed} for case in cases
    ]
    child = subprocess.run(
        [sys.executable, "-m", "mobilenetv2.evaluation.edition_runs", edition, str(folder)],
        input=json.dumps(jobs), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if child.returncode:
        lines = child.stderr.strip().splitlines()
        for line in lines:  # frameworks write there too
            if line.startswith(MISSING):
                raise MissingExtra(line.removeprefix(MISSING))
            if line.startswith(ERROR):
                raise MobileNetV2Error(f"{edition} edition: {line.removeprefix(ERROR)}")
        last = lines[-1] if lines else "no message"
        models = ", ".join(dict.fromkeys(str(case.model) for case in cases))
        raise MobileNetV2Error(
            f"{edition} edition on {models}: ended with status {child.returncode} ({last})"
        )
    results = []
    for index in range(len(cases)):
        with np.load(folder / f"tensors{index}.npz") as stored:
            results.append(dict(stored))
    return results


def compute(name: str, job: dict[str, Any], x: NDArray) -> dict[str, NDArray]:
    """Return every named tensor of the first ``detailed`` pictures, and under 'all' all logits."""
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
    """Run one edition: pictures from ``FOLDER/x0.npy``, their tensors to ``FOLDER/tensors0.npz``.

    Args:
        jobs: what :func:`run_edition` writes to stdin, one for each file of pictures.
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

"""Run one edition in its own process: ``python -m mobilenetv2.evaluate.parity.child NAME FOLDER``.

The jobs come as a JSON list on stdin. The pictures of the first lie in ``FOLDER/x0.npy``, and its
tensors are written to ``FOLDER/found0.npz``.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.editions.edition import find
from mobilenetv2.errors import MissingExtra, MobileNetV2Error
from mobilenetv2.evaluate.parity.editions import ERROR, MISSING
from mobilenetv2.model import store

BATCH = 4


def main(edition: str, folder: Path, jobs: list[dict[str, Any]]) -> None:
    """Compute the tensors that the jobs ask for."""
    for index, job in enumerate(jobs):
        stored: dict[str, Any] = compute(edition, job, np.load(folder / f"x{index}.npy"))
        np.savez(folder / f"found{index}.npz", **stored)


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
    found = edition.intermediates(network, x[: job["detailed"]])
    logits = [found["logits"]]
    for start in range(job["detailed"], len(x), BATCH):
        part = x[start : start + BATCH]
        logits.append(edition.intermediates(network, part)["logits"])
    return {**found, "all": np.concatenate(logits)}


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), json.load(sys.stdin))
    except MissingExtra as error:
        sys.exit(f"{MISSING}{error}")
    except MobileNetV2Error as error:
        sys.exit(f"{ERROR}{error}")

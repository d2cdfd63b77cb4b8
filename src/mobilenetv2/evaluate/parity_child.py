"""One edition in a process of its own: ``python -m mobilenetv2.evaluate.parity_child FOLDER``.

The job comes as JSON on stdin; ``FOLDER/x.npy`` has the pictures; ``FOLDER/found.npz`` is written.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.editions.edition import find
from mobilenetv2.errors import MissingExtra, MobileNetV2Error
from mobilenetv2.evaluate.parity import ERROR, MISSING
from mobilenetv2.weights import store

BATCH = 4


def main(folder: Path, job: dict[str, Any]) -> None:
    """Compute what the job asks for."""
    name, _, option = job["edition"].partition(":")
    options = {"numpy": {"dtype": option}, "keras": {"backend": option}}[name] if option else {}
    config, arrays = store.load(Path(job["model"]))
    if job["size"]:
        size = (job["size"][0], job["size"][1])
        config = dataclasses.replace(
            config,
            spec=config.spec.replace(size=size),
            preprocessing=config.preprocessing.at(size),
        )
    edition = find(name)
    network = edition.build(config, **options)
    edition.load(network, arrays, job["model"])
    x = np.load(folder / "x.npy")
    found = edition.intermediates(network, x[: job["detailed"]])
    logits = [found["logits"]]
    for start in range(job["detailed"], len(x), BATCH):
        part = x[start : start + BATCH]
        logits.append(edition.intermediates(network, part)["logits"])
    stored: dict[str, Any] = {**found, "all": np.concatenate(logits)}
    np.savez(folder / "found.npz", **stored)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), json.load(sys.stdin))
    except MissingExtra as error:
        sys.exit(f"{MISSING}{error}")
    except MobileNetV2Error as error:
        sys.exit(f"{ERROR}{error}")

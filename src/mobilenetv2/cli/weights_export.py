"""``mobilenetv2 weights export``: a model folder in another project's dialect."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.exporter import export_checkpoint
from mobilenetv2.cli.photos import pictures as named
from mobilenetv2.hub.models import locate
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model import store
from mobilenetv2.progress import say
from mobilenetv2.spec.records import Preprocessing


def run(arguments: argparse.Namespace) -> int:
    """Write the checkpoint, say what a person should know of it, and what it changes; 0."""
    config, arrays = store.load(locate(arguments.model))
    record, pictures = config.preprocessing, None
    if arguments.ignore_numerics:  # before anything is written: a photo may be unreadable
        pictures = named(arguments.photos, record) if arguments.photos else built_in(record)
    made = export_checkpoint(
        config, arrays, arguments.dialect, Path(arguments.out),
        arguments.ignore_numerics, arguments.overwrite,
    )  # fmt: skip
    for note in made.notes:
        say(f"note: {note}")
    found = None
    if pictures is not None and made.config.spec.numerics != config.spec.numerics:
        from mobilenetv2.evaluate.parity.numerics import numerics_effect

        found = numerics_effect(config, made.config, arrays, pictures)
    if arguments.json:
        written: dict[str, object] = {
            "paths": [str(path) for path in made.paths], "notes": list(made.notes),
        }  # fmt: skip
        if found:
            written |= {"photos": found.pictures, "agreements": found.agreements,
                        "logits_difference": found.difference}  # fmt: skip
        print(json.dumps(written))
        return 0
    for path in made.paths:
        print(path)
    if found:
        print(f"numerics ignored: {found}", file=sys.stderr)
    return 0


def built_in(record: Preprocessing) -> NDArray:
    """The two photos that scikit-learn ships, for where none are given."""
    from mobilenetv2.data.builtin import photographs

    return np.stack([preprocess(photo, record, "a built-in photo") for photo in photographs()])

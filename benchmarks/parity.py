"""Every edition, and Keras on every backend, against the plain reference and each other.

    python benchmarks/parity.py --output benchmarks/parity.md

Random weights with statistics far from the identity over widths, sizes and padding rules; then the
imported published weights on real ImageNet photos. Needs the extras torch, keras and jax.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from machine import machine
from public_data import find

from mobilenetv2.checkpoints import importer
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.evaluation.edition_runs import Case
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.parity import compare_editions, parse_editions
from mobilenetv2.files import write_atomically
from mobilenetv2.images.preprocess import engine_input, preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.progress import say
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

EDITIONS = "torch,keras:tensorflow,keras:jax,keras:torch,jax,numpy"
FILE = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


def cases() -> list[tuple[str, NetworkSpec]]:
    found = []
    for name, width, size in (
        ("d-li14", 0.1, (96, 96)),
        ("keras", 0.35, (97, 97)),
        ("torchvision", 0.35, (65, 128)),
        ("tf-slim", 0.5, (64, 97)),
        ("torchvision", 0.75, (96, 96)),
        ("keras", 1.0, (225, 193)),
        ("torchvision", 1.0, (224, 224)),
        ("torchvision", 1.3, (97, 64)),
        ("keras", 1.4, (128, 128)),
        ("article-torch", 1.0, (65, 65)),
        ("article-keras", 0.35, (96, 97)),
    ):
        sides = f"{size[0]} x {size[1]}"
        found.append((f"{name}, width {width}, {sides}", published(name, width=width, size=size)))
    return [*found, ("small, width 0.35, 32 x 32", published("small", width=0.35))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    names = parse_editions(EDITIONS)
    lines = [
        "# Do the editions compute the same?",
        "",
        f"`python benchmarks/parity.py`, "
        f"{machine('torch', 'keras', 'tensorflow-cpu', 'jax', 'flax', 'numpy')}.",
        "",
        "Float32 in every edition; the reference is NumPy in float64. A difference is relative to "
        "max(1, the reference's largest value); at most 1e-4 is asked. Two pictures of noise each, "
        "random weights, every named intermediate.",
        "",
        "| network | logits' deviation | worst intermediate | of which edition, where "
        "| worst logits, editions and reference | worst logits, two editions | agrees |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        for title, spec in cases():
            say(title)
            store.save(model, ModelConfig.default(spec), random_arrays(spec))
            shape = (2, *spec.size, spec.input_channels)
            x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            found = compare_editions([Case(model, x)], names)[0]
            worst = max(
                (row.relative, edition, row.name)
                for edition in names
                for row in found.rows[edition]
            )
            logits = max(found.rows[edition][-1].relative for edition in names)
            pair, row = max(found.pairs.items(), key=lambda item: item[1].relative)
            lines.append(
                f"| {title} | {found.deviation:.2f} | {worst[0]:.1e} | {worst[1]}, `{worst[2]}` "
                f"| {logits:.1e} | {row.relative:.1e} ({pair[0]}, {pair[1]}) "
                f"| {'yes' if found.passed else 'NO'} |"
            )
        lines += ["", *photos(model, names)]
    write_atomically(arguments.output, "\n".join(lines) + "\n")


def photos(model: Path, names: list[str]) -> list[str]:
    """The published weights on the 100 photos of imagenet-samples."""
    config, arrays = importer.read_checkpoint(find("published") / FILE)
    store.save(model, config, arrays)
    split = open_dataset(find("imagenet-samples")).split(None)
    outputs = np.array(match(split.classes, config.labels, split.source.place))
    truth = outputs[[photo.label for photo in split.photos]]
    pictures = np.stack(
        [preprocess(split.image(photo), config.preprocessing) for photo in split.photos]
    )
    x = engine_input(pictures, config.preprocessing).transpose(0, 2, 3, 1)
    found = compare_editions([Case(model, x)], names)[0]
    counts = {name: int((logits.argmax(1) == truth).sum()) for name, logits in found.logits.items()}
    pair, row = max(found.pairs.items(), key=lambda item: item[1].relative)
    return [
        f"`{FILE}`, dequantised, on {len(x)} photos of imagenet-samples (of the first two, every "
        f"intermediate): {found.disagreements} photos with another best class in any edition where "
        f"the reference's margin exceeds 1e-3; logits' deviation {found.deviation:.2f}, the worst "
        f"two editions {pair[0]} and {pair[1]} with {row.relative:.1e}.",
        "",
        "| edition | photos right |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in counts.items()),
    ]


if __name__ == "__main__":
    main()

"""One candidate of ``benchmarks/train.py``: a process that trains when it is told to.

It reads lines of JSON, ``{"do": "steps", "count": 5}``, and answers each with pictures and seconds.
Everything that a candidate needs is made before its first answer.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import train_steps

from mobilenetv2 import process
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published


def plain_photographs(data: Path, size: int, count: int, batch: int) -> Callable[[], Iterator[Any]]:
    """The plain loop's data: a DataLoader with two lasting workers, Pillow, crops and flips."""
    import torch
    from PIL import Image

    files = sorted(data.glob("*/*"))
    classes = sorted({file.parent.name for file in files})
    chosen = [files[i] for i in np.random.default_rng(0).permutation(len(files))[:count]]

    class Photos(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(chosen)

        def __getitem__(self, index: int) -> Any:
            random = np.random.default_rng()
            image = Image.open(chosen[index]).convert("RGB")
            side = (image.width * image.height * random.uniform(0.35, 1)) ** 0.5
            width, height = min(image.width, round(side)), min(image.height, round(side))
            left = int(random.integers(image.width - width + 1))
            top = int(random.integers(image.height - height + 1))
            box = (left, top, left + width, top + height)
            image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
            if random.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            return np.array(image), classes.index(chosen[index].parent.name)

    loader = torch.utils.data.DataLoader(
        Photos(), batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True
    )

    def epoch() -> Iterator[Any]:
        for pictures, labels in loader:
            yield pictures.numpy(), labels.numpy()

    return epoch


class OurPhotographs:
    """The same through this project's views, which hold photos in memory after the first epoch."""

    def __init__(self, data: Path, size: int, count: int, batch: int) -> None:
        from mobilenetv2.data.augment import Augmentation
        from mobilenetv2.data.batches import chunked
        from mobilenetv2.data.dataset import ALL, open_dataset
        from mobilenetv2.spec.network import NetworkSpec
        from mobilenetv2.spec.records import Preprocessing
        from mobilenetv2.training.inputs import PhotoViews
        from mobilenetv2.training.recipe import Recipe

        split = open_dataset(data).splits[ALL]
        record = Preprocessing.default(NetworkSpec(size=(size, size)))
        recipe = Recipe().changed(augmentation=Augmentation(jitter=0.0))
        self.views = PhotoViews(split, record, recipe)
        self.labels = np.array([photo.label for photo in split.photos], np.int64)
        order = np.random.default_rng(0).permutation(len(self.views))[:count]
        self.chunks = chunked(order, batch, drop_last=True)
        self.epoch = 0

    def __call__(self) -> Iterator[Any]:
        self.epoch += 1
        todo = self.views.batches(self.chunks, self.epoch)
        for pictures, indices in todo:
            yield pictures, self.labels[indices]


def keras_photographs(data: Path, size: int, count: int, batch: int) -> Any:
    """keras.utils.image_dataset_from_directory and a flip."""
    import keras
    import tensorflow

    found = keras.utils.image_dataset_from_directory(
        data, image_size=(size, size), batch_size=batch, seed=0, verbose=False
    )
    flip = keras.layers.RandomFlip("horizontal")
    prepared = found.take(count // batch).map(
        lambda x, y: (flip(x, training=True) / 127.5 - 1, y),
        num_parallel_calls=tensorflow.data.AUTOTUNE,
    )
    return prepared.prefetch(tensorflow.data.AUTOTUNE)


def main() -> None:
    kind, size, batch, data = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    photos, classes = int(sys.argv[5]), 10
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (batch, size, size, 3), np.uint8)
    labels = random.integers(0, classes, batch)
    spec = NetworkSpec(classes=classes, size=(size, size))
    network, epoch = None, None
    if kind.startswith("keras"):
        policy = "mixed_bfloat16" if kind.endswith("bfloat16") else "float32"
        seen = published("keras", classes=classes, size=(size, size))
        network = train_steps.keras_network(seen, policy)
        dataset = keras_photographs(data, size, photos, batch)
        step = train_steps.keras_step(network)
    elif kind.startswith("plain"):
        step = train_steps.plain_torch(spec, kind.removeprefix("plain-"))
        epoch = plain_photographs(data, size, photos, batch)
    else:
        process.share_cores()
        if kind != "ours-float32-freed":
            process.keep_memory()
        precision = "bfloat16" if "bfloat16" in kind else "float32"
        step = train_steps.ours(spec, precision, everywhere=kind.endswith("everywhere"))
        epoch = OurPhotographs(data, size, photos, batch)
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.perf_counter()
        if asked["do"] == "steps":
            for _ in range(asked["count"]):
                step(pictures, labels)
            done = asked["count"] * batch
        elif network is not None:
            network.fit(dataset, verbose=0, shuffle=False)
            done = photos // batch * batch
        else:
            done = 0
            for views, truth in epoch():
                step(np.ascontiguousarray(views), truth)
                done += len(truth)
        report = {"seconds": time.perf_counter() - started, "pictures": done}
        print("REPORT" + json.dumps(report), flush=True)


if __name__ == "__main__":
    main()

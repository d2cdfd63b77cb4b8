"""One contestant of ``benchmarks/train.py``: a process that trains when it is told to.

It reads lines of JSON, ``{"do": "steps", "count": 5}``, and answers each with seconds and losses.
Everything that a contestant needs is made before its first answer.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Report = dict[str, Any]
RATE, MOMENTUM, DECAY = 0.01, 0.9, 4e-5
BATCHES = 8
"""Of real photos, for the curves."""


def plain_network(classes: int) -> Any:
    """MobileNetV2 as torchvision's reference has it: plain layers, ReLU6 in place, NCHW."""
    from torch import nn

    def layer(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True)]

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
            super().__init__()
            hidden = inputs * expansion
            layers = layer(inputs, hidden, 1, 1, 1) if expansion > 1 else []
            layers += layer(hidden, hidden, 3, stride, hidden)
            layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
            self.conv, self.add = nn.Sequential(*layers), stride == 1 and inputs == outputs

        def forward(self, x: Any) -> Any:
            return x + self.conv(x) if self.add else self.conv(x)

    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1)]  # fmt: skip
    layers, channels = layer(3, 32, 3, 2, 1), 32
    for expansion, outputs, repeats, stride in rows:
        for index in range(repeats):
            layers.append(Block(channels, outputs, stride if index == 0 else 1, expansion))
            channels = outputs
    layers += layer(channels, 1280, 1, 1, 1)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, classes)]
    return nn.Sequential(*layers)


def in_plain_torch(classes: int, size: int, arrays: Any, layout: str) -> Callable[..., float]:
    """A step as torchvision's reference script writes it, on float NCHW pictures.

    Args:
        layout: 'nchw' or 'channels_last', with '-again' (other random numbers) or '-compiled'.
    """
    import torch
    from torch.nn import functional

    network = plain_network(classes)
    flat = [torch.from_numpy(array) for array in arrays]
    with torch.no_grad():
        for parameter, array in zip(network.parameters(), flat, strict=True):
            parameter.copy_(array)
    layout, _, how = layout.partition("-")
    torch.manual_seed(1 if how == "again" else 0)  # of dropout
    if layout == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    network.train()
    answer = torch.compile(network) if how == "compiled" else network
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=DECAY)

    def step(pictures: np.ndarray, labels: np.ndarray) -> float:
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        x = x.float().div(127.5).sub(1)
        x = x if layout == "channels_last" else x.contiguous()
        loss = functional.cross_entropy(answer(x), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def ours(classes: int, size: int, arrays: Any, precision: str, everywhere: bool) -> Any:
    """A step of this project's PyTorch trainer.

    Args:
        everywhere: bfloat16 in every layer, which the trainer does not do.
    """
    from mobilenetv2.data.mixing import targets
    from mobilenetv2.editions.torch import MobileNetV2
    from mobilenetv2.spec.network import NetworkSpec
    from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
    from mobilenetv2.train import precision as layers
    from mobilenetv2.train.recipe import Recipe
    from mobilenetv2.train.torch import TorchTrainer

    spec = NetworkSpec(classes=classes, size=(size, size))
    seen = Preprocessing((size, size), mean=(127.5,) * 3, std=(127.5,) * 3)
    network = MobileNetV2(ModelConfig(spec, seen, Labels.numbered(classes, None)), seed=0)
    if arrays is None:
        return [parameter.detach().numpy().copy() for parameter in network.parameters()]
    recipe = Recipe(
        momentum=MOMENTUM, weight_decay=DECAY, label_smoothing=0.0,
        precision=precision,  # type: ignore[arg-type]
    )  # fmt: skip
    kept = layers.keep_slow_layers_in_float32
    if everywhere:
        layers.keep_slow_layers_in_float32 = lambda network: None
    trainer = TorchTrainer(network, recipe)
    layers.keep_slow_layers_in_float32 = kept
    return lambda pictures, labels: trainer.step(pictures, targets(labels, classes), RATE)[0]


def in_keras(classes: int, size: int) -> Any:
    """keras.applications with ``compile``."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    shape = (size, size, 3)
    network = keras.applications.MobileNetV2(input_shape=shape, weights=None, classes=classes)
    network.compile(keras.optimizers.SGD(RATE, MOMENTUM), "sparse_categorical_crossentropy")
    return network


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
        from mobilenetv2.data.dataset import ALL, open_dataset
        from mobilenetv2.spec.network import NetworkSpec
        from mobilenetv2.spec.records import Preprocessing
        from mobilenetv2.train.recipe import Recipe
        from mobilenetv2.train.views import PhotoViews

        split = open_dataset(data).splits[ALL]
        record = Preprocessing.default(NetworkSpec(size=(size, size)))
        recipe = Recipe(augmentation=Augmentation(jitter=0.0))
        self.views = PhotoViews(split, record, recipe)
        self.labels = np.array([photo.label for photo in split.photos], np.int64)
        self.order = np.random.default_rng(0).permutation(len(self.views))[:count]
        self.batch, self.epoch = batch, 0

    def __call__(self) -> Iterator[Any]:
        self.epoch += 1
        todo = self.views.batches(self.order, self.epoch, self.batch, drop_last=True)
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
    network, epoch = None, None
    if kind == "keras":
        network = in_keras(classes, size)
        dataset = keras_photographs(data, size, photos, batch)

        def step(pictures: np.ndarray, labels: np.ndarray) -> float:
            x = pictures.astype(np.float32) / 127.5 - 1
            return float(network.train_on_batch(x, labels))

    elif kind.startswith("plain"):
        arrays = ours(classes, size, None, "float32", False)
        step = in_plain_torch(classes, size, arrays, kind.removeprefix("plain-"))
        epoch = plain_photographs(data, size, photos, batch)
    else:
        from mobilenetv2.allocator import keep_memory

        if kind != "ours-float32-freed":
            keep_memory()
        precision = "bfloat16" if "bfloat16" in kind else "float32"
        step = ours(classes, size, [], precision, kind.endswith("everywhere"))
        epoch = OurPhotographs(data, size, photos, batch)
    shown = list(curve_photographs(data, size, batch))
    for line in sys.stdin:
        asked = json.loads(line)
        losses: list[float] = []
        started = time.perf_counter()
        if asked["do"] == "steps":
            losses = [step(pictures, labels) for _ in range(asked["count"])]
            done = asked["count"] * batch
        elif asked["do"] == "curve":
            losses = [step(*shown[n % len(shown)]) for n in range(asked["count"])]
            done = asked["count"] * batch
        elif network is not None:
            network.fit(dataset, verbose=0, shuffle=False)
            done = photos // batch * batch
        else:
            done = 0
            for views, truth in epoch():
                losses.append(step(np.ascontiguousarray(views), truth))
                done += len(truth)
        report: Report = {
            "seconds": time.perf_counter() - started, "pictures": done, "losses": losses,
        }  # fmt: skip
        print("REPORT" + json.dumps(report), flush=True)


def curve_photographs(data: Path, size: int, batch: int) -> Iterator[Any]:
    """A few batches of real photos, the same for all: what losses are compared on."""
    from mobilenetv2.images.decode import read
    from mobilenetv2.images.preprocess import preprocess
    from mobilenetv2.spec.records import Preprocessing

    files = sorted(data.glob("*/*"))
    classes = sorted({file.parent.name for file in files})
    record = Preprocessing((size, size), (size, size))
    order = np.random.default_rng(1).permutation(len(files))
    for start in range(0, min(len(files), BATCHES * batch) - batch + 1, batch):
        chosen = [files[i] for i in order[start : start + batch]]
        pictures = np.stack([preprocess(read(file), record, str(file)) for file in chosen])
        yield pictures, np.array([classes.index(file.parent.name) for file in chosen])


if __name__ == "__main__":
    main()

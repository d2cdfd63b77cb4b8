"""The peers of bulk.py: a folder of photos named by a script as people write it with torchvision.

    python bulk_others.py FOLDER WEIGHTS.pth OUT.csv --engine torch \\
        [--precision bf16] [--decode torchvision] [--width 1.0] [--classes 1000]

A DataLoader of two processes decodes, resizes and normalises; the engine takes batches of 32 with
all cores. Nothing of this project.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms
from torchvision.io import ImageReadMode, decode_image, read_file

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SUFFIXES = {".jpg", ".jpeg", ".png"}


class Photos(Dataset[Any]):
    """Photos of a folder in the order of their names."""

    def __init__(self, folder: Path, decode: str) -> None:
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        self.decode = decode
        tensor = [] if decode == "torchvision" else [transforms.ToTensor()]
        scaled = [transforms.ConvertImageDtype(torch.float32)] if decode == "torchvision" else []
        self.prepare = transforms.Compose([
            transforms.Resize(256, antialias=True), transforms.CenterCrop(224), *tensor, *scaled,
            transforms.Normalize(MEAN, STD),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        path = str(self.paths[index])
        if self.decode == "torchvision":
            image: Any = decode_image(read_file(path), ImageReadMode.RGB)
        else:
            image = Image.open(path).convert("RGB")
        return self.prepare(image), index


def engine(options: argparse.Namespace) -> Any:
    """Return a function from a batch (n, 3, 224, 224) to logits."""
    if options.engine == "torch":
        network = models.mobilenet_v2(num_classes=options.classes, width_mult=options.width)
        network.load_state_dict(torch.load(options.model, weights_only=True))
        network = network.eval().to(memory_format=torch.channels_last)

        def run(x: torch.Tensor) -> np.ndarray:
            with torch.inference_mode():
                return network(x.contiguous(memory_format=torch.channels_last)).numpy()

        return run
    if options.engine == "openvino":
        import openvino

        precision = {"INFERENCE_PRECISION_HINT": options.precision}
        compiled = openvino.Core().compile_model(str(options.model), "CPU", precision)
        return lambda x: compiled(x.numpy())[compiled.output(0)]
    import onnxruntime

    session = onnxruntime.InferenceSession(str(options.model), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda x: session.run(None, {given.name: x.numpy()})[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--decode", default="pil")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--classes", type=int, default=1000)
    options = parser.parse_args()
    photos, run = Photos(options.folder, options.decode), engine(options)
    loader = DataLoader(photos, batch_size=32, num_workers=2)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for pictures, indices in loader:
            logits = run(pictures).astype(np.float64)
            values = np.exp(logits - logits.max(1, keepdims=True))
            values /= values.sum(1, keepdims=True)
            for row, index in zip(values, indices.tolist(), strict=True):
                best = int(row.argmax())
                writer.writerow([photos.paths[index], best, row[best]])


if __name__ == "__main__":
    main()

"""The imported LiteRT files on real ImageNet photos, beside LiteRT running the same file.

    python benchmarks/published.py --output benchmarks/published.md

Both sides get the same uint8 picture (shorter side 256, bilinear, centre crop 224). Needs the
extras torch and litert.
"""

import argparse
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from machine import machine
from numpy.typing import NDArray
from public_data import find

from mobilenetv2.checkpoints import importer
from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.editions import torch as edition
from mobilenetv2.editions.torch.network import predictor
from mobilenetv2.evaluation.matching import match
from mobilenetv2.evaluation.predictions import predict_split
from mobilenetv2.files import write_atomically

FILES = ("tf2_mobilenet_v2_1.0_224_ptq.tflite", "mobilenet_v2_1.0_224_quant.tflite")


def interpret(path: Path) -> "Interpreter":
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()

    def predict(pictures: NDArray) -> NDArray:
        found = []
        for picture in pictures:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
            interpreter.invoke()
            found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
        return np.stack(found).astype(np.float32)

    return predict


def top(outputs: NDArray, truth: NDArray, k: int) -> int:
    return int((np.argsort(-outputs, 1, kind="stable")[:, :k] == truth[:, None]).any(1).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    photos = open_dataset(find("imagenet-samples")).split(None)
    lines = [
        "# The imported LiteRT files on real photos", "",
        f"`python benchmarks/published.py`, {machine('torch', 'ai-edge-litert')}, "
        f"n = {len(photos)} photos, one a class.", "",
        "| file | ours, float: top-1 / top-5 | LiteRT, int8: top-1 / top-5 | same top-1 |",
        "|---|---|---|---|",
    ]  # fmt: skip
    for name in FILES:
        config, arrays = importer.read_checkpoint(find("published") / name)
        network = edition.MobileNetV2(config)
        edition.load(network, arrays)
        ours, folders = predict_split(predictor(network), photos, config.preprocessing, name)
        theirs, _ = predict_split(interpret(find("published") / name), photos, config.preprocessing)
        truth = np.array(match(photos.classes, config.labels, photos.source.place))[folders]
        same = int((ours.argmax(1) == theirs.argmax(1)).sum())
        lines.append(
            f"| `{name}` | {top(ours, truth, 1)} / {top(ours, truth, 5)} "
            f"| {top(theirs, truth, 1)} / {top(theirs, truth, 5)} | {same} |"
        )
    text = "\n".join([*lines, ""])
    print(text)
    if options.output:
        write_atomically(options.output, text)


if __name__ == "__main__":
    main()

"""How much an import that invents a centre crop changes a network fed stretched photos.

    python benchmarks/resize.py --output benchmarks/resize.md

The author of a Keras or LiteRT classifier mostly stretches photos to its size, by
``image_dataset_from_directory`` (TensorFlow's bilinear, not antialiased) or ``load_img``
(nearest). The same network then gets photos resized to 256 and cropped to 224, as imports did, and
stretched, as they do. Needs the extras keras and litert.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from machine import machine
from numpy.typing import NDArray
from PIL import Image
from public_data import find

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.files import write_atomically
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.spec.records import Preprocessing

FILE = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
CROP = Preprocessing()
STRETCH = CROP.stretched()
SIZE = CROP.size[::-1]
MOST = 100


def by_tensorflow(image: Image.Image) -> NDArray:
    return np.asarray(np.rint(tf.image.resize(np.asarray(image), CROP.size).numpy()), np.uint8)


AUTHORS: dict[str, Callable[[Image.Image], NDArray]] = {
    "image_dataset_from_directory": by_tensorflow,
    "load_img(target_size)": lambda image: np.asarray(image.resize(SIZE, Image.Resampling.NEAREST)),
}
IMPORTS: dict[str, Callable[[Image.Image], NDArray]] = {
    "crop of 256": lambda image: preprocess(image, CROP),
    "stretched": lambda image: preprocess(image, STRETCH),
}


def interpret(path: Path) -> Callable[[NDArray], NDArray]:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    [given], [made] = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(picture: NDArray) -> NDArray:
        interpreter.set_tensor(given["index"], picture[None])
        interpreter.invoke()
        scale, zero = made["quantization"]
        return (interpreter.get_tensor(made["index"])[0].astype(np.float32) - zero) * scale

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    predict = interpret(find("published") / FILE)
    lines = [
        "# What an invented centre crop changes", "",
        f"`python benchmarks/resize.py`, {machine('ai-edge-litert')}. "
        f"`{FILE}`, fed as its author might, and as an import feeds it.", "",
        "| photos | author's resize | import's | same top-1 | largest change of a probability "
        "| median of it |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, data in (("imagenet-samples", None), ("clothing", "validation")):
        split = open_dataset(find(name)).split(data)
        photos = list(split.photos)[:: max(1, len(split.photos) // MOST)]
        images = [split.image(photo) for photo in photos]
        answers = {
            way: np.stack([predict(resize(image)) for image in images])
            for way, resize in (AUTHORS | IMPORTS).items()
        }
        for author in AUTHORS:
            for way in IMPORTS:
                one, other = answers[author], answers[way]
                change = np.abs(one - other).max(1)
                same = int((one.argmax(1) == other.argmax(1)).sum())
                lines.append(
                    f"| {name} | {author} | {way} | {same} of {len(images)} | {change.max():.2f} "
                    f"| {np.median(change):.2f} |"
                )
    text = "\n".join([*lines, ""])
    print(text)
    if options.output:
        write_atomically(options.output, text)


if __name__ == "__main__":
    main()

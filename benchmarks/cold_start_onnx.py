"""The barest peer of cold_start.py: one photo named by ONNX Runtime, NumPy and Pillow.

    python cold_start_onnx.py PHOTO GRAPH.onnx FACTS.json

The graph is one that 'mobilenetv2 export' has made. Nothing of this project is imported.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image


def picture(path: str, facts: dict[str, Any]) -> np.ndarray:
    """Return the photo as the network takes it: float32 (1, 3, height, width)."""
    (height, width), (top, left) = facts["resize"], facts["size"]
    image = Image.open(path).convert("RGB")
    if facts["cover"]:
        scale = max(width / image.width, height / image.height)
        size = (
            max(width, int(image.width * scale)), max(height, int(image.height * scale))
        )  # fmt: skip
    else:
        size = width, height
    image = image.resize(size, Image.Resampling.BILINEAR)
    x, y = round((image.width - left) / 2), round((image.height - top) / 2)
    pixels = np.asarray(image.crop((x, y, x + left, y + top)), np.float32)
    pixels = (pixels - np.float32(facts["mean"])) / np.float32(facts["std"])
    return pixels.transpose(2, 0, 1)[np.newaxis]


def main() -> None:
    photo, graph, place = sys.argv[1:]
    facts = json.loads(Path(place).read_text("utf-8"))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    logits = session.run(["logits"], {given.name: picture(photo, facts)})[0][0].astype(np.float64)
    values = np.exp(logits - logits.max())
    values /= values.sum()
    for index in np.argsort(-values)[:5]:
        print(f"{values[index]:.1%} {facts['labels'][index]}")


if __name__ == "__main__":
    main()

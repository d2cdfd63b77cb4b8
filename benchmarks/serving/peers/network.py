"""Network of the peers: Pillow with ONNX Runtime or PyTorch, and nothing of this project.

The preprocessing is that of the exported file's metadata, computed as this project does it, so that
the peers give the same numbers. It takes upright RGB photos and networks with a softmax.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


class Network:
    """An exported network.

    Args:
        path: path of an ONNX file; one of PyTorch lies beside it, with the suffix '.pt2'.
        threads: threads of ONNX Runtime or PyTorch; 0 for their default, one for each core.
        engine: 'onnxruntime' or 'torch'.
    """

    def __init__(self, path: str, threads: int, engine: str = "onnxruntime") -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        config = json.loads(session.get_modelmeta().custom_metadata_map["mobilenetv2.config"])
        record = config["preprocessing"]
        if record["fit"] != "cover" or record["central_fraction"] != 1.0:
            raise SystemExit("the peers only know 'cover' without a central part")
        self.size, self.resize = record["size"], record["resize"]
        self.filter = Image.Resampling[record["interpolation"].upper()]
        self.mean = np.asarray(record["mean"], np.float32)[:, None, None]
        self.std = np.asarray(record["std"], np.float32)[:, None, None]
        self.labels = config["labels"]["names"]
        if engine == "torch":
            self.logits = _torch(str(Path(path).with_suffix(".pt2")), threads)
        else:
            self.logits = lambda pictures: session.run(None, {"input": pictures})[0]

    def picture(self, file: bytes) -> np.ndarray:
        """Return a photo as float32 (channels, height, width)."""
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
        height, width = self.resize
        if image.width * height <= image.height * width:
            to = width, max(height, int(width * image.height / image.width))
        else:
            to = max(width, int(height * image.width / image.height)), height
        image = image.resize(to, self.filter)
        left = round((image.width - self.size[1]) / 2)
        top = round((image.height - self.size[0]) / 2)
        image = image.crop((left, top, left + self.size[1], top + self.size[0]))
        planes = np.asarray(image).transpose(2, 0, 1)
        return (planes.astype(np.float32) - self.mean) / self.std

    def answer(self, logits: np.ndarray, top: int = 5) -> dict[str, Any]:
        """Return the most probable classes of one photo."""
        values = np.exp(logits.astype(np.float64) - logits.max())
        values /= values.sum()
        best = np.argsort(-values, kind="stable")[:top]
        return {
            "predictions": [
                {
                    "index": int(index), "label": self.labels[index],
                    "probability": float(values[index]),
                }
                for index in best
            ]
        }  # fmt: skip

    def answers(self, file: bytes) -> dict[str, Any]:
        """Return the answer to a photo's file."""
        return self.answer(self.logits(self.picture(file)[None])[0])


def _torch(path: str, threads: int) -> Any:
    import torch

    if threads:
        torch.set_num_threads(threads)
    module = torch.export.load(path).module()

    def logits(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(pictures)).numpy()

    return logits

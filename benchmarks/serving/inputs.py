"""Model and photos of the measurements."""

import io
import random
from pathlib import Path

from PIL import Image
from public_data import find

import mobilenetv2 as mn
from mobilenetv2.machine import workers

LITERT = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


def imagenet(folder: Path) -> Path:
    """Return the folder of Google's network of ImageNet, width 1.0 at 224 x 224 pixels."""
    mn.import_checkpoint(find("published") / LITERT, output=folder)
    return folder


def photo_files(count: int) -> list[Path]:
    """Return files of the clothing dataset, the same ones for the same number."""
    found = sorted(find("clothing").rglob("*.jpg"))
    random.Random(0).shuffle(found)
    return found[:count]


def kinds_of_files() -> dict[str, bytes]:
    """Return a photo as a file of each format that Pillow writes and the server reads."""
    image = Image.open(photo_files(1)[0]).convert("RGB")
    found = {}
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "AVIF", "JPEG2000"):
        memory = io.BytesIO()
        image.save(memory, kind)
        found[kind] = memory.getvalue()
    memory = io.BytesIO()
    image.save(memory, "JPEG", progressive=True)
    return found | {"progressive JPEG": memory.getvalue()}


def cores() -> str:
    """Return '2 cores'."""
    return f"{workers()} cores"

"""Fuzzing of weights files: a real one of each container, as each format's own library writes it.

Needs the extras torch and keras, and the packages onnx and onnxscript.
"""

import io
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz_target import Target
from public_data import find

from mobilenetv2.checkpoints.containers import litert, onnx, safetensors
from mobilenetv2.checkpoints.containers.reader import (
    LIBRARIES,
    LibraryProcess,
    recognise_kind,
)
from mobilenetv2.errors import WeightsError
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

PUBLISHED = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


class Reading:
    """Reads a file in a process of its library, which tells what memory the file took."""

    def __init__(self, reader: LibraryProcess, path: Path) -> None:
        self.reader, self.path, self.memory = reader, path, 0

    def read(self) -> None:
        """Read the file."""
        self.memory = 0
        kind = recognise_kind(self.path)
        if kind == "safetensors":  # not after a mutation of another container
            safetensors.read_safetensors(self.path)
            return
        if LIBRARIES.get(kind) != self.reader.library:
            raise WeightsError("became another container")
        try:
            self.reader.read_container(kind, self.path)
        finally:
            self.memory = self.reader.memory


def in_zip(whole: bytes, name: str) -> Callable[[bytes], bytes]:
    """Puts another content into one member of a zip, checksum included."""

    def wrap(piece: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w") as new:
            for member in old.infolist():
                new.writestr(member, piece if member.filename == name else old.read(member))
        return buffer.getvalue()

    return wrap


def first_block(index: bytes) -> int:
    """Bytes of a table's first block, which is all of a small one: the next begins behind it.

    The last 48 bytes are two places of blocks as varints, the first of which is the next block.
    """
    value = shift = 0
    for byte in index[-48:]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value - 5  # behind every block: a byte for the compression, and its checksum


def in_table(index: bytes) -> Callable[[bytes], bytes]:
    """Puts another content of the same size into the first block, checksum included."""
    size = first_block(index)

    def wrap(piece: bytes) -> bytes:
        block = piece[:size].ljust(size, b"\0") + b"\0"
        crc = crc32c(block)
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        return block + struct.pack("<I", masked) + index[size + 5 :]

    return wrap


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CASTAGNOLI[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _castagnoli(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
    return byte


CASTAGNOLI = [_castagnoli(byte) for byte in range(256)]


def targets(folder: Path) -> Iterator[Target]:
    """Yield the files of a MobileNetV2 of width 0.35 and ten classes.

    The LiteRT file is a published one of Google's.
    """
    import keras
    import tensorflow as tf
    import torch
    from safetensors.numpy import save

    model = keras.applications.MobileNetV2(
        weights=None, alpha=0.35, input_shape=(32, 32, 3), classes=10
    )
    arrays = {weight.path: weight.numpy() for weight in model.weights}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    path, modern, legacy = folder / "a.pth", io.BytesIO(), io.BytesIO()
    torch.save(tensors, modern)
    torch.save(tensors, legacy, _use_new_zipfile_serialization=False)
    pickled = zipfile.ZipFile(modern).read("archive/data.pkl")
    wrap = in_zip(modern.getvalue(), "archive/data.pkl")
    with LibraryProcess("torch") as reader:
        yield read_by(reader, "PyTorch zip", path, modern.getvalue())
        yield read_by(reader, "PyTorch zip, its pickle", path, pickled, wrap)
        yield read_by(reader, "PyTorch legacy", path, legacy.getvalue())

    with LibraryProcess("h5py") as reader:
        for name, title in (
            ("a.h5", "Keras .h5"),
            ("a.weights.h5", "Keras 3 .weights.h5"),
            ("a.keras", ".keras"),
        ):
            path = folder / name
            (model.save_weights if "weights" in name else model.save)(path)
            yield read_by(reader, title, path, path.read_bytes())

    path = folder / "a.safetensors"
    yield read_here("safetensors", path, save(arrays), safetensors.read_safetensors)

    path = folder / "model.ckpt"
    tf.raw_ops.SaveV2(
        prefix=str(path), tensor_names=list(arrays), shape_and_slices=[""] * len(arrays),
        tensors=list(map(tf.constant, arrays.values())),
    )  # fmt: skip
    with LibraryProcess("tensorflow") as reader:
        victim = folder / "model.ckpt.index"
        index = victim.read_bytes()
        block = index[: first_block(index)]
        yield read_by(reader, "TensorFlow .index", path, index, victim=victim)
        yield read_by(reader, "TensorFlow .index, its block", path, block, in_table(index), victim)
        victim = folder / "model.ckpt.data-00000-of-00001"
        yield read_by(reader, "TensorFlow .data", path, victim.read_bytes(), victim=victim)

    path = folder / "a.tflite"
    content = (find("published") / PUBLISHED).read_bytes()
    yield read_here("LiteRT", path, content, litert.read_litert)

    path = folder / "a.onnx"
    export(path)
    yield read_here("ONNX", path, path.read_bytes(), onnx.read_onnx)


def read_by(
    reader: LibraryProcess,
    title: str,
    path: Path,
    piece: bytes,
    wrap: Callable[[bytes], bytes] = bytes,
    victim: Path | None = None,
) -> Target:
    """Return the target of a file that a library reads in its own process.

    Args:
        path: what is read.
        victim: the file that is mutated, one of a checkpoint's; default: ``path`` itself.
    """
    reading = Reading(reader, path)
    return Target(title, victim or path, piece, reading.read, wrap, memory=lambda: reading.memory)


def read_here(title: str, path: Path, piece: bytes, read: Callable[[Path], object]) -> Target:
    """Return the target of a file that a reader of our own reads."""
    return Target(title, path, piece, lambda: read(path))


def export(path: Path) -> None:
    """The same network as PyTorch's own exporter writes it."""
    import torch

    from mobilenetv2.editions import torch as edition

    spec = published("torchvision", width=0.35, size=(32, 32), classes=10)
    network = edition.build(ModelConfig.default(spec)).eval()
    with warnings.catch_warnings(action="ignore"):  # the exporter's own
        pictures = torch.zeros(1, 3, 32, 32)
        torch.onnx.export(network, (pictures,), path, external_data=False, verbose=False)

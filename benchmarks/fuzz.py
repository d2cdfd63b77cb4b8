"""Damaged and hostile weights files: thousands of mutations of a real file of each container.

    python benchmarks/fuzz.py --output benchmarks/fuzz.md

Every mutation must give arrays or a clear error, within bounds of time and memory. The files hold
a whole network and come from the libraries that own the formats. Needs the extras
torch and keras, and the packages onnx and onnxscript.
"""

import argparse
import io
import os
import random
import struct
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from public_data import find

from mobilenetv2.checkpoints.containers import litert, onnx, safetensors
from mobilenetv2.checkpoints.containers.reader import (
    LIBRARIES,
    Library,
    LibraryProcess,
    recognise_kind,
)
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

EXTREMES = (0, 1, -1, 0x7F, 0x80, 0x7FFF, 0x8000, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
EDGE = 8192
"""Formats keep their structure at the ends: half of all damage is done there."""
STOPPED = ("crashed on it", "of processor time", "far more memory", "did not end", "by its library")
OWN: dict[str, Callable[[Path], Any]] = {
    "safetensors": safetensors.read_safetensors,
    "LiteRT": litert.read_litert,
    "ONNX": onnx.read_onnx,
}
PUBLISHED = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


def mutate(data: bytes, seed: int) -> bytes:
    """One to eight changes of one kind, the same ones for the same seed."""
    choice = random.Random(seed)
    changed = bytearray(data)

    def place(length: int = 1) -> int:
        last = max(0, len(changed) - length)
        edge = min(EDGE, last)
        return choice.choice(
            (choice.randint(0, last), choice.randint(0, last),
             choice.randint(0, edge), choice.randint(last - edge, last))
        )  # fmt: skip

    kind = choice.randrange(6)
    for _ in range(choice.randint(1, 8) if changed else 0):
        if kind == 0:
            changed[place()] ^= 1 << choice.randrange(8)
        elif kind == 1:
            changed[place()] = choice.randrange(256)
        elif kind == 2:
            size, order = choice.choice((("I", 4), ("Q", 8))), choice.choice("<>")
            value = choice.choice(EXTREMES) % 256 ** size[1]
            at = place(size[1])
            changed[at : at + size[1]] = struct.pack(order + size[0], value)
        elif kind == 3:
            length = choice.randint(1, 4096)
            source, at = place(length), place(length)
            piece = changed[source : source + length]
            if choice.random() < 0.5:  # a splice that moves all that follows
                changed[at:at] = piece
            else:
                changed[at : at + len(piece)] = piece
        elif kind == 4:
            length = choice.randint(1, 1024)
            at = place(length)
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        else:
            del changed[place() :]
            break
    return bytes(changed)


@dataclass(slots=True)
class Tally:
    """What became of the mutations of one file."""

    mutations: int = 0
    read: int = 0
    refused: int = 0
    stopped: int = 0
    """Of the refused: the library crashed or reached a limit, in its own process."""
    crashes: int = 0
    slowest: float = 0.0
    memory: int = 0
    """The most bytes that a file took beside its library."""


class Local:
    """A reader of our own in a fork, which is only there to see what memory it takes."""

    def __init__(self, function: Callable[[Path], Any]) -> None:
        self.function, self.memory = function, 0

    def read(self, path: Path) -> None:
        idle = self.measure(lambda: 0)[1]
        status, most = self.measure(lambda: self.attempt(path))
        self.memory = max(0, most - idle)
        if status == 1:
            raise WeightsError("refused")
        if status:
            raise RuntimeError(f"ended with {status}")

    def attempt(self, path: Path) -> int:
        try:
            self.function(path)
        except WeightsError:
            return 1
        return 0

    @staticmethod
    def measure(task: Callable[[], int]) -> tuple[int, int]:
        child = os.fork()
        if child == 0:
            status = 2
            try:
                status = task()
            finally:
                os._exit(status)
        _, ended, usage = os.wait4(child, 0)
        return os.waitstatus_to_exitcode(ended), usage.ru_maxrss * 1024


class Child:
    """A library in its own process, which tells what memory a file took."""

    def __init__(self, reader: LibraryProcess) -> None:
        self.reader, self.memory = reader, 0

    def read(self, path: Path) -> None:
        self.memory = 0
        kind = recognise_kind(path)
        if kind == "safetensors":  # not after a mutation of another container
            safetensors.read_safetensors(path)
            return
        if LIBRARIES.get(kind) != self.reader.library:
            raise WeightsError("became another container")
        try:
            self.reader.read_container(kind, path)
        finally:
            self.memory = self.reader.memory


@dataclass(frozen=True, slots=True)
class Sample:
    """A real file of one container, and the part of it that is mutated."""

    title: str
    library: Library | None
    """None: a reader of our own."""
    path: Path
    """What is read."""
    victim: Path
    """The file that is mutated: ``path`` itself, or one of a checkpoint's."""
    piece: bytes
    wrap: Callable[[bytes], bytes] = bytes
    """Makes the file of its mutated piece: with right checksums, say, as an attacker would."""


def fuzz(reader: Local | Child, sample: Sample, mutations: int, seed: int = 0) -> Tally:
    """Read the sample with one mutation after another."""
    tally = Tally()
    sample.victim.write_bytes(sample.wrap(sample.piece))
    reader.read(sample.path)  # the file itself must be read, and the library is imported now
    for number in range(mutations):
        mutated = mutate(sample.piece, seed * 1_000_003 + number)
        sample.victim.write_bytes(sample.wrap(mutated))
        start = time.perf_counter()
        try:
            reader.read(sample.path)
            tally.read += 1
        except WeightsError as error:
            tally.refused += 1
            tally.stopped += any(words in str(error) for words in STOPPED)
        except Exception as error:
            say(f"{sample.title}, mutation {number}: {type(error).__name__}: {error}")
            tally.crashes += 1
        tally.mutations += 1
        tally.memory = max(tally.memory, reader.memory)
        tally.slowest = max(tally.slowest, time.perf_counter() - start)
    sample.victim.write_bytes(sample.wrap(sample.piece))
    return tally


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


def samples(folder: Path) -> Iterator[Sample]:
    """A MobileNetV2 of width 0.35 and ten classes, written by each format's own library."""
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
    yield Sample("PyTorch zip", "torch", path, path, modern.getvalue())
    pickled = zipfile.ZipFile(modern).read("archive/data.pkl")
    wrap = in_zip(modern.getvalue(), "archive/data.pkl")
    yield Sample("PyTorch zip, its pickle", "torch", path, path, pickled, wrap)
    yield Sample("PyTorch legacy", "torch", path, path, legacy.getvalue())

    path = folder / "a.h5"
    model.save(path)
    yield Sample("Keras .h5", "h5py", path, path, path.read_bytes())
    path = folder / "a.weights.h5"
    model.save_weights(path)
    yield Sample("Keras 3 .weights.h5", "h5py", path, path, path.read_bytes())
    path = folder / "a.keras"
    model.save(path)
    yield Sample(".keras", "h5py", path, path, path.read_bytes())

    path = folder / "a.safetensors"
    yield Sample("safetensors", None, path, path, save(arrays))

    path = folder / "model.ckpt"
    tf.raw_ops.SaveV2(
        prefix=str(path), tensor_names=list(arrays), shape_and_slices=[""] * len(arrays),
        tensors=list(map(tf.constant, arrays.values())),
    )  # fmt: skip
    victim = folder / "model.ckpt.index"
    index = victim.read_bytes()
    yield Sample("TensorFlow .index", "tensorflow", path, victim, index)
    block = index[: first_block(index)]
    yield Sample("TensorFlow .index, its block", "tensorflow", path, victim, block, in_table(index))
    victim = folder / "model.ckpt.data-00000-of-00001"
    yield Sample("TensorFlow .data", "tensorflow", path, victim, victim.read_bytes())

    path = folder / "a.tflite"
    content = (find("published") / PUBLISHED).read_bytes()
    yield Sample("LiteRT", None, path, path, content)

    path = folder / "a.onnx"
    export(path)
    yield Sample("ONNX", None, path, path, path.read_bytes())


def export(path: Path) -> None:
    """The same network as PyTorch's own exporter writes it."""
    import torch

    from mobilenetv2.editions import torch as edition

    spec = published("torchvision", width=0.35, size=(32, 32), classes=10)
    network = edition.build(ModelConfig.default(spec)).eval()
    with warnings.catch_warnings(action="ignore"):  # the exporter's own
        pictures = torch.zeros(1, 3, 32, 32)
        torch.onnx.export(network, (pictures,), path, external_data=False, verbose=False)


def row(title: str, tally: Tally) -> str:
    return (
        f"| {title} | {tally.mutations:,} | {tally.read:,} | {tally.refused:,} | {tally.stopped:,} "
        f"| {tally.crashes} | {tally.slowest:.2f} | {tally.memory / 1e6:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--only", default="", help="containers whose title has this in it")
    arguments = parser.parse_args()
    from machine import machine  # the tests take the mutations from here, and not this

    lines = [
        "# What do damaged and hostile weights files do?",
        "",
        f"`python benchmarks/fuzz.py --mutations {arguments.mutations}`, "
        f"{machine('torch', 'h5py', 'tensorflow-cpu', 'keras', 'numpy')}.",
        "",
        "A MobileNetV2 of width 0.35 and ten classes in every container (LiteRT: "
        f"{PUBLISHED}), one mutation at a time: bits, bytes, extreme integers, splices, zeros, "
        "truncations; half of them in the first or last 8 KiB. Read: arrays came out. Refused: "
        "a WeightsError; 'stopped' of those because the library crashed or reached its limits, in "
        "its own process. Crashes: anything else. Memory is what the reading process took at "
        "most beside its library.",
        "",
        "| container | mutations | read | refused | of these stopped | crashes "
        "| slowest, s | most extra memory, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        for sample in samples(Path(name)):
            if arguments.only not in sample.title:
                continue
            if sample.library is None:
                tally = fuzz(Local(OWN[sample.title]), sample, arguments.mutations)
            else:
                with LibraryProcess(sample.library) as reader:
                    tally = fuzz(Child(reader), sample, arguments.mutations)
            lines.append(row(sample.title, tally))
            say(lines[-1])
    write_atomically(arguments.output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

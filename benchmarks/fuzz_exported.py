"""Fuzzing of exported files that `predict` runs: ONNX, OpenVINO, LiteRT and Keras, sealed anew.

An attempt loads the file as ``predict`` does and computes a picture. An answer is wrong if it is
not one of the config, or if a value is not finite.
"""

import importlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from fuzz_target import Target, WrongAnswer

from mobilenetv2.checkpoints.description import parse_config
from mobilenetv2.errors import require
from mobilenetv2.exporting.keras import sealed as sealed_keras
from mobilenetv2.graph.litert import CONFIG as LITERT_CONFIG
from mobilenetv2.graph.litert import sealed as sealed_litert
from mobilenetv2.model import seal
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.runtime.engines.keras import CONFIG as KERAS_CONFIG
from mobilenetv2.runtime.engines.onnxruntime import library
from mobilenetv2.runtime.engines.openvino import BEGIN
from mobilenetv2.runtime.engines.openvino import sealed as sealed_openvino
from mobilenetv2.runtime.loading import load_model

SIZE, CLASSES = 32, 10
IMPORTED = (
    "onnx.numpy_helper", "tflite", "flatbuffers", "mobilenetv2.checkpoints.containers.litert",
    "mobilenetv2.checkpoints.dialects.keras", "mobilenetv2.runtime.engines.onnxruntime",
    "mobilenetv2.runtime.engines.openvino", "mobilenetv2.runtime.engines.litert",
    "mobilenetv2.runtime.engines.keras", "mobilenetv2.runtime.foreign",
)  # fmt: skip
"""Modules that attempts import, so that not each fork does it anew."""


def targets(folder: Path) -> Iterator[Target]:
    """Yield files of a tiny network, of every format and precision."""
    # Made in a process of its own, since a fork of one where the runtimes computed would hang.
    subprocess.run([sys.executable, __file__, str(folder)], check=True)
    for name in IMPORTED:
        importlib.import_module(name)
    for precision in ("float", "int8"):
        library()
        path = folder / f"{precision}.onnx"
        yield Target(f"ONNX, {precision}", path, unsealed(path), answering(path), sealed_onnx)
        nodes, rest = parted(unsealed(path))
        yield Target(
            f"ONNX, {precision}, its operators", path, nodes, answering(path),
            lambda piece, rest=rest: sealed_onnx(piece + rest),
        )  # fmt: skip

        require("openvino")
        path, beside = folder / f"{precision}.xml", folder / f"{precision}.bin"
        graph = path.read_bytes().partition(BEGIN)[0]
        weights = beside.read_bytes()
        yield Target(
            f"OpenVINO, {precision}", path, graph, answering(path),
            lambda piece, weights=weights: sealed_openvino(piece, weights),
        )  # fmt: skip
        yield Target(
            f"OpenVINO, {precision}, its weights", beside, weights, answering(path),
            with_xml(path, graph),
        )  # fmt: skip

        require("ai_edge_litert.interpreter")
        path = folder / f"{precision}.tflite"
        with zipfile.ZipFile(path) as archive:
            config = parse_config(archive.read(LITERT_CONFIG).decode())
            end = min(entry.header_offset for entry in archive.infolist())
        yield Target(
            f"LiteRT, {precision}", path, path.read_bytes()[:end], answering(path),
            lambda piece, config=config: sealed_litert(piece, config),
        )  # fmt: skip
    require("h5py")
    path = folder / "float.keras"
    if path.is_file():
        whole = path.read_bytes()
        for member in ("model.weights.h5", KERAS_CONFIG):
            with zipfile.ZipFile(path) as archive:
                piece = archive.read(member)
            yield Target(f"Keras, {member}", path, piece, answering(path), in_keras(whole, member))


def answering(path: Path) -> Callable[[], object]:
    """Return the attempt: an answer for a picture, as ``predict`` gives it."""

    def attempt() -> object:
        loaded = load_model(path, threads=1)
        pictures = np.random.default_rng(0).integers(
            0, 256, (1, *loaded.config.preprocessing.size, 3), np.uint8
        )
        logits = loaded.predict(pictures)
        found = probabilities(logits, loaded.config.outputs)
        names = len(loaded.config.labels.names)
        if logits.dtype != np.float32 or found.shape != (1, names):
            raise WrongAnswer(f"{logits.dtype} {logits.shape} for {names} labels")
        if not np.isfinite(logits).all() or not np.isfinite(found).all():
            raise WrongAnswer(f"not finite: {logits}")
        return found

    return attempt


def unsealed(path: Path) -> bytes:
    """Return an ONNX file up to the digits of its seal."""
    return path.read_bytes()[: -seal.DIGITS]


def sealed_onnx(body: bytes) -> bytes:
    """Return an ONNX file with the seal's digits."""
    return body + seal.digest(body).encode()


def parted(body: bytes) -> tuple[bytes, bytes]:
    """Return the operators of an ONNX file as a message, and the rest; together they are the file.

    Protobuf joins the graphs of messages that follow each other.
    """
    import onnx

    model = onnx.ModelProto.FromString(body + b"0" * seal.DIGITS)
    nodes = onnx.ModelProto()
    nodes.graph.node.extend(model.graph.node)
    del model.graph.node[:]
    rest = model.SerializeToString(deterministic=True)[: -seal.DIGITS]
    return nodes.SerializeToString(deterministic=True), rest


def with_xml(path: Path, graph: bytes) -> Callable[[bytes], bytes]:
    """Return what seals the .xml for another .bin."""

    def wrap(weights: bytes) -> bytes:
        path.write_bytes(sealed_openvino(graph, weights))
        return weights

    return wrap


def in_keras(whole: bytes, member: str) -> Callable[[bytes], bytes]:
    """Return what puts another content into one member of a .keras file, and seals it."""

    def wrap(piece: bytes) -> bytes:
        buffer, config = io.BytesIO(), ""
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w") as new:
            for entry in old.infolist():
                content = piece if entry.filename == member else old.read(entry)
                if entry.filename == KERAS_CONFIG:
                    config = content.decode("utf-8", "replace")
                else:
                    new.writestr(entry, content)
        return sealed_keras(buffer.getvalue(), config)

    return wrap


def write(folder: Path) -> None:
    """Write the files, with what is installed."""
    from PIL import Image

    import mobilenetv2 as mn
    from mobilenetv2.errors import MissingExtra
    from mobilenetv2.model import store
    from mobilenetv2.model.arrays import random_arrays
    from mobilenetv2.spec.network import PAPER_STAGES
    from mobilenetv2.spec.published import published
    from mobilenetv2.spec.records import ModelConfig

    spec = published("torchvision", width=0.1, size=(SIZE, SIZE), classes=CLASSES)
    spec = spec.replace(head_channels=32, stages=PAPER_STAGES[:3])
    store.save(folder / "model", ModelConfig.default(spec), random_arrays(spec))
    draw = np.random.default_rng(0)
    for number in range(CLASSES * 4):
        place = folder / "photos" / str(number % CLASSES)
        place.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    for ending in (".onnx", ".xml", ".tflite", ".keras"):
        try:
            mn.export(folder / "model", folder / f"float{ending}")
            if ending != ".keras":
                mn.quantize(
                    folder / "model", folder / f"int8{ending}", data=folder / "photos", force=True
                )
        except MissingExtra as error:
            print(error, file=sys.stderr)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

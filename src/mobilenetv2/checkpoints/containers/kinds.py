"""Kinds of files that are recognised and not read: one sentence each says what to do instead.

A file is recognised by its first bytes, its members or its name. Nothing is unpacked or run, and
only a bounded part is read. The table is data: docs/weights.md shows it, and a test compares both.
"""

import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenetv2.checkpoints.containers import bounds
from mobilenetv2.documents import parse_table, read_json
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import open_file, read_file
from mobilenetv2.zips import ENCRYPTED, OtherMethod, TooManyMembers, Zip

START = 64 * 1024
"""Number of bytes from which a file is recognised."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A recognisable kind of file."""

    title: str
    """Name of the kind, for the table in the documentation."""
    sentence: str
    """Sentence for messages, after the file's name: what it is, and what to do instead."""
    exported: bool = False
    """True if this package writes and runs such files itself."""


STATE_DICT = "torch.save(model.state_dict(), FILE)"
KINDS: dict[str, Kind] = {
    "empty": Kind("empty file", "an empty file; download it again"),
    "incomplete": Kind(
        "download that was cut off",
        "an incomplete file, which ends before its own table of contents or the size in its "
        "header; download it again",
    ),
    "password": Kind(
        "archive with a password (`.zip`)",
        "a zip archive with a password, which is not opened here; unpack it with the password and "
        "give the file inside",
    ),
    "lfs": Kind(
        "Git LFS pointer",
        "a Git LFS pointer, not the weights themselves; fetch them with: git lfs pull",
    ),
    "page": Kind("saved web page", "a web page, not weights; download the file itself"),
    "picture": Kind("photo", "a picture, not weights; give the network's file"),
    "edge-tpu": Kind(
        "LiteRT compiled for the Edge TPU (`*_edgetpu.tflite`)",
        "a LiteRT file compiled for Google's Edge TPU, whose operators only that chip runs; use "
        "the .tflite file that it was compiled from",
    ),
    "detector": Kind(
        "object detector (LiteRT, ONNX)",
        "an object detector, which gives boxes; this package runs classifiers: one picture in, "
        "one vector out",
    ),
    "map": Kind(
        "segmenter, or a body without pooling (LiteRT, ONNX)",
        "a network that gives a map for each picture, as a segmenter or a body without pooling "
        "does; this package runs classifiers: one picture in, one vector out",
    ),
    "table": Kind(
        "transformer without a head, YOLO (LiteRT, ONNX)",
        "a network that gives a table for each picture, as a detector or a transformer without a "
        "head does; this package runs classifiers: one picture in, one vector out",
    ),
    "openvino": Kind(
        "OpenVINO (`.xml`, `.bin`)",
        "a graph of OpenVINO, which predict runs if export wrote it, but from which no weights are "
        "imported; import the file that it was converted from",
        exported=True,
    ),
    "openvino-weights": Kind(
        "weights of OpenVINO or ncnn (`.bin`)",
        "the numbers of an OpenVINO or ncnn network, whose graph is in the file beside it; import "
        "the file that they were converted from",
    ),
    "caffe": Kind(
        "Caffe (`.prototxt`, `.caffemodel`)",
        "a network of Caffe, which is not read; convert it to ONNX first",
    ),
    "coreml": Kind(
        "Core ML (`.mlmodel`, `.mlpackage`)",
        "a Core ML network, which runs on Apple's systems only; use the file that it was converted "
        "from",
    ),
    "pt2": Kind(
        "torch.export (`.pt2`)",
        "a program of torch.export, which is not run or read here; save the model's weights "
        f"instead: {STATE_DICT}",
    ),
    "torchscript": Kind(
        "TorchScript (`torch.jit.save`)",
        "a TorchScript program, which is not run here; save the model's weights instead: "
        f"{STATE_DICT}",
    ),
    "executorch": Kind(
        "ExecuTorch (`.pte`)",
        "an ExecuTorch program, which predict runs if export wrote it, but from which no weights "
        "are imported; import the weights that it was made from",
        exported=True,
    ),
    "pickled-model": Kind(
        "whole PyTorch model (`torch.save(model)`)",
        "a whole PyTorch model as Python objects, which are code and not loaded; load it where it "
        f"was made, and save its weights alone: {STATE_DICT}",
    ),
    "frozen": Kind(
        "frozen TensorFlow graph (`.pb`)",
        "a frozen graph of TensorFlow, which is not read; use the checkpoint, the .tflite file or "
        "the Keras model of the same network",
    ),
    "savedmodel": Kind(
        "SavedModel without Keras' layers",
        "a SavedModel without the layers of a Keras model, a program that is not run here; save "
        "the Keras model as .keras or .h5, or convert it to .tflite",
    ),
    "tf-meta": Kind(
        "graph of a TensorFlow checkpoint (`.meta`)",
        "the graph of a TensorFlow checkpoint without its weights; give the checkpoint's .index "
        "file, with its .data file beside it",
    ),
    "tfjs-graph": Kind(
        "TensorFlow.js graph model (`model.json`)",
        "a graph model of TensorFlow.js, whose layers have lost their names; use the Keras model "
        "that it was converted from, or a layers model",
    ),
    "tfjs-layers": Kind(
        "TensorFlow.js layers model that is incomplete (`model.json`)",
        "a layers model of TensorFlow.js; keep its .bin files beside it",
    ),
    "architecture": Kind(
        "Keras architecture without weights (JSON, YAML)",
        "the architecture of a Keras model without its weights; save the whole model: "
        "model.save('NAME.keras')",
    ),
    "index": Kind(
        "index of weights in several files (`*.index.json`)",
        "the list of weights that lie in several files; load and save them as one file",
    ),
    "config": Kind(
        "config of a model (`config.json`)",
        "the config of a model, not its weights; give the folder or the weights file beside it",
    ),
    "json": Kind("other JSON", "a JSON file, not weights; give the file with the weights"),
    "ncnn": Kind(
        "ncnn (`.param`)",
        "a network of ncnn, which predict runs if export wrote it, but from which no weights are "
        "imported; import the file that it was converted from",
        exported=True,
    ),
    "mnn": Kind(
        "MNN (`.mnn`)",
        "a network of MNN, which predict runs if export wrote it, but from which no weights are "
        "imported; import the file that it was converted from",
        exported=True,
    ),
    "ort": Kind(
        "ONNX Runtime's own format (`.ort`)",
        "a network in ONNX Runtime's own format; use the .onnx file that it was converted from",
    ),
    "paddle": Kind(
        "PaddlePaddle (`.pdmodel`, `.pdiparams`, `.pdparams`)",
        "a network of PaddlePaddle, which is not read; convert it with paddle2onnx",
    ),
    "mxnet": Kind(
        "MXNet (`.params`, `-symbol.json`)",
        "a network of MXNet, which is not read; convert it to ONNX first",
    ),
    "darknet": Kind(
        "Darknet (`.weights`, `.cfg`)",
        "a network of Darknet, which is not read; convert it to ONNX first",
    ),
    "gguf": Kind(
        "GGUF", "a GGUF file, the format of language models; use the model's safetensors file"
    ),
    "flax": Kind(
        "Flax (`.msgpack`)",
        "weights of Flax in msgpack; save them by name as safetensors",
    ),
    "engine": Kind(
        "compiled for one chip (TensorRT, RKNN, Hailo, SNPE)",
        "a network compiled for one chip; use the .onnx or .tflite file that it was compiled from",
    ),
    "numpy": Kind(
        "NumPy (`.npy`, `.npz`)",
        "NumPy arrays, whose names no published network has; save them by their names as "
        "safetensors",
    ),
    "matlab": Kind(
        "MATLAB, R (`.mat`, `.rds`)",
        "data of MATLAB or R, which is not read; export the network to ONNX there",
    ),
    "archive": Kind(
        "archive of something else (`.zip`, `.rar`, `.7z`)",
        "an archive, which is not opened here; unpack it and give the file inside",
    ),
}  # fmt: skip
"""Kinds by their keys."""
BY_SUFFIX = {
    ".prototxt": "caffe", ".caffemodel": "caffe", ".mlmodel": "coreml", ".mlpackage": "coreml",
    ".mlmodelc": "coreml", ".pt2": "pt2", ".pte": "executorch", ".pb": "frozen",
    ".pbtxt": "frozen", ".meta": "tf-meta", ".mnn": "mnn", ".ort": "ort", ".pdmodel": "paddle",
    ".pdiparams": "paddle", ".pdparams": "paddle", ".pdopt": "paddle", ".msgpack": "flax",
    ".engine": "engine", ".plan": "engine", ".trt": "engine", ".rknn": "engine", ".hef": "engine",
    ".dlc": "engine", ".mat": "matlab", ".rds": "matlab", ".rdata": "matlab", ".gguf": "gguf",
}  # fmt: skip
MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "lfs"), (0, b"GGUF", "gguf"), (0, b"\x93NUMPY", "numpy"),
    (0, b"MATLAB ", "matlab"), (0, b"Rar!", "archive"), (0, b"7z\xbc\xaf\x27\x1c", "archive"),
    (0, b"RKNN", "engine"), (4, b"ET12", "executorch"), (4, b"ORTM", "ort"),
    (0, struct.pack("<Q", 0x112), "mxnet"), (0, struct.pack("<3i", 0, 2, 5), "darknet"),
    (0, struct.pack("<3i", 0, 2, 0), "darknet"), (0, b"7767517\n", "ncnn"),
    (0, b"7767517\r\n", "ncnn"), (0, b"\xff\xd8\xff", "picture"), (0, b"\x89PNG", "picture"),
    (0, b"GIF8", "picture"),
)  # fmt: skip
"""First bytes by their place."""
TEXTS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"<(!doctype html|html|head|body)", re.I), "page"),
    # A comment ends at its first "-->", so that there is one way only to read many of them.
    (re.compile(rb"(<\?xml[^>]*>\s*)?(<!--((?!-->).)*-->\s*)*<net\b", re.S), "openvino"),
    (re.compile(rb"(#.*\n\s*)*\[(net|network)\]", re.I), "darknet"),
    (re.compile(rb"(#.*\n\s*)*(name:.*\n\s*)?(layers?|input|input_shape)\s*[:{]"), "caffe"),
    (re.compile(rb"(backend:.*\n)?class_name:"), "architecture"),
    (re.compile(rb"<"), "page"),
)
"""Beginnings of texts, after white space."""
HDF5 = b"\x89HDF\r\n\x1a\n"
INSIDE_WHOLE = (b"torch.nn.modules", b"torchvision.models", b"timm.models", b"torch.nn.parallel")
"""Modules whose classes a pickled model has, and a state dict has not."""


def sentence(key: str) -> str:
    """Return the sentence of a kind."""
    return KINDS[key].sentence


def recognise(path: Path) -> str | None:
    """Return the key of a file's or folder's kind; None for one that is read, or unknown.

    Raises:
        OSError: it cannot be opened.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return "savedmodel" if (path / "saved_model.pb").is_file() else _folder(suffix)
    with open_file(path) as file:
        start = file.read(START)
        size = file.seek(0, 2)
    if not start:
        return "empty"
    for at, mark, key in MAGIC:
        if start[at : at + len(mark)] == mark:
            return key
    if start.startswith(b"PK"):
        return _zip(path)
    if start.startswith(HDF5):
        return "incomplete" if _hdf5_end(start) > size else None
    if start[4:8] == b"TFL3":
        looked_into = size <= bounds.LARGEST_GRAPH
        return "edge-tpu" if looked_into and b"edgetpu-custom-op" in read_file(path, size) else None
    if found := _text(start, path):
        return found
    if suffix == ".bin" and (path.with_suffix(".xml").is_file() or _ncnn_beside(path)):
        return "openvino-weights"
    if start[:1] == b"\x80" and any(name in start for name in INSIDE_WHOLE):
        return "pickled-model"
    if _safetensors_end(path, start) > size:
        return "incomplete"
    if path.name == "saved_model.pb":
        return "savedmodel"
    return BY_SUFFIX.get(suffix)


def _folder(suffix: str) -> str | None:
    return BY_SUFFIX.get(suffix) if suffix in (".mlpackage", ".mlmodelc") else None


def _ncnn_beside(path: Path) -> bool:
    return path.with_suffix(".param").is_file()


def _text(start: bytes, path: Path) -> str | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        found = _json(path)
        if found is not None:
            return _kind_of_json(found)
    return next((key for pattern, key in TEXTS if pattern.match(text)), None)


def _json(path: Path) -> Any:
    try:
        return read_json(path, WeightsError, constants=True)
    except WeightsError:
        return None


def _kind_of_json(found: Any) -> str:
    keys = set(found) if isinstance(found, dict) else set()
    if {"modelTopology", "weightsManifest"} & keys:
        return "tfjs-graph" if found.get("format") == "graph-model" else "tfjs-layers"
    if {"nodes", "arg_nodes"} <= keys:
        return "mxnet"
    if {"class_name", "config"} <= keys:
        return "architecture"
    if "weight_map" in keys:
        return "index"
    if keys & {"architectures", "model_type", "pretrained_cfg", "architecture", "spec"}:
        return "config"
    return "json"


def _zip(path: Path) -> str | None:
    """Return the kind of a zip archive by its members' names; None for those that are read."""
    try:
        with Zip(path) as archive:
            members = archive.infolist()
            if any(member.flag_bits & ENCRYPTED for member in members):
                return "password"
            names = [member.filename for member in members]
            pickled = next((n for n in names if n.endswith("data.pkl")), None)
            if any(n.endswith("constants.pkl") for n in names):
                return "torchscript"
            if any(n.endswith(("archive_format", "exported_program.json")) for n in names):
                return "pt2"
            if pickled is not None:
                start = archive.start(archive.getinfo(pickled), 16 * START)
                return "pickled-model" if any(name in start for name in INSIDE_WHOLE) else None
    except (OtherMethod, TooManyMembers):  # no program stores a network so
        return "archive"
    except zipfile.BadZipFile:
        # Its table of contents is the last thing in it.
        return "incomplete"
    if any(n.rpartition("/")[2] == "model.weights.h5" for n in names):
        return None
    if names and all(n.endswith(".npy") for n in names):
        return "numpy"
    if path.suffix.lower() in (".mlmodel", ".mlpackage") or any(".mlpackage/" in n for n in names):
        return "coreml"
    return "archive"


def _hdf5_end(start: bytes) -> int:
    """Return the end of an HDF5 file in its superblock; 0 if it is not of a usual version."""
    version = start[8] if len(start) > 8 else 255
    place = {0: 40, 1: 44, 2: 28, 3: 28}.get(version)
    wide = start[13 if version < 2 else 9] == 8 if len(start) > 13 else False
    if place is None or not wide or len(start) < place + 8:
        return 0
    end = int(struct.unpack_from("<Q", start, place)[0])
    return end if end < 2**63 else 0


def _safetensors_end(path: Path, start: bytes) -> int:
    """Return the end that a safetensors file's header says; 0 for other files."""
    if start[8:9] != b"{":
        return 0
    length = int(struct.unpack("<Q", start[:8])[0])
    if not 2 <= length <= bounds.LARGEST_JSON:
        return 0
    with open_file(path) as file:
        header = file.read(8 + length)[8:]
    if len(header) < length:
        return 8 + length
    try:
        entries = parse_table(header, "", WeightsError)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name[:2] != "__"]
        return 8 + length + max(map(int, ends), default=0)
    except (WeightsError, ValueError, OverflowError, TypeError, KeyError, IndexError):
        return 0

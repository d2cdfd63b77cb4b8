"""Which container a file is, by its first bytes; its name only helps to say what is wrong."""

import re
import struct
from pathlib import Path
from typing import Literal

from mobilenetv2.errors import WeightsError
from mobilenetv2.files import open_file
from mobilenetv2.formats import FORMATS, GRAPHS

Kind = Literal["pytorch", "hdf5", "keras", "safetensors", "tensorflow", "litert", "onnx"]

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP, GZIP = b"PK\x03\x04", b"\x1f\x8b"
TABLE = struct.pack("<Q", 0xDB4775248B80FB57)
"""The last bytes of a sorted table, which is what TensorFlow's indices and old checkpoints are."""
KERAS_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
SUFFIXES: dict[str, str] = {
    ".pth": "PyTorch", ".pt": "PyTorch", ".bin": "PyTorch", ".ckpt": "PyTorch or TensorFlow",
    ".h5": "HDF5", ".hdf5": "HDF5", ".keras": "Keras", ".safetensors": "safetensors",
    ".index": "TensorFlow checkpoint", ".tgz": "gzip", ".gz": "gzip",
    **{FORMATS[name].suffix: FORMATS[name].title for name in GRAPHS},
}  # fmt: skip


def recognise(path: Path) -> Kind:
    """Look at a file's first and last bytes.

    Raises:
        WeightsError: it does not exist, is empty, or is no container that is known.
        OSError: it is no regular file, or cannot be opened.
    """
    if path.is_dir() or index_of(prefix_of(path)).is_file():
        return "tensorflow"
    if not path.exists():
        raise WeightsError(f"{path}: no such file")
    with open_file(path) as file:
        start = file.read(512)
        size = file.seek(0, 2)
        file.seek(max(0, size - len(TABLE)))
        end = file.read()
    if start.startswith(ZIP):
        return _archive(path, start)
    if start.startswith(HDF5):
        return "hdf5"
    if start[4:8] == b"TFL3":
        return "litert"
    if end == TABLE or start.startswith(GZIP) or start[257:262] == b"ustar":
        return "tensorflow"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pytorch"  # a pickle, as PyTorch wrote until 1.6
    if start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= size - 8:
        return "safetensors"
    if path.suffix == ".onnx":
        return "onnx"  # a protocol buffer, which begins with nothing of its own
    raise WeightsError(f"{path}: {_complaint(path, start)}")


def prefix_of(path: Path) -> Path:
    """What TensorFlow calls a checkpoint, from the name of any of its files."""
    if path.suffix == ".index":
        return path.with_suffix("")
    return path.with_name(DATA.sub("", path.name))


def index_of(prefix: Path) -> Path:
    """The index file of a TensorFlow checkpoint."""
    return prefix.with_name(f"{prefix.name}.index")


def _archive(path: Path, start: bytes) -> Kind:
    """A zip by the name of its first member: reading the whole directory is the reader's part."""
    length = struct.unpack("<H", start[26:28])[0] if len(start) >= 30 else 0
    name = start[30 : 30 + length].decode("utf-8", "replace")
    if name in KERAS_MEMBERS or name.startswith("assets"):
        return "keras"
    if name.endswith(("/data.pkl", "/version", "/byteorder", "/.format_version")):
        return "pytorch"
    if path.suffix == ".keras":
        return "keras"
    if path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".tar"):
        return "pytorch"
    raise WeightsError(
        f"{path}: a zip that is neither a PyTorch nor a .keras file (it begins with {name[:80]!r})"
    )


def _complaint(path: Path, start: bytes) -> str:
    if not start:
        return "an empty file; download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights themselves; fetch them with: git lfs pull"
    if start.lstrip()[:1] == b"<":
        return "a web page, not weights; download the file itself"
    expected = SUFFIXES.get(path.suffix)
    if expected:
        return f"does not begin like a {expected} file; it is damaged or something else"
    return (
        "not a weights file that is known (PyTorch, HDF5, .keras, safetensors, TensorFlow "
        "checkpoint, LiteRT, ONNX)"
    )

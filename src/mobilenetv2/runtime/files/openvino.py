"""An OpenVINO file that was exported here: ``NAME.xml`` with the graph, ``NAME.bin`` beside it.

The .xml is read as it comes, no tree is built of it; it closes with a comment that seals both.
"""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError, XMLParser

from mobilenetv2.errors import ArtifactError
from mobilenetv2.files import read_file
from mobilenetv2.model import seal
from mobilenetv2.runtime.artifact import config_inside, contents
from mobilenetv2.runtime.engine import Artifact
from mobilenetv2.spec.records import ModelConfig

CONFIG = ("mobilenetv2", "config")
"""Where the config is in the file's ``rt_info``."""
BEGIN, END = b"<!-- mobilenetv2.sha256 ", b"-->\n"
"""Before and after the seal."""
LARGEST_XML = 32 * 1024**2
"""A float file of 1,000 classes has 0.3 MB, an int8 file 0.5 MB."""
PICTURES = "u8"


def read(path: Path) -> Artifact:
    """The graph, its weights, and the config inside it.

    Raises:
        ArtifactError: not an OpenVINO file, damaged, somebody else's, or changed.
        OSError: it cannot be opened.
    """
    xml = _bounded(path)
    found = _scan(xml, path)
    config = config_inside(found.config, path)
    weights = contents(_weights_of(path))
    seal.check(xml, str(path), weights, end=END)
    _require_fit(found.inputs, config, path)
    return Artifact(config, "openvino", xml, str(path), weights)


def sealed(xml: bytes, weights: bytes) -> bytes:
    """An .xml as it is written here, with its seal at the end."""
    body = xml + BEGIN
    return body + seal.digest(body, weights).encode() + END


def _bounded(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST_XML:
        raise ArtifactError(f"{path}: {size:,} bytes are more than the limit of {LARGEST_XML:,}")
    return read_file(path)


def _weights_of(path: Path) -> Path:
    """The .bin in the same folder."""
    beside = path.with_suffix(".bin")
    if not beside.is_file():
        raise ArtifactError(f"{path}: its weights are not there; copy {beside.name} beside it")
    if beside.resolve().parent != path.resolve().parent:
        raise ArtifactError(f"{beside}: it is a link out of its folder; copy the file itself there")
    return beside


class _Scan:
    """What is wanted of the .xml: a target that the parser tells of every tag."""

    def __init__(self) -> None:
        self.path: list[str] = []
        self.kind = ""
        self.inputs: list[tuple[str, str]] = []
        """(type of the values, shape) of each input."""
        self.config: str | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.path.append(tag)
        if self.path == ["net", "layers", "layer"]:
            self.kind = attributes.get("type", "")
        elif self.path == ["net", "layers", "layer", "data"] and self.kind == "Parameter":
            self.inputs.append((attributes.get("element_type", ""), attributes.get("shape", "")))
        elif self.path == ["net", "rt_info", *CONFIG]:
            self.config = attributes.get("value")

    def end(self, tag: str) -> None:
        self.path.pop()

    def doctype(self, *_: Any) -> None:
        # What can define entities, which grow without bound.
        raise ParseError("a document type")

    def close(self) -> None:
        pass


def _scan(xml: bytes, path: Path) -> _Scan:
    found = _Scan()
    parser = XMLParser(target=found)
    try:
        parser.feed(xml)
        parser.close()
    except (ParseError, ValueError, LookupError) as error:  # the latter two of its encoding
        raise ArtifactError(f"{path}: not an OpenVINO file, or damaged ({error})") from None
    if not found.inputs:
        raise ArtifactError(f"{path}: not an OpenVINO file (it has no input)")
    return found


def _require_fit(inputs: list[tuple[str, str]], config: ModelConfig, path: Path) -> None:
    """Raise unless the graph takes the pictures that the config describes, '?' being any side."""
    height, width, channels = (*config.spec.size, config.spec.input_channels)
    kind, shape = inputs[0]
    wanted = (height, width, channels) if kind == PICTURES else (channels, height, width)
    sides = shape.split(",")[1:]
    if (
        len(inputs) > 1
        or len(sides) != len(wanted)
        or any(side not in ("?", str(size)) for side, size in zip(sides, wanted, strict=True))
    ):
        raise ArtifactError(
            f"{path}: the config inside it describes another network: it takes pictures of "
            f"{height} x {width} x {channels}, the graph {' and '.join(s for _, s in inputs)}"
        )

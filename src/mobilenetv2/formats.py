"""The table of file formats: their files, packages, precisions, and the runtimes that run them.

Every other module asks this one. A new format is a row here, ``write_NAME`` in ``export/``, its
packages in ``errors.EXTRAS`` and ``pyproject.toml``; a format that ``predict`` runs also has a
runtime here and ``runtime/RUNTIME.py``, which reads it; any other has ``reload`` beside its writer,
and a runtime with ``engine=False`` where ``benchmark`` is to measure it. Standard library only.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "float16", "bfloat16", "int8"]
FormatName = Literal[
    "onnx", "openvino", "litert", "savedmodel", "keras", "pt2", "executorch", "coreml", "ncnn",
    "mnn",
]  # fmt: skip
"""Names of :data:`FORMATS`."""
Int8Format = Literal["onnx", "openvino", "litert"]
"""Names of the formats that ``quantize`` writes."""
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "bfloat16")
"""Precisions that ``export`` makes."""
INT8: Precision = "int8"
"""The precision that ``quantize`` makes."""
ALIASES = {
    "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "tflite": "litert",
    "ort": "onnxruntime",
}  # fmt: skip
"""Names that other tools use -> the names here."""


@dataclass(frozen=True, slots=True)
class Format:
    """One file format that ``export`` writes."""

    name: str
    title: str
    """Its own spelling, for texts."""
    suffix: str
    """End of a file's name; '' of a plain folder."""
    purpose: str
    likes: str
    """Devices that it is good for."""
    packages: tuple[str, ...]
    """Import names of what its writer and runtime need."""
    precisions: tuple[Precision, ...] = ("float32",)
    int8: bool = False
    """Whether ``quantize`` writes it."""
    options: frozenset[str] = frozenset()
    """Fields of ``exporting.job.Options`` that it honours, beside the precision."""
    beside: tuple[str, ...] = ()
    """Suffixes of further files, which take the place of ``suffix``."""
    runs_here: bool = True
    """False where the runtime is for another operating system."""
    readable: bool = False
    """Whether its own runtime's module reads its files for an engine."""
    refusal: str = ""
    """Why ``--model`` does not take its files; '' where it does."""
    graph: bool = False
    """Whether ``weights import`` reads the network off anybody's graph in it."""
    writer: str = ""
    """The module of ``export`` that has its ``write_NAME``; '' where it is called as the format."""

    @property
    def ending(self) -> str:
        """The last suffix of its files and folders: '.param' of '.ncnn.param'."""
        return f".{(self.suffix or self.name).rpartition('.')[2]}"

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON: what the format is for, and whether it can be written."""
        missing = self.missing()
        return {
            "format": self.name, "installed": not missing, "missing": missing,
            "precisions": self.precisions, "options": sorted(self.options),
            "purpose": self.purpose, "devices": self.likes, "runs_here": self.runs_here,
        }  # fmt: skip

    def files(self, path: Path) -> list[Path]:
        """Return the files that one export consists of, ``path`` itself first."""
        name, end = path.name, self.suffix
        stem = name[: -len(end)] if end and name.endswith(end) else path.stem
        return [path, *(path.with_name(stem + suffix) for suffix in self.beside)]

    def size(self, path: Path) -> int:
        """Return the bytes of an export: of all its files, or of everything in its folder."""
        inside = path.rglob("*") if path.is_dir() else self.files(path)
        return sum(file.stat().st_size for file in inside if file.is_file())

    def has(self, precision: str) -> bool:
        """Return whether files of that precision, or 'int8', are written."""
        return self.int8 if precision == INT8 else precision in self.precisions


@dataclass(frozen=True, slots=True)
class Runtime:
    """One program that runs files."""

    name: str
    formats: tuple[str, ...]
    """Formats of the files that it runs; the last one is its own."""
    engine: bool = True
    """True if ``--runtime`` names it; else only ``benchmark`` runs it, by ``export``."""
    builds: str = ""
    """The format that a model folder becomes for it, in memory; '' where it runs files only."""

    @property
    def own(self) -> Format:
        """The format that is written for it."""
        return FORMATS[self.formats[-1]]


FORMATS: dict[str, Format] = {
    made.name: made
    for made in (
        Format(
            "onnx", "ONNX", ".onnx",
            "the common exchange format; ONNX Runtime, TensorRT, browsers",
            "servers, Windows, browsers, NVIDIA", ("onnxruntime",), ("float32", "float16"),
            int8=True, options=frozenset({"pictures", "batch", "any_size", "opset"}),
            readable=True, graph=True, writer="direct",
        ),
        Format(
            "openvino", "OpenVINO", ".xml",
            "Intel's runtime, the quickest on Intel CPUs, GPUs and NPUs",
            "Intel and ARM CPUs, Intel GPUs and NPUs", ("openvino",), ("float32", "float16"),
            int8=True, options=frozenset({"pictures", "batch", "any_size"}), beside=(".bin",),
            readable=True,
        ),
        Format(
            "litert", "LiteRT", ".tflite",
            "LiteRT (TensorFlow Lite), for phones and microcontrollers",
            "Android, iOS, Raspberry Pi, Coral", ("ai_edge_litert",), ("float32", "float16"),
            int8=True, readable=True, graph=True, writer="direct",
        ),
        Format(
            "savedmodel", "SavedModel", "",
            "TensorFlow, TensorFlow Serving, TensorFlow.js's converter",
            "servers", ("tensorflow",), options=frozenset({"pictures", "batch"}),
            refusal="a program of TensorFlow, which is not run here, since such files can do "
            "anything",
        ),
        Format(
            "keras", "Keras", ".keras", "Keras 3, to go on training; any of its backends",
            "where Keras is", ("keras", "tensorflow", "h5py"), readable=True,
        ),
        Format(
            "pt2", "torch.export", ".pt2",
            "torch.export: PyTorch without this package's code; AOTInductor",
            "servers", ("torch",), PRECISIONS, options=frozenset({"pictures", "batch"}),
            refusal="a program of PyTorch, which is not run here, since such files can do anything",
        ),
        Format(
            "executorch", "ExecuTorch", ".pte", "PyTorch on devices, with XNNPACK",
            "Android, iOS, embedded Linux", ("torch", "executorch"),
        ),
        Format(
            "coreml", "Core ML", ".mlpackage", "Apple's runtime: CPU, GPU and Neural Engine",
            "iPhone, iPad, Mac", ("torch", "coremltools"), ("float32", "float16"), runs_here=False,
            refusal="a Core ML package, which runs on Apple's systems only",
        ),
        Format(
            "ncnn", "ncnn", ".ncnn.param", "Tencent's small runtime, CPU and Vulkan",
            "phones, ARM boards", ("ncnn", "pnnx"), ("float32", "float16"),
            beside=(".ncnn.bin", ".ncnn.param.json"), readable=True, writer="converted",
        ),
        Format(
            "mnn", "MNN", ".mnn", "Alibaba's small runtime, CPU and GPU", "phones, ARM boards",
            ("MNN",), ("float32", "float16"), readable=True, writer="converted",
        ),
    )
}  # fmt: skip
"""By name, in the order in which they are listed."""

RUNTIMES: dict[str, Runtime] = {
    made.name: made
    for made in (
        Runtime("onnxruntime", ("onnx",), builds="onnx"),
        Runtime("openvino", ("onnx", "openvino"), builds="onnx"),
        Runtime("litert", ("litert",), builds="litert"),
        Runtime("ncnn", ("ncnn",)),
        Runtime("mnn", ("mnn",)),
        Runtime("executorch", ("executorch",), engine=False),
        Runtime("pt2", ("pt2",), engine=False),
        Runtime("savedmodel", ("savedmodel",), engine=False),
        Runtime("keras", ("keras",), engine=False),
    )
}
"""By name; of those that run a format the first is its default."""

ENGINES = tuple(name for name, runtime in RUNTIMES.items() if runtime.engine)
"""Names for ``--runtime``."""
OF_INT8 = tuple(name for name, made in FORMATS.items() if made.int8)
"""Formats that ``quantize`` writes."""
GRAPHS = tuple(name for name, made in FORMATS.items() if made.graph)
"""Formats whose graph says which network it is: dialects of ``weights``, too."""
BY_ENDING: dict[str, Format] = {made.ending: made for made in FORMATS.values()}
"""Last suffix of a file or folder, lower case -> its format."""


def engines_of(name: str) -> list[str]:
    """Return the engines that run files of a format; the first is the default."""
    return [engine for engine in ENGINES if name in RUNTIMES[engine].formats]

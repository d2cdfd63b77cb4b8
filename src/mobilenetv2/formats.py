"""Table of file formats: their files, packages and precisions, and the runtimes that run them.

A new format is a row here, ``write_NAME`` in ``exporting/``, and its packages in ``errors.EXTRAS``
and ``pyproject.toml``. A format that ``predict`` runs also has a runtime here and a reader in
``runtime/engines/RUNTIME.py``. Any other format has ``reload`` beside its writer, and a runtime
with ``engine=False`` if ``benchmark`` measures it. This module needs the standard library only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "float16", "bfloat16", "int8"]
FormatName = Literal[
    "onnx", "openvino", "litert", "savedmodel", "keras", "pt2", "executorch", "coreml", "ncnn",
    "mnn", "triton", "web",
]  # fmt: skip
"""Names of :data:`EXPORTED`."""
Int8Format = Literal["onnx", "openvino", "litert"]
"""Names of the formats that ``quantize`` writes."""
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "bfloat16")
"""Precisions that ``export`` writes."""
INT8: Precision = "int8"
"""Precision that ``quantize`` writes."""
ALIASES = {
    "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "tflite": "litert",
    "ort": "onnxruntime",
}  # fmt: skip
"""Names here, by the names that other tools use."""


def is_installed(package: str) -> bool:
    """Return True if a package can be imported, without importing it."""
    from importlib.util import find_spec  # it takes milliseconds

    return find_spec(package) is not None


@dataclass(frozen=True, slots=True)
class Format:
    """A file format that ``export`` writes."""

    name: str
    title: str
    """Name as its makers write it, for texts."""
    suffix: str
    """End of a file's name; '' for a plain folder."""
    purpose: str
    likes: str
    """Devices that the format suits."""
    packages: tuple[str, ...]
    """Import names of the packages that its writer and runtime need."""
    precisions: tuple[Precision, ...] = ("float32",)
    int8: bool = False
    """True if ``quantize`` writes the format."""
    options: frozenset[str] = frozenset()
    """Fields of ``exporting.job.Options`` that the writer supports, beside the precision."""
    beside: tuple[str, ...] = ()
    """Suffixes of further files, which replace ``suffix``."""
    runs_here: bool = True
    """False if the runtime is for another operating system."""
    readable: bool = False
    """True if the runtime's module here reads the files for an engine."""
    refusal: str = ""
    """Reason why ``--model`` does not take the files; '' if it does."""
    graph: bool = False
    """True if ``weights import`` reads the network from the graph in any such file."""
    writer: str = ""
    """Module of ``exporting`` that has ``write_NAME``; '' if it has the format's name."""
    place: Literal["", "whole", "named"] = ""
    """Folder that ``export`` writes: '' for MODEL.FORMAT in a given folder (or a file), 'whole' for
    the given folder itself, 'named' for one in it with the model's name."""
    entries: tuple[str, ...] = ()
    """Names of what may be in such a folder. One that holds anything else is not replaced."""
    tolerance: float | None = None
    """Largest allowed difference as a fraction of the largest output; None for the precision's."""

    @property
    def ending(self) -> str:
        """Last suffix of files and folders: '.param' for '.ncnn.param'."""
        return f".{(self.suffix or self.name).rpartition('.')[2]}"

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [package for package in self.packages if not is_installed(package)]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON: what the format is for, and whether it can be written."""
        missing = self.missing()
        return {
            "format": self.name, "installed": not missing, "missing": missing,
            "precisions": self.precisions, "options": sorted(self.options),
            "purpose": self.purpose, "devices": self.likes, "runs_here": self.runs_here,
        }  # fmt: skip

    def files(self, path: Path) -> list[Path]:
        """Return the files of one export, ``path`` itself first."""
        name, end = path.name, self.suffix
        stem = name[: -len(end)] if end and name.endswith(end) else path.stem
        return [path, *(path.with_name(stem + suffix) for suffix in self.beside)]

    def size(self, path: Path) -> int:
        """Return the bytes of an export: of all its files, or of everything in its folder."""
        inside = path.rglob("*") if path.is_dir() else self.files(path)
        return sum(file.stat().st_size for file in inside if file.is_file())

    def has(self, precision: str) -> bool:
        """Return True if files of a precision, which may be 'int8', are written."""
        return self.int8 if precision == INT8 else precision in self.precisions


@dataclass(frozen=True, slots=True)
class Runtime:
    """A program that runs files."""

    name: str
    formats: tuple[str, ...]
    """Formats of the files that it runs; the last one is its own."""
    engine: bool = True
    """True if ``--runtime`` accepts it; otherwise only ``benchmark`` runs it."""
    builds: str = ""
    """Format to which a model folder is converted in memory for it; '' if it runs files only."""
    forks: bool = True
    """False if its threads are the process's own: in a forked one it would wait for them."""
    shared: bool = False
    """True if one engine of it serves several threads at once; others need an engine each."""

    @property
    def own(self) -> Format:
        """Format that is written for this runtime."""
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
            int8=True, options=frozenset({"pictures", "outputs"}), readable=True, graph=True,
            writer="direct",
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
            "Android, iOS, embedded Linux", ("torch", "executorch"), readable=True,
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
        Format(
            "triton", "Triton", "", "a model of a repository of NVIDIA's Triton, in ONNX",
            "servers", ("onnxruntime",), ("float32", "float16"),
            options=frozenset({"pictures", "any_size", "opset"}), place="named",
            entries=("config.pbtxt", "labels.txt", "1"),
            refusal="a folder for Triton, which reads the model.onnx in it",
        ),
    )
}  # fmt: skip
"""Formats of files for a runtime by name, in the order in which they are listed."""
WEB = Format(
    "web", "page", "", "a page for any web host: browsers compute the model, and photos stay there",
    "browsers", ("ai_edge_litert",), place="whole",
    entries=("index.html", "page.json", "page", "vendor", "device", "README.txt"), tolerance=0.25,
)  # fmt: skip
"""A page with a model in it. It stands beside the table, since it is no file for a runtime: its
weights are stored in 8 bits, or in float16 where 8 bits change the answers, so that it has no
precision to choose and a tolerance of its own. That is twice the largest difference that was
measured with 8 bits: 0.12, on drawn pictures of no clear class."""
EXPORTED: dict[str, Format] = {**FORMATS, WEB.name: WEB}
"""All that ``export`` writes, by name."""

RUNTIMES: dict[str, Runtime] = {
    made.name: made
    for made in (
        Runtime("onnxruntime", ("onnx",), builds="onnx", shared=True),
        Runtime("openvino", ("onnx", "openvino"), builds="onnx", shared=True),
        Runtime("litert", ("litert",), builds="litert"),
        Runtime("ncnn", ("ncnn",), forks=False),
        Runtime("mnn", ("mnn",), forks=False),
        Runtime("executorch", ("executorch",)),
        Runtime("pt2", ("pt2",), engine=False),
        Runtime("savedmodel", ("savedmodel",), engine=False),
        Runtime("keras", ("keras",), engine=False),
    )
}
"""Runtimes by name; the first one that runs a format is the format's default."""

ENGINES = tuple(name for name, runtime in RUNTIMES.items() if runtime.engine)
"""Names of runtimes for ``--runtime``."""
OF_INT8 = tuple(name for name, made in FORMATS.items() if made.int8)
"""Names of formats that ``quantize`` writes."""
GRAPHS = tuple(name for name, made in FORMATS.items() if made.graph)
"""Names of formats whose graph describes the network; ``weights`` also takes them as dialects."""
GRAPH_ENDINGS = " or ".join(FORMATS[name].ending for name in GRAPHS)
"""Endings of the files that are imported and run as graphs, for messages."""
BY_ENDING: dict[str, Format] = {made.ending: made for made in FORMATS.values()}
"""Formats by the last suffix of a file or folder, in lower case."""


def engines_of(name: str) -> list[str]:
    """Return the engines that run files of a format; the first is the default."""
    return [engine for engine in ENGINES if name in RUNTIMES[engine].formats]

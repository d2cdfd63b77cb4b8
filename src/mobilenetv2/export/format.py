"""What can be exported: every format, what it is for, what it needs, and its module by name.

A format's module, ``mobilenetv2.export.NAME``, has two functions::

    def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None
    def reload(out: Path, threads: int | None = None) -> Engine

``write`` makes the file or folder ``out`` and nothing else but what ``Format.beside`` names;
``reload`` runs it in its own runtime. The config travels inside, or in ``OUT.json`` beside it.
"""

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.engine import Engine
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import ModelConfig

Precision = Literal["float32", "float16", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be."""

    precision: Precision = "float32"
    pictures: bool = False
    """Normalisation inside: it takes uint8 (batch, height, width, channels)."""
    batch: int | None = None
    """None: any, where the format has that; else 1."""
    any_size: bool = False
    """Any height and width."""
    opset: int | None = None
    """Of ONNX; None is what the writer takes by itself."""

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise ArtifactError(f"--batch {self.batch} must be at least 1")


class Module(Protocol):
    """What each format's module has."""

    def write(self, config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
        """Make the file (or folder) ``out``.

        Args:
            arrays: canonical.

        Raises:
            SpecError: the format cannot have such a network.
            ArtifactError: the converter failed.
        """

    def reload(self, out: Path, threads: int | None = None) -> Engine:
        """What :func:`write` made, in its own runtime.

        Raises:
            ArtifactError: the runtime does not take it.
        """


@dataclass(frozen=True, slots=True)
class Format:
    """One format, as ``export --list`` shows it."""

    name: str
    suffix: str
    """Of the file; of a folder, ''."""
    purpose: str
    likes: str
    """Devices that it is good for."""
    packages: tuple[str, ...] = ()
    """Import names of what its writer and runtime need beyond the core install."""
    precisions: tuple[Precision, ...] = ("float32",)
    options: frozenset[str] = frozenset()
    """Fields of :class:`Options` that it honours, beside the precision."""
    beside: tuple[str, ...] = ()
    """Suffixes of further files, which take the place of ``suffix``."""
    runs_here: bool = True
    """False where the runtime is for another operating system."""

    def module(self) -> Module:
        """Its writer and its runtime.

        Raises:
            MissingExtra: a package is not installed; the message has the line that installs it.
        """
        for package in self.packages:
            if find_spec(package) is None:
                require(package)  # which says how to get it
        found: Any = importlib.import_module(f"mobilenetv2.export.{self.name}")
        module: Module = found
        return module

    def check(self, options: Options) -> None:
        """Raise unless the format honours every option that is not left alone.

        Raises:
            ArtifactError: the first that it does not.
        """
        if options.precision not in self.precisions:
            raise ArtifactError(
                f"--format {self.name} has no {options.precision}; it has "
                f"{', '.join(self.precisions)}"
            )
        usual = Options()
        for field in ("pictures", "batch", "any_size", "opset"):
            if getattr(options, field) != getattr(usual, field) and field not in self.options:
                flag = field.replace("_", "-")
                able = [one.name for one in FORMATS.values() if field in one.options]
                raise ArtifactError(
                    f"--format {self.name} has no --{flag}, which is for {', '.join(able)}"
                )


FORMATS: dict[str, Format] = {
    made.name: made
    for made in (
        Format(
            "onnx", ".onnx", "the common exchange format; ONNX Runtime, TensorRT, browsers",
            "servers, Windows, browsers, NVIDIA", ("onnxruntime",), ("float32", "float16"),
            frozenset({"pictures", "batch", "any_size", "opset"}),
        ),
        Format(
            "openvino", ".xml", "Intel's runtime, the quickest on Intel CPUs, GPUs and NPUs",
            "Intel and ARM CPUs, Intel GPUs and NPUs", ("openvino",), ("float32", "float16"),
            frozenset({"pictures", "batch", "any_size"}), beside=(".bin",),
        ),
        Format(
            "litert", ".tflite", "LiteRT (TensorFlow Lite), for phones and microcontrollers",
            "Android, iOS, Raspberry Pi, Coral", ("ai_edge_litert",), ("float32", "float16"),
        ),
        Format(
            "savedmodel", "", "TensorFlow, TensorFlow Serving, TensorFlow.js's converter",
            "servers", ("tensorflow",), options=frozenset({"pictures", "batch"}),
        ),
        Format(
            "keras", ".keras", "Keras 3, to go on training; any of its backends",
            "where Keras is", ("keras", "tensorflow", "h5py"),
        ),
        Format(
            "pt2", ".pt2", "torch.export: PyTorch without this package's code; AOTInductor",
            "servers", ("torch",), ("float32", "float16", "bfloat16"),
            frozenset({"pictures", "batch"}),
        ),
        Format(
            "executorch", ".pte", "PyTorch on devices, with XNNPACK",
            "Android, iOS, embedded Linux", ("torch", "executorch"),
        ),
        Format(
            "coreml", ".mlpackage", "Apple's runtime: CPU, GPU and Neural Engine",
            "iPhone, iPad, Mac", ("torch", "coremltools"), ("float32", "float16"),
            runs_here=False,
        ),
        Format(
            "ncnn", ".ncnn.param", "Tencent's small runtime, CPU and Vulkan",
            "phones, ARM boards", ("ncnn", "pnnx"), ("float32", "float16"),
            beside=(".ncnn.bin", ".ncnn.param.json"),
        ),
        Format(
            "mnn", ".mnn", "Alibaba's small runtime, CPU and GPU", "phones, ARM boards",
            ("MNN",), ("float32", "float16"),
        ),
    )
}  # fmt: skip
"""By name, in the order in which they are listed."""


def find(name: str) -> Format:
    """The format of that name.

    Raises:
        ArtifactError: there is none.
    """
    if name not in FORMATS:
        raise ArtifactError(f"--format {name}: unknown; {suggestion(name, FORMATS)}")
    return FORMATS[name]

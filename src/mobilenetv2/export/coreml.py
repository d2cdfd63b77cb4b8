"""Core ML: an ML Program for Apple's CPU, GPU and Neural Engine.

Converted here, run there: Apple's runtime is on its own systems only. What :func:`reload` gives is
the saved package computed operator by operator (:mod:`mobilenetv2.export.mil`).
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.export.job import Options
from mobilenetv2.export.mil import MilProgram
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import CONFIG_KEY
from mobilenetv2.graph.torch import GraphModule
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.model.float16 import representable
from mobilenetv2.process import suppress_native_output
from mobilenetv2.runtime import engine
from mobilenetv2.spec.records import ModelConfig

INPUT, OUTPUT = "input", "logits"
LABELS = "labels"
"""Among the metadata, for apps: the names of the outputs as a JSON list."""
MODEL = Path("Data", "com.apple.CoreML", "model.mlmodel")
WEIGHTS = Path("Data", "com.apple.CoreML", "weights", "weight.bin")


def write(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Make the package (a folder) ``out``, for one picture at a time, sealed.

    ``input`` is float32 (1, channels, height, width), normalised, whatever the precision inside.

    Raises:
        SpecError: a network of other blocks than MobileNetV2's.
        ArtifactError: the converter failed.
        MissingExtra: coremltools is not installed.
    """
    graph, half = lower(config, arrays), options.precision == "float16"
    network = GraphModule(graph.with_weights(representable) if half else graph)
    x = torch.zeros(1, config.spec.input_channels, *config.spec.size)
    with greetings_off():
        tools: Any = require("coremltools")
        try:
            made = tools.convert(
                torch.jit.trace(network, (x,)),
                inputs=[tools.TensorType(INPUT, tuple(x.shape))],
                outputs=[tools.TensorType(OUTPUT)],
                compute_precision=tools.precision.FLOAT16 if half else tools.precision.FLOAT32,
                # The first with ML Programs. Later ones would take float16 for what goes in.
                minimum_deployment_target=tools.target.iOS15,
                skip_model_load=True,
            )
        except Exception as error:  # its passes raise whatever comes
            reason = str(error).strip().partition("\n")[0]
            raise ArtifactError(f"coremltools cannot convert the network ({reason})") from None
        describe(made, config)
        made.save(str(out))
        _close(tools, out)


def describe(made: Any, config: ModelConfig) -> None:
    """What a person reads in Xcode, and what an app reads."""
    (height, width), record = config.spec.size, config.preprocessing
    made.short_description = (
        f"MobileNetV2, {config.spec.classes} classes, {height} x {width} pixels"
    )
    if config.origin and config.origin.licence:
        made.license = config.origin.licence
    made.input_description[INPUT] = (
        f"A picture, channels first: (value - mean) / std on values from 0 to 255, with mean "
        f"{list(record.mean)} and std {list(record.std)}"
    )
    made.output_description[OUTPUT] = "One logit for each class; softmax gives probabilities"
    made.user_defined_metadata[CONFIG_KEY] = config.to_json()
    made.user_defined_metadata[LABELS] = json.dumps(config.labels.names, ensure_ascii=False)


def _close(tools: Any, out: Path) -> None:
    """Append the seal to the model's file."""
    # Protobuf takes a message that is appended to another of its kind as part of it.
    last = tools.proto.Model_pb2.Model()
    last.description.metadata.userDefined[seal.KEY] = "0" * seal.DIGITS
    body = (out / MODEL).read_bytes() + last.SerializeToString()[: -seal.DIGITS]
    digest = seal.digest(body, (out / WEIGHTS).read_bytes())
    (out / MODEL).write_bytes(body + digest.encode())


def reload(out: Path, threads: int | None = None) -> MilProgram:
    """What :func:`write` made, computed in NumPy, whose threads are its own.

    Raises:
        ArtifactError: it was changed, or has an operator that no network of ours has.
        MissingExtra: coremltools is not installed.
    """
    model = _checked(out)
    with greetings_off():
        require("coremltools")
        from coremltools.converters.mil.frontend.milproto.load import load

        program = load(model, model.specificationVersion, str((out / WEIGHTS).parent))
    return MilProgram(program, str(out))


def config_inside(path: Path) -> ModelConfig:
    """The config of a package of ours.

    Raises:
        ArtifactError: somebody else's, or one that was changed.
        MissingExtra: coremltools is not installed.
    """
    return engine.embedded_config(
        _checked(path).description.metadata.userDefined.get(CONFIG_KEY), path
    )


def _checked(path: Path) -> Any:
    """The package's model as coremltools' message, if its seal holds."""
    try:
        data, weights = (engine.read_bounded(path / part) for part in (MODEL, WEIGHTS))
    except OSError as error:
        raise ArtifactError(f"{path}: not a Core ML package ({error.strerror})") from None
    seal.check(data, str(path), weights)
    with greetings_off():
        tools: Any = require("coremltools")
        return tools.proto.Model_pb2.Model.FromString(data)


@contextmanager
def greetings_off() -> Iterator[None]:
    """It names every package that it was not tested with, and draws its progress on stderr."""
    with suppress_native_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

"""LiteRT (TensorFlow Lite) classifiers, float or quantised, to a model folder's contents.

The names in such a file are left-overs of a converter, so the network is read off the graph:
the chain of convolutions from the picture to the logits gives every block. BatchNorm is folded
into weights and biases already; it comes in as an identity that carries the bias.
"""

import dataclasses
import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics, StageSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing
from mobilenetv2.weights.canonical import Arrays, check, identity_batch_norm
from mobilenetv2.weights.containers.litert import Graph, Operator, read
from mobilenetv2.weights.layout import LITERT_CONVOLUTION, LITERT_DEPTHWISE

WIDTHS = (1.0, 0.75, 0.5, 0.35, 1.3, 1.4, *(step / 20 for step in range(1, 41)))
LARGEST_LABEL_FILE = 4 * 1024**2
PASSED_OVER = frozenset({"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "SOFTMAX"})
POOLING = frozenset({"MEAN", "AVERAGE_POOL_2D"})


@dataclass(frozen=True, slots=True)
class Step:
    """One convolution of the chain, in canonical layout."""

    depthwise: bool
    weight: NDArray
    bias: NDArray
    stride: int
    padding: str
    """'same', 'symmetric', or '' at stride 1, where the two are one."""
    activation: str
    added: bool
    """A shortcut is added behind it."""


def import_file(path: Path, labels: Labels | None = None) -> tuple[ModelConfig, Arrays]:
    """Read a published MobileNetV2 classifier.

    Args:
        labels: names of the outputs; without them those inside the file are taken, then
            ImageNet's where there are 1,000 or 1,001 outputs.

    Raises:
        WeightsError: not a LiteRT file, or damaged.
        DialectError: a LiteRT file of another network.
    """
    graph = read(path)
    try:
        steps, classifier = _chain(graph)
        config = _config(path, graph, steps, classifier[0].shape[0], labels)
        arrays = _arrays(config.spec, steps, classifier)
    except (DialectError, SpecError) as error:
        raise DialectError(f"{path}: {error}") from None
    check(config.spec, arrays, str(path))
    return config, arrays


# ---------------------------------------------------------------- the graph as a chain


def _chain(graph: Graph) -> tuple[list[Step], tuple[NDArray, NDArray]]:
    """Every convolution but the classifier, in order, and the classifier's (weight, bias)."""
    steps: list[Step] = []
    classifier: tuple[NDArray, NDArray] | None = None
    pooled = False
    pad: tuple[int, int] | None = None
    for operator in _from_input_to_output(graph):
        kind = operator.kind
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and not pooled:
            steps.append(_step(graph, operator, pad))
            pad = None
        elif kind in ("CONV_2D", "FULLY_CONNECTED") and pooled and classifier is None:
            weight, bias = _constants(graph, operator)
            classifier = (weight.reshape(weight.shape[0], -1), bias)
        elif kind == "ADD" and steps and not pooled and operator.activation == "NONE":
            steps[-1] = dataclasses.replace(steps[-1], added=True)
        elif kind in ("PAD", "PADV2"):
            pad = _explicit_padding(graph, operator)
        elif kind in POOLING:
            pooled = True
        elif kind not in PASSED_OVER:
            raise DialectError(f"not a MobileNetV2 classifier: unexpected operator {kind}")
    if classifier is None:
        raise DialectError("not a MobileNetV2 classifier: no classifier after the pooling")
    return steps, classifier


def _from_input_to_output(graph: Graph) -> Iterator[Operator]:
    """The operators, checked to be one chain (additions join an earlier tensor of it)."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise DialectError("not a classifier: it must have one input and one output")
    seen, current = {graph.inputs[0]}, graph.inputs[0]
    for operator in graph.operators:
        where = {*operator.inputs, *operator.outputs}
        if not where <= set(range(-1, len(graph.tensors))) or len(operator.outputs) != 1:
            raise DialectError("damaged: an operator refers to a tensor that is not there")
        if current not in operator.inputs:
            raise DialectError(f"not a MobileNetV2 classifier: {operator.kind} leaves the chain")
        if operator.kind == "ADD" and not set(operator.inputs) <= seen:
            raise DialectError("not a MobileNetV2 classifier: ADD of a tensor outside the chain")
        current = operator.outputs[0]
        seen.add(current)
        yield operator
    if current != graph.outputs[0]:
        raise DialectError("not a classifier: its output is not the end of the chain")


def _constants(graph: Graph, operator: Operator) -> tuple[NDArray, NDArray]:
    values = [graph.tensors[index].values for index in operator.inputs[1:3] if index >= 0]
    if not values or any(value is None for value in values):
        raise DialectError(f"{operator.kind} without constant weights")
    weight = np.asarray(values[0], np.float32)
    if len(values) == 1:
        return weight, np.zeros(weight.shape[0], np.float32)
    return weight, np.asarray(values[1], np.float32)


def _step(graph: Graph, operator: Operator, pad: tuple[int, int] | None) -> Step:
    weight, bias = _constants(graph, operator)
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    if weight.ndim != 4:
        raise DialectError(f"{operator.kind} with weights of shape {list(weight.shape)}")
    layout = LITERT_DEPTHWISE if depthwise else LITERT_CONVOLUTION
    weight = layout.to_canonical(weight)
    if operator.stride[0] != operator.stride[1] or operator.dilation != (1, 1):
        raise DialectError("a convolution with unequal strides or with dilation")
    stride = operator.stride[0]
    padding = ""
    if stride > 1:
        size = graph.tensors[operator.inputs[0]].shape[1]
        padding = _padding_rule(operator.padding, pad, size)
    return Step(depthwise, weight, bias, stride, padding, operator.activation, added=False)


def _padding_rule(option: str, pad: tuple[int, int] | None, padded_size: int) -> str:
    """Which of the two rules a stride-2 convolution follows.

    Args:
        pad: zeros (before, after) of a PAD operator in front.
        padded_size: height in pixels behind that PAD.
    """
    if option == "SAME" and pad is None:
        return "same"
    if pad == (0, 1) or (pad == (1, 1) and padded_size % 2):
        return "same"
    if pad == (1, 1):
        return "symmetric"
    raise DialectError(f"a stride-2 convolution padded {option} behind zeros {pad}")


def _explicit_padding(graph: Graph, operator: Operator) -> tuple[int, int]:
    values = graph.tensors[operator.inputs[1]].values
    if values is None or values.shape != (4, 2) or (values[1] != values[2]).any():
        raise DialectError("a PAD that is not the same on height and width")
    return int(values[1][0]), int(values[1][1])


# ---------------------------------------------------------------- the chain as a spec


def _config(
    path: Path, graph: Graph, steps: list[Step], classes: int, labels: Labels | None
) -> ModelConfig:
    shape = graph.tensors[graph.inputs[0]].shape
    if len(shape) != 4 or not steps:
        raise DialectError(f"not a picture classifier: its input has shape {list(shape)}")
    labels = labels or _embedded_labels(path, classes) or _usual_labels(classes)
    if len(labels) != classes:
        raise DialectError(f"{len(labels)} labels for {classes} outputs")
    background = {None: None, 0: "first", classes - 1: "last"}.get(labels.background)
    paddings = {step.padding for step in steps if step.padding} or {"symmetric"}
    if len(paddings) > 1:
        raise DialectError("its stride-2 convolutions are padded in different ways")
    activations = {step.activation for step in steps if step.activation != "NONE"}
    if len(activations) != 1 or not activations <= {"RELU6", "RELU"}:
        raise DialectError(f"activations {sorted(activations)}; MobileNetV2 has RELU6 throughout")
    numerics = Numerics(
        padding=paddings.pop(),  # type: ignore[arg-type]
        epsilon=1e-3, momentum=0.997, momentum_of="old",
        activation=activations.pop().lower(),  # type: ignore[arg-type]
    )  # fmt: skip
    base = NetworkSpec(
        size=(shape[1], shape[2]), classes=classes, input_channels=shape[3],
        background=background, numerics=numerics,  # type: ignore[arg-type]
    )  # fmt: skip
    spec = _spec(base, steps)
    return ModelConfig(spec, _preprocessing(graph, spec), labels, _origin(path))


def _spec(base: NetworkSpec, steps: list[Step]) -> NetworkSpec:
    """The published width whose tensors these are, else the stage table as found."""
    found = _stages(steps)
    shapes = [step.weight.shape for step in steps]
    strides = [step.stride for step in steps]
    for width in WIDTHS:
        for head in ("published", "scaled"):
            spec = base.replace(width=width, head=head)
            convolutions = list(resolve(spec).convolutions)
            if [c.weight_shape for c in convolutions] == shapes and [
                c.stride for c in convolutions
            ] == strides:
                return spec
    spec = base.replace(
        stages=found, stem_channels=shapes[0][0], stem_stride=steps[0].stride,
        head_channels=shapes[-1][0], divisor=1,
    )  # fmt: skip
    if [convolution.weight_shape for convolution in resolve(spec).convolutions] != shapes:
        raise DialectError("its convolutions are not a chain of inverted residual blocks")
    return spec


def _stages(steps: list[Step]) -> tuple[StageSpec, ...]:
    """The stage table that the chain between stem and head spells."""
    stages: list[StageSpec] = []
    channels = steps[0].weight.shape[0]
    chain = steps[1:-1]
    while chain:
        length = 2 if chain[0].depthwise else 3
        block, chain = chain[:length], chain[length:]
        kinds = [step.depthwise for step in block]
        linear = [step.activation == "NONE" for step in block]
        if kinds != [False, True, False][-length:] or linear != [False, False, True][-length:]:
            raise DialectError("its convolutions are not a chain of inverted residual blocks")
        out_channels, in_channels = block[-1].weight.shape[0], channels
        expansion, rest = divmod(block[-1].weight.shape[1], in_channels)
        stride = block[-2].stride
        if rest:
            raise DialectError("an expansion that is not a multiple of the block's input channels")
        if block[-1].added != (stride == 1 and in_channels == out_channels):
            raise DialectError("its shortcuts are not where MobileNetV2 has them")
        last = stages[-1] if stages else None
        if last and stride == 1 and (expansion, out_channels) == (last.expansion, last.channels):
            stages[-1] = StageSpec(expansion, out_channels, last.repeats + 1, last.stride)
        else:
            stages.append(StageSpec(expansion, out_channels, 1, stride))
        channels = out_channels
    return tuple(stages)


def _arrays(spec: NetworkSpec, steps: list[Step], classifier: tuple[NDArray, NDArray]) -> Arrays:
    arrays: Arrays = {}
    for convolution, step in zip(resolve(spec).convolutions, steps, strict=True):
        arrays[f"{convolution.name}.conv.weight"] = step.weight
        arrays |= identity_batch_norm(convolution.name, step.bias, spec.numerics.epsilon)
    arrays["classifier.weight"], arrays["classifier.bias"] = classifier
    return arrays


# ---------------------------------------------------------------- what travels with it


def _preprocessing(graph: Graph, spec: NetworkSpec) -> Preprocessing:
    """What a raw pixel means, as the input's quantisation says; else TensorFlow's -1 to 1."""
    tensor = graph.tensors[graph.inputs[0]]
    mean, std = 127.5, 127.5
    if tensor.scale is not None and tensor.zero_point is not None:
        mean, std = float(tensor.zero_point[0]), float(1 / tensor.scale[0])
        mean += 128 if mean < 0 else 0  # int8 inputs hold pixel - 128
        std = 127.5 if math.isclose(std, 127.5, rel_tol=1e-4) else std
    margin = 8 / 7
    resize = (round(spec.size[0] * margin), round(spec.size[1] * margin))
    channels = spec.input_channels
    return Preprocessing(spec.size, resize, mean=(mean,) * channels, std=(std,) * channels)


def _embedded_labels(path: Path, classes: int) -> Labels | None:
    """The label list that LiteRT metadata keeps in a zip archive behind the flatbuffer."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".txt") and entry.file_size <= LARGEST_LABEL_FILE:
                    labels = read_labels(archive.read(entry).decode("utf-8"))
                    if len(labels) == classes:
                        return labels
    except (
        zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, OSError, NotImplementedError
    ) as error:  # fmt: skip
        raise DialectError(f"its embedded label list is damaged ({error})") from None
    return None


def read_labels(text: str) -> Labels:
    """One name a line, in the order of the outputs; ImageNet's are recognised.

    A first or last line that says 'background' is the background class.
    """
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    background = None
    for index in (0, len(names) - 1):
        if names and names[index].lower() == "background":
            background = index
    imagenet = Labels.imagenet("first") if background == 0 else Labels.imagenet()
    if len(names) == len(imagenet) and _alike(names, imagenet.names):
        return imagenet
    return Labels(names, background=background)


def _alike(names: tuple[str, ...], table: tuple[str, ...]) -> bool:
    """Lists differ in which synonyms they give ('crane' or 'crane bird'), not in most of them."""
    synonyms = [
        ({word.strip().lower() for word in text.split(",")} for text in pair)
        for pair in zip(names, table, strict=True)
    ]
    return sum(bool(mine & theirs) for mine, theirs in synonyms) >= 0.8 * len(names)


def _usual_labels(classes: int) -> Labels:
    if classes == 1000:
        return Labels.imagenet()
    return Labels.imagenet("first") if classes == 1001 else Labels.numbered(classes)


def _origin(path: Path) -> Origin:
    return Origin(
        source=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        dialect="litert",
        folded=True,
        note="Dequantised from a LiteRT file; BatchNorm was folded there and is an identity here.",
    )

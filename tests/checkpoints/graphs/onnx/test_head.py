"""Heads of ONNX graphs in the ways exporters write them, run by ONNX Runtime and by us."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_spellings import TORCH, constant, logits, made, node, tail, tensor

from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.errors import DialectError
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec

random = np.random.default_rng(3)
W1 = (random.normal(size=(1280, 16)) / 30).astype(np.float32)
W2 = (random.normal(size=(16, 3)) / 4).astype(np.float32)
B2 = random.normal(size=3).astype(np.float32)
ONE = (random.normal(size=(1280, 1)) / 30).astype(np.float32)
NORM = [random.uniform(0.5, 1.5, 1280).astype(np.float32) for _ in range(4)]


def model(*nodes: Any) -> Any:
    """Our network with the given nodes behind the map 'head'."""
    found, _ = made(TORCH)
    for name, values in (("w1", W1), ("w2", W2), ("b2", B2), ("one", ONE), ("half", 0.5)):
        constant(found, name, values)
    for name, values in zip("spmv", NORM, strict=True):
        constant(found, f"bn.{name}", values)
    constant(found, "hw", [2, 3], "i8")
    constant(found, "flat", [0, -1], "i8")
    tail(found, list(nodes))
    del found.graph.output[0].type.tensor_type.shape.dim[:]
    return onnx.shape_inference.infer_shapes(found)


POOLED = node("GlobalAveragePool", "head", "pool"), node("Flatten", "pool", "f")
HIDDEN = node("MatMul", "f w1", "h"), node("Relu", "h", "r"), node("MatMul", "r w2", "n")
SIXTEEN = (HiddenSpec(16, "relu", bias=False),)

HEADS: dict[str, tuple[tuple[Any, ...], ClassifierSpec]] = {
    "hidden layer": (
        (*POOLED, *HIDDEN, node("Add", "n b2", "logits")), ClassifierSpec(hidden=SIXTEEN)
    ),
    "no bias": (
        (*POOLED, *HIDDEN[:2], node("MatMul", "r w2", "logits")),
        ClassifierSpec(hidden=SIXTEEN, bias=False),
    ),
    "mean and softmax": (
        (node("ReduceMean", "head", "f", axes=[2, 3], keepdims=0), *HIDDEN,
         node("Add", "n b2", "z"), node("Softmax", "z", "logits", axis=1)),
        ClassifierSpec(hidden=SIXTEEN),
    ),
    "maximum": (
        (node("GlobalMaxPool", "head", "pool"), node("Reshape", "pool flat", "f"), *HIDDEN,
         node("Add", "n b2", "logits")),
        ClassifierSpec("max", SIXTEEN),
    ),
    "whole window": (
        (node("MaxPool", "head", "pool", kernel_shape=[2, 2]), node("Squeeze", "pool hw", "f"),
         *HIDDEN, node("Add", "n b2", "logits")),
        ClassifierSpec("max", SIXTEEN),
    ),
    "several labels": (
        (*POOLED, *HIDDEN, node("Add", "n b2", "z"), node("Sigmoid", "z", "logits")),
        ClassifierSpec(hidden=SIXTEEN, outputs="sigmoid"),
    ),
    "one logit": ((*POOLED, node("Gemm", "f one half", "logits")), ClassifierSpec(outputs="logit")),
    "one sigmoid": (
        (*POOLED, node("Gemm", "f one half", "z"), node("Sigmoid", "z", "logits")),
        ClassifierSpec(outputs="logit"),
    ),
    "batch norm": (
        (node("GlobalAveragePool", "head", "pool"),
         node("BatchNormalization", "pool bn.s bn.p bn.m bn.v", "n0"),
         node("Flatten", "n0", "f"), node("Gemm", "f w1", "h"), node("Clip", "h zero six", "r"),
         node("Gemm", "r w2 b2", "logits")),
        ClassifierSpec(hidden=(HiddenSpec(16, "relu6"),)),
    ),
    "channels last": (
        (node("Transpose", "head", "t", perm=[0, 2, 3, 1]),
         node("ReduceMean", "t", "f", axes=[1, 2], keepdims=0), *HIDDEN,
         node("Add", "n b2", "logits")),
        ClassifierSpec(hidden=SIXTEEN),
    ),
    "linear before the mean": (
        (node("Transpose", "head", "t", perm=[0, 2, 3, 1]), node("MatMul", "t one", "m"),
         node("Add", "m half", "a"), node("ReduceMean", "a", "logits", axes=[1, 2], keepdims=0)),
        ClassifierSpec(outputs="logit"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_a_head_answers_as_the_file_does(head: str, tmp_path: Path) -> None:
    nodes, expected = HEADS[head]
    built = model(*nodes)
    onnx.save(built, tmp_path / "net.onnx")
    config, arrays = read_checkpoint(tmp_path / "net.onnx")
    assert config.spec.classifier == expected
    found, ours = logits(built, config.spec, arrays)
    ends = {one.op_type for one in nodes[-1:]}
    if ends & {"Softmax", "Sigmoid"}:
        ours = probabilities(ours, expected.outputs)
        ours = ours[:, 1:] if expected.outputs == "logit" else ours
    np.testing.assert_allclose(found, ours, atol=1e-4)
    assert ours.std() > 1e-3


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "flatten": (
        (node("Flatten", "head", "f"), node("Gemm", "f wide", "logits")), "2 x 2 positions"
    ),
    "one softmax": (
        (*POOLED, node("Gemm", "f one half", "z"), node("Softmax", "z", "logits", axis=1)),
        "100% for every photo",
    ),
    "layer at every position": (
        (node("Transpose", "head", "t", perm=[0, 2, 3, 1]), node("MatMul", "t w1", "m"),
         node("Relu", "m", "r"), node("Flatten", "r", "f"), node("Gemm", "f late", "logits")),
        "at every position",
    ),
    "small window": (
        (node("AveragePool", "head", "pool", kernel_shape=[2, 1]), node("Flatten", "pool", "f"),
         node("Gemm", "f wide", "logits")),
        "pooling over",
    ),
    "other activation": (
        (*POOLED, node("MatMul", "f w1", "h"), node("Tanh", "h", "r"),
         node("MatMul", "r w2", "logits")),
        "Tanh",
    ),
    "two branches": (
        (*POOLED, node("MatMul", "f w1", "h"), node("MatMul", "f w1", "h2"),
         node("Add", "h h2", "logits")),
        "two classifiers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("head", REFUSED)
def test_another_head_is_refused_and_the_body_alone_comes(head: str, tmp_path: Path) -> None:
    nodes, message = REFUSED[head]
    built = model(*nodes)
    constant(built, "wide", np.ones((5120, 3)))
    constant(built, "late", np.ones((64, 3)))
    onnx.save(built, tmp_path / "net.onnx")
    with pytest.raises(DialectError, match=rf"net\.onnx: its head .*{message}.* body"):
        read_checkpoint(tmp_path / "net.onnx")
    config, arrays = read_checkpoint(tmp_path / "net.onnx", ImportOptions(body=True))
    assert config.origin is not None and config.origin.untrained_classifier
    assert config.spec.classifier == ClassifierSpec()
    np.testing.assert_array_equal(
        arrays["stem.conv.weight"], numpy_helper.to_array(tensor(built, "stem.conv.weight"))
    )


def test_a_file_that_ends_in_features_has_a_new_classifier(tmp_path: Path) -> None:
    ends: list[Callable[[], Any]] = [
        lambda: model(node("Identity", "head", "logits")),
        lambda: model(node("GlobalAveragePool", "head", "logits")),
    ]
    for end in ends:
        onnx.save(end(), tmp_path / "net.onnx")
        config, _ = read_checkpoint(tmp_path / "net.onnx")
        assert config.origin is not None and config.origin.untrained_classifier

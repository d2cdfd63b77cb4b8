"""ncnn's layers as text: only what pnnx writes for the network is taken."""

import re
from collections.abc import Callable

import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.lowering import lower_shapes
from mobilenetv2.graph.ncnn import MARKS, check, layers, steps
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, StageSpec
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(
    width=1.0, size=(32, 32), classes=3, stem_channels=4, head_channels=8, divisor=1,
    stages=(StageSpec(1, 4, 1, 1),),
    classifier=ClassifierSpec(hidden=(HiddenSpec(5, "relu6", False),)),
)  # fmt: skip
CONFIG = ModelConfig.default(SPEC)
CLIP = "-23310=2,0.0,6.0 9=3"
GRAPH = f"""7767517
10 11
Input a 0 1 in0
Convolution b 1 1 in0 1 0=4 1=3 11=3 12=1 13=2 14=1 2=1 3=2 4=1 5=1 6=108 {CLIP}
Split c 1 2 1 2 3
ConvolutionDepthWise d 1 1 3 4 0=4 1=3 11=3 12=1 13=1 14=1 2=1 3=1 4=1 5=1 6=36 7=4 {CLIP}
Convolution e 1 1 4 5 0=4 1=1 11=1 12=1 13=1 14=0 2=1 3=1 4=0 5=1 6=16
BinaryOp f 2 1 2 5 6 0=0
Convolution g 1 1 6 7 0=8 1=1 5=1 6=32 {CLIP}
Pooling h 1 1 7 8 0=1 4=1
InnerProduct i 1 1 8 9 0=5 1=0 2=40 {CLIP}
InnerProduct j 1 1 9 out0 0=3 1=1 2=15
"""


def weights(width: int = 4) -> bytes:
    """A .bin file of zeros."""
    data = b""
    for step in steps(lower_shapes(CONFIG)):
        if "weights" in step.numbers:
            data += MARKS[width] + bytes((step.numbers["weights"] * width + 3) // 4 * 4)
            data += bytes(4 * step.numbers["bias"] * step.numbers["outputs"])
    return data


@pytest.mark.parametrize("width", MARKS)
def test_the_networks_own_layers_are_taken(width: int) -> None:
    check(GRAPH.encode(), weights(width), CONFIG)


NUMBERS = [(found.start(2), found.end(2)) for found in re.finditer(r"(=|,)(-?[\d.]+)", GRAPH)]
HOSTILE = ("2147483647", "-2147483648", "-1", "1073741824", "nan", "1e9", "1_0", "0x1", "", "1=1")


@pytest.mark.parametrize("value", HOSTILE)
def test_every_other_number_is_refused(value: str) -> None:
    for start, end in NUMBERS:
        with pytest.raises(ArtifactError):
            check((GRAPH[:start] + value + GRAPH[end:]).encode(), weights(), CONFIG)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("0=4 1=3", "0=4.0 1=3"),  # ncnn takes the bits of 4.0 for a whole number
        ("0=4 1=3", "0=4 0=4 1=3"),
        ("0=4 1=3", "0=4 -23300=1,4 1=3"),
        ("0=4 1=3", "0=4 18=1.0 1=3"),
        ("0=4 1=3", "0=4 -23330=4,3,8,8,8 1=3"),
        ("2,0.0,6.0", "3,0.0,6.0"),
        ("2,0.0,6.0", "100000000,0.0,6.0"),
        ("2,0.0,6.0", "2,0.0,nan"),
        ("2 1 2 5 6", "2 1 5 2 6"),
        ("2 1 2 5 6", "2 1 2 2 6"),
        ("2 1 2 5 6", "2 1 in0 5 6"),
        ("2 1 2 5 6", "2147483647 1 2 5 6"),
        ("2 1 2 5 6", "-1 1 2 5 6"),
        ("1 1 3 4", "1 1 2 4"),
        ("Split c 1 2 1 2 3", "Split c 1 2 1 2 2"),
        ("Split c 1 2 1 2 3", "Split c 1 2 1 2 3 0=1"),
        ("Pooling h", "Pooling h\x1ci"),
        ("Pooling h", "Pooling " + "h" * 300),
        ("Pooling h", "Memory h"),
        ("10 11", "10 12"),
        ("10 11", "2147483647 11"),
        ("7767517", "7767518"),
    ],
)  # fmt: skip
def test_another_spelling_or_wiring_is_refused(was: str, now: str) -> None:
    assert was in GRAPH
    with pytest.raises(ArtifactError):
        check(GRAPH.replace(was, now, 1).encode(), weights(), CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-4],
        lambda data: data + bytes(4),
        lambda data: b"\x38\x4b\x0d\0" + data[4:],
        lambda data: MARKS[2] + data[4:],
        lambda data: b"",
    ],
    ids=["short", "long", "int8", "half", "empty"],
)
def test_weights_of_another_number_or_kind_are_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ArtifactError, match="weights"):
        check(GRAPH.encode(), change(weights()), CONFIG)


def test_layers_are_what_the_text_says() -> None:
    graph = b"7767517\n2 2\nInput a 0 1 x\nPooling b 1 1 x y 0=1 4=1\n"
    first, second = layers(graph)
    assert (first.kind, first.takes, first.gives) == ("Input", (), ("x",))
    assert (second.takes, second.gives) == (("x",), ("y",))
    assert second.parameters == {"0": "1", "4": "1"}

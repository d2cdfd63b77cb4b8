"""The ends of a graph: its last operator, and scaling at its start."""

import numpy as np
import pytest

from mobilenetv2.checkpoints.foreign.wiring import Node, Wiring, front, last_operator, source


def chain(*kinds: str, **constants: float | list[float]) -> Wiring:
    """Return operators one after the other; those with a constant have it as second input."""
    nodes = []
    for at, kind in enumerate(kinds):
        extra = (f"k{at}",) if f"k{at}" in constants else ()
        nodes.append(Node(kind, (f"t{at}", *extra), (f"t{at + 1}",)))
    return Wiring(nodes, {name: np.asarray(value) for name, value in constants.items()})


@pytest.mark.parametrize(
    ("kinds", "meaning"),
    [
        (("Gemm", "Softmax"), "softmax"),
        (("FULLY_CONNECTED", "SOFTMAX", "DEQUANTIZE"), "softmax"),
        (("Gemm", "Sigmoid", "Reshape"), "sigmoid"),
        (("FULLY_CONNECTED", "LOGISTIC"), "sigmoid"),
        (("Softmax", "Gemm"), "linear"),
        (("CONV_2D", "RESHAPE"), "linear"),
        (("Gemm", "Relu"), "unknown"),
        (("Conv", "Clip", "GlobalAveragePool", "Flatten"), "features"),
        (("CONV_2D with an activation", "MEAN"), "features"),
        (("Conv", "Relu", "QuantizeLinear", "DequantizeLinear", "ReduceMean"), "features"),
        (("Conv", "GlobalAveragePool"), "linear"),
        (("Relu", "GlobalAveragePool", "Gemm"), "linear"),
        (("Conv", "Relu", "GlobalAveragePool", "Softmax"), "softmax"),
        (("Identity",), "unknown"),
    ],
)
def test_the_last_operator_that_computes_decides(kinds: tuple[str, ...], meaning: str) -> None:
    assert last_operator(chain(*kinds), f"t{len(kinds)}")[0] == meaning


def test_a_graph_in_circles_ends() -> None:
    circle = Wiring([Node("Reshape", ("b",), ("a",)), Node("Reshape", ("a",), ("b",))], {})
    assert last_operator(circle, "a") == ("unknown", "Reshape")
    assert front(circle, "a").scaled is None


@pytest.mark.parametrize(
    ("kinds", "constants", "largest"),
    [
        (("Mul", "Sub", "Conv"), {"k0": 1 / 127.5, "k1": 1.0}, 255),
        (("CAST", "DIV", "CONV_2D"), {"k1": 255.0}, 255),
        (
            ("MUL", "SUB", "DIV"),
            {"k0": 1 / 255, "k1": [0.48, 0.45, 0.4], "k2": [0.2, 0.2, 0.2]},
            255,
        ),
        (("Sub", "Conv"), {"k0": [103.9, 116.8, 123.7]}, 255),
        (("Sub", "Mul", "Conv"), {"k0": [103.9, 116.8, 123.7], "k1": 0.017}, 255),
        (("Sub", "Div", "Conv"), {"k0": [0.48, 0.45, 0.4], "k1": [0.2, 0.2, 0.2]}, 1),
        (("Mul", "Sub", "Conv"), {"k0": 2.0, "k1": 1.0}, 1),
        (("Conv", "Mul"), {"k1": 1 / 255}, None),
        (("Mul", "Conv"), {"k0": 1e-9}, None),
        (("Mul", "Conv"), {"k0": float("inf")}, None),
        (("Div", "Conv"), {"k0": 0.0}, None),
        (("Mul", "Conv"), {}, None),
    ],
)
def test_scaling_at_the_start_tells_the_range(
    kinds: tuple[str, ...], constants: dict[str, float], largest: float | None
) -> None:
    assert front(chain(*kinds, **constants), "t0").largest == largest


def test_a_picture_that_is_used_twice_is_not_followed() -> None:
    nodes = [Node("Mul", ("x", "k"), ("a",)), Node("Conv", ("x",), ("b",))]
    assert front(Wiring(nodes, {"k": np.array(1 / 255)}), "x").scaled is None


def test_a_constant_that_is_widened_scales_too() -> None:
    nodes = [Node("DEQUANTIZE", ("half",), ("k",)), Node("MUL", ("x", "k"), ("a",))]
    assert front(Wiring(nodes, {"half": np.array(1 / 255)}), "x").largest == 255


def test_the_first_convolutions_weights_are_found_through_what_widens_them() -> None:
    nodes = [
        Node("PAD", ("x", "p"), ("a",)), Node("DEQUANTIZE", ("half",), ("w",)),
        Node("CONV_2D", ("a", "w", "b"), ("y",)),
    ]  # fmt: skip
    wiring = Wiring(nodes, {})
    assert front(wiring, "x").filters == "w"
    assert (source(wiring, "w"), source(wiring, "b")) == ("half", "b")

"""Operators of a Core ML program against PyTorch's, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mobilenetv2.errors import ArtifactError
from mobilenetv2.export import mil
from mobilenetv2.export.mil import OPERATORS, MilProgram

X = np.random.default_rng(0).normal(0, 4, (2, 6, 9, 7)).astype(np.float32)
BIAS = np.arange(6, dtype=np.float32)


def weight(*shape: int) -> NDArray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("groups", "stride", "kernel"), [(1, 1, 1), (1, 2, 3), (6, 2, 3)])
def test_convolutions_are_pytorchs(groups: int, stride: int, kernel: int) -> None:
    w = weight(6, 6 // groups, kernel, kernel)
    given = {
        "x": X, "weight": w, "bias": BIAS, "strides": [stride] * 2, "groups": groups,
        "pad_type": "custom", "pad": [0, 1, 2, 1], "dilations": [1, 1],
    }  # fmt: skip
    padded = functional.pad(torch.from_numpy(X), (2, 1, 0, 1))
    wanted = functional.conv2d(
        padded, torch.from_numpy(w), torch.from_numpy(BIAS), stride, groups=groups
    )
    np.testing.assert_allclose(OPERATORS["conv"](given), wanted.numpy(), atol=1e-4)


def test_the_others_are_pytorchs() -> None:
    x = torch.from_numpy(X)
    pad = {"x": X, "pad": [0, 0, 0, 0, 1, 2, 0, 1], "mode": "constant", "constant_val": 3.0}
    wanted: dict[str, tuple[Any, torch.Tensor]] = {
        "pad": (pad, functional.pad(x, (0, 1, 1, 2), value=3.0)),
        "clip": ({"x": X, "alpha": np.float16(0), "beta": np.float16(6)}, functional.relu6(x)),
        "relu6": ({"x": X}, functional.relu6(x)),
        "relu": ({"x": X}, functional.relu(x)),
        "add": ({"x": X, "y": X}, 2 * x),
        "reduce_mean": ({"x": X, "axes": [2, -1], "keep_dims": True}, x.mean((2, 3), True)),
        "reduce_max": ({"x": X, "axes": [2, -1], "keep_dims": True}, x.amax((2, 3), True)),
        "reshape": ({"x": X, "shape": [2, -1]}, x.flatten(1)),
        "linear": (
            {"x": X, "weight": weight(5, 7), "bias": BIAS[:5]},
            functional.linear(x, torch.from_numpy(weight(5, 7)), torch.from_numpy(BIAS[:5])),
        ),
        "cast": ({"x": X, "dtype": "fp16"}, x),
    }  # fmt: skip
    assert wanted.keys() | {"conv"} == OPERATORS.keys()
    for name, (given, expected) in wanted.items():
        np.testing.assert_allclose(OPERATORS[name](given), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("conv", {"x": X, "weight": weight(6, 6, 1, 1), "strides": [1, 2]}),
        ("conv", {"x": X, "weight": weight(6, 6, 3, 3), "dilations": [2, 2]}),
        ("conv", {"x": X, "weight": weight(6, 3, 3, 3), "groups": 2}),
        ("conv", {"x": X, "weight": weight(6, 6, 3, 3), "pad_type": "same"}),
        ("pad", {"x": X, "pad": [1, 1], "mode": "reflect"}),
    ],
)
def test_what_is_not_computed_is_refused(name: str, given: Any) -> None:
    with pytest.raises(ValueError, match=r"strides|groups|padding"):
        OPERATORS[name](given)


@pytest.fixture(scope="module")
def builder() -> Any:
    pytest.importorskip("coremltools", reason="coremltools is not installed (extra: export)")
    from mobilenetv2.export.coreml import greetings_off

    with greetings_off():
        from coremltools.converters.mil.mil import Builder
    return Builder


def program(builder: Any, body: Any) -> MilProgram:
    made = builder.program(input_specs=[builder.TensorSpec((1, 6, 9, 7))])(body)
    return MilProgram(made, "m.mlpackage")


@pytest.mark.slow
def test_results_are_rounded_to_the_programs_types(builder: Any) -> None:
    def body(x: Any) -> Any:
        half = builder.cast(x=x, dtype="fp16")
        return builder.cast(x=builder.relu6(x=half), dtype="fp32", name="logits")

    engine = program(builder, body)
    wanted = np.clip(X.astype(np.float16), 0, 6).astype(np.float32)
    found = engine.run(X, "logits")
    assert (found == wanted).all() and found.dtype == np.float32 and (wanted != X).any()


@pytest.mark.slow
def test_a_program_that_is_not_ours(builder: Any) -> None:
    engine = program(builder, lambda x: builder.sin(x=x, name="logits"))
    with pytest.raises(ArtifactError, match=r"m\.mlpackage: the operator sin is unknown"):
        engine.run(X, "logits")

    def body(x: Any) -> Any:
        return builder.conv(x=x, weight=weight(6, 3, 3, 3), groups=2, name="logits")

    with pytest.raises(ArtifactError, match=r"m\.mlpackage: conv logits cannot be \(2 groups"):
        program(builder, body).run(X, "logits")


@pytest.mark.slow
def test_a_result_of_another_shape_is_noticed(
    builder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = program(builder, lambda x: builder.relu(x=x, name="logits"))
    monkeypatch.setitem(mil.OPERATORS, "relu", lambda given: given["x"][:, :3])
    with pytest.raises(ArtifactError, match=r"m\.mlpackage: logits is \[1, 3, 9, 7\], not"):
        engine.run(X, "logits")

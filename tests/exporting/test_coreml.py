"""Core ML packages as others read them, and the operators of a program against PyTorch's."""

import json
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from heads import BLOCKS, with_head
from numpy.typing import NDArray
from torch.nn import functional

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting import coreml
from mobilenetv2.exporting.coreml import OPERATORS, MilProgram
from mobilenetv2.exporting.job import Options
from mobilenetv2.formats import Precision
from mobilenetv2.graph.onnx import CONFIG_KEY
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.process import suppress_greetings
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig, Origin

needs_coremltools = pytest.mark.skipif(
    not find_spec("coremltools"), reason="coremltools is not installed (extra: export)"
)
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
    with suppress_greetings():
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
    found = np.concatenate([engine.compute(one[np.newaxis], "logits") for one in X])
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
    monkeypatch.setitem(coreml.OPERATORS, "relu", lambda given: given["x"][:, :3])
    with pytest.raises(ArtifactError, match=r"m\.mlpackage: logits is \[1, 3, 9, 7\], not"):
        engine.run(X, "logits")


@needs_coremltools
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_program_is_what_people_expect(precision: Precision, tmp_path: Path) -> None:
    import coremltools

    spec = NetworkSpec(classes=7, size=(64, 64))
    path = tmp_path / "m.mlpackage"
    config = ModelConfig(
        spec, ModelConfig.default(spec).preprocessing, ModelConfig.default(spec).labels,
        Origin("here", licence="Apache-2.0"),
    )  # fmt: skip
    coreml.write_coreml(config, random_arrays(spec), path, Options(precision))
    expected = Counter(conv=52, clip=35, add=10, reduce_mean=1, reshape=1, linear=1)
    if precision == "float16":
        expected["cast"] = 2  # what goes in and what comes out
    operators = [operation.op_type for operation in coreml.reload(path).function.operations]
    assert Counter(kind for kind in operators if kind != coreml.CONSTANT) == expected
    # As others read it: by Apple's own tools, without anything of ours.
    model = coremltools.models.MLModel(str(path), skip_model_load=True)
    description = model.get_spec().description
    (given,), (made,) = description.input, description.output
    assert (given.name, list(given.type.multiArrayType.shape)) == ("input", [1, 3, 64, 64])
    kinds = {end.type.multiArrayType.dataType for end in (given, made)}
    assert made.name == "logits" and kinds == {65568}  # FLOAT32
    assert model.license == "Apache-2.0" and "7 classes" in model.short_description
    assert model.output_description["logits"] == (
        "One logit for each class; softmax gives probabilities"
    )
    assert "mean [123.675" in model.input_description["input"]
    assert model.user_defined_metadata[CONFIG_KEY] == config.to_json()
    assert json.loads(model.user_defined_metadata["labels"]) == list(config.labels.names)
    weights = sum(array.nbytes for array in random_arrays(spec).values())
    share = 0.5 if precision == "float16" else 1.0
    assert (path / coreml.WEIGHTS).stat().st_size < 1.1 * share * weights


@pytest.mark.parametrize(
    ("spec", "network", "output"),
    [
        (with_head("sigmoid"), "MobileNetV2, 3", "sigmoid gives each class its own probability"),
        (with_head("one logit"), "MobileNetV2, 2", "sigmoid gives the probability of the second"),
        (BLOCKS["mobilenet-v1"], "MobileNetV1, 5", "softmax gives probabilities"),
    ],
)
def test_the_description_names_the_network_and_what_it_gives(
    spec: NetworkSpec, network: str, output: str
) -> None:
    made = SimpleNamespace(input_description={}, output_description={}, user_defined_metadata={})
    coreml.describe(made, ModelConfig.default(spec))
    assert made.short_description.startswith(f"{network} classes, ")
    assert made.output_description["logits"].endswith(f"; {output}")


@needs_coremltools
@pytest.mark.slow
def test_nothing_is_printed(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; import numpy\n"
        "from mobilenetv2.exporting import coreml\n"
        "from mobilenetv2.exporting.job import Options\n"
        "from mobilenetv2.spec.published import published\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "spec = published('small', width=0.1, classes=4)\n"
        "config = ModelConfig.default(spec)\n"
        "coreml.write_coreml(config, random_arrays(spec), Path('m.mlpackage'), Options())\n"
        "engine = coreml.reload(Path('m.mlpackage'))\n"
        "engine.run(numpy.zeros((2, 3, *spec.size), numpy.float32), 'logits')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@needs_coremltools
def test_another_folder_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.mlpackage: not a Core ML package"):
        coreml.reload(tmp_path / "none.mlpackage")

"""What is not this network, or not whole, is refused with what and where; never read as another."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_spellings import (
    TORCH,
    Edit,
    aliased_constants,
    attributes,
    explicit_pad,
    imported,
    logits,
    made,
    mean_and_matmul,
    node,
    tail,
    tensor,
)

from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import check_arrays, random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig


def change_node(which: str, count: int = 0, **options: Any) -> Edit:
    def edit(model: Any) -> None:
        found = [one for one in model.graph.node if one.op_type == which][count]
        changed = {**attributes(found), **options}
        fresh = helper.make_node(
            changed.pop("kind", which), changed.pop("inputs", found.input), found.output,
            found.name, **changed,
        )  # fmt: skip
        found.CopyFrom(fresh)

    return edit


def two_inputs(model: Any) -> None:
    model.graph.input.append(model.graph.input[0])
    model.graph.input[-1].name = "other"


def no_pool(model: Any) -> None:
    gemm = node("Gemm", "f classifier.weight classifier.bias", "logits", transB=1)
    tail(model, [node("Flatten", "head", "f"), gemm])


def six_is_five(model: Any) -> None:
    tensor(model, "six").CopyFrom(numpy_helper.from_array(np.array(5, np.float32), "six"))


OTHERS: list[tuple[Edit, str]] = [
    (change_node("Add", kind="Mul"), "Mul of two tensors .at the Mul 'blocks.2'"),
    (change_node("Add", kind="Sub"), "Sub of two tensors"),
    (change_node("Clip", kind="HardSwish", inputs=["stem.conv"]), "unexpected operator HardSwish"),
    (change_node("Clip", 3, kind="Elu", inputs=["stem.conv"]), "unexpected operator Elu"),
    (change_node("Conv", 1, dilations=[2, 2]), "with dilation .at the Conv 'blocks.0.dep"),
    (change_node("Conv", strides=[2, 1]), "unequal strides"),
    (change_node("Conv", pads=[0, 0, 0, 0]), "padded .0, 0. x .0, 0. at 64 x 64 pixels"),
    (change_node("Conv", 1, group=2), "in 2 groups of 16 channels"),
    (change_node("Conv", 3, strides=[2, 2]), "stride|shape"),
    (change_node("Conv", 5, inputs=["stem", "stem.conv"]), "Conv of two tensors"),
    (change_node("Gemm", transA=1), "a linear layer with weights of shape"),
    (change_node("Add", 2, inputs=["blocks.3.project", "blocks.5.project"]),
     "outside the block"),
    (two_inputs, "a network of 2 inputs"),
    (no_pool, r"its classifier sees 5,120 values, each of the 2 x 2 positions"),
    (six_is_five, r"activations \['bounds 0 to 5'\]"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "message"), OTHERS)
def test_another_network_is_refused_with_what_and_where(
    edit: Edit, message: str, tmp_path: Path
) -> None:
    model, _ = made(TORCH)
    edit(model)
    with pytest.raises(DialectError, match=rf"net\.onnx: .*{message}"):
        imported(model, tmp_path)


@pytest.mark.parametrize(
    "values",
    [{"head.conv.weight": np.nan}, {"classifier.bias": np.inf}, {"stem.conv.bias": np.nan}],
)
def test_numbers_that_are_none_are_refused(values: dict[str, float], tmp_path: Path) -> None:
    model, _ = made(TORCH)
    for name, value in values.items():
        old = numpy_helper.to_array(tensor(model, name))
        tensor(model, name).CopyFrom(numpy_helper.from_array(np.full_like(old, value), name))
    with pytest.raises(WeightsError, match=r"net\.onnx: .* not finite"):
        imported(model, tmp_path)


TINY = published("small", width=0.1, size=32, classes=3)
ODD: list[Any] = [[1, 2], [-9, 9], [], 0, -1, 2**40, 0.5, float("nan"), "SAME_LOWER"]
NAMES = ("axes axis perm pads keepdims min max group strides dilations epsilon auto_pad alpha beta "
         "transA transB shape kernel_shape to momentum mode value").split()  # fmt: skip


def tangle(model: Any, random: np.random.Generator) -> None:
    """One change that leaves a file ONNX's parser takes: rewired, retyped, reshaped, renamed."""
    nodes, constants = model.graph.node, model.graph.initializer
    one = nodes[random.integers(len(nodes))]
    tensors = [name for other in nodes for name in (*other.input, *other.output)]
    some = tensors[random.integers(len(tensors))]
    what = int(random.integers(7))
    if not one.input and what in (0, 2):
        what = 3
    if what == 0:
        one.input[random.integers(len(one.input))] = some
    elif what == 1:
        one.op_type = nodes[random.integers(len(nodes))].op_type
    elif what == 2:
        del one.input[random.integers(len(one.input))]
    elif what == 3:
        one.output[0] = some
    elif what == 4:
        name = NAMES[random.integers(len(NAMES))]
        kept = [old for old in one.attribute if old.name != name]
        del one.attribute[:]
        value = ODD[random.integers(len(ODD))]
        kind = onnx.AttributeProto.INTS if value == [] else None
        one.attribute.extend([*kept, helper.make_attribute(name, value, attr_type=kind)])
    elif what == 5 and constants:
        old = constants[random.integers(len(constants))]
        array = numpy_helper.to_array(old)
        array = [array.T, array.reshape(-1), array[:1] if array.ndim else array][random.integers(3)]
        old.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), old.name))
    else:
        sides = model.graph.input[0].type.tensor_type.shape.dim
        sides[random.integers(4)].dim_value = [1, 3, 7, 224, 2**40][random.integers(5)]


@pytest.mark.parametrize(
    ("folded", "edit"),
    [
        (False, None), (True, explicit_pad), (True, mean_and_matmul), (False, aliased_constants),
        *(pytest.param(*one, marks=pytest.mark.slow)
          for one in ((True, None), (False, explicit_pad), (False, mean_and_matmul),
                      (True, aliased_constants))),
    ],
)  # fmt: skip
def test_a_tangled_graph_is_an_error_of_ours_or_imported_as_what_it_computes(
    folded: bool, edit: Edit | None, tmp_path: Path
) -> None:
    """Never silently as another network: what ONNX Runtime still runs gives the same logits."""
    runtime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not installed (extra: against)"
    )
    quiet = runtime.SessionOptions()
    quiet.log_severity_level = 4
    random = np.random.default_rng(5)
    source, _ = made(TINY, folded)
    if edit:
        edit(source)
    refused = run = 0
    for _ in range(30):
        if refused > 10 and run > 2:
            break  # enough of both
        model = onnx.load_from_string(source.SerializeToString())
        tangle(model, random)
        try:
            config, arrays = imported(model, tmp_path)
        except WeightsError as error:
            assert str(error).startswith(f"{tmp_path / 'net.onnx'}: ")
            refused += 1
            continue
        check_arrays(config.spec, arrays, "imported")
        try:
            runtime.InferenceSession(model.SerializeToString(), quiet)
        except Exception:  # of many types; it reads attributes that mean nothing to us
            continue
        found, expected = logits(model, config.spec, arrays)
        assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
        run += 1
    assert refused > 10 and run > 2, (refused, run)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_imported_or_an_error_of_ours(
    seed: int, folded: bool, tmp_path: Path
) -> None:
    """Structure is hit, not weights: constants lie at the end of a graph and are most of it."""
    random = np.random.default_rng(seed)
    data = write_onnx(lower(ModelConfig.default(TINY), random_arrays(TINY), folded))
    structure = data.index(b"stem.conv.weight", data.index(b"Gemm"))  # the first constant's name
    path = tmp_path / "net.onnx"
    outcomes = set()
    for _ in range(15):
        damaged = bytearray(data)
        for place in random.integers(0, structure, random.integers(1, 4)):
            damaged[place] = random.integers(0, 256)
        if random.random() < 0.2:
            damaged = damaged[: random.integers(0, len(data))]
        path.write_bytes(damaged)
        try:
            config, arrays = read_checkpoint(path)
        except WeightsError as error:
            assert str(error).startswith(f"{path}: ")
            outcomes.add("refused")
        else:
            check_arrays(config.spec, arrays, "imported")
            outcomes.add("imported")
    assert "refused" in outcomes

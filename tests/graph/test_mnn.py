"""MNN's operators: those of every network that can be described, and no other number."""

from pathlib import Path

import fuzz_native
import pytest
from heads import BLOCKS, HEADS, with_head

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting.converted import write_mnn
from mobilenetv2.exporting.job import Options
from mobilenetv2.formats import Precision
from mobilenetv2.graph.graph import Add, Conv
from mobilenetv2.graph.lowering import lower_shapes
from mobilenetv2.graph.mnn import check, steps
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, Numerics, StageSpec
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("MNN", reason="MNN is not installed (extra: export)")


def small(**changes: object) -> NetworkSpec:
    values = {
        "width": 1.0, "size": (32, 32), "classes": 3, "stem_channels": 4, "head_channels": 8,
        "divisor": 1, "stages": (StageSpec(2, 4, 2, 2),),
    }  # fmt: skip
    return NetworkSpec(**{**values, **changes})  # type: ignore[arg-type]


ODD = {
    "relu": small(numerics=Numerics("same", activation="relu")),
    "one channel": small(stem_channels=1, stages=(StageSpec(1, 1, 2, 1),)),
    "one feature": small(
        classes=2, classifier=ClassifierSpec(hidden=(HiddenSpec(1),), outputs="logit")
    ),
    "projection": small(shortcut="projection"),
    "relu6 projections": small(projection="relu6", shortcut="projection"),
    "bottleneck": small(
        shortcut="projection", numerics=Numerics(activation="relu"),
        stages=(StageSpec(4, 8, 2, 1, "bottleneck"),),
    ),
    "bare bottleneck": small(shortcut="none", stages=(StageSpec(4, 8, 2, 1, "bottleneck"),)),
    "no head": small(head="none"),
    "convolutions with bias": small(conv_bias=True),
    "map of one pixel": small(stages=tuple(StageSpec(1, 4, 1, 2) for _ in range(4))),
}  # fmt: skip
"""Networks of which the converter could make something else."""
ALL = {**ODD, **BLOCKS, **{head: with_head(head) for head in HEADS}}


def written(folder: Path, spec: NetworkSpec, precision: Precision = "float32") -> bytes:
    out = folder / "m.mnn"
    write_mnn(ModelConfig.default(spec), random_arrays(spec), out, Options(precision))
    return out.read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_what_the_converter_makes_is_what_is_expected(name: str, tmp_path: Path) -> None:
    config = ModelConfig.default(ALL[name])
    check(written(tmp_path, config.spec), config)
    check(written(tmp_path, config.spec, "float16"), config)


def test_every_convolution_and_sum_is_an_operator() -> None:
    graph = lower_shapes(ModelConfig.default(ODD["bottleneck"]))
    found = [step.kind for step in steps(graph)]
    convolutions = sum(isinstance(one, Conv) for one in graph.operations)
    assert found.count("Convolution") == convolutions + 1  # the classifier is one, too
    assert found.count("BinaryOp") == sum(isinstance(one, Add) for one in graph.operations) == 2


def test_no_number_can_be_changed(tmp_path: Path) -> None:
    """The attack: a padding of 2**31 - 1, which ended the process, and its like everywhere."""
    config = ModelConfig.default(ODD["projection"])
    data = written(tmp_path, config.spec)
    places = fuzz_native.mnn_places(data)
    taken = []
    for at, kind in places:
        for value in (2**31 - 1, -1, 2**30):
            changed = fuzz_native.with_number(data, at, kind, value)
            if changed != data:
                try:
                    check(changed, config)
                    taken.append((at, kind))
                except ArtifactError as error:
                    assert str(error)
    assert len(places) > 500 and not taken


def test_another_networks_operators_are_refused(tmp_path: Path) -> None:
    data = written(tmp_path, ODD["relu"])
    with pytest.raises(ArtifactError, match="Convolution with"):
        check(data, ModelConfig.default(small(numerics=Numerics("same"))))
    with pytest.raises(ArtifactError, match="operators"):
        check(data, ModelConfig.default(ODD["projection"]))

"""The records of a network and their checks."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.errors import SpecError
from mobilenetv2.spec.network import (
    PAPER_STAGES,
    ClassifierSpec,
    NetworkSpec,
    Numerics,
    StageSpec,
)
from mobilenetv2.spec.published import KERAS, PUBLISHED, PYTORCH, published

STAGES = st.lists(
    st.builds(
        StageSpec,
        expansion=st.integers(1, 8),
        channels=st.integers(1, 320),
        repeats=st.integers(1, 4),
        stride=st.sampled_from([1, 2]),
        kind=st.sampled_from(["inverted", "bottleneck", "wide"]),
    ),
    min_size=1,
    max_size=5,
)
SPECS = st.builds(
    NetworkSpec,
    width=st.floats(0.05, 2.0),
    size=st.tuples(st.integers(256, 300), st.integers(256, 300)),
    classes=st.integers(2, 2000),
    stages=STAGES.map(tuple),
    head=st.sampled_from(["published", "scaled", "fixed"]),
    rounding=st.sampled_from(["nearest", "up", "truncate-nearest", "round-nearest", "truncate"]),
    shortcut=st.sampled_from(["identity", "projection", "none"]),
    expand=st.sampled_from(["when-needed", "always"]),
    projection=st.sampled_from(["linear", "relu", "relu6"]),
    conv_bias=st.booleans(),
    dropout=st.floats(0, 0.9),
    background=st.sampled_from([None, "first", "last"]),
    numerics=st.sampled_from([PYTORCH, KERAS]),
)


@settings(deadline=None, max_examples=60)
@given(SPECS)
def test_a_spec_survives_json(spec: NetworkSpec) -> None:
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_linear_projections_are_not_stored_and_read_from_configs_without_the_key() -> None:
    stored = NetworkSpec().to_dict()
    assert "projection" not in stored
    assert NetworkSpec.from_dict(stored).projection == "linear"
    assert NetworkSpec(projection="relu").to_dict()["projection"] == "relu"
    assert NetworkSpec(projection="linear") == NetworkSpec()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width 0.0 must be above 0"),
        ({"width": float("nan")}, "width nan"),
        ({"width": 16.5}, "width 16.5 must be above 0 and at most 16"),
        ({"size": 31}, "size 31 must be a whole number from 32"),
        ({"size": (224, 9000)}, "size 9000"),
        ({"size": (1, 2, 3)}, "size: expected 2 values, found 3"),
        ({"classes": 0}, "classes 0 must be a whole number from 1"),
        ({"classes": True}, "classes: expected a whole number, found True"),
        ({"stages": ()}, "stages is empty"),
        ({"stem_stride": 3}, "stem_stride 3 must be 1 or 2"),
        (
            {"head": "big"},
            "head: expected one of 'published', 'scaled', 'fixed', 'none', found 'big'",
        ),
        ({"rounding": "down"}, "rounding: expected one of 'nearest'"),
        ({"shortcut": "add"}, "shortcut: .* found 'add'"),
        ({"expand": "never"}, "expand: .* found 'never'"),
        ({"projection": "none"}, "projection: expected one of 'linear', 'relu', 'relu6'"),
        ({"background": "middle"}, "background: .* found 'middle'"),
        ({"dropout": 1.0}, "dropout 1.0 must be at least 0 and below 1"),
        ({"classes": 1, "background": "first"}, "classes must be at least 2"),
    ],
)
def test_impossible_networks_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        NetworkSpec(**changes)


@pytest.mark.parametrize(
    ("record", "values", "message"),
    [
        (StageSpec, (6, 24, 0, 1), "stage repeats 0"),
        (StageSpec, (6, 24, 1, 3), "stage stride 3 must be 1 or 2"),
        (StageSpec, (0.5, 24, 1, 1), "stage expansion 0.5 must be a whole number"),
        (Numerics, ("valid",), "padding: expected one of 'symmetric', 'same', found 'valid'"),
        (Numerics, ("same", 0.0), "epsilon 0.0 must be between 0 and 1"),
        (Numerics, ("same", 1.0), "epsilon 1.0 must be between 0 and 1"),
        (Numerics, ("same", 1e-3, 1.5), "momentum 1.5 must be between 0 and 1"),
        (Numerics, ("same", 1e-3, 0.9, "both"), "momentum_of: .* found 'both'"),
        (Numerics, ("same", 1e-3, 0.9, "old", "gelu"), "activation: .* found 'gelu'"),
    ],
)
def test_impossible_parts_are_named(record: type, values: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        record(*values)


def test_one_number_is_a_square() -> None:
    assert NetworkSpec(size=160).size == (160, 160)  # type: ignore[arg-type]
    assert NetworkSpec.from_dict({"size": 160}) == NetworkSpec(size=(160, 160))


def test_momentum_has_one_meaning_whatever_its_owners_convention() -> None:
    assert Numerics(momentum=0.1, momentum_of="new").update_rate == 0.1
    assert Numerics(momentum=0.999, momentum_of="old").update_rate == 0.001
    # Hugging Face wrote 0.997 into PyTorch's convention: it is the share of the new batch there.
    assert published("huggingface").numerics.update_rate == 0.997


def test_the_head_follows_its_rule() -> None:
    assert [NetworkSpec(width=w).channels("head") for w in (0.5, 1.0, 1.4)] == [1280, 1280, 1792]
    assert NetworkSpec(width=0.5, head="scaled").channels("head") == 640
    assert NetworkSpec(width=1.4, head="fixed").channels("head") == 1280


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_network_can_be_made_at_another_width_and_size(name: str) -> None:
    spec = published(name, width=0.5, size=(97, 160))
    assert (spec.width, spec.size) == (0.5, (97, 160))


def test_tonylins_keeps_its_stem_and_first_stage_and_rounds_up() -> None:
    spec = published("tonylins", width=0.35)
    assert spec.channels("stem") == 32
    assert [spec.stage_channels(stage) for stage in spec.stages] == [16, 16, 16, 24, 40, 56, 112]


def test_d_li14_divides_by_4_at_width_a_tenth() -> None:
    assert published("d-li14", width=0.1).divisor == 4
    assert published("d-li14", width=0.25).divisor == 8


def test_an_unknown_name_is_met_with_the_nearest_one() -> None:
    with pytest.raises(SpecError, match="did you mean 'torchvision'"):
        published("torchvison")


def test_an_unknown_key_is_met_with_the_nearest_one() -> None:
    with pytest.raises(SpecError, match="here: unknown key 'widht'; did you mean 'width'"):
        NetworkSpec.from_dict({"widht": 1.0}, "here")


def test_wrong_types_in_a_mapping_are_named_with_their_place() -> None:
    for changes, message in (
        ({"classes": "many"}, "here, classes: expected a whole number, found 'many'"),
        ({"width": None}, "here, width: expected a number, found None"),
        (
            {"numerics": {"padding": "valid"}},
            "here, numerics, padding: expected one of 'symmetric'",
        ),
        ({"stages": [{"expansion": 1}]}, r"here, stages\[0\]: the key 'channels' is missing"),
    ):
        with pytest.raises(SpecError, match=message):
            NetworkSpec.from_dict(changes, "here")


def test_stages_may_come_as_a_list_and_a_spec_can_be_a_key() -> None:
    stages: Any = [StageSpec(6, 24, 1, 2)]
    assert {NetworkSpec(stages=stages): 1}[NetworkSpec(stages=tuple(stages))] == 1


@pytest.mark.parametrize("changes", [{"width": "x"}, {"size": None}, {"dropout": "x"}])
def test_wrong_types_given_directly_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(changes))):
        NetworkSpec(**changes)


def test_a_repr_has_what_is_not_usual() -> None:
    assert repr(NetworkSpec()) == "NetworkSpec(width=1.0, size=(224, 224), classes=1000)"
    spec = NetworkSpec(stages=PAPER_STAGES[:2], numerics=Numerics("same"), classes=2,
                       classifier=ClassifierSpec(outputs="logit"))  # fmt: skip
    assert repr(spec) == (
        "NetworkSpec(width=1.0, size=(224, 224), classes=2, "
        "stages=<2 stages, 3 blocks: 16, 24 channels>, classifier=ClassifierSpec(outputs='logit'), "
        "numerics=Numerics(padding='same'))"
    )


def test_records_that_look_alike_are_still_told_apart() -> None:
    deeper = tuple(dataclasses.replace(stage, repeats=stage.repeats + 1) for stage in PAPER_STAGES)
    other = NetworkSpec(stages=deeper)
    assert other != NetworkSpec() and hash(other) != hash(NetworkSpec())
    assert NetworkSpec.from_dict(other.to_dict()) == other


def test_another_width_size_or_number_of_classes() -> None:
    spec = NetworkSpec(classes=1001, background="first")
    assert spec.at() == spec == spec.at(1.0, 224, 1001)
    assert spec.at(0.5, (96, 64)) == spec.replace(width=0.5, size=(96, 64))
    assert spec.at(classes=10) == spec.replace(classes=10, background=None)


def test_an_unknown_field_is_met_with_the_near_one() -> None:
    with pytest.raises(SpecError, match="a network has no field 'widht'; did you mean 'width'"):
        NetworkSpec().replace(widht=0.5)

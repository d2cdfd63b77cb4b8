"""Inference: which network shapes are, and what is said when none fits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.checkpoints.dialects.inference import Shapes, infer
from mobilenetv2.checkpoints.dialects.registry import TORCHVISION
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.spec.published import published


def shapes_of(name: str, spec: NetworkSpec) -> Shapes:
    return {key.foreign: key.shape for key in registry.TENSORS[name].keys(spec)}


CASES = [
    *[("torchvision", "torchvision", width) for width in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)],
    *[("timm", "timm", width) for width in (0.5, 0.75, 1.0, 1.4)],
    ("timm", "timm-110d", 1.1), ("timm", "timm-120d", 1.2),
    *[("keras", "keras", width) for width in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4, 0.14, 1.68)],
    *[("huggingface", "huggingface", width) for width in (0.35, 0.75, 1.0, 1.4, 0.55)],
    *[("tf-slim", "tf-slim", width) for width in (0.35, 1.0, 1.4)],
    *[("tonylins", "tonylins", width) for width in (0.35, 0.75, 1.0)],
    *[("d-li14", "d-li14", width) for width in (0.1, 0.25, 0.35, 1.0)],
    ("article", "article-torch", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "family", "width"), CASES)
def test_every_published_width_is_read_off_its_shapes(
    dialect: str, family: str, width: float
) -> None:
    spec = published(family, width=width, classes=11, background=None)
    found = infer(
        registry.TENSORS[dialect], shapes_of(dialect, spec), registry.TENSORS[dialect].bases[0]
    )
    assert parameter_shapes(found) == parameter_shapes(spec)
    assert (found.width, found.classes, found.divisor) == (width, 11, spec.divisor)
    assert found.numerics == registry.TENSORS[dialect].numerics


@given(width=st.integers(10, 200).map(lambda n: n / 100), classes=st.integers(1, 3000))
@settings(max_examples=25)
def test_any_width_in_hundredths_gives_the_same_network(width: float, classes: int) -> None:
    spec = published("torchvision", width=width, classes=classes, input_channels=1)
    found = infer(TORCHVISION, shapes_of("torchvision", spec), TORCHVISION.bases[0])
    assert parameter_shapes(found) == parameter_shapes(spec)


def test_slims_narrow_head_is_recognised() -> None:
    spec = published("tf-slim", width=0.5, head="scaled")
    slim = registry.TENSORS["tf-slim"]
    found = infer(slim, shapes_of("tf-slim", spec), slim.bases[0])
    assert (found.width, found.head) == (0.5, "scaled")


def test_anothers_rounding_is_found_in_any_names() -> None:
    """tonylins' width 0.75 under torchvision's names: one network all the same."""
    spec = published("tonylins", width=0.75)
    found = infer(TORCHVISION, shapes_of("torchvision", spec), TORCHVISION.bases[0])
    assert (found.rounding, found.width, found.stem_fixed) == ("up", 0.75, True)
    assert found.numerics == TORCHVISION.numerics


def test_the_likely_cause_is_named_when_another_width_was_asked_for() -> None:
    shapes = shapes_of("torchvision", published("tonylins", width=0.75))
    with pytest.raises(
        DialectError,
        match=r"^looks like width 0\.75 in tonylins' rounding, but width 1 was requested\n",
    ) as caught:
        infer(TORCHVISION, shapes, TORCHVISION.bases[0], width=1.0)
    # The whole difference to what was asked for, by the file's own names.
    assert "! features.18.0.weight: expected [1280, 320, 1, 1], found [1280, 240, 1, 1]" in str(
        caught.value
    )


def test_a_width_that_rounds_to_the_same_network_is_no_contradiction() -> None:
    shapes = shapes_of("torchvision", published("torchvision", width=1.0))
    found = infer(TORCHVISION, shapes, TORCHVISION.bases[0], width=0.99)
    assert parameter_shapes(found) == parameter_shapes(published("torchvision"))


def test_what_is_no_network_is_shown_as_a_whole_against_the_nearest() -> None:
    shapes = dict(shapes_of("torchvision", published("torchvision", width=0.5)))
    del shapes["features.3.conv.2.weight"]
    shapes["features.4.conv.0.0.weight"] = (7, 7, 1, 1)
    shapes["extra.weight"] = (1,)
    with pytest.raises(
        DialectError, match=r"of the nearest, width 0\.5 in torchvision's"
    ) as caught:
        infer(TORCHVISION, shapes, TORCHVISION.bases[0])
    lines = str(caught.value).splitlines()[1:]
    assert lines == [
        "- features.3.conv.2.weight",
        "+ extra.weight",
        "! features.4.conv.0.0.weight: expected [96, 16, 1, 1], found [7, 7, 1, 1]",
    ]


def test_a_stage_table_of_ones_own_is_taken_when_given_and_checked() -> None:
    stages = (StageSpec(1, 8, 1, 1), StageSpec(4, 12, 2, 2))
    spec = NetworkSpec(stages=stages, classes=3, head_channels=40, divisor=4)
    shapes = shapes_of("torchvision", spec)
    with pytest.raises(DialectError, match="give it as spec"):
        infer(TORCHVISION, shapes, TORCHVISION.bases[0])
    assert infer(TORCHVISION, shapes, spec, exactly="was requested") == spec
    other = spec.replace(head_channels=48)
    with pytest.raises(DialectError, match=r"not the network that was requested: .* another shape"):
        infer(TORCHVISION, shapes, other, exactly="was requested")
    paper = shapes_of("torchvision", published("torchvision", width=0.5))
    with pytest.raises(DialectError, match=r"looks like width 0\.5 in torchvision's rounding"):
        infer(TORCHVISION, paper, spec, exactly="was requested")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classifier.1.bias": None}, "classifier.1.bias, the classifier, is missing"),
        ({"classifier.1.bias": (2, 3)}, r"classifier.1.bias has shape \[2, 3\], not"),
        ({"features.0.0.weight": (8,)}, "features.0.0.weight is missing or no convolution"),
    ],
)
def test_ends_that_are_none(changed: dict[str, tuple[int, ...] | None], message: str) -> None:
    shapes = {**shapes_of("torchvision", published("torchvision")), **changed}
    found = {name: shape for name, shape in shapes.items() if shape is not None}
    with pytest.raises(DialectError, match=message):
        infer(TORCHVISION, found, TORCHVISION.bases[0])


@pytest.mark.parametrize("divisor", [4, 16, 1])
@pytest.mark.parametrize("width", [0.35, 0.65, 1.1])
def test_another_divisor_of_torchvisions_is_found(divisor: int, width: float) -> None:
    """Its ``round_nearest``, as ``mobilenet_v2(width_mult=0.35, round_nearest=4)``."""
    spec = published("torchvision", width=width, divisor=divisor)
    found = infer(TORCHVISION, shapes_of("torchvision", spec), TORCHVISION.bases[0])
    assert parameter_shapes(found) == parameter_shapes(spec) and found.width == width


def test_a_width_of_a_twentieth_keeps_its_name() -> None:
    spec = published("torchvision", width=0.65)
    found = infer(TORCHVISION, shapes_of("torchvision", spec), TORCHVISION.bases[0])
    assert found.width == 0.65


def test_a_misfit_in_the_head_alone_does_not_talk_of_stages() -> None:
    keras = registry.TENSORS["keras"]
    shapes = dict(shapes_of("keras", published("keras", width=0.5, classes=7)))
    shapes["predictions/kernel"] = (64, 7)
    shapes["dense/kernel"], shapes["dense/bias"] = (1280, 64), (64,)
    with pytest.raises(DialectError) as caught:
        infer(keras, shapes, keras.bases[0])
    message = str(caught.value)
    assert "width 0.5" in message and "dense/kernel" in message and "body=True" in message
    assert "stage table" not in message

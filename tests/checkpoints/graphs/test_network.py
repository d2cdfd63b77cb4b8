"""A chain of convolutions is recognised as the network that it was made from."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.description import Description, ImportOptions
from mobilenetv2.checkpoints.graphs.chain import (
    PICTURE,
    BatchNorm,
    Chain,
    Linear,
    Place,
    Step,
    padding_rule,
)
from mobilenetv2.checkpoints.graphs.head import Head
from mobilenetv2.checkpoints.graphs.network import (
    GraphCheckpoint,
    GraphDialect,
    arrays_of,
    infer,
    is_folded,
    require_fit,
)
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import Arrays, check_arrays, random_arrays
from mobilenetv2.spec.blocks import Convolution, resolve
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, StageSpec
from mobilenetv2.spec.published import PYTORCH, SLIM, published
from mobilenetv2.spec.records import Labels, ModelConfig

NUMERICS = {"same": SLIM, "symmetric": PYTORCH}


def steps_of(spec: NetworkSpec, arrays: Arrays, norms: bool = True) -> list[Step]:
    """What a reader finds of a network with, or without, its BatchNorms."""
    chain, numerics = Chain(), spec.numerics

    def layer(step: Convolution, source: Place) -> Place:
        rule = padding_rule(step.kernel, step.stride, step.padding, step.in_size)
        weight, bias = (arrays.get(f"{step.name}.conv.{part}") for part in ("weight", "bias"))
        assert weight is not None
        place = chain.convolve(
            Step(source, step.role == "depthwise", weight, bias, step.stride, rule)
        )
        if norms:
            scale, shift, mean, variance = (
                arrays[f"{step.name}.bn.{part}"] for part in ("scale", "shift", "mean", "variance")
            )
            momentum = round(1 - numerics.update_rate, 7)
            norm = BatchNorm(scale, shift, mean, variance, numerics.epsilon, momentum)
            place = chain.normalise(place, norm)
        return place if step.linear else chain.bound(place, 0, 6)

    network = resolve(spec)
    place = layer(network.stem, PICTURE)
    for block in network.blocks:
        source = place
        for step in block.steps:
            place = layer(step, place)
        if block.residual:
            place = chain.add(place, layer(block.shortcut, source) if block.shortcut else source)
    assert network.head is not None
    return chain.finish(layer(network.head, place))


def ends(spec: NetworkSpec) -> NetworkSpec:
    """What a reader knows without looking at the chain."""
    return NetworkSpec(size=spec.size, classes=spec.classes, input_channels=spec.input_channels)


def linears_of(arrays: Arrays) -> list[Linear]:
    return [Linear(arrays["classifier.weight"], arrays["classifier.bias"])]


FAMILIES = [
    ("torchvision", {"width": 1.0}), ("torchvision", {"width": 0.35}),
    ("torchvision", {"width": 1.4}), ("paper", {"head": "scaled", "width": 0.5}),
    ("paper", {"width": 0.5}), ("tonylins", {"width": 0.75, "dropout": 0.2}),
    ("timm-110d", {"dropout": 0.2}), ("timm-120d", {"dropout": 0.2}), ("small", {"size": 32}),
    ("small", {"size": 100}), ("article-torch", {"dropout": 0.2}),
    ("d-li14", {"width": 0.1, "dropout": 0.2}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "changes"), FAMILIES)
def test_a_published_network_is_recognised_with_its_width_and_numerics(
    family: str, changes: dict[str, object]
) -> None:
    spec = published(family, **{"size": 64, "classes": 7, **changes})
    arrays = random_arrays(spec)
    steps = steps_of(spec, arrays)
    found = infer(steps, ends(spec), NUMERICS, "same")
    assert found == spec
    assert not is_folded(steps)
    back = arrays_of(found, steps, linears_of(arrays))
    assert list(back) == list(arrays)
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize("size", [65, 129, 225, 64])
@pytest.mark.parametrize("family", ["torchvision", "paper"])
def test_where_the_size_makes_the_paddings_one_epsilon_says_whose_it_is(
    family: str, size: int
) -> None:
    spec = published(family, width=0.35, size=size, classes=7)
    for unsure in NUMERICS:
        assert infer(steps_of(spec, random_arrays(spec)), ends(spec), NUMERICS, unsure) == spec


def test_folded_weights_come_as_an_identity_of_the_padding_s_owner() -> None:
    spec = published("article-torch", width=0.35, size=64, classes=7)
    arrays = random_arrays(spec)
    steps = steps_of(spec, arrays, norms=False)
    found = infer(steps, ends(spec), NUMERICS, "same")
    # The biases are those of folded BatchNorms.
    assert found == spec.replace(conv_bias=False, dropout=0.2) and is_folded(steps)
    back = arrays_of(found, steps, linears_of(arrays))
    check_arrays(found, back, "back")
    np.testing.assert_array_equal(back["stem.bn.shift"], arrays["stem.conv.bias"])
    kept = arrays_of(spec, steps, linears_of(arrays))
    check_arrays(spec, kept, "kept")
    assert not kept["stem.conv.bias"].any()


def test_a_stage_table_of_ones_own_comes_in_as_found() -> None:
    stages = (StageSpec(1, 24, 1, 1), StageSpec(3, 40, 2, 2), StageSpec(5, 56, 2, 2))
    spec = NetworkSpec(stages=stages, head_channels=100, size=(64, 64), classes=7)
    arrays = random_arrays(spec)
    found = infer(steps_of(spec, arrays), ends(spec), NUMERICS, "same")
    assert list(resolve(found).convolutions) == list(resolve(spec).convolutions)
    assert found.numerics == spec.numerics and found.stages == stages


def test_a_network_without_shortcuts_is_one() -> None:
    spec = published("torchvision", width=0.35, size=64, classes=7, shortcut="none")
    assert infer(steps_of(spec, random_arrays(spec)), ends(spec), NUMERICS, "same") == spec


SPEC = published("torchvision", width=0.35, size=64, classes=7)


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (4, {"bounds": (0.0, 5.0)}, r"activations \['bounds 0 to 5', 'relu6'\]"),
        (4, {"padding": "same"}, "padded in different ways|shape"),
        (4, {"batch_norm": None}, None),
        (5, {"bounds": (0.0, 6.0)}, "not a chain of inverted residual blocks"),
        (5, {"depthwise": True}, "not a chain of inverted residual blocks"),
        (4, {"weight": np.ones((16, 7, 1, 1), np.float32)}, "not a chain of inverted|multiple"),
        (10, {"added": PICTURE}, "shortcuts are not where"),
    ],
)
def test_chains_that_only_resemble_the_network_are_refused(
    place: int, change: dict[str, object], message: str | None
) -> None:
    steps = steps_of(SPEC, random_arrays(SPEC))
    steps[place] = dataclasses.replace(steps[place], **change)  # type: ignore[arg-type]
    if message is None:
        infer(steps, ends(SPEC), NUMERICS, "same")
        return
    with pytest.raises(DialectError, match=message):
        infer(steps, ends(SPEC), NUMERICS, "same")
    with pytest.raises(DialectError, match=r"is .* where the network has|are not where"):
        require_fit(SPEC, steps)


def test_too_few_convolutions_are_no_network() -> None:
    with pytest.raises(DialectError, match="not a chain of inverted residual blocks"):
        infer(steps_of(SPEC, random_arrays(SPEC))[:3], ends(SPEC), NUMERICS, "same")
    with pytest.raises(DialectError, match="51 convolutions where the network has 52"):
        require_fit(SPEC, steps_of(SPEC, random_arrays(SPEC))[1:])


# ---------------------------------------------------------------- a graph as a checkpoint

HIDDEN = ((9, "relu", True), (4, "none", False))
"""Units, activation and bias."""
FORMAT = GraphDialect(
    "graph", (".g",), Path.read_bytes, lambda *_: pytest.fail("not opened here"),
    lambda config, arrays: config.to_json().encode(), NUMERICS,
)  # fmt: skip


def checkpoint(spec: NetworkSpec, inside: Description = Description()) -> GraphCheckpoint:  # noqa: B008
    arrays = random_arrays(spec)
    bias = arrays.get("classifier.bias", np.zeros(spec.logits, np.float32))
    head = Head(linears=(Linear(arrays["classifier.weight"], bias),))
    return GraphCheckpoint(
        FORMAT, steps_of(spec, arrays), head, spec.size, spec.input_channels, "same", inside
    )


def test_a_graph_says_what_it_is_and_gives_its_arrays() -> None:
    found = checkpoint(SPEC)
    spec = found.infer(found.inside, ImportOptions())
    assert spec == SPEC
    arrays, back = random_arrays(SPEC), found.decode(spec)
    assert list(back) == list(arrays)
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize(
    "classifier",
    [
        ClassifierSpec(bias=False),
        ClassifierSpec(outputs="sigmoid"),
        ClassifierSpec(outputs="logit"),
    ],
)
def test_a_config_says_what_the_outputs_mean(classifier: ClassifierSpec) -> None:
    spec = SPEC.replace(classes=2, classifier=classifier)
    found = checkpoint(spec, Description(spec))
    assert found.infer(found.inside, ImportOptions()) == spec
    check_arrays(spec, found.decode(spec), "back")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0.5}, "stem is|is convolution|is depthwise"),
        ({"size": (96, 96)}, "96 x 96 pixels of 3 channels, the graph 64 x 64 of 3|padding"),
        ({"stages": (StageSpec(6, 24, 99, 2),)}, "more blocks than the graph"),
        ({"classifier": ClassifierSpec("max")}, "max pooling"),
        ({"classifier": ClassifierSpec(hidden=(HiddenSpec(9),))}, "linear layers"),
        ({"classifier": ClassifierSpec(bias=False)}, "without bias"),
        ({"classes": 8}, "linear layers"),
    ],
)
def test_a_config_of_another_network_is_refused(changes: dict[str, Any], message: str) -> None:
    said = Description(SPEC.replace(**changes))
    with pytest.raises(DialectError, match=f"describes another network: .*({message})"):
        checkpoint(SPEC).infer(said, ImportOptions())


def test_hidden_layers_are_held_against_the_config() -> None:
    hidden = tuple(HiddenSpec(n, activation, bias) for n, activation, bias in HIDDEN)  # type: ignore[arg-type]
    spec = SPEC.replace(classifier=ClassifierSpec("max", hidden))
    arrays = random_arrays(spec)
    names = ["hidden.0", "hidden.1", "classifier"]
    linears = [
        Linear(arrays[f"{name}.weight"], arrays.get(f"{name}.bias", np.zeros(4, "f4")), activation)
        for name, activation in zip(names, ("relu", "", ""), strict=True)
    ]
    plain, said = checkpoint(SPEC), Description(spec)
    head = Head(ClassifierSpec("max"), tuple(linears))
    found = dataclasses.replace(plain, head=head)
    assert found.infer(said, ImportOptions()) == spec
    assert found.decode(spec).keys() == arrays.keys()
    changes: list[tuple[dict[str, Any], str]] = [
        ({"classifier": ClassifierSpec()}, "max pooling .*the graph has average pooling"),
        ({"linears": linears[1:]}, "linear layers .*the graph has max"),
        ({"linears": [dataclasses.replace(linears[0], activation="relu6"), *linears[1:]]}, "relu6"),
        (
            {"linears": [linears[0], dataclasses.replace(linears[1], bias=np.ones(4)), linears[2]]},
            "hidden.1 without bias",
        ),
    ]
    for change, message in changes:
        with pytest.raises(DialectError, match=message):
            changed = dataclasses.replace(found, head=dataclasses.replace(head, **change))
            changed.infer(said, ImportOptions())


@pytest.mark.parametrize("labels", [None, Labels(("hat", "shoes"))])
def test_a_graph_without_classifier_gets_a_new_one(labels: Labels | None) -> None:
    whole = checkpoint(SPEC, Description(SPEC))
    bare = dataclasses.replace(whole, head=Head(ClassifierSpec("max"), outputs=5))
    found = bare.completed(labels)
    assert found.inside.headless and not whole.completed(labels).inside.headless
    spec = found.infer(found.inside, ImportOptions())
    assert (spec.classes, spec.classifier.pooling) == (2 if labels else 5, "max")
    arrays = found.decode(spec)
    check_arrays(spec, arrays, "back")
    assert arrays["classifier.weight"].std() > 0 and not arrays["classifier.bias"].any()
    assert "new" in found.note


def test_a_graph_can_say_any_network_and_goes_without_a_sidecar(tmp_path: Path) -> None:
    config = ModelConfig.default(SPEC)
    out = tmp_path / "x.g"
    assert FORMAT.says_all and FORMAT.places(out) == [out]
    FORMAT.write(config, {}, out)
    assert out.read_text("utf-8") == config.to_json()


@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing_goes_with_the_padding(channels: int) -> None:
    for family, mean in (("paper", 127.5), ("torchvision", 114.495)):
        spec = published(family, size=96, input_channels=channels)
        record = FORMAT.preprocessing(spec)
        assert (record.size, record.channels) == ((96, 96), channels)
        assert sum(record.mean) / channels == pytest.approx(mean)
        assert all(round(one, 6) == one for one in (*record.mean, *record.std))

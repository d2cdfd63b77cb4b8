"""Networks as backbones: the table of feature maps, and the maps in every edition."""

import importlib.util
import os
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.editions.edition import EditionName, find
from mobilenetv2.editions.feature_info import FeatureInfo, feature_info, feature_maps
from mobilenetv2.editions.keras_backend import choose
from mobilenetv2.errors import SpecError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec, Numerics
from mobilenetv2.spec.published import published

FRAMEWORKS = {"torch": "torch", "keras": "keras", "jax": "flax", "numpy": "numpy"}
SPECS = {
    "paper": NetworkSpec(width=0.1, size=(65, 48), classes=5),
    "same": NetworkSpec(width=0.1, size=(64, 33), numerics=Numerics("same", 1e-3)),
    "stride 8": published("small", width=0.1, size=32),
    "stride 16": published("small", width=0.1, size=64),
    "MobileNetV1": published("mobilenet-v1", width=0.25, size=64),
}
TABLES = {  # channels, strides
    "paper": [(8, 2), (8, 4), (8, 8), (16, 16), (32, 32)],
    "same": [(8, 2), (8, 4), (8, 8), (16, 16), (32, 32)],
    "stride 8": [(8, 1), (8, 2), (16, 4), (32, 8)],
    "stride 16": [(8, 1), (8, 2), (8, 4), (16, 8), (32, 16)],
    "MobileNetV1": [(16, 2), (32, 4), (64, 8), (128, 16), (256, 32)],
}


def network_in(name: Any, spec: NetworkSpec) -> tuple[Any, Any]:
    """An edition, and the network in it with random weights."""
    if not importlib.util.find_spec(FRAMEWORKS[name]):
        pytest.skip(f"{name} is not installed (extra: {name})")
    if name == "keras":
        choose(os.environ.get("KERAS_BACKEND", "tensorflow"))
    edition: Any = find(name)
    network = edition.build(spec)
    edition.load(network, random_arrays(spec))
    if hasattr(network, "eval"):
        network.eval()
    return edition, network


def maps_of(name: str, backbone: Any, x: NDArray) -> list[NDArray]:
    """The maps of pictures (batch, height, width, channels), in that layout."""
    if name == "torch":
        import torch

        with torch.no_grad():
            maps = backbone(torch.from_numpy(x.transpose(0, 3, 1, 2)))
        return [found.numpy().transpose(0, 2, 3, 1) for found in maps]
    if name == "numpy":
        return [found.transpose(0, 2, 3, 1) for found in backbone(x.transpose(0, 3, 1, 2))]
    return [np.asarray(found) for found in backbone(x)]


def pictures(spec: NetworkSpec) -> NDArray:
    return np.random.default_rng(0).normal(size=(2, *spec.size, 3)).astype(np.float32)


@pytest.mark.parametrize("spec", SPECS)
def test_the_table_says_channels_and_strides(spec: str) -> None:
    assert [(m.channels, m.reduction) for m in feature_maps(SPECS[spec])] == TABLES[spec]


def test_the_published_networks_have_timms_five_maps() -> None:
    info = feature_info(NetworkSpec(), (0, 1, 2, 3, 4))
    assert info == feature_info(NetworkSpec()) and hash(info) == hash(feature_info(NetworkSpec()))
    assert info.channels() == [16, 24, 32, 96, 320] and info.reduction() == [2, 4, 8, 16, 32]
    assert info.module_name() == [f"blocks.{index}" for index in (0, 2, 5, 12, 16)]
    assert (info.channels(1), info.reduction(1), info.module_name(1)) == (24, 4, "blocks.2")
    assert len(info) == 5 and info != "a table"


def test_a_network_that_begins_with_a_stride_has_a_map_of_the_stem() -> None:
    stages = PAPER_STAGES[1:]
    info = feature_info(NetworkSpec(stages=stages))
    assert info.module_name(0) == "stem" and info.channels() == [32, 24, 32, 96, 320]


def test_the_order_is_that_of_the_indices() -> None:
    info = feature_info(NetworkSpec(), (-1, 2))
    assert info.out_indices == (4, 2) and info.reduction() == [32, 8]
    assert [row["channels"] for row in info.to_dict()] == [320, 32]
    assert "blocks.5 32 channels /8" in repr(info) and len(repr(info)) < 200
    assert "<td>320</td>" in info._repr_html_()


@pytest.mark.parametrize("indices", [(5,), (0, -6), (), (True,), (1.0,)])
def test_an_index_that_is_no_map_is_an_error(indices: Any) -> None:
    with pytest.raises(SpecError, match="out_indices"):
        FeatureInfo(feature_maps(NetworkSpec()), indices)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("jax", "keras") else [])
        for name in get_args(EditionName)
    ],
)
def test_the_maps_of_every_edition_are_those_of_the_plain_reference(name: Any, spec: str) -> None:
    """And so are the last map and the strides of the table."""
    config = SPECS[spec]
    if spec == "MobileNetV1" and name in ("keras", "jax"):
        pytest.skip("the edition does not have these blocks")
    reference = plain.build(config, dtype="float64")
    plain.load(reference, random_arrays(config))
    x = pictures(config)
    wanted = plain.intermediates(reference, x)
    edition, network = network_in(name, config)
    backbone = edition.features_only(network)
    info: FeatureInfo = backbone.feature_info
    assert info == feature_info(config)
    found = maps_of(name, backbone, x)
    assert len(found) == len(info) == len(TABLES[spec])
    for values, one in zip(found, info.chosen, strict=True):
        expected = wanted[one.module]
        assert values.shape == expected.shape
        assert values.shape[1:] == (
            *(-(-side // one.reduction) for side in config.size), one.channels,
        )  # fmt: skip
        assert np.abs(values - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    some = maps_of(name, edition.features_only(network, (-1, 1)), x)
    np.testing.assert_array_equal(some[0], found[-1])
    np.testing.assert_array_equal(some[1], found[1])
    last = wanted["head" if resolve(config).head else f"blocks.{len(resolve(config).blocks) - 1}"]
    forward = getattr(network, "forward_features", None)
    whole = maps_of(name, lambda y: [(forward or forwarded(edition, network))(y)], x)[0]
    assert np.abs(whole - last).max() <= 1e-4 * max(1, np.abs(last).max())


def forwarded(edition: Any, network: Any) -> Any:
    """Keras's functional models have no such method: the edition has the function."""
    return lambda x: edition.forward_features(network, x)


@pytest.mark.parametrize("name", get_args(EditionName))
def test_the_head_is_neither_held_nor_computed(name: Any) -> None:
    _, network = network_in(name, SPECS["stride 8"])
    edition: Any = find(name)
    backbone = edition.features_only(network, (1,))
    blocks = 1 + (backbone.feature_info.chosen[0].block or 0)
    if name == "keras":
        names = {layer.name for layer in backbone.layers}
        assert "Conv_1" not in names and f"block_{blocks}_expand" not in names
    elif name == "numpy":
        seen: list[str] = []
        convolve = network.convolve

        def noted(layer: Any, x: NDArray) -> Any:
            seen.append(layer.name)
            return convolve(layer, x)

        network.convolve = noted
        backbone(np.zeros((1, 3, *SPECS["stride 8"].size), np.float32))
        assert seen[-1].startswith(f"blocks.{blocks - 1}.")
    else:
        assert len(backbone.blocks) == blocks and not hasattr(backbone, "head")
        assert backbone.stem is network.stem and backbone.blocks[0] is network.blocks[0]


@pytest.mark.parametrize("name", get_args(EditionName))
def test_weights_are_shared(name: Any) -> None:
    spec = SPECS["stride 8"]
    edition, network = network_in(name, spec)
    backbone = edition.features_only(network, (0,))
    x = pictures(spec)
    before = maps_of(name, backbone, x)[0]
    edition.load(network, random_arrays(spec, seed=5))
    after = maps_of(name, backbone, x)[0]
    assert np.abs(before - after).max() > 0.1
    np.testing.assert_array_equal(after, maps_of(name, edition.features_only(network), x)[0])


def test_rows_have_timms_names() -> None:
    info = feature_info(NetworkSpec(), (3, 4))
    one: int = info.channels(0)
    several: list[int] = info.channels()
    assert (one, several) == (16, [96, 320])
    row = {"num_chs": 16, "reduction": 2, "module": "blocks.0", "index": 0}
    assert info[0] == row and [found["num_chs"] for found in info] == [16, 24, 32, 96, 320]
    assert [found["num_chs"] for found in info.get_dicts()] == [96, 320]

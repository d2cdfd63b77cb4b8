"""Names: every one leads to a network, and to the weights that were published for it."""

import pytest

from mobilenetv2.errors import SpecError, WeightsError
from mobilenetv2.hub.catalogue import EMBEDDED, catalogue
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.hub.names import FAMILIES, family_of, has_weights, known_names, spec_of, weights_of
from mobilenetv2.model import store
from mobilenetv2.spec.aliases import Alias, aliases
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED

FILES_ONLY = {entry.name for entry in catalogue().values() if entry.spec is None}


@pytest.mark.parametrize("alias", aliases().values(), ids=lambda alias: alias.name)
def test_every_alias_agrees_with_the_catalogue(alias: Alias) -> None:
    assert alias.name not in catalogue()
    if alias.checkpoint is None:
        assert not has_weights(alias.name)
        with pytest.raises(WeightsError, match=r"no weights are published at width .* there are"):
            weights_of(alias.name)
    elif alias.checkpoint == EMBEDDED:
        assert store.load_config(embedded_folder()).spec == spec_of(alias.name)
    else:
        entry = catalogue()[alias.checkpoint]
        assert (entry.preprocessing, entry.width) == (alias.family, alias.width)
        assert (entry.size, weights_of(alias.name)) == (alias.size, entry.name)
        assert entry.spec == spec_of(alias.name)


@pytest.mark.parametrize("name", known_names())
def test_every_name_is_a_network_that_only_some_files_do_not_describe(name: str) -> None:
    if name in FILES_ONLY:
        with pytest.raises(SpecError, match="only its file says"):
            spec_of(name)
        assert weights_of(name) == name
    else:
        assert isinstance(spec_of(name, classes=3), NetworkSpec)
        assert family_of(name) in FAMILIES


def test_only_googles_tflite_files_describe_themselves() -> None:
    assert {name for name in catalogue() if name.startswith("litert")} == FILES_ONLY


@pytest.mark.parametrize(
    ("name", "width", "size", "tag", "found"),
    [
        ("mobilenet_v2", None, None, None, "torchvision-v2"),
        ("mobilenet_v2", None, None, "DEFAULT", "torchvision-v2"),
        ("mobilenet_v2", None, None, "IMAGENET1K_V1", "torchvision-v1"),
        ("mobilenet_v2", None, None, "MobileNet_V2_Weights.IMAGENET1K_V1", "torchvision-v1"),
        ("mobilenet_v2", None, None, "torchvision-v1", "torchvision-v1"),
        ("mobilenetv2_100", None, None, "ra_in1k", "timm-100"),
        ("mobilenetv2_100", 1.4, None, None, "timm-140"),
        ("MobileNetV2", 0.35, 96, None, "keras-0.35-96"),
        ("MobileNetV2", 0.5, (160, 160), "imagenet", "keras-0.5-160"),
        ("keras-1.0-224-notop", None, None, None, "keras-1.0-224-notop"),
        ("torchvision", None, None, None, "torchvision-v2"),
        ("timm", 0.5, None, None, "timm-050"),
        ("d-li14", None, None, None, "d-li14-1.0-best"),
        ("tf-slim", 1, 96, None, "tf-slim-1.0-96"),
        ("timm-110d", None, None, None, "timm-110d"),
        ("litert-1.0-224", None, None, None, "litert-1.0-224"),
        ("embedded", 0.75, 32, None, "embedded"),
    ],
)
def test_a_network_has_the_weights_that_its_publisher_made(
    name: str, width: float | None, size: int | None, tag: str | None, found: str
) -> None:
    assert weights_of(name, width, size, tag) == found


@pytest.mark.parametrize("alpha", ["0.35", "0.5", "0.75", "1.0", "1.3", "1.4"])
@pytest.mark.parametrize("size", [96, 128, 160, 192, 224])
def test_keras_has_every_alpha_at_the_sizes_that_were_trained(alpha: str, size: int) -> None:
    expected = f"keras-{alpha}-{size}"
    if expected in catalogue():
        assert weights_of("MobileNetV2", float(alpha), size) == expected
    else:
        with pytest.raises(WeightsError, match=r"width 1\.3, 1\.4 at 224 pixels"):
            weights_of("MobileNetV2", float(alpha), size)


@pytest.mark.parametrize(
    ("name", "width", "size", "tag", "message"),
    [
        ("mobilenetv2_035", None, None, None, "there are width 0.5, 1, 1.4 at 224 pixels"),
        ("mobilenet_v2", 0.5, None, None, "at width 0.5 and 224 pixels; there are width 1 at 224"),
        ("mobilenet_v2", None, (160, 192), None, "width 1 and 160x192 pixels"),
        ("paper", None, None, None, "no weights are published for this network; .* torchvision"),
        ("mobilenet_v2", None, None, "IMAGENET1K_V3", "there are IMAGENET1K_V1, IMAGENET1K_V2"),
        ("mobilenetv2_050", None, None, "timm-100", "no weights are called 'timm-100'"),
        ("litert-1.0-224", 0.5, None, None, "are published at width 1 and 224 pixels only"),
    ],
)
def test_weights_that_nobody_published_are_met_with_those_that_there_are(
    name: str, width: float | None, size: int | None, tag: str | None, message: str
) -> None:
    with pytest.raises(WeightsError, match=f"{name}: .*{message}"):
        weights_of(name, width, size, tag)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mobilenetv2", "mobilenet_v2"),
        ("mobilenet-v2", "mobilenet_v2"),
        ("mobilenet_v3", "mobilenet_v2"),
        ("mobilenetv2_10", "mobilenetv2_1"),
        ("tim-100", "timm-100"),
        ("MobilenetV2", "MobileNetV2"),
    ],
)
def test_an_unknown_name_suggests_mobilenetv2s_never_another_networks(
    name: str, nearest: str
) -> None:
    with pytest.raises(SpecError, match=f"'{name}' is unknown; did you mean '{nearest}"):
        spec_of(name)
    with pytest.raises(SpecError, match="known are: article-keras"):
        spec_of("resnet")


def test_names_come_once_aliases_first() -> None:
    names = known_names()
    assert len(set(names)) == len(names) == len({*aliases(), *PUBLISHED, "small", *catalogue()})
    assert names[0] == "mobilenet_v2"

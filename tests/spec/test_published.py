"""The published networks, each as its implementation computes it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.errors import SpecError
from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec
from mobilenetv2.spec.published import PUBLISHED, published, small
from mobilenetv2.spec.records import IMAGENET_MEAN, Labels, ModelConfig

# padding, epsilon, momentum in the owner's convention, dropout, classes, rounding
TABLE = {
    "torchvision": ("symmetric", 1e-5, 0.1, "new", 0.2, 1000, "nearest"),
    "timm": ("symmetric", 1e-5, 0.1, "new", 0.0, 1000, "nearest"),
    "timm-110d": ("symmetric", 1e-5, 0.1, "new", 0.0, 1000, "nearest"),
    "keras": ("same", 1e-3, 0.999, "old", 0.0, 1000, "truncate-nearest"),
    "tf-slim": ("same", 1e-3, 0.997, "old", 0.2, 1001, "nearest"),
    "huggingface": ("same", 1e-3, 0.997, "new", 0.8, 1001, "round-nearest"),
    "tonylins": ("symmetric", 1e-5, 0.1, "new", 0.0, 1000, "up"),
    "d-li14": ("symmetric", 1e-5, 0.1, "new", 0.0, 1000, "nearest"),
}


def channels(spec: NetworkSpec) -> list[int]:
    return [spec.channels("stem"), *map(spec.stage_channels, spec.stages), spec.channels("head")]


@pytest.mark.parametrize("name", TABLE)
def test_each_implementation_keeps_its_own_numerics(name: str) -> None:
    spec, own = published(name), published(name).numerics
    found = (own.padding, own.epsilon, own.momentum, own.momentum_of)
    assert (*found, spec.dropout, spec.classes, spec.rounding) == TABLE[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_spec_and_preprocessing_of_every_family_fit_each_other(name: str) -> None:
    row = PUBLISHED[name]
    assert ModelConfig(
        row.spec, row.preprocessing, Labels.numbered(row.spec.classes, row.spec.background)
    ).spec == (published(name))
    assert row.about


def test_only_the_1001_class_checkpoints_have_a_background_and_it_comes_first() -> None:
    places = {name: row.spec.background for name, row in PUBLISHED.items() if row.spec.background}
    assert places == {"tf-slim": "first", "huggingface": "first"}


def test_tensorflows_networks_see_minus_one_to_one_and_pytorchs_imagenet_statistics() -> None:
    for name in ("keras", "tf-slim", "huggingface"):
        assert PUBLISHED[name].preprocessing.mean == PUBLISHED[name].preprocessing.std
        assert PUBLISHED[name].preprocessing.mean == (127.5, 127.5, 127.5)
    for name in ("torchvision", "timm", "timm-120d"):
        assert PUBLISHED[name].preprocessing.mean == IMAGENET_MEAN
    assert PUBLISHED["timm"].preprocessing.interpolation == "bicubic"
    slim = PUBLISHED["tf-slim"].preprocessing
    assert (slim.fit, slim.central_fraction, slim.resize) == ("stretch", 0.875, (224, 224))


@pytest.mark.parametrize(
    ("name", "repeats"),
    [("timm-110d", (1, 3, 4, 5, 4, 4, 1)), ("timm-120d", (1, 3, 5, 6, 5, 5, 1))],
)
def test_timms_deep_networks_repeat_more_and_keep_stem_and_head(
    name: str, repeats: tuple[int, ...]
) -> None:
    spec = published(name)
    assert tuple(stage.repeats for stage in spec.stages) == repeats
    assert (spec.channels("stem"), spec.channels("head")) == (32, 1280)
    for own, paper in zip(spec.stages, PAPER_STAGES, strict=True):
        assert (own.expansion, own.channels, own.stride) == (
            paper.expansion, paper.channels, paper.stride,
        )  # fmt: skip


def test_tf_slims_other_head_shrinks_on_request() -> None:
    assert published("tf-slim", width=0.5).channels("head") == 1280
    assert published("tf-slim", width=0.5, head="scaled").channels("head") == 640


def test_d_li14s_width_a_tenth_counts_in_fours_unless_told_otherwise() -> None:
    assert channels(published("d-li14", width=0.1)) == [4, 4, 4, 4, 8, 12, 16, 32, 1280]
    assert published("d-li14", width=0.1, divisor=8).divisor == 8


def test_the_articles_versions_always_expand_and_differ_in_shortcut_and_bias() -> None:
    torch, keras = published("article-torch"), published("article-keras", width=0.35)
    assert (torch.expand, torch.shortcut, torch.conv_bias) == ("always", "projection", True)
    assert (keras.expand, keras.shortcut, keras.conv_bias) == ("always", "identity", False)
    assert channels(keras) == [16, 5, 8, 11, 22, 33, 56, 112, 1280]


@settings(deadline=None, max_examples=60)
@given(st.integers(32, 400), st.integers(32, 400))
def test_the_small_preset_strides_as_its_shorter_side_allows(height: int, width: int) -> None:
    network = resolve(small((height, width)))
    shorter = min(height, width)
    assert network.output_stride == (8 if shorter < 64 else 16 if shorter < 128 else 32)
    assert min(network.blocks[-1].out_size) >= 4
    assert network.spec.size == (height, width)


def test_the_small_preset_has_the_papers_weights_and_ten_classes() -> None:
    assert published("small") == small(32)
    assert small().classes == 10
    assert count.parameters(small(classes=1000)) == count.parameters(NetworkSpec())
    assert small(32, stem_stride=2, classes=3).stem_stride == 2


def test_an_unknown_name_is_met_with_the_near_one_or_with_all() -> None:
    with pytest.raises(SpecError, match=r"network 'tim' is unknown; did you mean 'timm'\?"):
        published("tim")
    with pytest.raises(SpecError, match="network 'resnet' is unknown; known are: article-keras"):
        published("resnet")
    for name in ("mobilenetv2", "mobilenet-v2", "mobilenet_v3"):
        with pytest.raises(SpecError, match="did you mean 'mobilenet_v2'"):
            published(name)
    with pytest.raises(SpecError, match="no field 'alpha'"):
        published("keras", alpha=0.5)


def test_other_classes_drop_the_background() -> None:
    assert published("tf-slim", classes=10).background is None
    assert published("tf-slim", classes=1001).background == "first"
    assert published("tf-slim", classes=10, background="last").background == "last"

"""Grad-CAM against PyTorch's gradients; its colours against matplotlib's; where heat lies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.checkpoints.importer import import_checkpoint
from mobilenetv2.editions import torch as edition
from mobilenetv2.editions.torch.network import normalise
from mobilenetv2.evaluation.gradcam import (
    GREY,
    STRONGEST,
    class_weights,
    colours,
    heat,
    overlay,
    whereabouts,
)
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.display import enlarge_smoothly
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.predictor import load_feature_map
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig, Preprocessing

TINY: Any = {"width": 0.1, "classes": 4}
SPECS = {
    "symmetric": NetworkSpec(size=(96, 128), **TINY),
    "same, odd": NetworkSpec(size=(97, 130), numerics=Numerics("same", 1e-3), **TINY),
    "small, grey": published("small", input_channels=1, **TINY),
    "article": published("article-torch", size=96, **TINY),
    "without a head": NetworkSpec(size=(96, 96), head="none", **TINY),
    "hidden, without biases": NetworkSpec(
        size=(96, 96), classifier=ClassifierSpec("max", (HiddenSpec(9, bias=False),), False), **TINY
    ),
    "two hidden": NetworkSpec(
        size=(96, 96),
        classifier=ClassifierSpec(
            hidden=(HiddenSpec(9, "relu6"), HiddenSpec(7, "none")), outputs="sigmoid"
        ),
        **TINY,
    ),
    "one logit": NetworkSpec(
        width=0.1, classes=2, size=(96, 96), classifier=ClassifierSpec(outputs="logit")
    ),
    "mobilenet-v1": published("mobilenet-v1", width=0.25, classes=4, size=96),
}


def with_map(network: Any, x: torch.Tensor, last: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the output of the module of that name that they were computed from."""
    kept: list[torch.Tensor] = []
    hook = network.get_submodule(last).register_forward_hook(
        lambda _module, _inputs, output: kept.append(output)
    )
    logits = network(x)
    hook.remove()
    return logits, kept[0]


def by_autograd(network: Any, x: torch.Tensor, last: str, index: int) -> NDArray:
    """Grad-CAM as the paper has it: gradients averaged over places, then weighted and rectified."""
    logits, map_ = with_map(network, x, last)
    logits = torch.cat([-logits, logits], 1) if logits.shape[1] == 1 else logits
    (gradient,) = torch.autograd.grad(logits[0, index], map_)
    importance = gradient[0].mean((1, 2))
    sums = (importance[:, None, None] * map_[0]).sum(0)
    return np.asarray(sums.clamp(min=0).detach().numpy())


@pytest.mark.parametrize("name", SPECS)
def test_it_is_grad_cam_by_pytorchs_gradients_up_to_a_factor(name: str) -> None:
    spec = SPECS[name]
    config, weights = ModelConfig.default(spec), random_arrays(spec)
    network = edition.build(config, dtype="float64")
    edition.load(network, weights)
    network.eval()
    pictures = np.random.default_rng(0).integers(
        0, 256, (1, *spec.size, spec.input_channels), np.uint8
    )
    x = normalise(pictures, config.preprocessing).double()
    names = intermediate_names(spec)
    last = names[names.index("features") - 1]
    maps = network.intermediates(x)[last][0].permute(1, 2, 0).detach().numpy()
    assert min(maps.shape[:2]) > 1
    seen = 0
    for index in range(spec.classes):
        expected = by_autograd(network, x, last, index)
        found = heat(maps, class_weights(spec, weights, maps, index))
        assert found.dtype == np.float32 and found.shape == maps.shape[:2]
        np.testing.assert_allclose(found, expected / max(expected.max(), 1e-300), atol=1e-6)
        seen += bool(expected.max() > 0 and found.std() > 0.01)
    assert seen, "no class has any evidence: the test would say nothing"


def test_the_gradient_is_the_weight_by_the_number_of_places() -> None:
    spec = SPECS["symmetric"]
    network = edition.build(spec, dtype="float64").eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, *spec.size)))
    logits, map_ = with_map(network, x, "head")
    (gradient,) = torch.autograd.grad(logits[0, 2], map_)
    height, width = gradient.shape[2:]
    expected = network.classifier.get_parameter("weight")[2].detach() / (height * width)
    torch.testing.assert_close(
        gradient[0], expected[:, None, None].expand_as(gradient[0]), rtol=1e-12, atol=0
    )


def test_only_what_speaks_for_the_class_is_hot_and_the_most_is_1() -> None:
    maps = np.array([[[1, 0], [0, 1]], [[2, 1], [0, 0]]], np.float32)
    np.testing.assert_array_equal(heat(maps, np.array([1.0, -2.0])), [[1, 0], [0, 0]])
    expected = np.array([[0.4, 0.2], [1.0, 0.0]])
    np.testing.assert_allclose(heat(maps, np.array([2.0, 1.0])), expected, rtol=1e-7)
    np.testing.assert_array_equal(heat(maps, np.array([-1, -1])), np.zeros((2, 2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_network_that_gives_no_numbers_has_no_infinite_heat(bad: float) -> None:
    maps = np.ones((2, 3, 4), np.float32)
    maps[0, 1, 2] = bad
    for value in (1.0, 0.0, -1.0):
        found = heat(maps, np.full(4, value))
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)),
        elements=st.floats(0, 6, width=32),
    ),
    st.integers(0, 99),
)
def test_heat_is_from_0_to_1_whatever_the_map(maps: NDArray, seed: int) -> None:
    found = heat(maps, np.random.default_rng(seed).normal(size=(maps.shape[2],)))
    assert found.shape == maps.shape[:2] and found.dtype == np.float32
    assert found.min() >= 0 and found.max() in (0, 1)


def test_an_overlay_is_grey_without_heat_and_coloured_where_it_is_hot() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 84, 3), np.uint8)
    before = picture.copy()
    cold = overlay(picture, np.zeros((5, 7), np.float32))
    assert cold.dtype == np.uint8 and cold.shape == picture.shape
    np.testing.assert_array_equal(cold, np.rint(picture @ GREY)[..., None].repeat(3, 2))
    hot = overlay(picture, np.ones((5, 7), np.float32))
    expected = (1 - STRONGEST) * (picture @ GREY)[..., None] + STRONGEST * colours(np.ones(1))
    assert np.abs(hot - expected).max() < 0.5 + 1e-4
    np.testing.assert_array_equal(picture, before)
    # The picture stays recognisable: under the strongest heat its own light and dark remain.
    assert np.corrcoef(hot.mean(2).ravel(), (picture @ GREY).ravel())[0, 1] > 0.99


def test_the_hot_place_of_an_overlay_is_that_of_the_map() -> None:
    warm = np.zeros((7, 7), np.float32)
    warm[1, 5] = 1
    found = overlay(np.full((224, 112, 3), 128, np.uint8), warm).astype(int)
    yellow = found[..., 0] - found[..., 2]
    row, column = np.unravel_index(yellow.argmax(), yellow.shape)
    assert abs(row - 1.5 * 32) < 4 and abs(column - 5.5 * 16) < 4
    assert (found[120:] == 128).all()


def test_the_colours_are_matplotlibs_plasma() -> None:
    matplotlib = pytest.importorskip(
        "matplotlib", reason="matplotlib is not installed (extra: torch)"
    )
    expected = 255 * np.array(matplotlib.colormaps["plasma"].colors)
    found = colours(np.linspace(0, 1, 256))
    assert np.abs(found - expected).max() < 5


MACHADO = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""Of linear red, green and blue: G. Machado, M. Oliveira, L. Fernandes 2009, full severity."""


@pytest.mark.parametrize("kind", ["full", *MACHADO])
def test_more_heat_is_lighter_for_every_kind_of_eye(kind: str) -> None:
    linear = (colours(np.linspace(0, 1, 65)) / 255) ** 2.2
    seen = linear @ np.array(MACHADO.get(kind, np.eye(3))).T
    luminance = seen @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(np.maximum(luminance, 0)) - 16
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert lightness[-1] - lightness[0] > 60


def test_where_heat_lies() -> None:
    warm = np.zeros((6, 9), np.float32)
    assert whereabouts(warm).words == "nowhere" and whereabouts(warm).centre is None
    warm[0, 8] = 0.5
    found = whereabouts(warm)
    assert found.words == "upper right"
    assert found.centre == pytest.approx((0.5 / 6, 8.5 / 9))
    assert found.rows == pytest.approx((1, 0, 0)) and found.columns == pytest.approx((0, 0, 1))
    warm[5, 0] = 0.5
    assert whereabouts(warm).words == "centre"
    assert whereabouts(warm).columns == pytest.approx((0.5, 0, 0.5))
    alone = whereabouts(np.ones((1, 1), np.float32))
    assert alone.rows == pytest.approx((1 / 3, 1 / 3, 1 / 3)) and alone.words == "centre"


@given(arrays(np.float32, (7, 5), elements=st.floats(0, 1, width=16)))
def test_thirds_are_those_of_a_fine_grid(warm: NDArray) -> None:
    found = whereabouts(warm)
    if not warm.any():
        assert found.rows == found.columns == (0, 0, 0)
        return
    fine = warm.astype(np.float64).repeat(3, 0).repeat(3, 1) / warm.sum(dtype=np.float64) / 9
    np.testing.assert_allclose(found.rows, fine.reshape(3, 7, 15).sum((1, 2)), atol=1e-9)
    np.testing.assert_allclose(found.columns, fine.reshape(21, 3, 5).sum((0, 2)), atol=1e-9)


@pytest.mark.slow
def test_the_heat_of_a_real_network_lies_on_the_bird(
    public_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Weakly supervised: the network has only ever seen the names of pictures."""
    published_file = public_folder("published") / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
    config, tensors = import_checkpoint(published_file)
    store.save(tmp_path / "m", config, tensors)
    network = load_feature_map(tmp_path / "m")
    photo = public_folder("photos") / "bird_segmentation.bmp"
    marked = read_photo(public_folder("photos") / "bird_segmentation_mask.bmp")
    record: Preprocessing = network.config.preprocessing
    picture = preprocess(read_photo(photo), record)
    logits, maps = network.answer(picture[None])
    # The same cut of the mask; its one large object is the bird.
    mask = preprocess(marked.convert("L").point(lambda v: 255 * (v == 3)).convert("RGB"), record)
    inside = mask[..., 0] > 127
    assert 0.1 < inside.mean() < 0.5
    weights = class_weights(config.spec, network.arrays, maps[0], int(logits[0].argmax()))
    warm = enlarge_smoothly(heat(maps[0], weights), *record.size)
    assert warm[inside].mean() > 1.5 * warm[~inside].mean()
    # Heat that ignores the photo does not pass: the mirrored one is on the bird by chance only.
    assert warm[inside].mean() > 1.2 * warm[::-1][inside].mean()


def test_pictures_of_the_shared_folder_are_what_the_test_above_takes(
    public_folder: Callable[[str], Path],
) -> None:
    mask = np.asarray(Image.open(public_folder("photos") / "bird_segmentation_mask.bmp"))
    assert set(np.unique(mask)) == {0, 1, 2, 3} and 0.15 < (mask == 3).mean() < 0.25

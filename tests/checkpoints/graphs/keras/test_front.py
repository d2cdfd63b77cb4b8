"""Keras layers in front of the network become one factor and one offset a channel."""

from typing import Any

import numpy as np
import pytest

from mobilenetv2.checkpoints.graphs.keras.config import Layer, Source
from mobilenetv2.checkpoints.graphs.keras.front import Front, augments, change, operation
from mobilenetv2.errors import DialectError

PICTURE = Front.of(3, (8, 6))
NAME = Source("picture")


def layer(
    kind: str, *constants: Any, options: dict[str, Any] | None = None, **settings: Any
) -> Layer:
    return Layer("x", kind, settings, ("picture",), (NAME, *constants), options or {})


def after(*layers: Layer, front: Front = PICTURE, **variables: Any) -> Front:
    for one in layers:
        front = change(one, [front], variables)
    return front


def numpys(value: Any) -> dict[str, Any]:
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": "float32"}}


SCALING = [
    ([layer("Rescaling", scale=1 / 127.5, offset=-1)], 127.5, 127.5),
    ([layer("Rescaling", scale=1 / 255)], 0.0, 255.0),
    ([layer("Rescaling", scale=0.5, offset=4), layer("Rescaling", scale=2)], -8.0, 1.0),
    ([layer("TrueDivide", 127.5), layer("Subtract", 1.0)], 127.5, 127.5),
    ([layer("Subtract", 127.5), layer("Divide", numpys(127.5))], 127.5, 127.5),
    ([layer("Multiply", 1 / 255), layer("Add", -0.5), layer("Multiply", 2)], 127.5, 127.5),
    (
        [layer("TFOpLambda", options={"y": 127.5, "name": None}, function="math.truediv"),
         layer("TFOpLambda", options={"y": 1.0, "name": None}, function="math.subtract")],
        127.5, 127.5,
    ),
    (
        [layer("TFOpLambda", options={"dtype": "float32"}, function="cast"),
         layer("TFOpLambda", options={"y": -127.5}, function="__operators__.add"),
         layer("TFOpLambda", options={"y": 0.5}, function="math.multiply")],
        127.5, 2.0,
    ),
    (
        [layer("TensorFlowOpLayer", node_def='{"op": "RealDiv"}', constants={"1": 255.0}),
         layer("TensorFlowOpLayer", node_def='{"a": "x", "op": "Sub"}', constants={"1": 0.5})],
        127.5, 255.0,
    ),
    ([layer("Normalization", axis=-1, mean=[[[[5.0]]]], variance=4.0)], 5.0, 2.0),
    ([layer("Lambda", function="preprocess_input", module="keras.applications.mobilenet_v2")],
     127.5, 127.5),
    ([layer("Lambda", function="preprocess_input", module="keras.applications.mobilenet")],
     127.5, 127.5),
    ([layer("Lambda", module="keras.applications.mobilenet_v3", function="preprocess_input"),
      layer("Rescaling", scale=0.5)], 0.0, 2.0),
    ([layer("RandomFlip"), layer("Rescaling", scale=0.5), layer("GaussianNoise")], 0.0, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "mean", "std"), SCALING)
def test_scaling_is_a_normalisation(layers: list[Layer], mean: float, std: float) -> None:
    assert after(*layers).normalisation() == ((mean,) * 3, (std,) * 3)


def test_each_channel_has_its_own() -> None:
    front = after(
        layer("Subtract", numpys([1.0, 2.0, 3.0])), layer("Rescaling", scale=[1, 0.5, 0.25])
    )
    assert front.normalisation() == ((1.0, 2.0, 3.0), (1.0, 2.0, 4.0))
    stored = layer("Normalization", axis=[-1])
    front = after(stored, mean=np.arange(3.0), variance=np.array([1.0, 4.0, 0.25]))
    assert front.normalisation() == ((0.0, 1.0, 2.0), (1.0, 2.0, 0.5))


def test_without_scaling_there_is_no_normalisation() -> None:
    assert after(layer("RandomRotation", factor=0.2)).normalisation() is None


def test_grey_pictures_repeated_and_colours_in_the_other_order_go_into_the_stem() -> None:
    weight = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    grey = after(layer("Rescaling", scale=0.5), front=Front.of(1, (8, 6)))
    three = change(layer("Concatenate", axis=-1), [grey] * 3, {})
    np.testing.assert_allclose(three.merged(weight)[:, 0], weight.sum(1), rtol=1e-6)
    assert three.normalisation() == ((0.0,), (2.0,))

    reverse = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": -1}}
    last = layer("GetItem", {"class_name": "__ellipsis__", "config": {}}, reverse)
    front = after(last, layer("Subtract", numpys([1.0, 2.0, 3.0])))
    assert front.normalisation() == ((3.0, 2.0, 1.0), (1.0,) * 3)
    np.testing.assert_array_equal(front.merged(weight), weight[:, ::-1])
    for other in ((reverse,), ({"class_name": "__ellipsis__"}, {**reverse, "config": {"step": 2}})):
        with pytest.raises(DialectError, match="part of the picture"):
            after(layer("GetItem", *other))


def test_a_picture_resized_in_the_model_has_that_size() -> None:
    assert after(layer("Resizing", height=32, width=40)).size == (32, 40)
    assert after(layer("Resize", size=[32, 40])).size == (32, 40)
    assert after(layer("CenterCrop", height=8, width=6)) is PICTURE


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (layer("CenterCrop", height=4, width=4), r"crops 4 x 4 pixels of 8 x 6.*preprocessing"),
        (layer("RandomCrop", height=4, width=4), r"crops 4 x 4"),
        (layer("Resizing", height=9, width=9, crop_to_aspect_ratio=True), "crop_to_aspect_ratio"),
        (layer("Lambda", function=["4wEAAA", None, None]), "code, which is never run"),
        (layer("Lambda", function="preprocess_input", module="keras.applications.vgg16"), "code"),
        (layer("Lambda", function="preprocess_input", module="my_mobilenet_v2"), "code"),
        (layer("Normalization", axis=-1), "no mean in the file"),
        (layer("Normalization", mean=1, variance=1, invert=True), "inverse"),
        (layer("Grayscale"), "not known here.*preprocessing"),
        (layer("Subtract", [1.0, 2.0]), "2 values, and there are 3 channels"),
        (layer("Subtract", "one"), "takes 0 constants"),
        (layer("Subtract"), "takes 0 constants"),
        (layer("Cast", dtype="uint8"), "rounds"),
        (layer("Add", [True, None]), "no number"),
    ],
)
def test_what_no_preprocessing_is(wrong: Layer, said: str) -> None:
    with pytest.raises(DialectError, match=said):
        after(wrong)


@pytest.mark.parametrize("scale", [0, -1, float("inf"), float("nan")])
def test_impossible_scales_are_refused(scale: float) -> None:
    with pytest.raises(DialectError, match=r"x \(Rescaling\)"):
        after(layer("Rescaling", scale=scale)).normalisation()


def test_constants_before_the_picture() -> None:
    inverse = Layer("x", "Subtract", {}, ("picture",), (255.0, NAME))
    front = change(inverse, [PICTURE], {})
    assert front.factor.tolist() == [-1.0] * 3 and front.offset.tolist() == [255.0] * 3
    with pytest.raises(DialectError, match="divides a constant"):
        change(Layer("x", "TrueDivide", {}, ("picture",), (255.0, NAME)), [PICTURE], {})


def test_pictures_beside_one_another_are_refused() -> None:
    with pytest.raises(DialectError, match="axis 1"):
        change(layer("Concatenate", axis=1), [PICTURE, PICTURE], {})
    with pytest.raises(DialectError, match="different sizes"):
        change(layer("Concatenate"), [PICTURE, after(layer("Resizing", height=9, width=9))], {})


def test_operations_and_augmentation_by_name() -> None:
    assert operation(layer("TrueDivide")) == "true_divide"
    assert operation(layer("TensorFlowOpLayer", node_def=3)) == ""
    assert augments("RandomColorJitter") and not augments("RandomCrop") and not augments("Resizing")

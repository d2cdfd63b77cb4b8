"""ONNX classifiers come in as the network they are, however they are spelled.

A spelling is run by ONNX Runtime: it must be the same network before it may be read as the same
network.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_spellings import (
    SLIM,
    SPELLINGS,
    TORCH,
    Edit,
    auto_pad,
    batch_norm_first,
    constant,
    constants_among_the_inputs,
    convolution_as_classifier,
    imported,
    logits,
    made,
    node,
    open_picture,
    sub_div,
    tensor,
    uint8_channels_last,
    uint8_mul_add,
    with_softmax,
)

from mobilenetv2.errors import DialectError
from mobilenetv2.model.folding import fold
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels


@pytest.mark.parametrize("edit", SPELLINGS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("spec", [TORCH, SLIM], ids=["symmetric", "same"])
def test_a_network_in_another_spelling_is_the_same_network(
    spec: NetworkSpec, edit: Edit, tmp_path: Path
) -> None:
    model, arrays = made(spec)
    edit(model)
    found, expected = logits(model, spec, arrays)
    assert 0.5 < expected.std() < 20
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    config, back = imported(model, tmp_path)
    assert config.spec == spec
    assert config.origin is not None and config.origin.folded
    for name, pair in fold(spec, arrays).items():
        for one, other in zip(pair, fold(config.spec, back)[name], strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-7)


def test_auto_pad_is_same_by_name(tmp_path: Path) -> None:
    model, _ = made(SLIM)
    auto_pad(model)
    assert imported(model, tmp_path)[0].spec == SLIM
    model, _ = made(TORCH)
    auto_pad(model)
    assert imported(model, tmp_path)[0].spec.numerics.padding == "same"


def test_an_open_size_is_taken_as_the_published_one_and_said_to_be(tmp_path: Path) -> None:
    model, _ = made(TORCH)
    open_picture(model)
    config, _ = imported(model, tmp_path)
    assert config.spec == TORCH.replace(size=(224, 224))
    assert config.origin is not None and "224 x 224 is assumed" in config.origin.note
    assert config.origin.folded
    unfolded, _ = made(TORCH, folded=False)
    open_picture(unfolded)
    config, _ = imported(unfolded, tmp_path)
    assert config.origin is not None and not config.origin.folded


def test_softmax_at_the_end_is_left_out(tmp_path: Path) -> None:
    model, arrays = made(TORCH)
    with_softmax(model)
    config, back = imported(model, tmp_path)
    assert config.spec == TORCH
    np.testing.assert_array_equal(back["classifier.weight"], arrays["classifier.weight"])


@pytest.mark.parametrize("spec", [TORCH, SLIM, published("article-torch", width=0.35, size=64,
                                                          classes=7, dropout=0.2)])  # fmt: skip
def test_batch_norms_that_were_left_in_come_bit_for_bit(spec: NetworkSpec, tmp_path: Path) -> None:
    model, arrays = made(spec, folded=False)
    config, back = imported(model, tmp_path)
    assert config.spec == spec
    assert config.origin is not None and not config.origin.folded
    assert list(back) == list(arrays)
    for name in arrays:
        np.testing.assert_array_equal(back[name], arrays[name], strict=True)


def test_the_model_zoos_graph(tmp_path: Path) -> None:
    """mobilenetv2-7, by MXNet's exporter: an expansion always, BatchNorms of old, a bare 1 x 1
    convolution as the classifier."""
    spec = published("torchvision", width=0.35, size=64, classes=1000, expand="always")
    model, arrays = made(spec, folded=False)
    convolution_as_classifier(model)
    constants_among_the_inputs(model)
    for one in model.graph.node:
        if one.op_type == "BatchNormalization":
            one.attribute.append(helper.make_attribute("spatial", 1))
        if one.output[0] == "pred":
            del one.input[2]
    arrays["classifier.bias"][:] = 0
    found, expected = logits(model, spec, arrays)
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    config, back = imported(model, tmp_path)
    assert (config.spec, config.labels) == (spec, Labels.imagenet())
    for name in arrays:
        np.testing.assert_array_equal(back[name], arrays[name], strict=True)


# ---------------------------------------------------------------- quantised weights


@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_weights_are_dequantised_on_the_way_in(per_channel: bool, tmp_path: Path) -> None:
    model, arrays = made(TORCH)
    expected = fold(TORCH, arrays)
    for name, (weight, _) in expected.items():
        if name == "classifier":
            continue
        axes = (1, 2, 3) if per_channel else None
        scale = np.asarray(np.abs(weight).max(axes) / 127, np.float32)
        wide = scale.reshape(-1, 1, 1, 1) if per_channel else scale
        levels = np.rint(weight / wide).astype(np.int8)
        model.graph.initializer.remove(tensor(model, f"{name}.conv.weight"))
        constant(model, f"{name}.q", levels, "i1")
        constant(model, f"{name}.s", scale)
        constant(model, f"{name}.z", np.zeros_like(scale), "i1")
        model.graph.node.insert(0, node(
            "DequantizeLinear", f"{name}.q {name}.s {name}.z", f"{name}.conv.weight", axis=0,
        ))  # fmt: skip
        expected[name] = ((levels * wide).astype(np.float32), expected[name][1])
    config, back = imported(model, tmp_path)
    assert config.spec == TORCH
    for name, (weight, _) in expected.items():
        np.testing.assert_allclose(fold(TORCH, back)[name][0], weight, rtol=2e-7)


# ---------------------------------------------------------------- what travels with it


@pytest.mark.parametrize(
    ("edit", "mean", "std"),
    [
        (sub_div, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        (uint8_mul_add, (127.5,) * 3, (127.5,) * 3),
        (uint8_channels_last, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        (batch_norm_first, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ],
)
def test_a_normalisation_inside_the_graph_becomes_the_preprocessing(
    edit: Edit, mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    model, arrays = made(SLIM)
    edit(model)
    onnx.checker.check_model(model, full_check=True)
    config, back = imported(model, tmp_path)
    assert config.spec == SLIM
    np.testing.assert_allclose(config.preprocessing.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(config.preprocessing.std, std, rtol=1e-5)
    folded = fold(SLIM, arrays)
    assert all(np.array_equal(fold(SLIM, back)[name][0], folded[name][0]) for name in folded)


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [("Normalized_0_1", 0, 255), ("Normalized_1_1", 127.5, 127.5), ("NominalRange_0_255", 0, 1)],
)
def test_what_the_metadata_say_is_imported(
    text: str, mean: float, std: float, tmp_path: Path
) -> None:
    model, arrays = made(TORCH)
    names = [f"flower {index}" for index in range(TORCH.classes)]
    said = {"Image.NominalPixelRange": text, "names": str(dict(enumerate(names)))}
    helper.set_model_props(model, {**said, "Image.BitmapPixelFormat": "Bgr8"})
    config, back = imported(model, tmp_path)
    assert config.preprocessing.mean == (mean,) * 3 and config.preprocessing.std == (std,) * 3
    assert config.labels.names == tuple(names)
    stem = fold(TORCH, arrays)["stem"][0][:, ::-1]  # it took blue first
    np.testing.assert_array_equal(fold(config.spec, back)["stem"][0], stem)
    assert config.origin is not None and "metadata" in config.origin.preprocessing
    assert "blue first" in config.origin.preprocessing


def test_without_one_it_is_that_of_the_paddings_owner(tmp_path: Path) -> None:
    for spec, mean in ((TORCH, (123.675, 116.28, 103.53)), (SLIM, (127.5,) * 3)):
        config, _ = imported(made(spec)[0], tmp_path)
        assert config.preprocessing.mean == mean


@pytest.mark.parametrize(("classes", "expected"), [(1000, Labels.imagenet()),
                                                   (1001, Labels.imagenet("first")),
                                                   (7, Labels.numbered(7))])  # fmt: skip
def test_labels_are_the_usual_ones_or_those_given(
    classes: int, expected: Labels, tmp_path: Path
) -> None:
    model, _ = made(TORCH.replace(classes=classes))
    config, _ = imported(model, tmp_path)
    assert config.labels == expected
    assert config.spec.background == ("first" if classes == 1001 else None)
    mine = Labels(tuple(f"flower {index}" for index in range(classes)), (), classes - 1)
    config, _ = imported(model, tmp_path, mine)
    assert (config.labels, config.spec.background) == (mine, "last")
    with pytest.raises(DialectError, match=rf"net\.onnx: 2 labels for {classes} outputs"):
        imported(model, tmp_path, Labels(("a", "b")))

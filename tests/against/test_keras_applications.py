"""keras.applications.MobileNetV2, randomised, against our editions: both directions."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="keras is not installed (extra: keras; make test-all)")

from mobilenetv2.editions.keras_backend import choose

choose("tensorflow")

import keras  # noqa: E402 - after the choice of its backend

from mobilenetv2.checkpoints.exporter import write_checkpoint  # noqa: E402
from mobilenetv2.checkpoints.importer import read_checkpoint  # noqa: E402
from mobilenetv2.editions import keras as edition  # noqa: E402
from mobilenetv2.editions.article import keras as article  # noqa: E402
from mobilenetv2.errors import DialectError  # noqa: E402
from mobilenetv2.model.arrays import Arrays, random_arrays  # noqa: E402
from mobilenetv2.spec.blocks import resolve  # noqa: E402
from mobilenetv2.spec.names import parameter_shapes  # noqa: E402
from mobilenetv2.spec.network import NetworkSpec  # noqa: E402
from mobilenetv2.spec.published import published  # noqa: E402
from mobilenetv2.spec.records import ModelConfig  # noqa: E402

Fixture = Callable[..., Any]
CASES = [(0.35, (64, 64)), (0.35, (65, 97)), (1.0, (64, 97)), (1.4, (65, 64))]
PUBLISHED_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
TRUNCATED_WIDTHS = (0.14, 0.28, 0.42, 0.56, 0.84, 1.12, 1.49, 1.67, 1.68)
"""Where ``int(filters * alpha)`` before the rounding gives another network."""


def original(spec: NetworkSpec, **options: Any) -> Any:
    """Theirs. Its layers have the names that our edition gives, so our loader fills it."""
    options = {"classes": spec.classes, "classifier_activation": None, **options}
    model = keras.applications.MobileNetV2(
        (*spec.size, 3), alpha=spec.width, weights=None, **options
    )
    model.config = ModelConfig.default(spec)
    return model


def answers(model: Any, x: Any) -> Any:
    """Their answers, without a trace of the network that takes longer than all else."""
    return np.asarray(model(x, training=False))


def randomised(spec: NetworkSpec) -> tuple[Any, Arrays]:
    """Theirs with numbers drawn layer by layer in its own order, and those as canonical arrays."""
    model, random = original(spec), np.random.default_rng(11)
    for layer in model.layers:
        drawn = []
        for variable in layer.weights:
            if variable.name in ("gamma", "moving_variance"):
                drawn.append(random.uniform(0.5, 1.5, variable.shape))
            elif variable.name in ("kernel", "depthwise_kernel"):
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                fan_in = np.prod(variable.shape[:2] if depthwise else variable.shape[:-1])
                drawn.append(random.normal(0, np.sqrt(2 / fan_in), variable.shape))
            else:
                drawn.append(random.normal(0, 0.3, variable.shape))
        if drawn:
            layer.set_weights(drawn)
    return model, edition.dump(model)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "size"), CASES)
def test_our_weights_in_their_model(
    width: float, size: tuple[int, int], ours: Fixture, pictures: Fixture, assert_same: Fixture
) -> None:
    spec = published("keras", width=width, size=size, classes=7)
    arrays, x = random_arrays(spec), pictures(size)
    model = original(spec)
    edition.load(model, arrays)
    expected = answers(model, x)
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], expected)
    # Without the classifier: the feature map, and what pooling makes of it.
    for pooling, name in ((None, "head"), ("avg", "features")):
        headless = original(spec, include_top=False, pooling=pooling)
        edition.load(headless, arrays)
        expected = answers(headless, x)
        for found in ours(spec, arrays, x):
            assert_same(found[name], expected, logits=False)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "size"), CASES)
def test_their_weights_in_our_editions(
    width: float, size: tuple[int, int], ours: Fixture, pictures: Fixture, assert_same: Fixture
) -> None:
    spec, x = published("keras", width=width, size=size, classes=7), pictures(size)
    model, arrays = randomised(spec)
    expected = answers(model, x)
    assert_same(edition.intermediates(_as_ours(spec, arrays), x)["logits"], expected)
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], expected)


def _as_ours(spec: NetworkSpec, arrays: Arrays) -> Any:
    network = edition.build(spec)
    edition.load(network, arrays)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("file", ["m.h5", "m.weights.h5", "m.keras"])
def test_our_file_in_their_model(
    file: str, tmp_path: Path, ours: Fixture, pictures: Fixture, assert_same: Fixture
) -> None:
    spec, x = published("keras", width=0.35, size=(64, 97), classes=7), pictures((64, 97))
    arrays = random_arrays(spec)
    write_checkpoint(ModelConfig.default(spec), arrays, "keras", tmp_path / file)
    if file == "m.keras":  # a whole model, which ends in probabilities
        model = keras.models.load_model(tmp_path / file)
        model.layers[-1].activation = keras.activations.linear
        model = keras.Model(model.input, model.layers[-1](model.layers[-2].output))
    else:
        model = original(spec)
        model.load_weights(tmp_path / file)
    expected = answers(model, x)
    for found in ours(spec, arrays, x):
        assert_same(found["logits"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["m.h5", "m.weights.h5", "m.keras"])
@pytest.mark.parametrize(("width", "size"), [(0.35, (65, 97)), (1.4, (64, 64))])
def test_their_file_in_our_editions(
    width: float, size: tuple[int, int], file: str, tmp_path: Path,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    model, arrays = randomised(published("keras", width=width, size=size, classes=7))
    x = pictures(size)
    if file == "m.weights.h5":
        model.save_weights(tmp_path / file)
    else:
        # A whole model in the old format, too.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.save(tmp_path / file)
    config, read = read_checkpoint(tmp_path / file)
    assert config.origin is not None and config.origin.dialect == "keras"
    assert config.spec.size == ((224, 224) if file == "m.weights.h5" else size)
    assert config.spec.numerics == published("keras").numerics
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
    expected = answers(model, x)
    for found in ours(config.spec.replace(size=size), read, x):
        assert_same(found["logits"], expected)


@pytest.mark.slow
def test_a_model_without_its_top(tmp_path: Path) -> None:
    spec = published("keras", width=0.35, size=64)
    model = original(spec, include_top=False)
    model.save_weights(tmp_path / "m.weights.h5")
    config, arrays = read_checkpoint(tmp_path / "m.weights.h5")
    assert config.origin is not None and "without a classifier" in config.origin.note
    assert config.spec.classes == 1000
    head = model.get_layer("Conv_1").get_weights()[0]
    assert np.array_equal(arrays["head.conv.weight"], head.transpose(3, 2, 0, 1))


@pytest.mark.slow
def test_our_own_models_are_read_back_with_strides_padding_and_numerics(tmp_path: Path) -> None:
    """What bare weights do not say, a model's own config does."""
    for spec in (
        published("small", width=0.35, classes=4),
        published("keras", width=0.35, size=(48, 33), classes=4, dropout=0.3),
        published("torchvision", width=0.5, size=64, classes=4),
    ):
        network = edition.build(spec)
        network.save(tmp_path / "m.keras")
        config, arrays = read_checkpoint(tmp_path / "m.keras")
        assert config.spec.replace(rounding=spec.rounding, numerics=spec.numerics) == spec
        for field in ("padding", "epsilon", "activation", "running_variance", "update_rate"):
            assert getattr(config.spec.numerics, field) == getattr(spec.numerics, field), field
        expected = edition.dump(network)
        assert all(np.array_equal(arrays[name], expected[name]) for name in expected)


def rebuilt(model: Any, change: Callable[[Any], list[Any]]) -> Any:
    """The model with other layers for some of its own, and its weights under the same names."""
    inputs = keras.Input(model.input_shape[1:])
    outputs: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            outputs[layer.name] = inputs
            continue
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        x = [outputs[one._keras_history.operation.name] for one in given]
        x = x if len(x) > 1 else x[0]
        for made in change(layer):
            x = made(x)
        outputs[layer.name] = x
    found = keras.Model(inputs, x)
    for layer in model.layers:
        if layer.weights:
            found.get_layer(layer.name).set_weights(layer.get_weights())
    return found


def same(layer: Any, **changes: Any) -> Any:
    return type(layer).from_config({**layer.get_config(), **changes})


def with_stem_pad(layer: Any) -> list[Any]:
    """As tf.keras built the stem for a while."""
    if layer.name != "Conv1":
        return [same(layer)]
    pad = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name="Conv1_pad")
    return [pad, same(layer, padding="valid")]


def with_activation_layers(layer: Any) -> list[Any]:
    relu = isinstance(layer, keras.layers.ReLU)
    return [keras.layers.Activation("relu6", name=layer.name) if relu else same(layer)]


def save(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():  # the old format is "considered legacy"
        warnings.simplefilter("ignore", UserWarning)
        model.save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("file", ["m.h5", "m.keras"])
@pytest.mark.parametrize("change", [with_stem_pad, with_activation_layers])
def test_layers_of_other_ages(
    change: Callable[[Any], list[Any]], file: str, tmp_path: Path,
    ours: Fixture, pictures: Fixture, assert_same: Fixture,
) -> None:  # fmt: skip
    spec = published("keras", width=0.35, size=(64, 96), classes=7)
    original_model, _ = randomised(spec)
    model, x = rebuilt(original_model, change), pictures(spec.size)
    config, arrays = read_checkpoint(save(model, tmp_path / file))
    assert config.spec == spec
    expected = answers(model, x)
    for found in ours(config.spec, arrays, x):
        assert_same(found["logits"], expected)


def refused_swish(layer: Any) -> list[Any]:
    relu = isinstance(layer, keras.layers.ReLU)
    return [keras.layers.Activation("swish", name=layer.name) if relu else same(layer)]


def refused_slope(layer: Any) -> list[Any]:
    relu = isinstance(layer, keras.layers.ReLU)
    return [same(layer, negative_slope=0.1) if relu else same(layer)]


def refused_dilation(layer: Any) -> list[Any]:
    dilated = layer.name == "block_14_depthwise"
    return [same(layer, dilation_rate=[2, 2]) if dilated else same(layer)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (refused_swish, r"layer Conv1_relu \(Activation\) has activation 'silu'"),
        (refused_slope, r"layer Conv1_relu \(ReLU\) has negative_slope 0\.1"),
        (refused_dilation, r"layer block_14_depthwise \(DepthwiseConv2D\) has dilation_rate"),
    ],
)
def test_layers_that_mobilenetv2_does_not_have(
    change: Callable[[Any], list[Any]], message: str, tmp_path: Path
) -> None:
    model = rebuilt(original(published("keras", width=0.35, size=32, classes=3)), change)
    with pytest.raises(DialectError, match=message):
        read_checkpoint(save(model, tmp_path / "m.keras"))


def tuned(base: Any, how: str) -> Any:
    """A new classifier of 5 classes on a model without its top, as people write it."""
    end = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.3), keras.layers.Dense(5)]
    if how == "sequential":
        return keras.Sequential([keras.Input(base.input_shape[1:]), base, *end])
    if how == "flat":
        inputs, x = base.input, base.output
    else:
        inputs = keras.Input(base.input_shape[1:])
        base.trainable = False
        x = base(inputs, training=False)
    for layer in end:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["m.h5", "m.keras", "m.weights.h5"])
@pytest.mark.parametrize("how", ["flat", "nested", "sequential"])
def test_a_fine_tuned_model(
    how: str, file: str, tmp_path: Path, ours: Fixture, pictures: Fixture, assert_same: Fixture
) -> None:
    spec = published("keras", width=0.35, size=(64, 96), classes=5)
    full, _ = randomised(spec)
    base = original(spec, include_top=False)
    for layer in base.layers:
        layer.set_weights(full.get_layer(layer.name).get_weights() if layer.weights else [])
    model, x = tuned(base, how), pictures(spec.size)
    model.layers[-1].set_weights(full.layers[-1].get_weights())
    if file == "m.weights.h5":
        model.save_weights(tmp_path / file)
    else:
        save(model, tmp_path / file)
    config, arrays = read_checkpoint(tmp_path / file)
    if file != "m.weights.h5":
        assert config.spec == spec.replace(dropout=0.3)
    expected = answers(model, x)
    for found in ours(config.spec.replace(size=spec.size), arrays, x):
        assert_same(found["logits"], expected)


@pytest.mark.slow
def test_a_rescaling_in_the_model_becomes_preprocessing(
    tmp_path: Path, ours: Fixture, assert_same: Fixture
) -> None:
    spec = published("keras", width=0.35, size=64, classes=5)
    full, _ = randomised(spec)
    inputs = keras.Input((64, 64, 3))
    model = keras.Model(inputs, full(keras.layers.Rescaling(1 / 64, -2)(inputs)))
    config, arrays = read_checkpoint(save(model, tmp_path / "m.keras"))
    record = config.preprocessing
    assert (record.mean, record.std) == ((128.0,) * 3, (64.0,) * 3)
    pixels = np.random.default_rng(5).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    expected = answers(model, pixels)
    x = ((pixels - record.mean) / record.std).astype(np.float32)
    for found in ours(config.spec, arrays, x):
        assert_same(found["logits"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["m.h5", "m.keras"])
def test_the_articles_keras_version(
    file: str, tmp_path: Path, ours: Fixture, pictures: Fixture, assert_same: Fixture
) -> None:
    """Other names, an expansion in the first block, every padding written out."""
    model, x = article.MobileNetV2((64, 97, 3), classes=4, alpha=0.35), pictures((64, 97))
    drawn = random_arrays(model.spec)
    drawn["classifier.weight"] *= 4  # logits that vary
    article.load(model, drawn)
    config, arrays = read_checkpoint(save(model, tmp_path / file))
    assert config.spec.replace(rounding=model.spec.rounding) == model.spec
    expected = answers(model, x)
    for found in ours(config.spec, arrays, x):
        assert_same(found["logits"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("width", [*PUBLISHED_WIDTHS, *TRUNCATED_WIDTHS])
def test_every_shape_at_every_width(width: float) -> None:
    spec = published("keras", width=width, size=32)
    found = {name: array.shape for name, array in edition.dump(original(spec)).items()}
    assert found == parameter_shapes(spec)
    if width in TRUNCATED_WIDTHS:
        assert found != parameter_shapes(spec.replace(rounding="nearest"))


@pytest.mark.slow
def test_of_an_unknown_size_theirs_is_wrong_for_odd_ones_and_ours_is_not() -> None:
    spec = published("keras", width=0.35, size=(225, 225), classes=3)
    theirs = keras.applications.MobileNetV2(
        (None, None, 3), alpha=0.35, weights=None, include_top=False
    )
    x = np.zeros((1, 225, 225, 3), np.float32)
    assert theirs(x).shape[1:3] == (7, 7)
    ours = edition.build(spec, input_shape=(None, None), include_top=False)
    assert tuple(ours(x).shape[1:3]) == (8, 8) == resolve(spec).blocks[-1].out_size

"""What every edition keeps, whatever its framework: the same functions with the same numbers.

Keras runs on the backend that ``KERAS_BACKEND`` names; ``test_keras_backend`` runs this file once
more on every other. What is particular to a framework is in its own folder.
"""

import dataclasses
import os
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from heads import BLOCKS
from numpy.typing import NDArray
from PIL import Image
from short import short

from mobilenetv2.editions.edition import Edition, EditionName, find
from mobilenetv2.editions.keras_backend import choose
from mobilenetv2.errors import MissingExtra, MobileNetV2Error, SpecError, WeightsError
from mobilenetv2.images.preprocess import engine_input, normalise, preprocess
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.names import intermediate_names, parameter_shapes
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig, Origin

SMALL = NetworkSpec(width=0.1, size=(40, 33), classes=5, head_channels=24, dropout=0.3)
SHALLOW = SMALL.replace(stages=SMALL.stages[:2])
SAME = Numerics("same", 1e-3, 0.99, "old", running_variance="biased")
ANY_SIZE: dict[str, dict[str, Any]] = {"keras": {"input_shape": (None, None)}}
"""Options of an edition's ``build`` for a network that takes pictures of any size."""
ABSENT = {
    "torch": ("toaster", "PyTorch cannot use it here"),
    "keras": ("cuda", "chooses its device by itself; leave device out"),
    "jax": ("tpu", r"JAX cannot use it here .* try cpu"),
    "numpy": ("cuda", "NumPy computes on the CPU only"),
}
"""A device that an edition does not have here, and what is said of it."""
NAMES = get_args(EditionName)
JAX_SLOW = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "jax" else [], id=f"{name}_edition")
    for name in NAMES
]
"""Of tests that compile many networks, which takes JAX seconds each."""
Reference = Callable[[NetworkSpec], tuple[Arrays, NDArray, dict[str, NDArray]]]


@pytest.fixture(params=NAMES, ids=[f"{name}_edition" for name in NAMES])
def name(request: pytest.FixtureRequest) -> str:
    try:
        if request.param == "keras":
            choose(os.environ.get("KERAS_BACKEND", "tensorflow"))
        find(request.param)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    return str(request.param)


@pytest.fixture
def edition(name: str) -> Any:
    return find(name)


@contextmanager
def doubled(name: str) -> Iterator[None]:
    """JAX computes in float64 only where its configuration says so."""
    if name != "jax":
        yield
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def exact(name: str) -> bool:
    """Whether the edition computes in float64: Keras does on TensorFlow only."""
    return name != "keras" or os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"


def built(edition: Any, spec: NetworkSpec, arrays: Arrays, **options: Any) -> Any:
    network = edition.build(spec, **options)
    edition.load(network, arrays)
    return network


def assert_close(found: dict[str, NDArray], expected: dict[str, NDArray], share: float) -> None:
    """Every value within ``share`` of the largest of its tensor, or of 1."""
    for key, value in found.items():
        error = np.abs(value - expected[key]).max()
        assert error <= share * max(1, np.abs(expected[key]).max()), key


def test_every_intermediate_is_that_of_the_plain_reference(
    name: str, edition: Any, spec: NetworkSpec, reference: Reference
) -> None:
    """In float64, where a mistake cannot hide behind rounding."""
    arrays, x, expected = reference(spec)
    dtype = "float64" if exact(name) else "float32"
    with doubled(name):
        found = edition.intermediates(built(edition, spec, arrays, dtype=dtype), x)
    assert tuple(found) == intermediate_names(spec)
    assert {value.dtype for value in found.values()} == {np.dtype(dtype)}
    assert_close(found, expected, 1e-9 if exact(name) else 1e-4)


@pytest.mark.parametrize("name", JAX_SLOW, indirect=True)
def test_float32_stays_within_the_tolerance_of_the_project(
    edition: Any, spec: NetworkSpec, reference: Reference
) -> None:
    arrays, x, expected = reference(spec)
    found = edition.intermediates(built(edition, spec, arrays), x)
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    if spec.numerics.activation != "relu":  # unbounded: few blocks, and small numbers
        assert 0.5 < expected["logits"].std() < 20  # else nothing would be compared
    assert_close(found, expected, 1e-4)


@pytest.mark.parametrize("name", JAX_SLOW, indirect=True)
@pytest.mark.parametrize("numerics", [Numerics(), SAME], ids=["symmetric", "same"])
def test_one_network_takes_odd_and_even_sizes(
    name: str, edition: Any, numerics: Numerics, reference: Reference
) -> None:
    spec = short(SMALL.replace(numerics=numerics))
    dtype = "float64" if exact(name) else "float32"
    with doubled(name):
        network = built(edition, spec, random_arrays(spec), dtype=dtype, **ANY_SIZE.get(name, {}))
        for size in ((40, 33), (64, 64), (33, 47), (65, 32)):
            _, x, expected = reference(spec.replace(size=size))
            found = edition.intermediates(network, x)
            assert found["stem"].shape[1:3] == tuple(-(-side // 2) for side in size)
            assert_close(found, expected, 1e-9 if exact(name) else 1e-4)


def test_weights_go_in_and_come_out_bit_for_bit(
    edition: Any, spec: NetworkSpec, reference: Reference
) -> None:
    arrays, _, _ = reference(spec)
    network = built(edition, spec, arrays)
    found = edition.dump(network)
    assert {key: array.shape for key, array in found.items()} == parameter_shapes(spec)
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array, key)
        assert found[key].dtype == np.float32


def test_a_dump_is_a_copy_and_so_is_what_is_loaded(edition: Any) -> None:
    arrays = random_arrays(SHALLOW)
    network = built(edition, SHALLOW, arrays)
    dumped = edition.dump(network)
    arrays["stem.conv.weight"][:] = 7
    edition.dump(network)["stem.bn.mean"][:] = 7
    edition.load(network, edition.dump(network))
    for key, array in edition.dump(network).items():
        np.testing.assert_array_equal(array, dumped[key], key)
    edition.load(network, random_arrays(SHALLOW, seed=1))
    assert not np.array_equal(edition.dump(network)["stem.bn.mean"], dumped["stem.bn.mean"])
    np.testing.assert_array_equal(dumped["stem.bn.mean"], random_arrays(SHALLOW)["stem.bn.mean"])


def test_a_network_starts_as_its_initialisation_and_seed_say(
    edition: Any, spec: NetworkSpec
) -> None:
    started = edition.dump(edition.build(spec, "paper", seed=4))
    for key, array in initialise(parameter_shapes(spec), "paper", 4).items():
        np.testing.assert_array_equal(started[key], array, key)


def test_what_does_not_fit_is_named_and_nothing_is_loaded(edition: Any) -> None:
    network = built(edition, SHALLOW, random_arrays(SHALLOW))
    before, arrays = edition.dump(network), random_arrays(SHALLOW, seed=1)
    arrays["head.bn.men"] = arrays.pop("head.bn.mean")
    arrays["classifier.weight"] = arrays["classifier.weight"].T
    with pytest.raises(WeightsError) as caught:
        edition.load(network, arrays, "shoes.pth")
    assert str(caught.value).startswith("shoes.pth: ")
    assert str(caught.value).splitlines()[1:] == [
        "- head.bn.mean", "+ head.bn.men", "! classifier.weight: expected [5, 24], found [24, 5]",
    ]  # fmt: skip
    for key, array in edition.dump(network).items():
        np.testing.assert_array_equal(array, before[key], key)


def test_the_predictor_takes_pictures_in_any_batch(edition: Any) -> None:
    network = built(edition, SHALLOW, random_arrays(SHALLOW))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 33, 3), np.uint8)
    x = engine_input(pictures, network.config.preprocessing).transpose(0, 2, 3, 1)
    expected = edition.intermediates(network, x)
    for outputs in ("logits", "features"):
        if hasattr(network, "train"):  # a predictor puts it into evaluation mode
            network.train()
        predict = edition.predictor(network, outputs=outputs)
        found = predict(pictures)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[outputs], rtol=1e-4, atol=1e-4)
        single = np.concatenate([predict(pictures[index : index + 1]) for index in range(3)])
        np.testing.assert_allclose(single, found, rtol=1e-4, atol=1e-4)


def test_a_device_that_is_not_there_is_named(name: str, edition: Any) -> None:
    network = edition.build(SHALLOW)
    device, said = ABSENT[name]
    with pytest.raises(MobileNetV2Error, match=f"device={device!r}: .*{said}"):
        edition.predictor(network, device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "dtype 'float16' must be 'float32' or 'float64'"),
        ({"seed": -1}, "seed -1 must be a whole number, at least 0"),
    ],
)
def test_an_impossible_option_is_refused(
    edition: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        edition.build(SHALLOW, **options)


@pytest.mark.parametrize("kind", ["mobilenet-v1", "resnet-bottleneck", "wide"])
def test_blocks_that_it_does_not_have_are_refused_with_the_edition_that_does(
    name: str, edition: Any, kind: str
) -> None:
    spec = BLOCKS[kind]
    if name in ("torch", "numpy"):
        assert edition.build(spec).config.spec == spec
        return
    block = spec.stages[0].kind
    with pytest.raises(SpecError, match=f"the {name} edition does not have {block}.*torch"):
        edition.build(spec)


def test_a_config_stays_with_its_network(edition: Any) -> None:
    assert edition.build(SHALLOW).config.spec == SHALLOW


@pytest.mark.parametrize("name", JAX_SLOW, indirect=True)
def test_a_new_classifier_has_its_labels_and_the_seed_decides_its_weights(
    name: str, edition: Any
) -> None:
    arrays = random_arrays(SHALLOW)
    network = edition.reset_classifier(built(edition, SHALLOW, arrays), ["hat", "shoes"], seed=3)
    assert network.config.labels.names == ("hat", "shoes")
    assert edition.config_of(network) == network.config
    assert network.config.spec == SHALLOW.replace(classes=2)
    found = edition.dump(network)
    fresh = initialise(parameter_shapes(network.config.spec), "torchvision", 3)
    for key, array in found.items():
        expected = fresh if key.startswith("classifier.") else arrays
        np.testing.assert_array_equal(array, expected[key], key)
    assert edition.reset_classifier(network, 4).config.labels.names[-1] == "class 3"
    wrongs: tuple[Any, ...] = ("hat", [], -1, True)
    for wrong in wrongs:
        with pytest.raises(SpecError, match="class"):
            edition.reset_classifier(network, wrong)


def test_the_transform_gives_what_the_predictor_gives_the_network(
    name: str, edition: Any, tmp_path: Path
) -> None:
    network = built(edition, SHALLOW, random_arrays(SHALLOW))
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    record = network.config.preprocessing
    expected = normalise(preprocess(Image.fromarray(pixels), record), record)
    if name in ("torch", "numpy"):
        expected = expected.transpose(2, 0, 1)
    transform = pickle.loads(pickle.dumps(network.transform()))
    found = transform(tmp_path / "photo.png")
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_every_edition_has_what_the_protocol_lists(edition: Any) -> None:
    listed = {key for key in vars(Edition) if not key.startswith("_")}
    assert listed and all(callable(getattr(edition, key)) for key in listed)


def test_training_what_came_folded_warns(name: str, edition: Any) -> None:
    origin = Origin("net.tflite", folded=True)
    config = dataclasses.replace(ModelConfig.default(SHALLOW), origin=origin)
    network = edition.build(config)
    if name == "numpy":
        return  # it does not train
    with pytest.warns(UserWarning, match=r"is folded.*mobilenetv2\.train"):
        if name == "keras":  # nothing is called before its training
            edition.load(network, random_arrays(SHALLOW))
        else:
            network.train()


def test_an_unknown_edition_is_an_error_that_names_what_comes_near() -> None:
    with pytest.raises(MobileNetV2Error, match=r"edition 'troch' is unknown.*torch"):
        find("troch")


def test_an_edition_without_its_framework_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingExtra, match=r"jax.*install it with.*\[jax\]"):
        find("jax")

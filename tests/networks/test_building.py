"""Networks built of a spec, and converted from one framework to another."""

import subprocess
import sys
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
import torch

import mobilenetv2 as mn
from mobilenetv2.editions.numpy.network import MobileNetV2 as NumpyNetwork
from mobilenetv2.editions.torch.network import MobileNetV2 as TorchNetwork
from mobilenetv2.errors import SpecError, installing
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.networks.building import edition_of

SPEC = mn.published("small", width=0.1, classes=3)
SHALLOW = SPEC.replace(stages=SPEC.stages[:3])
EVERY = ("torch", "keras", "jax", "numpy")
needs_all = pytest.mark.skipif(
    not all(map(find_spec, ("keras", "flax"))), reason="keras and flax are not installed"
)


def test_a_spec_is_enough_and_options_go_to_the_edition() -> None:
    torch.manual_seed(0)
    usual = mn.build(mn.NetworkSpec(width=0.35, classes=5, size=(64, 96)))
    assert usual.config.labels.names == tuple(f"class {index}" for index in range(5))
    assert usual.config.preprocessing.size == (64, 96)
    paper = mn.build(usual.config, initialisation="paper")
    # TF-slim starts linear layers with a standard deviation of 0.09, torchvision with 0.01.
    deviation = [
        float(network.state_dict()["classifier.weight"].std()) for network in (usual, paper)
    ]
    assert deviation[1] > 5 * deviation[0]


def filled(edition: Any, **options: Any) -> Any:
    """A network of an edition with random weights and statistics."""
    from mobilenetv2.editions.edition import find

    network = mn.build(SHALLOW, edition, **options)
    find(edition).load(network, random_arrays(SHALLOW))
    return network


def logits(network: Any) -> Any:
    from mobilenetv2.editions.edition import find

    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    return find(edition_of(network)).intermediates(network, x)["logits"]


@needs_all
@pytest.mark.slow
def test_every_edition_is_converted_to_every_other_and_saved(tmp_path: Path) -> None:
    networks = {edition: filled(edition) for edition in EVERY}
    expected = logits(filled("numpy", dtype="float64"))
    assert 0.5 < expected.std() < 20
    limit = 1e-5 * max(1, np.abs(expected).max())
    for one, other in permutations(EVERY, 2):
        made = mn.convert(networks[one], other)
        assert edition_of(made) == other and made.config == networks[one].config
        assert np.abs(logits(made) - expected).max() <= limit, (one, other)
    for edition, network in networks.items():
        mn.save(network, tmp_path / edition)
        config, arrays = store.load(tmp_path / edition)
        assert config == mn.ModelConfig.default(SHALLOW)
        assert all(np.array_equal(arrays[n], a) for n, a in random_arrays(SHALLOW).items())


def test_conversion_keeps_every_digit_of_float64() -> None:
    network = filled("torch", dtype="float64")
    with torch.no_grad():
        network.state_dict()["classifier.bias"][0] = 1 + 2**-40
    assert mn.convert(network, "numpy").arrays["classifier.bias"][0] == 1
    kept = mn.convert(network, "numpy", dtype="float64").arrays["classifier.bias"]
    assert kept.dtype == np.float64 and kept[0] == 1 + 2**-40


@pytest.mark.parametrize("edition", ["torch", "numpy"])
def test_an_impossible_option_is_an_error_in_every_verb(edition: Any, tmp_path: Path) -> None:
    network = filled("numpy")
    mn.save(network, tmp_path / "m")
    cases: tuple[tuple[Any, str], ...] = (
        ({"seed": -1}, "seed -1 must be a whole number, at least 0"),
        ({"dtype": "float16"}, "dtype 'float16' must be 'float32' or 'float64'"),
    )
    for options, message in cases:
        with pytest.raises(mn.MobileNetV2Error, match=message):
            mn.build(SHALLOW, edition, **options)
        with pytest.raises(mn.MobileNetV2Error, match=message):
            mn.load(tmp_path / "m", edition, **options)
        with pytest.raises(mn.MobileNetV2Error, match=message):
            mn.load(tmp_path / "m", edition, classes=2, **options)
        with pytest.raises(mn.MobileNetV2Error, match=message):
            mn.convert(network, edition, **options)


@needs_all
@pytest.mark.slow
@pytest.mark.parametrize("edition", ["keras", "jax"])
def test_the_other_editions_check_their_options_too(edition: Any) -> None:
    with pytest.raises(mn.MobileNetV2Error, match="seed -1 must be"):
        mn.build(SHALLOW, edition, seed=-1)
    with pytest.raises(mn.MobileNetV2Error, match="dtype 'float16' must be"):
        mn.build(SHALLOW, edition, dtype="float16")  # type: ignore[call-overload]


@pytest.mark.slow
def test_a_keras_model_read_from_a_file_says_that_it_lacks_its_config(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
    filled("keras").save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    for verb in (lambda: mn.convert(again, "numpy"), lambda: mn.save(again, tmp_path / "m")):
        with pytest.raises(mn.MobileNetV2Error, match=r"set its .config to the ModelConfig of the"):
            verb()
    again.config = mn.ModelConfig.default(SHALLOW)
    assert np.array_equal(logits(mn.convert(again, "numpy")), logits(filled("numpy")))


def test_the_articles_network_is_named_with_the_way_to_its_weights(tmp_path: Path) -> None:
    from mobilenetv2.editions.article.torch import MobileNetV2

    refuse_article(MobileNetV2(3), "torch", tmp_path)
    named = "a torch.nn.modules.linear.Linear is not a network .*import_checkpoint"
    with pytest.raises(mn.MobileNetV2Error, match=named):
        mn.convert(torch.nn.Linear(2, 2), "numpy")


@pytest.mark.slow
def test_the_articles_keras_model_is_named_too(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="keras is not installed (extra: keras)")
    from mobilenetv2.editions.article.keras import MobileNetV2

    network = MobileNetV2((32, 32, 3), 3, 0.35)
    refuse_article(network, "keras", tmp_path)
    network.config = mn.ModelConfig.default(network.spec)
    refuse_article(network, "keras", tmp_path)
    x = keras.Input((3,))
    with pytest.raises(mn.MobileNetV2Error, match="Functional is not a network of an edition"):
        mn.convert(keras.Model(x, keras.layers.Dense(2)(x)), "numpy")


def refuse_article(network: Any, framework: str, folder: Path) -> None:
    message = rf"the article.s implementation.*2.editions.article.{framework}.dump\(network\)"
    for verb in (
        lambda: mn.save(network, folder / "m"),
        lambda: mn.convert(network, "numpy"),
        lambda: edition_of(network),
    ):
        with pytest.raises(mn.MobileNetV2Error, match=message):
            verb()
    assert list(folder.iterdir()) == []


def test_another_edition_or_no_model_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(mn.MobileNetV2Error, match=r"edition 'kera' is unknown; .*keras"):
        mn.build(SPEC, edition="kera")
    with pytest.raises(mn.MobileNetV2Error, match="nothing: no such model folder"):
        mn.load(tmp_path / "nothing")
    with pytest.raises(mn.MobileNetV2Error, match=r"not a model folder, it has no config.json"):
        mn.load(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm", r"not 'timm'; create_model\('timm'\) takes a name"),
        ({"width": 1.0}, "build takes a NetworkSpec or a ModelConfig, not {"),
        (None, "not None"),
    ],
)
def test_only_a_spec_is_built(spec: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        mn.build(spec)
    with pytest.raises(SpecError, match=message):
        mn.build(spec, "numpy")


def test_every_edition_has_its_own_class() -> None:
    """mypy reads this one, too."""
    assert_type(mn.build(SPEC), TorchNetwork)
    assert_type(mn.build(SPEC, "numpy", seed=1), NumpyNetwork)
    plain = mn.convert(mn.build(SPEC), "numpy")
    assert_type(plain, NumpyNetwork)
    assert isinstance(plain, NumpyNetwork) and isinstance(mn.build(SPEC), TorchNetwork)
    chosen: str = "numpy"
    assert mn.build(SPEC, chosen).config.spec == SPEC


def test_importing_loads_no_framework_and_building_without_one_says_what_to_install() -> None:
    script = """
import sys
import mobilenetv2 as mn
assert not {"torch", "numpy", "PIL", "tensorflow", "jax"} & set(sys.modules), "loaded"
sys.modules["torch"] = None  # as if it were not installed
try:
    mn.build(mn.NetworkSpec())
except mn.MobileNetV2Error as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "torch is not installed" in run.stdout
    assert installing(["torch"]) in run.stdout

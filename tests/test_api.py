"""The three verbs of the Python interface."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mobilenetv2 as mn
from mobilenetv2.weights import store
from mobilenetv2.weights.canonical import random_arrays

SPEC = mn.published("small", width=0.1, classes=3)


def test_a_network_is_built_saved_and_loaded_again(tmp_path: Path) -> None:
    labels = mn.Labels(("ant", "bee", "cat"))
    config = mn.ModelConfig(SPEC, mn.Preprocessing.default(SPEC), labels, metrics={"a.b": 0.5})
    network = mn.build(config).train()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32))
    network(x)  # moves the running statistics
    mn.save(network, tmp_path / "saved")
    again = mn.load(str(tmp_path / "saved"))
    assert again.config == config
    assert not again.training
    with torch.inference_mode():
        expected, found = network.eval()(x), again(x)
    assert torch.equal(found, expected)
    assert float(expected.std()) > 0


def test_a_spec_is_enough_and_options_go_to_the_edition() -> None:
    torch.manual_seed(0)
    usual = mn.build(mn.NetworkSpec(width=0.35, classes=5, size=(64, 96)))
    assert usual.config.labels.names == tuple(f"class {index}" for index in range(5))
    assert usual.config.preprocessing.size == (64, 96)
    paper = mn.build(usual.config, initialisation="paper")
    # TF-slim starts linear layers with a standard deviation of 0.09, torchvision with 0.01.
    deviation = [float(network.classifier.weight.detach().std()) for network in (usual, paper)]
    assert deviation[1] > 5 * deviation[0]


def test_saving_replaces_a_folder_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    network = mn.build(SPEC)
    mn.save(network, folder)
    (folder / "old").write_text("")
    before = (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        network.classifier.bias[1] = float("nan")
    with pytest.raises(
        mn.MobileNetV2Error, match=r"classifier.bias has values that are not finite"
    ):
        mn.save(network, folder)
    assert (folder / "model.safetensors").read_bytes() == before and (folder / "old").exists()
    with torch.no_grad():
        network.classifier.bias[1] = 0.0
    mn.save(network, folder)
    assert not (folder / "old").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_loading_gives_the_stored_numbers(tmp_path: Path) -> None:
    arrays = random_arrays(SPEC)
    store.save(tmp_path / "m", mn.ModelConfig.default(SPEC), arrays)
    state = mn.load(tmp_path / "m").state_dict()
    np.testing.assert_array_equal(state["head.bn.running_var"], arrays["head.bn.variance"])
    np.testing.assert_array_equal(state["classifier.weight"], arrays["classifier.weight"])


def test_another_edition_or_no_model_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(mn.MobileNetV2Error, match=r"edition 'kera' is unknown; .*keras"):
        mn.build(SPEC, edition="kera")  # type: ignore[arg-type]
    with pytest.raises(mn.MobileNetV2Error, match="nothing: no such model folder"):
        mn.load(tmp_path / "nothing")
    with pytest.raises(mn.MobileNetV2Error, match=r"not a model folder, it has no config.json"):
        mn.load(tmp_path)


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
    assert "pip install 'mobilenetv2[torch]'" in run.stdout

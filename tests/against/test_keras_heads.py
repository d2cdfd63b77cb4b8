"""Heads that people put on MobileNetV2 in Keras: each is computed as in Keras, or refused aloud."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

pytest.importorskip("keras", reason="Keras is not installed (extra: keras; make test-all)")
pytest.importorskip("tensorflow")
pytest.importorskip("h5py")

from mobilenetv2.checkpoints.importer import ImportOptions, read_checkpoint
from mobilenetv2.editions import numpy as edition
from mobilenetv2.errors import DialectError
from mobilenetv2.images.preprocess import normalise
from mobilenetv2.model.outputs import probabilities
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec
from mobilenetv2.spec.records import Labels

pytestmark = pytest.mark.slow
HIDDEN = ClassifierSpec(hidden=(HiddenSpec(128, dropout=0.5),))
LOGIT = ClassifierSpec(outputs="logit")
RIGHT = {
    "plain": ClassifierSpec(),
    "teachable_machine": ClassifierSpec(hidden=(HiddenSpec(100),), bias=False),
    "hidden_dense": HIDDEN,
    "mask_detector": HIDDEN,
    "average_pool_flatten": ClassifierSpec(),
    "max_pool": ClassifierSpec("max"),
    "tutorial_logit": LOGIT,
    "tutorial_sigmoid": LOGIT,
    "tutorial_softmax": ClassifierSpec(),
    "preprocess_input": ClassifierSpec(),
    "rescale_255": ClassifierSpec(),
    "softmax_layer": ClassifierSpec(),
    "multi_label": ClassifierSpec(outputs="sigmoid"),
}
REFUSED = {
    "flatten": "11,520 values",
    "dense_per_position": "relu at every position",
    "one_softmax": "softmax over one output",
}
FED = {"pixels": (0.0, 1.0), "unit": (127.5, 127.5), "plain": (0.0, 255.0)}
"""Mean and standard deviation with which the author of a case feeds the whole model."""


MAKE = """
import runpy, sys
import tensorflow as tf

class NotNeeded:
    def from_keras_model(*_):
        raise NotImplementedError

tf.lite.TFLiteConverter = NotNeeded
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""
"""Runs the script without its .tflite files, which no test here reads: they take most of its time.

The script goes on where TensorFlow cannot convert a case.
"""


@pytest.fixture(scope="module")
def cases(shared_case: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cases' files; MOBILENETV2_KERAS_HEADS is a folder where they were made before."""
    if made := os.environ.get("MOBILENETV2_KERAS_HEADS"):
        return Path(made)
    script, base = shared_case("keras_heads.py"), tmp_path_factory.getbasetemp()
    # The processes of one run share what takes minutes to make.
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "keras-heads"
    with FileLock(f"{out}.lock"):
        if not (out / "made").is_file():
            words = [sys.executable, "-c", MAKE, str(script), str(out)]
            subprocess.run(words, check=True, capture_output=True)
            (out / "made").touch()
    return out


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", RIGHT)
def test_a_head_is_computed_as_in_keras(name: str, suffix: str, cases: Path) -> None:
    config, arrays = read_checkpoint(cases / f"{name}{suffix}")
    stored = np.load(cases / f"{name}.npz")
    assert config.spec.classifier == RIGHT[name]
    network = edition.build(config)
    edition.load(network, arrays)
    x = normalise(stored["pictures"], config.preprocessing)
    logits = edition.intermediates(network, x)["logits"]
    found, expected = probabilities(logits, RIGHT[name].outputs), stored["answers"]
    if name == "tutorial_logit":
        expected = 1 / (1 + np.exp(-expected))
    if RIGHT[name] == LOGIT:
        assert config.spec.classes == 2
        found = found[:, 1:]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    feeds = str(stored["feeds"])
    if feeds != "pixels":
        assert (config.preprocessing.mean[0], config.preprocessing.std[0]) == FED[feeds]


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", REFUSED)
def test_other_heads_are_refused_and_their_bodies_imported(
    name: str, suffix: str, cases: Path
) -> None:
    path = cases / f"{name}{suffix}"
    with pytest.raises(DialectError, match=rf"{REFUSED[name]}.*body=True"):
        read_checkpoint(path)
    config, arrays = read_checkpoint(path, ImportOptions(body=True))
    assert config.origin is not None and config.origin.untrained_classifier
    assert config.spec.classes == (1000 if name == "one_softmax" else 3)
    labels = Labels(("hat", "shoes"))
    named, same = read_checkpoint(path, ImportOptions(body=True, labels=labels))
    assert named.labels == labels and named.spec.classes == 2
    np.testing.assert_array_equal(arrays["head.conv.weight"], same["head.conv.weight"])

"""A new classifier: other classes, everything else as it was."""

import numpy as np

from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.initialisation import replace_classifier
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig


def test_the_classifier_is_new_and_the_rest_is_not() -> None:
    spec = published("tf-slim", width=0.1, size=(40, 33), classes=6, head_channels=24)
    old, arrays = ModelConfig.default(spec), random_arrays(spec)
    before = dict(arrays)
    config, changed = replace_classifier(old, arrays, Labels(("cat", "dog", "owl")), "paper", 3)
    assert config.labels.names == ("cat", "dog", "owl")
    assert (config.spec.classes, config.spec.background) == (3, None)
    assert {n: a.shape for n, a in changed.items()} == parameter_shapes(config.spec)
    assert 0.05 < changed["classifier.weight"].std() < 0.1  # of TF-slim's 0.09, truncated
    assert not changed["classifier.bias"].any()
    for name in before.keys() - {"classifier.weight", "classifier.bias"}:
        assert changed[name] is before[name]
    assert arrays.keys() == before.keys() and all(arrays[n] is a for n, a in before.items())
    config, changed = replace_classifier(old, arrays, 4)
    assert config.labels.names[-1] == "class 3" and changed["classifier.bias"].shape == (4,)
    assert np.isclose(changed["classifier.weight"].std(), 0.01, rtol=0.2)

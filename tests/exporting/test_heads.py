"""Every head through every format, compared with the NumPy edition as ``export`` itself compares.

Other blocks go through every format but Keras's, which comes from the Keras edition and has
inverted blocks only; PyTorch's edition is what they are compared with.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from heads import BLOCKS, HEADS, with_head

from mobilenetv2.editions import torch as edition
from mobilenetv2.errors import SpecError
from mobilenetv2.exporting.job import Options, reload, writer_of
from mobilenetv2.exporting.verify import Reference
from mobilenetv2.formats import FORMATS
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.predictor import load_artifact
from mobilenetv2.spec.records import ModelConfig

QUICK = frozenset({"onnx", "litert"})
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FORMATS]


def installed(name: str) -> None:
    for package in FORMATS[name].packages:
        pytest.importorskip(package, reason=f"{package} is not installed (extra: export)")


def require_described(name: str, made: Path, config: ModelConfig) -> None:
    """A file that is read for an engine has passed the comparison with its config."""
    if FORMATS[name].readable:
        assert load_artifact(made).config.spec == config.spec


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_the_plain_editions(name: str, head: str, tmp_path: Path) -> None:
    installed(name)
    spec = with_head(head, 64)
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    made = tmp_path / f"m{FORMATS[name].suffix or '.made'}"
    writer_of(FORMATS[name])(config, arrays, made, Options())
    require_described(name, made, config)
    reference = Reference(config, arrays, sample_pictures(config.preprocessing))
    comparison = reference.compare(reload(FORMATS[name], made), "float32")
    assert comparison.passed, comparison
    assert comparison.largest > 0.1


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("name", NAMES)
def test_other_blocks_are_the_torch_editions(name: str, kind: str, tmp_path: Path) -> None:
    installed(name)
    spec = BLOCKS[kind]
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    write, made = writer_of(FORMATS[name]), tmp_path / f"m{FORMATS[name].suffix or '.made'}"
    if name == "keras" and kind != "relu projections":
        with pytest.raises(SpecError, match="the torch and numpy editions do"):
            write(config, arrays, made, Options())
        return
    write(config, arrays, made, Options())
    require_described(name, made, config)
    x = engine_input(sample_pictures(config.preprocessing), config.preprocessing)
    network = edition.build(spec, dtype="float64")
    edition.load(network, arrays)
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(x).double()).numpy()
    found = reload(FORMATS[name], made).run(x, "logits")
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())

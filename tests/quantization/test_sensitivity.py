"""Each part alone in eight bits: the figures, and which part is found to be the worst."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from graph_forms import sources
from PIL import Image

from mobilenetv2.errors import DataError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.quantization import sensitivity
from mobilenetv2.quantization.post_training import Settings
from mobilenetv2.quantization.sensitivity import Sensitivity, compare, measure, save
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.spec.records import ModelConfig

STAGES = (StageSpec(1, 16, 1, 1), StageSpec(6, 24, 2, 2), StageSpec(6, 32, 1, 1))
SPEC = NetworkSpec(width=0.5, size=(32, 32), classes=4, stages=STAGES, stem_stride=1)
PICTURES = np.random.default_rng(0).integers(0, 256, (6, *SPEC.size, 3), np.uint8)


def test_the_figures_are_those_of_the_definition() -> None:
    exact = np.array([[3.0, 1.0], [0.0, 2.0]])
    found = compare("stem", exact, exact + np.array([[0.0, 0.1], [0.1, 0.0]]))
    assert found.signal_to_noise == pytest.approx(10 * math.log10(14 / 0.02))
    assert found.agreement == 1
    assert compare("stem", exact, exact[::-1]).agreement == 0
    assert compare("stem", exact, exact).signal_to_noise == math.inf


def test_a_layer_that_loses_its_quiet_channels_is_the_worst() -> None:
    arrays = random_arrays(SPEC)
    # One channel takes all of the scale, and who reads it hears it no louder for that.
    name, reader = "blocks.3.project", "head"
    weight, read = arrays[f"{name}.conv.weight"].copy(), arrays[f"{reader}.conv.weight"].copy()
    weight[0] *= 100
    read[:, 0] /= 100
    arrays |= {f"{name}.conv.weight": weight, f"{reader}.conv.weight": read}
    settings = Settings("min-max", equalise=False)
    found = measure(ModelConfig.default(SPEC), arrays, PICTURES, settings)
    assert [row.name for row in found][:3] == ["input", "stem", "blocks.0.depthwise"]
    assert set(sources(SPEC)) <= {row.name for row in found}
    worst = min(found, key=lambda row: row.signal_to_noise)
    assert worst.name == name


def test_corrected_biases_count_for_the_layer_whose_weights_are_rounded() -> None:
    config, arrays = ModelConfig.default(SPEC), random_arrays(SPEC)

    def total(correct: bool) -> float:
        settings = Settings("min-max", equalise=False, correct_biases=correct, per_channel=False)
        rows = measure(config, arrays, PICTURES, settings)
        return sum(10 ** (-row.signal_to_noise / 10) for row in rows)

    assert total(True) < 0.9 * total(False)


def test_picture_and_figures_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: torch)")
    rows = [Sensitivity(f"blocks.{i}.project", 20.0 + i, 0.9) for i in range(20)]
    save([Sensitivity("input", math.inf, 1.0), *rows], tmp_path)
    records = json.loads((tmp_path / "sensitivity.json").read_text("utf-8"))
    assert records[0] == {"part": "input", "signal_to_noise_db": None, "agreement": 1.0}
    assert records[1] == {"part": "blocks.0.project", "signal_to_noise_db": 20.0, "agreement": 0.9}
    with Image.open(tmp_path / "sensitivity.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 1:] < 90).all(-1)
    blue = (pixels[..., 2] > 150) & (pixels[..., 0] < 90)
    assert 0 < red.sum() < blue.sum()
    # The worst are at the top, where the network begins.
    assert np.nonzero(red)[0].mean() < np.nonzero(blue)[0].mean()


def test_without_pictures_it_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one image"):
        measure(ModelConfig.default(SPEC), random_arrays(SPEC), PICTURES[:0])


def test_few_pictures_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "PICTURES", 2)
    found = measure(ModelConfig.default(SPEC), random_arrays(SPEC), PICTURES)
    assert {row.agreement for row in found} <= {0.0, 0.5, 1.0}

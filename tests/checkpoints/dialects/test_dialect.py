"""A dialect's way there and back, and what it cannot say."""

import dataclasses

import numpy as np
import pytest

from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.checkpoints.dialects.dialect import COMPUTED, COUNTER
from mobilenetv2.checkpoints.dialects.slim import AVERAGE, averaged
from mobilenetv2.errors import DialectError
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import PUBLISHED, published


@pytest.mark.parametrize("name", registry.DIALECTS)
def test_decoding_undoes_encoding_bit_for_bit(name: str) -> None:
    dialect = registry.find(name)
    spec = dialect.bases[0].replace(width=0.35, classes=7, background=None)
    arrays = random_arrays(spec)
    foreign = dialect.encode(spec, arrays)
    counters = {key for key in foreign if key.endswith(COUNTER)}
    assert bool(counters) == dialect.counters
    assert all(dialect.ignores(key) for key in counters)
    back = dialect.decode(spec, foreign)
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[key], arrays[key]) for key in arrays)
    assert registry.detect(foreign, "f") is dialect


def test_every_dialect_says_which_numerics_it_has() -> None:
    groups = {
        name: tuple(getattr(dialect.numerics, field) for field in COMPUTED)
        for name, dialect in registry.DIALECTS.items()
    }
    pytorch, tensorflow = ("symmetric", 1e-5, "relu6"), ("same", 1e-3, "relu6")
    assert groups == {
        "torchvision": pytorch, "timm": pytorch, "tonylins": pytorch, "d-li14": pytorch,
        "article": pytorch, "keras": tensorflow, "tf-slim": tensorflow, "huggingface": tensorflow,
    }  # fmt: skip


def test_what_is_computed_otherwise_is_named_unless_its_files_can_say_it() -> None:
    spec = published("keras")
    assert registry.find("tf-slim").other_numerics(spec) == {}
    assert registry.find("timm").other_numerics(spec) == {
        "padding": ("same", "symmetric"), "epsilon": (1e-3, 1e-5),
    }  # fmt: skip
    relu = spec.replace(numerics=dataclasses.replace(spec.numerics, activation="relu"))
    assert registry.find("keras").other_numerics(relu) == {"activation": ("relu", "relu6")}
    assert registry.find("huggingface").other_numerics(relu) == {}


def test_preprocessing_is_the_publishers_at_the_networks_size_and_channels() -> None:
    spec = published("huggingface", size=(96, 128))
    assert registry.find("huggingface").preprocessing(spec).resize == (128, 160)
    grey = published("timm", size=64, input_channels=1)
    record = registry.find("timm").preprocessing(grey)
    assert (record.channels, record.size, record.interpolation) == (1, (64, 64), "bicubic")
    assert record.mean == pytest.approx((114.495,))
    slim = registry.find("tf-slim").preprocessing(published("tf-slim", input_channels=1))
    assert (slim.mean, slim.std) == ((127.5,), (127.5,))


def test_slims_averages_take_the_place_of_what_they_average() -> None:
    name = "MobilenetV2/Conv/weights"
    found = averaged({name: np.ones(1), name + AVERAGE: np.zeros(1), "other": np.ones(1)})
    assert found[name] == 0 and found["other"] == 1
    slim = registry.find("tf-slim")
    dropped = ("global_step", name + AVERAGE, f"{name}/RMSProp", f"{name}/RMSProp_1")
    assert all(slim.ignores(key) for key in dropped) and not slim.ignores(name)


def test_families_are_published_and_names_are_the_command_lines() -> None:
    from mobilenetv2.cli.parser import DIALECTS

    assert set(DIALECTS) == set(registry.NAMES)
    for dialect in registry.DIALECTS.values():
        assert all(family in PUBLISHED for family in dialect.families)
    with pytest.raises(DialectError, match="did you mean 'torchvision'"):
        registry.find("torchvison")

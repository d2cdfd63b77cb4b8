"""Comparisons that notice: an engine that is the network passes, one that is nearly it does not."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenetv2.editions import numpy as plain
from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting.verify import Exporter, Reference
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.images.preprocess import engine_input
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.engine import Engine, Output
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(CONFIG, random_arrays(SPEC), sample_pictures(CONFIG.preprocessing))


@dataclasses.dataclass
class Plain(Engine):
    """The plain edition in float32, with an error added to one logit of one picture."""

    takes_pictures: bool = False
    error: float = 0.0
    at: int = 0
    outputs: tuple[str, ...] = ("logits",)

    def run(self, x: NDArray, output: Output) -> NDArray:
        network = plain.build(CONFIG, dtype="float32")
        plain.load(network, random_arrays(SPEC))
        if self.takes_pictures:
            assert x.dtype == np.uint8 and x.shape[1:] == (*SPEC.size, 3)
            x = engine_input(x, CONFIG.preprocessing)
        found = network(x)
        found[self.at, 0] += self.error
        return found


@pytest.mark.parametrize("takes_pictures", [False, True])
def test_the_network_itself_passes(reference: Reference, takes_pictures: bool) -> None:
    found = reference.compare(Plain(takes_pictures), "float32")
    assert found.passed and found.relative < 1e-5
    assert (found.photos, found.random, found.same_top1) == (4, 2, 4)
    assert found.deviation > 0.1


@pytest.mark.parametrize("where", range(6))
def test_one_wrong_logit_of_one_picture_fails(reference: Reference, where: int) -> None:
    found = reference.compare(Plain(error=1e-2, at=where), "float32")
    assert not found.passed and found.difference == pytest.approx(1e-2, rel=0.01)
    assert reference.compare(Plain(error=5e-3, at=where), "float16").passed


def test_a_file_outside_the_tolerance_is_kept_only_by_its_flag(reference: Reference) -> None:
    wrong, none = (
        reference.compare(Plain(error=error), "float32") for error in (1e-2, float("nan"))
    )
    said = Exporter(reference).refusal(wrong)
    assert "its logits differ" in said and "keep_inexact=True" in said
    assert Exporter(reference, keep_inexact=True).refusal(wrong) == ""
    assert not wrong.to_dict()["passed"]
    for keep in (False, True):  # what is no number is never kept
        assert "keep_inexact" not in Exporter(reference, keep).refusal(none) != ""


def test_what_is_not_a_number_fails(reference: Reference) -> None:
    found = reference.compare(Plain(error=float("nan")), "bfloat16")
    assert not found.passed and found.to_dict()["max_abs_difference"] is None


def test_another_number_of_outputs_is_an_error(reference: Reference) -> None:
    class Short(Plain):
        def run(self, x: NDArray, output: Output) -> NDArray:
            return super().run(x, output)[:, :3]

    with pytest.raises(ArtifactError, match=r"its logits have shape \[6, 3\], not \[6, 4\]"):
        reference.compare(Short(), "float32")

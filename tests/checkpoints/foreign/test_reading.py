"""Facts by the format that the ending says."""

from pathlib import Path

import pytest
from foreign_networks import Foreign

from mobilenetv2.checkpoints.foreign.reading import read_facts
from mobilenetv2.errors import WeightsError


def test_the_ending_says_the_format() -> None:
    data = Foreign().model().SerializeToString()
    assert read_facts(data, Path("net.ONNX")).format == "onnx"
    with pytest.raises(WeightsError, match=r"^net\.tflite: not a LiteRT file"):
        read_facts(data, Path("net.tflite"))

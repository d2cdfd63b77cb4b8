"""Metadata of ONNX files: texts that are read as data, and what is none is passed over."""

import pytest

from mobilenetv2.checkpoints.foreign.onnx_metadata import Metadata
from mobilenetv2.spec.records import Labels

ULTRALYTICS = {"author": "Ultralytics", "task": "classify", "imgsz": "[24, 32]"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Normalized_0_1", ((0.0,) * 3, (255.0,) * 3)),
        ("Normalized_1_1", ((127.5,) * 3, (127.5,) * 3)),
        ("NominalRange_0_255", ((0.0,) * 3, (1.0,) * 3)),
        ("other", None),
    ],
)
def test_the_range_of_pixels(text: str, expected: object) -> None:
    assert Metadata({"Image.NominalPixelRange": text}).normalisation(3)[0] == expected


def test_ultralytics_size_fit_and_range() -> None:
    said = Metadata(ULTRALYTICS)
    assert (said.size, said.fit) == ((24, 32), "cover")
    assert said.normalisation(1) == (((0.0,), (255.0,)), "its metadata (author Ultralytics)")
    detector = Metadata({**ULTRALYTICS, "task": "detect"})
    assert (detector.fit, detector.normalisation(3)) == (None, (None, ""))
    assert Metadata({"imgsz": "[0, 9]"}).size is None


def test_colours_names_and_licence() -> None:
    said = Metadata({"Image.BitmapPixelFormat": "Bgr8", "names": "{0: 'a', 1: 'b'}"})
    assert said.bgr and not Metadata({}).bgr
    assert said.labels(2) == (Labels(("a", "b")), "its metadata 'names'")
    assert said.labels(3) == (None, "") and said.licence is None
    assert Metadata({"license": "MIT"}).licence == "MIT"

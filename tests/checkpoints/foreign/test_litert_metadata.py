"""Google's metadata in LiteRT files: what our own writer writes is read again."""

import io
import zipfile

import pytest
import tflite

from mobilenetv2.checkpoints.foreign.litert_metadata import archived_texts, read_metadata
from mobilenetv2.errors import WeightsError
from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig, Origin, Preprocessing

SPEC = published("small", width=0.1, classes=4)
RECORD = Preprocessing(SPEC.size, SPEC.size, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
CONFIG = ModelConfig(SPEC, RECORD, ModelConfig.default(SPEC).labels, Origin("here", licence="MIT"))


def data() -> bytes:
    return write_litert(lower(CONFIG, random_arrays(SPEC)))


def test_normalisation_labels_and_licence_are_read() -> None:
    found = read_metadata(tflite.Model.GetRootAs(data(), 0))
    assert (found.mean, found.std) == (RECORD.mean, RECORD.std)
    assert found.label_files == ("labels.txt",) and found.licence == "MIT"


def test_texts_behind_the_model_are_read() -> None:
    texts = archived_texts(data())
    assert texts["labels.txt"].split("\n")[0] == "class 0"
    assert archived_texts(b"no archive") == {}


def test_a_damaged_list_is_an_error() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("labels.txt", b"\xff\xfe\xff")
    with pytest.raises(WeightsError, match="list of labels"):
        archived_texts(file.getvalue())

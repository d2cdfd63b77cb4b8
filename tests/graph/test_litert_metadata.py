"""The metadata read back by field numbers, as the published schema has them, and by Google's reader
where it is installed."""

import dataclasses
import io
import zipfile
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite
from flatbuffers import number_types as types
from flatbuffers.table import Table
from graph_forms import Form
from heads import BLOCKS, with_head

from mobilenetv2.graph.litert import write_litert
from mobilenetv2.graph.litert_metadata import LABELS, NAME, metadata
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig, Origin

SPEC = published("small", width=0.1, classes=4)
CONFIG = dataclasses.replace(
    ModelConfig.default(SPEC), origin=Origin("trained here", licence="Apache-2.0")
)


class Reader:
    """A table; fields by number."""

    def __init__(self, data: bytes, position: int) -> None:
        self.table = Table(data, position)

    def offset(self, field: int) -> int:
        found = int(self.table.Offset(4 + 2 * field))
        return found and found + self.table.Pos

    def text(self, field: int) -> str:
        return bytes(self.table.String(self.offset(field))).decode()

    def byte(self, field: int) -> int:
        place = self.offset(field)
        return int(self.table.Get(types.Uint8Flags, place)) if place else 0

    def inner(self, field: int) -> "Reader":
        return Reader(self.table.Bytes, self.table.Indirect(self.offset(field)))

    def list(self, field: int) -> "list[Reader]":
        if not self.offset(field):
            return []
        start = self.table.Vector(self.offset(field) - self.table.Pos)
        count = self.table.VectorLen(self.offset(field) - self.table.Pos)
        places = [self.table.Indirect(start + 4 * index) for index in range(count)]
        return [Reader(self.table.Bytes, place) for place in places]

    def floats(self, field: int) -> Any:
        return self.table.GetVectorAsNumpy(types.Float32Flags, self.offset(field) - self.table.Pos)


def root(data: bytes) -> Reader:
    return Reader(data, flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0))


def test_it_says_normalisation_and_labels_where_the_schema_has_them() -> None:
    data = metadata(CONFIG, ("logits", "features"))
    assert data[4:8] == b"M001"
    model = root(data)
    assert model.text(5) == "Apache-2.0"
    (graph,) = model.list(3)
    (given,) = graph.list(2)
    content = given.inner(3)
    assert (content.byte(0), content.inner(1).byte(0)) == (2, 1)  # ImageProperties: RGB
    (unit,) = given.list(4)
    assert unit.byte(0) == 1  # NormalizationOptions
    record = CONFIG.preprocessing
    for field, values in ((0, record.mean), (1, record.std)):
        np.testing.assert_array_equal(unit.inner(1).floats(field), np.array(values, np.float32))
    logits, features = graph.list(3)
    assert (logits.text(0), features.text(0)) == ("logits", "features")
    (file,) = logits.list(6)
    assert (file.text(0), file.byte(2)) == (LABELS, 2)  # TENSOR_AXIS_LABELS
    assert features.list(6) == []


def test_probabilities_have_labels_and_lie_from_0_to_1_and_pictures_are_raw() -> None:
    data = metadata(CONFIG, ("probabilities",), pictures=True)
    (graph,) = root(data).list(3)
    (given,), (made,) = graph.list(2), graph.list(3)
    (unit,) = given.list(4)
    assert [unit.inner(1).floats(field).tolist() for field in (0, 1)] == [[0.0] * 3, [1.0] * 3]
    assert made.text(0) == "probabilities" and "softmax" in made.text(1)
    (file,) = made.list(6)
    assert (file.text(0), file.byte(2)) == (LABELS, 2)
    assert [made.inner(5).floats(field).tolist() for field in (0, 1)] == [[1.0], [0.0]]


@pytest.mark.parametrize(
    ("spec", "network", "logits", "features"),
    [
        (SPEC, "MobileNetV2", "One number a class, before the softmax.", "mean"),
        (BLOCKS["mobilenet-v1"], "MobileNetV1", "before the softmax", "mean"),
        (with_head("max pooling"), "MobileNetV2", "before the softmax", "maximum"),
        (with_head("sigmoid"), "MobileNetV2", "sigmoid gives each class its own", "mean"),
        (with_head("one logit"), "MobileNetV2", "the probability of the second", "mean"),
    ],
)
def test_it_names_the_network_and_what_it_gives(
    spec: NetworkSpec, network: str, logits: str, features: str
) -> None:
    model = root(metadata(ModelConfig.default(spec), ("logits", "features")))
    first, second = model.list(3)[0].list(3)
    assert model.text(0) == network and logits in first.text(1)
    assert second.text(1) == f"Input of the classifier: the {features} over the last map."


@pytest.mark.parametrize("head", ["sigmoid", "one logit"])
def test_every_output_has_one_label(head: str) -> None:
    config = ModelConfig.default(spec := with_head(head))
    with zipfile.ZipFile(io.BytesIO(write_litert(lower(config, random_arrays(spec))))) as archive:
        names = archive.read(LABELS).decode().splitlines()
    assert names == [f"class {i}" for i in range(spec.classes)][-spec.logits :]


def test_a_grey_picture_is_greyscale() -> None:
    grey = ModelConfig.default(SPEC.replace(input_channels=1))
    (graph,) = root(metadata(grey)).list(3)
    content = graph.list(2)[0].inner(3)
    assert content.inner(1).byte(0) == 2


def test_the_model_lists_it_with_one_entry_for_each_output() -> None:
    for form, outputs in ((Form(), 1), (Form(features=True), 2)):
        model = tflite.Model.GetRootAs(form.litert(lower(CONFIG, random_arrays(SPEC))), 0)
        (entry,) = [model.Metadata(index) for index in range(model.MetadataLength())]
        assert entry.Name() == NAME.encode()
        raw = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
        (graph,) = root(raw).list(3)
        assert len(graph.list(3)) == outputs == model.Subgraphs(0).OutputsLength()


def test_googles_own_classifier_takes_a_file_with_one_mean_for_all_channels() -> None:
    """MediaPipe says of others that per-channel normalisation is not available there."""
    reason = "mediapipe is not installed (no extra has it)"
    mediapipe = pytest.importorskip("mediapipe", reason=reason)
    python = pytest.importorskip("mediapipe.tasks.python", reason=reason)
    vision = python.vision
    record = dataclasses.replace(CONFIG.preprocessing, mean=(127.5,) * 3, std=(127.5,) * 3)
    config = dataclasses.replace(CONFIG, preprocessing=record)
    options = vision.ImageClassifierOptions(
        base_options=python.BaseOptions(
            model_asset_buffer=write_litert(lower(config, random_arrays(SPEC)))
        ),
        max_results=1,
    )
    picture = np.zeros((*SPEC.size, 3), np.uint8)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
        (best,) = classifier.classify(image).classifications[0].categories
    assert best.category_name in CONFIG.labels.names

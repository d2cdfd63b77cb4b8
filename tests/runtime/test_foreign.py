"""Foreign ONNX and LiteRT files, run as they are: the answers of the network itself."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign_networks import Foreign
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.errors import ArtifactError, MobileNetV2Error, SpecError, WeightsError
from mobilenetv2.formats import engines_of
from mobilenetv2.graph.litert import CONFIG, write_litert
from mobilenetv2.graph.lowering import lower
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.model.outputs import logits_of
from mobilenetv2.runtime.foreign import (
    create_engine,
    is_foreign,
    known_artifact,
    read_artifact,
    typed,
)
from mobilenetv2.runtime.loading import load_model
from mobilenetv2.spec.foreign import ForeignConfig, Given
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

PHOTO = Image.fromarray(np.random.default_rng(5).integers(0, 256, (61, 45, 3), np.uint8))
"""A photo of another shape than the network's picture, 24 x 32."""
MEAN, STD = (np.array(v) for v in (Preprocessing().mean, Preprocessing().std))
IMAGENET: Callable[[NDArray], NDArray] = lambda x: (x - MEAN) / STD  # noqa: E731


def stretched(size: tuple[int, int] = (24, 32)) -> NDArray:
    height, width = size
    return np.asarray(PHOTO.resize((width, height), Image.Resampling.BILINEAR), np.float64)


@pytest.mark.parametrize(
    ("network", "feed"),
    [
        (Foreign(), IMAGENET),
        (Foreign(last="Softmax"), IMAGENET),
        (Foreign(last="divided"), IMAGENET),
        (Foreign(last="Sigmoid"), IMAGENET),
        (Foreign(classes=1, last="Sigmoid"), IMAGENET),
        (Foreign(classes=1), IMAGENET),
        (Foreign(batch=1), IMAGENET),
        (Foreign(batch=3), IMAGENET),
        (Foreign(layout="NHWC"), lambda x: x / 127.5 - 1),
        (Foreign(layout="NHWC", scaling=(("Mul", 1 / 255),)), lambda x: x),
        (Foreign(scaling=(("Div", 127.5), ("Sub", 1.0))), lambda x: x),
        (Foreign(scaling=(("Sub", 0.45), ("Div", 0.225))), lambda x: x / 255),
        (Foreign(scaling=(("Mul", 2.0), ("Sub", 1.0))), lambda x: x / 255),
        (Foreign(scaling=(("Sub", 110.0),)), lambda x: x),
        (Foreign(dtype=TensorProto.UINT8, scaling=(("Mul", 1 / 255),)), lambda x: x),
        (Foreign(dtype=TensorProto.UINT8, layout="NHWC", scaling=(("Mul", 1 / 255),)), lambda x: x),
        (Foreign(dtype=TensorProto.DOUBLE), IMAGENET),
        (Foreign(metadata={"Image.NominalPixelRange": "Normalized_0_1"}), lambda x: x / 255),
        (Foreign(metadata={"Image.BitmapPixelFormat": "Bgr8"}), lambda x: IMAGENET(x)[..., ::-1]),
    ],
    ids=lambda value: repr(value) if isinstance(value, Foreign) else "",
)
def test_answers_are_those_of_the_network(
    network: Foreign, feed: Callable[[NDArray], NDArray], tmp_path: Path
) -> None:
    path = network.write(tmp_path / "net.onnx")
    classify = mn.Classifier(path)
    answers = [answer.probabilities for answer in classify([PHOTO] * 4)]
    for found in answers:
        np.testing.assert_allclose(found, network.answer(feed(stretched())), rtol=0, atol=1e-5)


def test_what_was_assumed_is_told_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mn.Classifier(Foreign(last="Softmax").write(tmp_path / "net.onnx"))
    said = capsys.readouterr().err
    for part in (
        "net.onnx: a file of another program", "24 x 32", "5 classes", "assumed", "preprocessing",
        "photos stretched", "resize", "red, green, blue", "probabilities", "Softmax", "labels",
    ):  # fmt: skip
        assert part in said, part


def test_the_user_decides(tmp_path: Path) -> None:
    network = Foreign()
    path = network.write(tmp_path / "net.onnx")
    names = ["a", "b", "c", "d", "e"]
    (tmp_path / "names.csv").write_text("\n".join(f"{n},{i}" for i, n in enumerate(names)), "utf-8")
    classify = mn.Classifier(
        path, labels=tmp_path / "names.csv", preprocessing="0..1", resize="cover"
    )
    assert classify.labels == tuple(names)
    covered = PHOTO.resize((32, 43), Image.Resampling.BILINEAR).crop((0, 10, 32, 34))
    expected = network.answer(np.asarray(covered, np.float64) / 255)
    np.testing.assert_allclose(classify(PHOTO).probabilities, expected, rtol=0, atol=2e-3)
    record = Preprocessing((24, 32), (24, 32), "stretch", mean=(1.0,) * 3, std=(9.0,) * 3)
    found = mn.Classifier(path, labels=names, preprocessing=record)(PHOTO).probabilities
    np.testing.assert_allclose(found, network.answer((stretched() - 1) / 9), rtol=0, atol=1e-5)


def test_labels_come_from_metadata_or_from_beside(tmp_path: Path) -> None:
    names = {i: f"thing {i}" for i in range(5)}
    for at, text in enumerate((str(names), json.dumps(names), json.dumps(list(names.values())))):
        path = Foreign(metadata={"names": text}).write(tmp_path / f"{at}.onnx")
        assert mn.Classifier(path).labels == tuple(names.values())
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n", "utf-8")
    assert mn.Classifier(Foreign().write(tmp_path / "net.onnx")).labels == ("a", "b", "c", "d", "e")
    assert mn.Classifier(Foreign(classes=2).write(tmp_path / "two.onnx")).labels == (
        "class 0", "class 1",
    )  # fmt: skip


def test_ultralytics_says_how_it_is_fed(tmp_path: Path) -> None:
    said = {"author": "Ultralytics", "task": "classify", "imgsz": "[24, 32]"}
    network = Foreign(last="Softmax", size=("h", "w"), metadata=said)
    config = load_model(network.write(tmp_path / "net.onnx")).config
    assert config.size == (24, 32) and config.preprocessing.fit == "cover"
    assert config.preprocessing.std == (255.0,) * 3


def test_a_wrong_number_of_labels_names_both(tmp_path: Path) -> None:
    path = Foreign().write(tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match=r"net\.onnx: 2 labels .* 5 classes"):
        mn.Classifier(path, labels=["a", "b"])


def test_options_are_for_foreign_files_only(model: Path) -> None:
    with pytest.raises(ArtifactError, match=r"labels and preprocessing.*labels and resize only"):
        mn.Classifier(model, labels=["a"], resize="stretch")


def test_a_batch_that_the_graph_holds_inside_is_found(tmp_path: Path) -> None:
    model = Foreign(batch="n").model()
    nodes = [*model.graph.node[:-1]]
    shape = onnx.numpy_helper.from_array(np.array([1, 5], np.int64), "shape")
    model.graph.initializer.append(shape)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, helper.make_node("Reshape", ["logits", "shape"], ["answer"])])
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    config = load_model(tmp_path / "net.onnx").config
    assert isinstance(config, ForeignConfig) and config.batch == 1
    assert len(mn.Classifier(tmp_path / "net.onnx")([PHOTO] * 3)) == 3


def headless(folder: Path, **metadata: str) -> Path:
    """Write a network that ends in pooled activated values, one for each colour."""
    model = Foreign(classes=3, metadata=metadata).model()
    del model.graph.node[1:]
    model.graph.node.extend([
        helper.make_node("Relu", ["real"], ["activated"]),
        helper.make_node("GlobalAveragePool", ["activated"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["answer"]),
    ])  # fmt: skip
    (folder / "body.onnx").write_bytes(model.SerializeToString())
    return folder / "body.onnx"


def test_a_network_without_a_classifier_gives_features_and_no_classes(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = headless(tmp_path)
    PHOTO.save(tmp_path / "photo.png")
    for call in (
        lambda: mn.Classifier(path),
        lambda: mn.predict(tmp_path / "photo.png", model=path),
        lambda: mn.evaluate(path, photos),
        lambda: mn.benchmark(path, data=photos, runtime="onnxruntime", seconds=0.05),
    ):
        with pytest.raises(SpecError, match=r"body\.onnx: .*without a classifier.*3 features"):
            call()
    (found,) = mn.predict(tmp_path / "photo.png", model=path, features=True)
    assert found.error is None
    expected = np.maximum(IMAGENET(stretched()), 0).mean((0, 1))
    np.testing.assert_allclose(found.features, expected, rtol=0, atol=1e-4)
    assert "3 features" in capsys.readouterr().err


def test_pooled_values_with_names_are_classes(tmp_path: Path) -> None:
    path = headless(tmp_path)
    assert mn.Classifier(path, labels=["a", "b", "c"]).labels == ("a", "b", "c")
    path = headless(tmp_path, names="['d', 'e', 'f']")
    assert mn.Classifier(path).labels == ("d", "e", "f")


def test_a_softmax_over_one_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="a softmax over one output"):
        mn.Classifier(Foreign(classes=1, last="Softmax").write(tmp_path / "net.onnx"))


def test_answers_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    path = Foreign(scaling=(("Mul", float("inf")),)).write(tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match=r"net\.onnx: .*not finite"):
        mn.Classifier(path)


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    """PyTorch's exporter writes them so."""
    network, path = Foreign(), tmp_path / "net.onnx"
    onnx.save(
        network.model(), str(path), save_as_external_data=True, location="w", size_threshold=0
    )
    found = mn.Classifier(path)(PHOTO).probabilities
    expected = network.answer(IMAGENET(stretched()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    config = read_artifact(path, Given()).config
    assert known_artifact(path, config) is not None
    values = bytearray((tmp_path / "w").read_bytes())
    values[3] ^= 1
    (tmp_path / "w").write_bytes(values)
    assert known_artifact(path, config) is None  # other weights are another network
    (tmp_path / "w").unlink()
    with pytest.raises(WeightsError, match=r"net\.onnx: .*'w', which is not there"):
        mn.Classifier(path)


def test_foreign_operators_are_refused(tmp_path: Path) -> None:
    model = Foreign().model()
    model.graph.node[0].domain = "my.operators"
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"'Cast' of the operator set 'my\.operators'"):
        mn.Classifier(tmp_path / "b.onnx")


def test_an_explanation_needs_one_of_ours(tmp_path: Path) -> None:
    with pytest.raises(MobileNetV2Error, match="weights import"):
        mn.explain(PHOTO, Foreign().write(tmp_path / "net.onnx"))


@pytest.mark.slow
def test_it_is_evaluated_and_reported(photos: Path, tmp_path: Path) -> None:
    path = Foreign(classes=3).write(tmp_path / "net.onnx")
    names = sorted(folder.name for folder in photos.iterdir())
    found = mn.evaluate(path, photos, labels=names, report=tmp_path / "report")
    assert found.images == 36
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "ONNX file of another program" in page and "photos stretched to the network" in page


def test_it_is_benchmarked(photos: Path, tmp_path: Path) -> None:
    path = Foreign(classes=3, last="Softmax").write(tmp_path / "net.onnx")
    names = sorted(folder.name for folder in photos.iterdir())
    found = mn.benchmark(
        path, runtime="onnxruntime", batch=(1, 2), seconds=0.05, data=photos, labels=names
    )
    (row,) = found.rows
    assert not row.error and row.agreement is not None and row.agreement.same == 36


def test_a_benchmark_takes_weights_beside_the_file_in(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = Foreign(classes=3, last="Softmax").model()
    onnx.save(model, str(path), save_as_external_data=True, location="w", size_threshold=0)
    found = mn.benchmark(path, runtime="onnxruntime", batch=1, seconds=0.05, data=photos,
                         labels=["ball", "box", "triangle"])  # fmt: skip
    (row,) = found.rows
    assert not row.error and row.agreement is not None and row.agreement.same == 36


def test_a_file_that_is_the_same_keeps_its_config(tmp_path: Path) -> None:
    path = Foreign().write(tmp_path / "net.onnx")
    config = read_artifact(path, Given()).config
    known = known_artifact(path, config)
    assert known is not None and known.config == config
    Foreign(classes=4).write(path)
    assert known_artifact(path, config) is None


@pytest.mark.parametrize("runtime", engines_of("onnx"))
def test_every_runtime_of_onnx_answers_the_same(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    network = Foreign(last="Softmax", layout="NHWC")
    path = network.write(tmp_path / "net.onnx")
    found = mn.Classifier(path, runtime=runtime)(PHOTO).probabilities
    np.testing.assert_allclose(found, network.answer(stretched() / 127.5 - 1), rtol=0, atol=1e-4)


def test_our_own_litert_file_without_its_archive_is_a_foreign_one(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    spec = published("small", width=0.1, classes=4)
    labels = Labels(("a", "b", "c", "d"))
    config = ModelConfig(spec, Preprocessing.default(spec), labels)
    data = write_litert(lower(config, random_arrays(spec)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = min(entry.header_offset for entry in archive.infolist())
        assert CONFIG in archive.namelist()
    path, own = tmp_path / "net.tflite", tmp_path / "own.tflite"
    path.write_bytes(data[:start])
    own.write_bytes(data)
    assert is_foreign(path) and not is_foreign(own)
    x = np.random.default_rng(0).integers(0, 256, (2, *spec.size, 3), np.uint8)
    loaded = load_model(path)
    np.testing.assert_allclose(loaded.predict(x), load_model(own).predict(x), rtol=0, atol=1e-4)
    record = loaded.config.preprocessing
    # The metadata in the flatbuffer has the normalisation; the crop is nowhere.
    assert np.allclose(record.mean, config.preprocessing.mean) and record.fit == "stretch"
    own.write_bytes(data[:-30])  # a damaged file of ours is not taken for a foreign one
    assert not is_foreign(own)


@pytest.mark.parametrize(("classes", "last"), [(5, "Softmax"), (5, "Sigmoid"), (1, "Sigmoid")])
def test_probabilities_become_the_same_logits_in_every_engine(
    classes: int, last: str, tmp_path: Path
) -> None:
    """Certain ones, too: a bias of 200 gives exactly 1."""
    model = Foreign(classes=classes, last=last).model()
    (bias,) = (t for t in model.graph.initializer if t.name == "bias")
    values = onnx.numpy_helper.to_array(bias) + np.float32(200) * (np.arange(classes) == 0)
    bias.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), "bias"))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    artifact = read_artifact(tmp_path / "net.onnx", Given())
    x = np.zeros((1, 3, 24, 32), np.float32)
    logits = create_engine(artifact, "onnxruntime", None).run(x, "logits")
    certain = logits_of(np.eye(1, classes, dtype=np.float32), artifact.config.outputs)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits[0, 0], certain[0, 0], rtol=1e-6)


def test_values_are_rounded_to_what_a_graph_takes() -> None:
    x = np.array([-3.0, 0.5, 1.5, 254.6, 300.0], np.float32)
    assert typed(x, np.dtype("uint8")).tolist() == [0, 0, 2, 255, 255]
    assert typed(x, np.dtype("float16")).dtype == np.float16


@pytest.mark.parametrize("name", ["tf2_mobilenet_v2_1.0_224_ptq.tflite",
                                  "mobilenet_v2_1.0_224_inat_bird_quant.tflite"])  # fmt: skip
def test_a_mobilenetv2_is_fed_as_an_import_of_it_is(
    name: str, public_folder: Callable[[str], Path]
) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra: litert)")
    path = public_folder("published") / name
    imported = read_checkpoint(path)[0]
    found = read_artifact(path, Given()).config
    assert found.preprocessing == imported.preprocessing
    assert imported.preprocessing.resize == (256, 256)  # as its publisher measured it
    assert any("as an import" in note for note in found.notes)
    asked = read_artifact(path, Given(resize="stretch")).config.preprocessing
    assert (asked.fit, asked.resize) == ("stretch", (224, 224))

"""Networks out: round trips bit for bit, and what a dialect cannot say is an error that helps."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from heads import HEADS, with_head

from mobilenetv2.checkpoints.description import digest, read_sidecar, sidecar_path
from mobilenetv2.checkpoints.exporter import express_in, write_checkpoint
from mobilenetv2.checkpoints.importer import read_checkpoint
from mobilenetv2.errors import ArtifactError, DialectError
from mobilenetv2.model.arrays import Arrays, random_arrays
from mobilenetv2.spec.names import is_classifier
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Numerics
from mobilenetv2.spec.published import KERAS, PUBLISHED, SLIM, published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing

PYTORCH_SPEC = published("torchvision", width=0.35, classes=5, size=64)
SLIM_SPEC = published("tf-slim", width=0.35, classes=5, size=64, background=None)
PHOTOS = Preprocessing((64, 64), (80, 80), mean=(1.0, 2.0, 3.0), std=(50.0, 60.0, 70.0))
NAMES = Labels(("hat", "shoe", "shirt", "skirt", "dress"))


def config_of(spec: NetworkSpec) -> ModelConfig:
    return ModelConfig(spec, PHOTOS, NAMES, metrics={"validation.top1": 0.9})


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize(
    ("dialect", "file"),
    [
        ("torchvision", "m.safetensors"), ("timm", "m.safetensors"), ("d-li14", "m.safetensors"),
        pytest.param("torchvision", "m.pth", marks=pytest.mark.slow),
        pytest.param("d-li14", "m.pt", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_round_trip_within_pytorchs_group_is_bit_for_bit(
    dialect: str, file: str, tmp_path: Path
) -> None:
    config, arrays = config_of(PYTORCH_SPEC), random_arrays(PYTORCH_SPEC)
    made = write_checkpoint(config, arrays, dialect, tmp_path / file)
    assert made.paths == (tmp_path / file, tmp_path / f"{file}.json")
    found, back = read_checkpoint(tmp_path / file)
    assert same(back, arrays)
    # What a state dict cannot say came along beside it.
    assert (found.labels, found.preprocessing, found.metrics) == (NAMES, PHOTOS, config.metrics)
    assert found.spec == PYTORCH_SPEC


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dialect", "file"),
    [("keras", "m.h5"), ("keras", "m.weights.h5"), ("keras", "m.keras"), ("tf-slim", "m.ckpt"),
     ("huggingface", "hub")],
)  # fmt: skip
def test_a_round_trip_within_tensorflows_group_is_bit_for_bit(
    dialect: str, file: str, tmp_path: Path
) -> None:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra: keras)")
    config, arrays = config_of(SLIM_SPEC), random_arrays(SLIM_SPEC)
    write_checkpoint(config, arrays, dialect, tmp_path / file)
    found, back = read_checkpoint(tmp_path / file)
    assert same(back, arrays)
    assert (found.labels, found.preprocessing) == (NAMES, PHOTOS)
    assert found.spec.numerics.epsilon == 1e-3 and found.spec.numerics.padding == "same"


@pytest.mark.slow
def test_through_every_dialect_of_a_group_and_back(tmp_path: Path) -> None:
    """torchvision > timm > d-li14 > torchvision, each read off the other's file alone."""
    config, arrays = config_of(PYTORCH_SPEC), random_arrays(PYTORCH_SPEC)
    for step, dialect in enumerate(("torchvision", "timm", "d-li14", "torchvision")):
        path = tmp_path / f"{step}.safetensors"
        write_checkpoint(config, arrays, dialect, path)
        sidecar_path(path).unlink()
        config, arrays = read_checkpoint(path)
    assert same(arrays, random_arrays(PYTORCH_SPEC))


def test_hugging_faces_files_are_its_own(tmp_path: Path) -> None:
    write_checkpoint(config_of(SLIM_SPEC), random_arrays(SLIM_SPEC), "huggingface", tmp_path / "h")
    config = json.loads((tmp_path / "h" / "config.json").read_text())
    assert config["model_type"] == "mobilenet_v2" and config["depth_multiplier"] == 0.35
    assert config["id2label"]["4"] == "dress" and config["label2id"]["dress"] == 4
    assert (config["tf_padding"], config["layer_norm_eps"]) == (True, 1e-3)
    assert config["classifier_dropout_prob"] == 0.2
    preprocessor = json.loads((tmp_path / "h" / "preprocessor_config.json").read_text())
    assert preprocessor["size"] == {"shortest_edge": 80}
    assert preprocessor["image_mean"] == pytest.approx([1 / 255, 2 / 255, 3 / 255])


def test_what_came_from_hugging_face_goes_back_with_its_published_dropout(tmp_path: Path) -> None:
    theirs = dataclasses.replace(config_of(SLIM_SPEC), origin=Origin("h", dialect="huggingface"))
    write_checkpoint(theirs, random_arrays(SLIM_SPEC), "huggingface", tmp_path / "h")
    assert (
        json.loads((tmp_path / "h" / "config.json").read_text())["classifier_dropout_prob"] == 0.8
    )
    found, _ = read_checkpoint(tmp_path / "h")
    assert found.spec.dropout == 0.2


def test_other_numerics_are_refused_with_the_way_out_or_ignored_on_the_record(
    tmp_path: Path,
) -> None:
    config, arrays = config_of(SLIM_SPEC), random_arrays(SLIM_SPEC)
    out = tmp_path / "m.safetensors"
    with pytest.raises(DialectError) as caught:
        write_checkpoint(config, arrays, "torchvision", out)
    message = str(caught.value)
    assert "padding same -> symmetric, epsilon 0.001 -> 1e-05" in message
    assert "keras, tf-slim, huggingface" in message and "give ignore_numerics=True" in message
    assert not any(tmp_path.iterdir())
    made = write_checkpoint(config, arrays, "torchvision", out, ignore_numerics=True)
    assert any("Numerics ignored on the way to torchvision" in note for note in made.notes)
    found, back = read_checkpoint(out)
    assert same(back, arrays)
    assert found.spec.numerics.padding == "symmetric" and found.spec.numerics.epsilon == 1e-5
    beside = read_sidecar(out)
    assert beside is not None and beside.origin is not None
    assert "padding same -> symmetric" in beside.origin.note


def test_hugging_face_can_say_other_numerics(tmp_path: Path) -> None:
    write_checkpoint(
        config_of(PYTORCH_SPEC), random_arrays(PYTORCH_SPEC), "huggingface", tmp_path / "h"
    )
    found, _ = read_checkpoint(tmp_path / "h")
    assert found.spec.numerics.padding == "symmetric" and found.spec.numerics.epsilon == 1e-5


@pytest.mark.parametrize(
    ("spec", "dialect", "difference"),
    [
        (published("small", width=0.35), "torchvision", "stages, stem_stride"),
        (published("article-torch"), "timm", "shortcut, expand, conv_bias"),
        (published("tonylins", width=0.75), "keras", "rounding, stem_fixed, first_stage_fixed"),
        (published("mobilenet-v1"), "keras", "stages"),
        (PYTORCH_SPEC.replace(stages=PYTORCH_SPEC.stages[:3]), "timm", "stages"),
    ],
)
def test_a_network_that_a_dialect_does_not_have(
    spec: NetworkSpec, dialect: str, difference: str
) -> None:
    with pytest.raises(DialectError, match=f"{dialect} has no such network.*{difference}"):
        express_in(ModelConfig.default(spec), dialect)


def test_what_training_there_would_do_otherwise_is_said() -> None:
    keras = published("keras", width=0.35, size=64)
    notes = express_in(ModelConfig.default(keras), "tf-slim").notes
    assert "tf-slim's own model has a dropout of 0.2, not 0" in notes
    assert "trained on in tf-slim, BatchNorm's statistics move by 0.003 a batch, not 0.001" in notes
    assert KERAS.update_rate == 0.001 and SLIM.update_rate == 0.003


def test_files_of_the_wrong_ending_and_existing_ones(tmp_path: Path) -> None:
    config, arrays = config_of(PYTORCH_SPEC), random_arrays(PYTORCH_SPEC)
    with pytest.raises(DialectError, match=r"a torchvision file ends in \.pth or \.pt or"):
        write_checkpoint(config, arrays, "torchvision", tmp_path / "m.h5")
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"mine")
    with pytest.raises(
        ArtifactError, match=r": exists already; choose another path, or give overwrite=True"
    ):
        write_checkpoint(config, arrays, "torchvision", out)
    assert out.read_bytes() == b"mine"
    write_checkpoint(config, arrays, "torchvision", out, overwrite=True)
    assert read_checkpoint(out)[0].labels == NAMES
    with pytest.raises(DialectError, match="dialect 'pytorch' is unknown"):
        express_in(config, "pytorch")


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    config, arrays = config_of(PYTORCH_SPEC), random_arrays(PYTORCH_SPEC)
    for name in ("a.safetensors", "b.safetensors"):
        write_checkpoint(config, arrays, "timm", tmp_path / name)
    assert digest(tmp_path / "a.safetensors") == digest(tmp_path / "b.safetensors")


def test_numerics_that_only_training_sees_are_no_obstacle() -> None:
    numerics = Numerics("symmetric", 1e-5, 0.01)
    made = express_in(ModelConfig.default(PYTORCH_SPEC.replace(numerics=numerics)), "timm")
    assert made.config.spec.numerics == numerics
    assert any("move by 0.1 a batch, not 0.01" in note for note in made.notes)


def test_folded_batch_norms_are_known_again(tmp_path: Path) -> None:
    """Trained on as they are they would destroy the network, so that it is never forgotten."""
    from mobilenetv2.model.arrays import identity_batch_norm, is_folded

    arrays = random_arrays(SLIM_SPEC)
    assert not is_folded(arrays)
    for name in [name.removesuffix(".bn.shift") for name in arrays if name.endswith(".bn.shift")]:
        arrays |= identity_batch_norm(name, arrays[f"{name}.bn.shift"], 1e-3)
    write_checkpoint(config_of(SLIM_SPEC), arrays, "huggingface", tmp_path / "h")
    found, _ = read_checkpoint(tmp_path / "h")
    assert found.origin is not None and found.origin.folded


@pytest.mark.parametrize("spec", [PYTORCH_SPEC, published("small", width=0.35, classes=5, size=64)])
def test_onnx_takes_any_network_and_keeps_every_bit(spec: NetworkSpec, tmp_path: Path) -> None:
    config, arrays = config_of(spec), random_arrays(spec)
    write_checkpoint(config, arrays, "onnx", tmp_path / "m.onnx")
    found, back = read_checkpoint(tmp_path / "m.onnx")
    assert same(back, arrays)
    assert (found.spec, found.labels, found.preprocessing) == (spec, NAMES, PHOTOS)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_any_head_comes_back_from_a_graph_that_says_it(
    name: str, head: str, tmp_path: Path
) -> None:
    config = ModelConfig.default(spec := with_head(head))
    arrays, out = random_arrays(spec), tmp_path / f"m.{'tflite' if name == 'litert' else name}"
    write_checkpoint(config, arrays, name, out)
    found, back = read_checkpoint(out)
    assert found.spec == spec
    assert all(np.array_equal(back[n], arrays[n]) for n in arrays if is_classifier(n))


def test_litert_keeps_what_the_network_computes(tmp_path: Path) -> None:
    """BatchNorm is folded there: other tensors, the same network."""
    from mobilenetv2.editions import numpy as plain

    config, arrays = config_of(SLIM_SPEC), random_arrays(SLIM_SPEC)
    write_checkpoint(config, arrays, "litert", tmp_path / "m.tflite")
    found, back = read_checkpoint(tmp_path / "m.tflite")
    assert found.labels == NAMES and found.origin is not None and found.origin.folded
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    logits = []
    for spec, weights in ((SLIM_SPEC, arrays), (found.spec, back)):
        network = plain.build(spec)
        plain.load(network, weights)
        logits.append(plain.intermediates(network, x)["logits"])
    assert np.abs(logits[0] - logits[1]).max() <= 1e-4 * max(1, np.abs(logits[0]).max())


def test_a_folder_with_anything_else_in_it_is_not_replaced(tmp_path: Path) -> None:
    config, arrays = config_of(SLIM_SPEC), random_arrays(SLIM_SPEC)
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="would be lost") as caught:
        write_checkpoint(config, arrays, "huggingface", tmp_path / "h", overwrite=True)
    assert str(caught.value.filename).endswith("thesis.txt")
    assert (tmp_path / "h" / "thesis.txt").read_text() == "mine"
    (tmp_path / "h" / "thesis.txt").unlink()
    write_checkpoint(config, arrays, "huggingface", tmp_path / "h", overwrite=True)
    write_checkpoint(config, arrays, "huggingface", tmp_path / "h", overwrite=True)


def test_what_hugging_face_would_do_otherwise_is_said() -> None:
    slim = ModelConfig(SLIM_SPEC, PUBLISHED["tf-slim"].at((64, 64)), NAMES)
    notes = express_in(slim, "huggingface").notes
    assert "huggingface cannot describe the resizing of photos here; its own is similar" in notes
    # Its code has the momentum in the wrong convention.
    assert any("statistics move by 0.997 a batch, not 0.003" in note for note in notes)
    assert not any(
        "resized" in note for note in express_in(config_of(SLIM_SPEC), "huggingface").notes
    )


def test_the_way_out_is_one() -> None:
    with pytest.raises(DialectError) as caught:
        express_in(ModelConfig.default(published("mobilenet-v1")), "timm")
    assert "onnx" not in str(caught.value)
    with pytest.raises(DialectError, match=r"differs in projection$"):
        express_in(ModelConfig.default(published("torchvision", projection="relu")), "timm")
    with pytest.raises(DialectError, match=r"dialect='onnx' takes any MobileNetV2"):
        express_in(ModelConfig.default(published("small")), "timm")


@pytest.mark.slow
def test_a_slim_checkpoint_keeps_its_sidecar_by_any_of_its_names(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed (extra: keras)")
    config, arrays = config_of(SLIM_SPEC), random_arrays(SLIM_SPEC)
    out = tmp_path / "slim" / "m.ckpt"
    write_checkpoint(config, arrays, "tf-slim", out)
    names = (out, out.with_name("m.ckpt.index"), out.with_name("m.ckpt.data-00000-of-00001"),
             out.parent)  # fmt: skip
    for path in names:
        found, back = read_checkpoint(path)
        assert found.labels == NAMES and same(back, arrays), path
    write_checkpoint(config, arrays, "tf-slim", out, overwrite=True)
    assert read_checkpoint(out)[0].labels == NAMES


@pytest.mark.parametrize("name", ["max pooling", "hidden 128", "one logit"])
def test_a_head_that_a_dialect_has_no_names_for_is_refused(name: str) -> None:
    spec = published("torchvision", classes=HEADS[name][0], classifier=HEADS[name][1])
    with pytest.raises(DialectError, match=r"torchvision has no such network: .*classifier"):
        express_in(ModelConfig.default(spec), "torchvision")


def test_what_the_outputs_mean_stays_with_the_file() -> None:
    spec = published("torchvision", classes=3, classifier=ClassifierSpec(outputs="sigmoid"))
    made = express_in(ModelConfig.default(spec), "torchvision")
    assert made.config.spec.classifier.outputs == "sigmoid"
    assert any("sigmoid" in note for note in made.notes)

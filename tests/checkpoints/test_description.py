"""Our config is taken for its own file's only; lists of class names are read and guessed."""

import dataclasses
from pathlib import Path

import pytest

from mobilenetv2.checkpoints.containers.tensorflow import DATA
from mobilenetv2.checkpoints.description import (
    background_of,
    describe_config,
    digest,
    published_preprocessing,
    read_sidecar,
    sidecar_path,
    usual_labels,
)
from mobilenetv2.checkpoints.labels import read_labels
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin

CONFIG = ModelConfig.default(NetworkSpec(classes=3))


def beside(path: Path, sha256: str | None) -> ModelConfig:
    config = dataclasses.replace(CONFIG, origin=Origin("here", sha256=sha256))
    sidecar_path(path).write_text(config.to_json())
    return config


def test_it_belongs_to_the_file_with_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"weights")
    assert read_sidecar(path) is None
    config = beside(path, digest(path))
    assert read_sidecar(path) == config
    path.write_bytes(b"others")
    assert read_sidecar(path) is None


def test_of_a_tensorflow_checkpoint_the_data_counts(tmp_path: Path) -> None:
    prefix = tmp_path / "model.ckpt"
    prefix.with_name(f"model.ckpt{DATA}").write_bytes(b"tensors")
    config = beside(prefix, digest(prefix))
    assert read_sidecar(prefix) == config == read_sidecar(tmp_path / "model.ckpt.index")
    assert digest(tmp_path / "nothing") is None


@pytest.mark.parametrize("text", ["", "[]", '{"spec": 3}', "[" * 100_000, '{"spec": {}}'])
def test_somebody_elses_json_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"weights")
    sidecar_path(path).write_text(text)
    assert read_sidecar(path) is None


def test_without_a_checksum_it_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"weights")
    beside(path, None)
    assert read_sidecar(path) is None


def test_a_config_of_ours_says_everything() -> None:
    config = ModelConfig.default(published("small"))
    assert describe_config(config).licence is None
    found = describe_config(ModelConfig(
        config.spec, config.preprocessing, config.labels, Origin("here", licence="MIT"), {"a": 1.0}
    ))  # fmt: skip
    assert (found.spec, found.preprocessing, found.labels, found.licence, found.metrics) == (
        config.spec, config.preprocessing, config.labels, "MIT", {"a": 1.0},
    )  # fmt: skip


def test_what_was_published_is_given_for_other_sizes_and_channels() -> None:
    assert published_preprocessing("tf-slim", published("tf-slim", size=96)).resize == (96, 96)
    grey = published_preprocessing("timm", published("timm", input_channels=1))
    assert grey.mean == pytest.approx((114.495,)) and grey.channels == 1


def test_lines_are_names_and_a_background_at_either_end_is_one() -> None:
    assert read_labels(" cat\n\ndog \n") == Labels(("cat", "dog"))
    assert read_labels("Background\ncat").background == 0
    assert read_labels("cat\ndog\nbackground\n").background == 2
    assert read_labels("cat\nbackground\ndog").background is None
    assert read_labels("0 hat\n1 t shirt\n").names == ("hat", "t shirt")  # Teachable Machine's


@pytest.mark.parametrize("background", [None, "first"])
def test_imagenets_list_is_known_by_most_of_its_names(background: None) -> None:
    table = Labels.imagenet(background)
    names = [name.split(",")[0].upper() for name in table.names]
    assert read_labels("\n".join(names)) == table
    names[100:400] = [f"bird {index}" for index in range(300)]
    assert read_labels("\n".join(names)) == Labels(tuple(names), background=table.background)


def test_what_is_usual_goes_by_the_number_of_outputs() -> None:
    assert usual_labels(1000) == Labels.imagenet()
    assert usual_labels(1001) == Labels.imagenet("first")
    assert usual_labels(3) == Labels.numbered(3)


def test_the_background_is_first_or_last_or_an_error() -> None:
    names = ("a", "b", "c")
    assert background_of(Labels(names), 3) is None
    assert background_of(Labels(names, (), 0), 3) == "first"
    assert background_of(Labels(names, (), 2), 3) == "last"
    assert background_of(Labels(("a",), (), 0), 1) == "first"
    with pytest.raises(DialectError, match="neither first nor last"):
        background_of(Labels(names, (), 1), 3)
    with pytest.raises(DialectError, match="3 labels for 4 outputs"):
        background_of(Labels(names), 4)

"""The config beside an exported file is taken for that file's only."""

from pathlib import Path

import pytest

from mobilenetv2.checkpoints.sidecar import DATA, digest, read_sidecar, sidecar_path
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig, Origin

CONFIG = ModelConfig.default(NetworkSpec(classes=3))


def beside(path: Path, sha256: str | None) -> ModelConfig:
    import dataclasses

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

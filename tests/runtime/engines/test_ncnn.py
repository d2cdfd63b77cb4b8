"""ncnn's three files: what was changed, is missing or belongs to another network is refused."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.checkpoints.description import sidecar_path
from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting.converted import write_ncnn
from mobilenetv2.exporting.job import Options
from mobilenetv2.formats import Precision
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.ncnn import checksum, read_artifact, weights_path
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig, Origin

pytest.importorskip("pnnx", reason="pnnx is not installed (extra: export)")
SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5)
OTHER = published("small", width=0.1, classes=4)


def made(folder: Path, spec: NetworkSpec, precision: Precision = "float32") -> Path:
    out = folder / "shoes.ncnn.param"
    config = dataclasses.replace(ModelConfig.default(spec), origin=Origin("shoes", licence="MIT"))
    write_ncnn(config, random_arrays(spec), out, Options(precision))
    return out


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Only to be read."""
    return {
        name: made(tmp_path_factory.mktemp("ncnn"), spec)
        for name, spec in (("shoes", SPEC), ("other", OTHER))
    }


@pytest.fixture
def copy(tmp_path: Path, written: dict[str, Path]) -> Path:
    for file in written["shoes"].parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / "shoes.ncnn.param"


def test_the_config_and_both_files_come_back(written: dict[str, Path]) -> None:
    path = written["shoes"]
    found = load_artifact(path)
    assert found == read_artifact(path)
    assert (found.format, found.where) == ("ncnn", str(path))
    assert found.graph == path.read_bytes()
    assert found.weights == (path.parent / "shoes.ncnn.bin").read_bytes()
    assert found.config.spec == SPEC
    digest = checksum(found.graph, found.weights, found.config.to_json())
    assert found.config.origin == Origin("shoes", sha256=digest, licence="MIT")


def test_float16_is_read_too(tmp_path: Path) -> None:
    half = read_artifact(made(tmp_path, SPEC, "float16"))
    assert len(half.weights) < 200_000


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: flip(weights_path(path), 5000),
        lambda path: flip(weights_path(path), -1),
        lambda path: cut(weights_path(path)),
        lambda path: weights_path(path).write_bytes(b""),
        lambda path: flip(path, -2),
        lambda path: cut(path),
    ],
)
def test_a_changed_file_is_refused(copy: Path, damage: Callable[[Path], None]) -> None:
    damage(copy)
    with pytest.raises(ArtifactError, match=r"shoes\.ncnn\.bin or .* was changed, "):
        read_artifact(copy)


@pytest.mark.parametrize("part", ["param", "bin", "param.json"])
def test_another_networks_file_is_refused(copy: Path, written: dict[str, Path], part: str) -> None:
    shutil.copy(written["other"].with_name(f"shoes.ncnn.{part}"), copy.parent)
    with pytest.raises(ArtifactError, match="another network"):
        read_artifact(copy)


@pytest.mark.parametrize(
    ("was", "now"),
    [("123.675", "923.675"), ('"licence": "MIT"', '"licence": "XYZ"'), ('"cover"', '"stretch"')],
)
def test_a_config_that_was_edited_is_refused(copy: Path, was: str, now: str) -> None:
    text = sidecar_path(copy).read_text("utf-8")
    assert was in text
    sidecar_path(copy).write_text(text.replace(was, now), "utf-8")
    with pytest.raises(ArtifactError, match=r"shoes\.ncnn\.param\.json was changed, "):
        read_artifact(copy)


def test_what_is_missing_is_named(copy: Path) -> None:
    sidecar_path(copy).rename(copy.with_name("else.json"))
    with pytest.raises(ArtifactError, match=r"param: it has no preprocessing and labels"):
        read_artifact(copy)
    sidecar_path(copy).write_text("{", "utf-8")
    with pytest.raises(ArtifactError, match=r"param\.json: the config inside it: not JSON"):
        read_artifact(copy)
    weights_path(copy).unlink()
    with pytest.raises(ArtifactError, match=r"its weights are missing; copy shoes\.ncnn\.bin"):
        read_artifact(copy)


def resealed(path: Path, change: Callable[[str], str]) -> None:
    """A graph changed by someone who knows how to make the checksum fit."""
    graph = change(path.read_text("utf-8")).encode()
    found = read_artifact(path)
    path.write_bytes(graph)
    assert found.config.origin is not None
    digest = checksum(graph, weights_path(path).read_bytes(), found.config.to_json())
    origin = dataclasses.replace(found.config.origin, sha256=digest)
    config = dataclasses.replace(found.config, origin=origin)
    sidecar_path(path).write_text(config.to_json(), "utf-8")


def hungry(graph: str) -> str:
    """More weights in the first convolution than there are."""
    return re.sub(r" 6=\d+", " 6=99999999", graph, count=1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (hungry, "describes another network than the graph"),
        (lambda graph: graph.replace("Pooling ", "Memory "), "describes another network"),
        (lambda graph: graph.replace("BinaryOp ", "Convolution "), "describes another network"),
        (lambda graph: graph.replace(" 0=5 ", " 0=7 "), "describes another network"),
        (lambda graph: graph.replace(" 4=1 ", " 4=2147483647 "), "describes another network"),
        (lambda graph: graph.replace(" 3=2 ", " 3=-2147483648 "), "describes another network"),
        (lambda graph: graph.replace("0=1 4=1", "0=1 4=1 3=2147483647"), "describes another"),
        (lambda graph: graph.replace("2,0.0,6.0", "2,0.0,nan"), "describes another network"),
        (lambda graph: graph.replace("7767517", "7767518"), "not a graph of ncnn.* its head"),
        (lambda graph: graph.replace("0 1 in0", "0 1 in1"), "not a graph of ncnn"),
        (lambda graph: graph[: graph.index("Pooling")], "not a graph of ncnn.* its head"),
        (lambda graph: graph.replace("1 1 in0", "1 9 in0"), "not a graph of ncnn"),
        (lambda graph: "", "not a graph of ncnn"),
    ],
)
def test_a_graph_that_would_take_what_is_not_there_is_refused(
    copy: Path, change: Callable[[str], str], reason: str
) -> None:
    resealed(copy, change)
    with pytest.raises(ArtifactError, match=f"^{re.escape(str(copy))}: .*{reason}"):
        read_artifact(copy)


def test_an_unchanged_graph_stays_good_when_sealed_again(copy: Path) -> None:
    resealed(copy, lambda graph: graph)
    assert read_artifact(copy).config.spec == SPEC


@pytest.mark.parametrize(
    "change",
    [
        {"graph": b"7767517\n1 1\nNoSuchLayer a 0 1 x\n"},
        {"weights": b""},
        {"weights": b"\0" * 1000},
    ],
)
def test_what_ncnn_does_not_take_is_said_once(
    written: dict[str, Path], change: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    artifact = read_artifact(written["shoes"])
    with pytest.raises(ArtifactError, match=r"m\.param: ncnn cannot run it; export it again"):
        create_engine(dataclasses.replace(artifact, where="m.param", **change))
    assert capfd.readouterr() == ("", "")


def test_files_of_a_version_whose_configs_had_fewer_keys_are_read(copy: Path) -> None:
    older = json.loads(sidecar_path(copy).read_text("utf-8"))
    del older["spec"]["classifier"]
    graph, weights = copy.read_bytes(), weights_path(copy).read_bytes()
    older["origin"]["sha256"] = checksum(graph, weights, json.dumps(older))
    sidecar_path(copy).write_text(json.dumps(older, indent=2), "utf-8")
    assert read_artifact(copy).config.spec == SPEC

"""An MNN file: read as data, refused when it was changed."""

import random
from pathlib import Path

import flatbuffers
import fuzz_native
import pytest

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting.converted import write_mnn
from mobilenetv2.exporting.job import Options
from mobilenetv2.model import seal
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.engines.mnn import first_string, read_artifact
from mobilenetv2.runtime.predictor import load_artifact
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

pytest.importorskip("MNN", reason="MNN is not installed (extra: export)")
SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5)
CONFIG = ModelConfig(
    SPEC, Preprocessing.default(SPEC), Labels(("Mütze", '"hat", cap', "--fp16", "靴", "🧦"))
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only to be read."""
    out = tmp_path_factory.mktemp("mnn") / "shoes.mnn"
    write_mnn(CONFIG, random_arrays(SPEC), out, Options())
    return out


def buffer(note: str | None) -> bytes:
    """A flatbuffer with one string in its first field, and a number in its second."""
    builder = flatbuffers.Builder()
    text = None if note is None else builder.CreateString(note)
    builder.StartObject(2)
    if text is not None:
        builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependInt32Slot(1, 7, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def test_the_config_comes_back(written: Path) -> None:
    found = load_artifact(written)
    assert (found.format, found.config, found.where) == ("mnn", CONFIG, str(written))
    assert found.graph == written.read_bytes()


def test_any_changed_byte_is_found(written: Path, tmp_path: Path) -> None:
    data = written.read_bytes()
    path = tmp_path / "m.mnn"
    for at in (*range(0, 64), *range(64, len(data), len(data) // 200), len(data) - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(ArtifactError, match=r"m\.mnn: "):
            read_artifact(path)


@pytest.mark.parametrize("share", [0, 1e-5, 0.1, 0.5, 0.99, 1 - 1e-6])
def test_a_file_cut_short_is_refused(written: Path, tmp_path: Path, share: float) -> None:
    data = written.read_bytes()
    path = tmp_path / "m.mnn"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError, match=r"m\.mnn: .*damaged"):
        read_artifact(path)


@pytest.mark.parametrize("note", ["MNN", "", None])
def test_somebody_elses_file_is_not_guessed_at(tmp_path: Path, note: str | None) -> None:
    path = tmp_path / "m.mnn"
    path.write_bytes(buffer(note))
    with pytest.raises(ArtifactError, match=r"has no preprocessing .*file with .*export"):
        read_artifact(path)


def test_another_networks_config_is_refused(written: Path, tmp_path: Path) -> None:
    data = written.read_bytes()
    changed = data.replace("Mütze".encode(), b"Motze!")
    assert len(changed) == len(data) and changed != data
    path = tmp_path / "m.mnn"
    path.write_bytes(changed)
    with pytest.raises(ArtifactError, match="changed or damaged since it was written"):
        read_artifact(path)


def test_a_hostile_number_in_a_file_sealed_anew_is_refused(written: Path, tmp_path: Path) -> None:
    """A padding of 2**31 - 1, say: MNN itself ends the process on it."""
    body, path = written.read_bytes()[: -seal.DIGITS], tmp_path / "m.mnn"
    places = random.Random(0).sample(fuzz_native.mnn_places(body), 150)
    refused = 0
    for at, kind in places:
        changed = fuzz_native.with_number(body, at, kind, 2**31 - 1)
        path.write_bytes(fuzz_native.sealed(changed))
        if changed != body:
            with pytest.raises(ArtifactError, match=r"m\.mnn: .*(export it again|damaged|config)"):
                read_artifact(path)
            refused += 1
    assert refused > 100


def test_a_file_sealed_anew_without_a_change_is_read(written: Path, tmp_path: Path) -> None:
    body = written.read_bytes()[: -seal.DIGITS]
    (tmp_path / "m.mnn").write_bytes(fuzz_native.sealed(body))
    assert read_artifact(tmp_path / "m.mnn").config == CONFIG


def test_the_first_string_of_a_flatbuffer() -> None:
    assert first_string(buffer("a word")) == "a word"
    assert first_string(buffer(None)) == ""

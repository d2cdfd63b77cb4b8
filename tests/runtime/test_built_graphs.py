"""Graphs that were built before, in the cache folder."""

import importlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.errors import MobileNetV2Error, WeightsError
from mobilenetv2.hub import cache
from mobilenetv2.hub.cache import SWITCH
from mobilenetv2.model import store
from mobilenetv2.runtime import built_graphs, predictor
from mobilenetv2.runtime.built_graphs import FOLDER, built, unchanged
from mobilenetv2.runtime.predictor import load_artifact


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of graphs in a cache of its own."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(SWITCH, raising=False)
    return tmp_path / "cache" / FOLDER


class Builder:
    """Graph of one file: its bytes, twice. It counts."""

    def __init__(self, file: Path) -> None:
        self.file, self.read, self.made = file, 0, 0

    def contents(self) -> list[bytes]:
        self.read += 1
        return [self.file.read_bytes()]

    def build(self) -> bytes:
        self.made += 1
        return 2 * self.file.read_bytes()

    def __call__(self, options: str = "onnx") -> bytes:
        return built([self.file], options, self.contents, self.build)


@pytest.fixture
def builder(tmp_path: Path, folder: Path) -> Builder:
    (tmp_path / "weights").write_bytes(b"abc")
    return Builder(tmp_path / "weights")


def test_unchanged_files_are_neither_built_nor_read_again(builder: Builder) -> None:
    assert [builder() for _ in range(3)] == [b"abcabc"] * 3
    assert (builder.made, builder.read) == (1, 1)
    assert builder("litert") == b"abcabc" and builder.made == 2


def test_a_changed_file_is_another_graph_even_with_the_old_time(builder: Builder) -> None:
    builder()
    before = builder.file.stat()
    builder.file.write_bytes(b"abd")
    os.utime(builder.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert builder() == b"abdabd" and builder.made == 2
    builder.file.write_bytes(b"abc")  # the bytes of the first one
    assert builder() == b"abcabc" and builder.made == 2 and builder.read == 3


def test_a_graph_that_a_disk_has_damaged_is_built_anew(builder: Builder, folder: Path) -> None:
    builder()
    (graph,) = (one for one in folder.iterdir() if one.suffix != ".json")
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    assert builder() == b"abcabc" and builder.made == 2
    for note in folder.glob("*.json"):
        note.write_text("[")
    assert builder() == b"abcabc" and builder.made == 2


def test_few_graphs_are_kept(
    builder: Builder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(built_graphs, "MOST", 4)
    for number in range(10):
        builder.file.write_bytes(bytes([number]) * 3)
        builder()
    assert len(list(folder.iterdir())) <= 5
    assert builder() == 2 * builder.file.read_bytes() and builder.made == 10


def test_without_a_cache_all_goes_on(
    builder: Builder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    assert builder() == b"abcabc"
    folder.unlink()
    monkeypatch.setenv(SWITCH, "0")
    assert builder() == b"abcabc" and not folder.exists() and builder.made == 2


def test_threads_at_once_leave_whole_graphs(builder: Builder) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(builder())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"abcabc"] * 8


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_model_folder_has_the_same_graph_from_the_cache(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    if runtime == "litert":
        pytest.importorskip("ai_edge_litert", reason="needs LiteRT, of an extra")
    first = load_artifact(model, runtime)
    monkeypatch.setattr(predictor, "build_artifact", None)  # nothing is built
    monkeypatch.setattr(store, "load", None)
    assert load_artifact(model, runtime) == first


def test_another_model_at_the_same_place_has_its_own_answers(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    config, arrays = store.load(model)
    place = tmp_path / "model"
    store.save(place, config, arrays)
    x = np.zeros((1, *config.spec.size, 3), np.uint8)
    first = predictor.load_predictor(place)[1](x)
    arrays["classifier.bias"] = arrays["classifier.bias"] + 1
    store.save(place, config, arrays)
    np.testing.assert_allclose(predictor.load_predictor(place)[1](x), first + 1, atol=1e-5)


def test_other_source_code_builds_anew(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    builder()
    monkeypatch.setattr(built_graphs, "_code", lambda: "changed")
    assert builder() == b"abcabc" and builder.made == 2


def test_the_source_code_is_that_of_the_rooms_that_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(built_graphs.__file__).parents[1]
    assert all((package / room).is_dir() for room in built_graphs.ROOMS)
    for room in built_graphs.ROOMS:
        (tmp_path / room).mkdir(parents=True)
    source = tmp_path / "graph" / "a.py"
    source.write_text("1")
    monkeypatch.setattr(built_graphs, "__file__", str(tmp_path / "runtime" / "built_graphs.py"))
    uncached = built_graphs._code.__wrapped__
    before = uncached()
    assert uncached() == before
    os.utime(source, ns=(0, 5))
    assert uncached() != before


def test_a_model_that_changes_while_it_is_read_is_read_again(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, arrays = store.load(model)
    other = {name: array + np.float32(0.5) for name, array in arrays.items()}
    place, real, changed = tmp_path / "model", store.load, list[int]()
    store.save(place, config, arrays)

    def load(path: Path) -> object:
        if not changed:  # another process has finished its training just now
            changed.append(1)
            store.save(place, config, other)
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(store, "load", load)
        found = load_artifact(place)
    store.save(tmp_path / "old", config, arrays)
    store.save(tmp_path / "new", config, other)
    monkeypatch.setenv(SWITCH, "0")
    assert found.graph == load_artifact(tmp_path / "new").graph
    monkeypatch.setenv(SWITCH, "1")
    store.save(place, config, arrays)
    assert load_artifact(place).graph == load_artifact(tmp_path / "old").graph != found.graph


def test_a_model_that_is_replaced_between_its_two_files_is_read_again(tmp_path: Path) -> None:
    file, reads = tmp_path / "config.json", list[int]()
    file.write_text("old")

    def read() -> str:
        reads.append(1)
        if len(reads) == 1:
            file.write_text("another one")
            raise WeightsError("its tensors do not fit")
        return file.read_text()

    assert unchanged([file], read) == "another one"

    def broken() -> str:
        reads.append(1)
        raise WeightsError("its tensors do not fit")

    with pytest.raises(WeightsError, match="do not fit"):
        unchanged([file], broken)
    assert len(reads) == 3


def test_a_model_that_changes_all_the_time_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "config.json"

    def read() -> None:
        file.write_text(str(os.urandom(9)))

    with pytest.raises(WeightsError, match="is being written"):
        unchanged([file], read)


@pytest.mark.parametrize("ending", [".onnx", ".tflite"])
def test_an_exported_file_is_checked_once(
    model: Path, folder: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ending == ".tflite":
        pytest.importorskip("ai_edge_litert", reason="needs LiteRT, of an extra")
    path = tmp_path / f"a{ending}"
    mn.export(model, path)
    first = load_artifact(path)
    engine = importlib.import_module(
        f"mobilenetv2.runtime.engines.{'litert' if ending == '.tflite' else 'onnxruntime'}"
    )
    with monkeypatch.context() as patched:
        patched.setattr(engine, "read_artifact", None)  # nothing is checked
        assert load_artifact(path) == first
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(MobileNetV2Error):
        load_artifact(path)

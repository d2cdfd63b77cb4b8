import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mobilenetv2 as mn
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.model import store
from mobilenetv2.runtime.given_options import given_options
from mobilenetv2.serving.computing.compute import (
    EXPLAIN,
    PHOTOS,
    PICTURES,
    Model,
    ModelChangedError,
    answer,
    digest_of,
    given_values,
    job_of,
    serve,
)
from mobilenetv2.spec.foreign import NOTHING
from mobilenetv2.spec.records import Labels
from mobilenetv2.worker import receive, send


@pytest.fixture(scope="module")
def model() -> Model:
    folder = embedded_folder()
    return Model("small", str(folder), None, given_values(NOTHING), digest_of(folder), False)


def test_a_group_has_an_entry_for_each_photo(model: Model, jpeg: Callable[..., bytes]) -> None:
    files = [jpeg(1), b"\xff\xd8\xff damaged", jpeg(2)]
    said = {"kind": PHOTOS, "sizes": list(map(len, files)), "options": {}}
    reply, data = answer(model, said, b"".join(files))
    assert [entry and entry["status"] for entry in reply["entries"]] == [None, 422, None]
    rows = np.frombuffer(data, np.float32).reshape(2, 10)
    classify = mn.Classifier("embedded", threads=1)
    for row, file in zip(rows, (files[0], files[2]), strict=True):
        exact = classify(file).probabilities
        share = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        np.testing.assert_allclose(share, exact, atol=1e-6)


def test_pictures_are_taken_as_they_are(model: Model) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    said = {"kind": PICTURES, "sizes": [pictures.nbytes], "options": {}}
    reply, data = answer(model, said, pictures.tobytes())
    found = np.frombuffer(data, np.float32).reshape(3, 10)
    np.testing.assert_allclose(found, model.predict(pictures), atol=1e-5)
    assert reply["entries"] == [None] * 3


@pytest.mark.parametrize(
    ("named", "status"), [(None, None), ("cat", None), ("7", None), ("zebra", 400)]
)
def test_a_photo_is_explained(
    model: Model, jpeg: Callable[..., bytes], named: str | None, status: int | None
) -> None:
    file = jpeg(3)
    said = {"kind": EXPLAIN, "sizes": [len(file)], "options": {"class": named}}
    reply, data = answer(model, said, file)
    (entry,) = reply["entries"]
    assert entry.get("status") == status
    if status is None:
        assert data.startswith(b"\x89PNG")
        assert entry["label"] in model.config.labels.names
    damaged = {**said, "sizes": [4], "options": {}}
    assert answer(model, damaged, b"\xff\xd8\xff ")[0]["entries"][0]["status"] == 422


def test_the_process_answers_until_its_requests_end(jpeg: Callable[..., bytes]) -> None:
    values = {"name": "a", "place": str(embedded_folder()), "runtime": None,
              "given": given_values(NOTHING), "digest": digest_of(embedded_folder())}  # fmt: skip
    requests, replies = io.BytesIO(), io.BytesIO()
    send(requests, job_of([values], False), b"")
    said = {"id": 7, "model": "a", "kind": PHOTOS, "options": {}}
    send(requests, said | {"sizes": [len(jpeg(1))]}, jpeg(1))
    send(requests, said | {"kind": PICTURES, "sizes": [5]}, b"12345")  # not a picture's size
    requests.seek(0)
    serve(requests, replies)
    replies.seek(0)
    first, second, third = (receive(replies) for _ in range(3))
    assert first is not None and first[0] == {"ready": True}
    assert second is not None and second[0]["id"] == 7 and len(second[1]) == 40
    assert third is not None and third[0]["entries"][0]["status"] == 500
    assert receive(replies) is None


def test_a_model_that_cannot_be_loaded_is_said() -> None:
    values = {"name": "a", "place": "nowhere", "runtime": None, "given": given_values(NOTHING),
              "digest": ""}  # fmt: skip
    requests, replies = io.BytesIO(), io.BytesIO()
    send(requests, job_of([values], False), b"")
    requests.seek(0)
    serve(requests, replies)
    replies.seek(0)
    found = receive(replies)
    assert found is not None and "nowhere" in found[0]["error"]


def test_options_of_foreign_files_are_plain_values() -> None:
    record = mn.Preprocessing(size=(32, 32), resize=(32, 32))
    values = given_values(given_options(["a", "b"], record, "cover"))
    assert values["labels"] == ["a", "b"] and values["resize"] == "cover"
    assert values["preprocessing"]["size"] == [32, 32]
    assert given_values(given_options(preprocessing="0..1"))["preprocessing"] == "0..1"


def test_a_model_that_has_changed_is_refused(tmp_path: Path, jpeg: Callable[..., bytes]) -> None:
    config, arrays = store.load(embedded_folder())
    folder = tmp_path / "m"
    store.save(folder, config, arrays)
    before = digest_of(folder)
    loaded = Model("m", str(folder), None, given_values(NOTHING), before, False)
    turned = tuple(reversed(config.labels.names))
    store.save(folder, dataclasses.replace(config, labels=Labels(turned)), arrays)
    assert digest_of(folder) != before
    with pytest.raises(ModelChangedError, match="restart the server"):
        Model("m", str(folder), None, given_values(NOTHING), before, False)
    said = {"kind": EXPLAIN, "sizes": [len(jpeg(3))], "options": {}}
    reply, data = answer(loaded, said, jpeg(3))  # a heat map reads the folder when it is asked for
    assert reply["entries"][0]["status"] == 503 and data == b""


@pytest.mark.parametrize("ending", [".onnx", ".xml", ".ncnn.param"])
def test_all_files_of_an_export_count(tmp_path: Path, ending: str) -> None:
    files = [f"m{ending}", *{".xml": ["m.bin"], ".ncnn.param": ["m.ncnn.bin"]}.get(ending, [])]
    for name in files:
        (tmp_path / name).write_bytes(b"one")
    seen = {digest_of(tmp_path / files[0])}
    for name in files:
        (tmp_path / name).write_bytes(b"two")
        seen.add(digest_of(tmp_path / files[0]))
    assert len(seen) == 1 + len(files)

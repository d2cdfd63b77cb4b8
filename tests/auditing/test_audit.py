"""The audit from Python: its record as text, JSON and HTML, with a model and without."""

import json
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.auditing import audit as room
from mobilenetv2.auditing import inspection
from mobilenetv2.auditing.audit import audit
from mobilenetv2.errors import ArtifactError, DataError, InUse
from mobilenetv2.locks import hold
from mobilenetv2.networks.folders import load


@pytest.fixture
def leaky(photos: Path, tmp_path: Path) -> Path:
    """Two splits with one photo in both."""
    folder = tmp_path / "leaky <b>"
    for split, kept in (("train", range(10)), ("test", range(10, 12))):
        for photo in photos.glob("*/*"):
            place = folder / split / photo.parent.name
            place.mkdir(parents=True, exist_ok=True)
            if int(photo.stem) in kept:
                shutil.copy(photo, place)
    shutil.copy(folder / "test/ball/11.jpg", folder / "train/ball/again.jpg")
    return folder


def test_the_record_has_counts_issues_and_their_photos(leaky: Path) -> None:
    found = audit(leaky)
    assert found.counts == {"ball": 13, "box": 12, "triangle": 12}
    leak = found.issues[0]
    assert (leak.kind, leak.level) == ("leak", "grave")
    assert found.photos(leak) == [("train/ball/again.jpg", "test/ball/11.jpg")]
    assert found.model is None and found.suspicious == () and found.trained_on == 0
    values = found.to_dict()
    assert json.loads(json.dumps(values)) == values and values["suspicious"] is None
    assert values["findings"][0]["photos"] == [["train/ball/again.jpg", "test/ball/11.jpg"]]
    assert repr(found) == f"<Audit of {leaky}, 37 photos: leak, small>"


def test_a_live_network_doubts_as_its_folder_does(model: Path, photos: Path) -> None:
    one, two = audit(photos, model=model), audit(photos, model=load(model))
    assert (one.model, two.model) == (str(model), "MobileNetV2")
    assert one.suspicious == two.suspicious and len(one.suspicious) > 0
    doubt = one.suspicious[0]
    assert doubt.answer_probability > doubt.label_probability and doubt.answer != doubt.label
    assert doubt.photo.startswith(f"{doubt.label}/") and not doubt.trained_on
    assert one.to_dict()["suspicious"][0] == doubt.to_dict()
    assert "suspicious" in {issue.kind for issue in one.issues}


def test_the_model_of_a_run_knows_what_it_was_trained_on(trained: Path, photos: Path) -> None:
    assert audit(photos, model=trained / "best").trained_on > 0


def test_it_is_saved_as_a_page_and_json(leaky: Path, tmp_path: Path) -> None:
    found = audit(leaky, output=tmp_path / "out")
    assert json.loads((tmp_path / "out/audit.json").read_text()) == found.to_dict()
    assert "again.jpg" in (tmp_path / "out/audit.html").read_text()
    found.save(tmp_path / "out")  # an older audit is replaced
    (tmp_path / "out/mine.txt").write_text("")
    with pytest.raises(FileExistsError, match=r"mine\.txt"):
        audit(leaky, output=tmp_path / "out")


def test_a_notebook_gets_a_table_without_foreign_markup(leaky: Path) -> None:
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    shown = audit(leaky)._repr_html_()
    parser.feed(shown)
    assert set(tags) == {"table", "caption", "tr", "td"} and tags.count("tr") == 2
    assert "leaky &lt;b&gt;" in shown


@pytest.mark.parametrize("options", [{"runtime": "litert"}, {"threads": 1}, {"flips": True}])
def test_options_of_a_model_need_one(photos: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="are for a model; give model"):
        audit(photos, **options)
    with pytest.raises(DataError, match="nowhere"):
        audit("nowhere")


def test_photos_that_had_to_be_interpreted_are_issues(photos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(photos, tmp_path / "data"))
    with Image.open(photos / "ball" / "00.png") as image:
        levels = np.asarray(image.convert("L"), np.uint16)
        image.convert("RGB").point(lambda level: level // 32).save(folder / "ball" / "night.png")
    Image.fromarray(levels << 4).save(folder / "ball" / "xray.png")
    data = (photos / "box" / "01.jpg").read_bytes()
    (folder / "box" / "cut.jpg").write_bytes(data[:-2])
    found = {issue.kind: issue for issue in audit(folder).issues}
    for kind, photo, note in (
        ("dark", "ball/night.png", "of 255"),
        ("depth", "ball/xray.png", "12 of 16 bits"),
        ("cut", "box/cut.jpg", "only the end mark is missing"),
    ):
        assert audit(folder).photos(found[kind]) == [(photo,)]
        assert found[kind].level == "look" and note in next(iter(found[kind].notes.values()))


def test_a_table_of_photos_is_audited(photos: Path, tmp_path: Path) -> None:
    lines = [f"{path},{path.parent.name}" for path in sorted(photos.glob("*/*"))]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *lines, "gone.jpg,ball"]))
    found = audit(tmp_path / "t.csv")
    assert found.counts == {"ball": 12, "box": 12, "triangle": 12}
    (gone,) = [photo for photo in found.inspection.photos if photo.problem]
    assert gone.problem == "no such photo, though the table names it"


def test_an_audit_holds_its_folder_while_it_works(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Exception] = []

    def another() -> None:
        try:
            hold(tmp_path / "new" / "audit").__enter__()
        except InUse as error:
            seen.append(error)

    def inspect(*given: Any) -> Any:
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
        return inspection.inspect(*given)

    monkeypatch.setattr(room, "inspect", inspect)
    audit(photos, output=tmp_path / "new" / "audit")
    assert len(seen) == 1
    names = ["audit", "audit.html", "audit.json"]
    assert sorted(path.name for path in (tmp_path / "new").rglob("*")) == names

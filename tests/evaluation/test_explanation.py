"""``explain`` from Python: the record, drawings and their names, classes that are meant."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.errors import DataError, ImageError, MobileNetV2Error
from mobilenetv2.evaluation.explanation import (
    SIDE,
    Explanation,
    explain,
    find_class,
    plan_drawings,
)
from mobilenetv2.evaluation.gradcam import class_weights, heat, overlay, whereabouts
from mobilenetv2.evaluation.stage_maps import draw_stage_maps, load_stage_maps
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.display import enlarge_picture
from mobilenetv2.images.preprocess import preprocess
from mobilenetv2.runtime.answers import Unreadable
from mobilenetv2.runtime.loading import load_network
from mobilenetv2.spec.records import Labels


@pytest.fixture
def photo(photos: Path) -> Path:
    return photos / "ball" / "00.png"


def test_an_explanation_has_the_answer_and_the_heat_of_its_classes(
    model: Path, photo: Path
) -> None:
    found = explain(photo, model, top=2)
    answer = mn.Classifier(model)(photo)
    np.testing.assert_allclose(found.answer.probabilities, answer.probabilities, atol=1e-5)
    assert [one.index for one in found.evidence] == [guess.index for guess in answer.top(2)]
    assert found.top(3) == found.answer.top(3) and found.photo == photo and found.error is None
    network = load_network(model)
    picture = preprocess(read_photo(photo), network.config.preprocessing)
    _, maps = network.answer(picture[None])
    for one in found.evidence:
        weights = class_weights(network.config.spec, network.arrays, maps[0], one.index)
        np.testing.assert_allclose(one.heat, heat(maps[0], weights), atol=1e-6)
        assert one.where == whereabouts(one.heat).words and one.label in repr(one)
    np.testing.assert_array_equal(found.heat, found.evidence[0].heat)
    assert found.where == found.evidence[0].where and f"{photo}: " in repr(found)
    large = enlarge_picture(picture, SIDE)
    np.testing.assert_array_equal(np.asarray(found.image), overlay(large, found.heat))


def test_it_is_drawn_for_a_notebook_and_saved_as_the_same_file(
    model: Path, photo: Path, tmp_path: Path
) -> None:
    found = explain(photo, model)
    found.save(tmp_path / "why.png")
    assert (tmp_path / "why.png").read_bytes() == found._repr_png_()
    with Image.open(io.BytesIO(found._repr_png_())) as drawn:
        assert drawn.format == "PNG" and drawn.width > 3 * SIDE
    assert found.written is None and found.to_dict()["picture"] is None
    again = explain(photo, model, output=tmp_path / "again.png")
    assert again.written == tmp_path / "again.png"
    assert again.written.read_bytes() == found._repr_png_()


def test_a_list_in_a_file_and_a_photo_that_had_to_be_interpreted(
    model: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(photo) as image:
        deep = np.asarray(image.convert("L"), np.uint16) << 4
    Image.fromarray(deep).save(tmp_path / "deep.png")
    (tmp_path / "list.txt").write_text(f"{photo}\ndeep.png\ngone.png\n")
    several: Any = explain(f"@{tmp_path}/list.txt", model)
    first, second, third = several
    assert [one.error is None for one in (first, second, third)] == [True, True, False]
    assert f"({tmp_path}/deep.png, 12 of 16 bits)" in capsys.readouterr().err


def test_with_layers_the_maps_of_the_stages_are_drawn(
    model: Path, photo: Path, tmp_path: Path
) -> None:
    plain = explain(photo, model)
    found = explain(photo, model, layers=True, output=tmp_path / "out/")
    assert found.written == tmp_path / "out" / "00-layers.png"
    assert found.written.read_bytes() == found._repr_png_() != plain._repr_png_()
    expected = load_stage_maps(model)(found.picture)
    assert [one.to_dict() for one in found.layers] == [one.to_dict() for one in expected]
    assert found._repr_png_() == draw_stage_maps(found.picture, "00.png", expected)
    assert plain.layers == () and "layers" not in plain.to_dict()
    record = found.to_dict()
    assert record.pop("layers") == [one.to_dict() for one in expected]
    assert record == plain.to_dict() | {"picture": str(found.written)}


def test_several_photos_a_bad_one_among_them(model: Path, photo: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(photo))
    found = explain([photo, b"text", pixels], model, output=tmp_path / "out")
    assert [type(one) for one in found] == [Explanation, Unreadable, Explanation]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00-explained.png", "photo-explained-2.png"]
    folder: Any = explain(photo.parent, model)
    assert isinstance(folder, list) and len(folder) == 12
    with pytest.raises(ImageError, match="the photo's bytes"):
        explain(b"text", model)


@pytest.mark.parametrize(
    ("classes", "indices"), [("Ball", [1]), (2, [2]), (["crate", 0], [2, 0]), ((), [0, 1, 2])]
)
def test_the_classes_asked_for_take_the_answers_place(
    classes: Any, indices: list[int], model: Path, photo: Path
) -> None:
    found = [one.index for one in explain(photo, model, classes=classes).evidence]
    assert (found if classes != () else sorted(found)) == indices


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "top 0 must be at least 1"),
        ({"classes": "bal"}, "class bal: the model has no class .*did you mean 'ball'"),
        ({"runtime": "onnx"}, "runtime 'onnx' is unknown"),
        ({"threads": 0}, "threads 0 must be at least 1"),
    ],
)
def test_options_that_cannot_be(
    options: dict[str, Any], message: str, model: Path, photo: Path
) -> None:
    with pytest.raises(MobileNetV2Error, match=message):
        explain(photo, model, **options)


def test_the_class_that_is_meant() -> None:
    labels = Labels(("crane", "machine, crane", "sea lion", "hat"), ("n1", "n2", "n3", "n4"))
    for name, index in (("crane", 0), ("machine", 1), ("Sea_Lion", 2), ("n4", 3), ("1", 1)):
        assert find_class(name, labels) == index
    with pytest.raises(DataError, match="did you mean 'sea lion'"):
        find_class("sea liom", labels)
    with pytest.raises(DataError, match=r"crane, machine, crane, sea lion, hat$"):
        find_class("zzz", labels)
    two = Labels(("bird, crane", "machine, crane"))
    with pytest.raises(DataError, match="2 classes have this name; give the index instead: 0 or 1"):
        find_class("crane", two)


def test_each_photo_is_looked_up_once_and_only_where_a_picture_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / str(i % 50) / f"{i % 4}.png" for i in range(200)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    looked: list[Path] = []
    stat = Path.stat

    def counted(self: Path, **options: Any) -> Any:
        looked.append(self)
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", counted)
    out = tmp_path / "out"
    targets = plan_drawings(paths, str(out), overwrite=False)
    assert not set(looked) & set(paths)
    for target in targets:
        target.parent.mkdir(exist_ok=True)
        target.touch()
    looked.clear()
    assert plan_drawings(paths, str(out), overwrite=True) == targets
    assert len(looked) < 10 * len(paths)


def test_of_many_photos_of_one_name_each_picture_has_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{i}/{'A' if i % 2 else 'a'}.png" for i in range(30)] + ["x/a-explained-2.png"]
    targets = plan_drawings([tmp_path / name for name in names], str(tmp_path / "out"), False)
    assert [t.name for t in targets[:3]] == [
        "a-explained.png", "A-explained-2.png", "a-explained-3.png"
    ]  # fmt: skip
    assert len({target.name.casefold() for target in targets}) == len(names)
    tried: list[str] = []
    join = Path.__truediv__

    def counted(self: Path, name: str) -> Path:
        tried.append(name)
        return join(self, name)

    paths = [tmp_path / str(i) / "a.png" for i in range(1000)]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "__truediv__", counted)
        many = plan_drawings(paths, str(tmp_path / "out"), False)
    assert many[-1].name == "a-explained-1000.png" and len(tried) < 2001

"""Lists of class names: every form that people keep them in, and where they are found."""

import json
from pathlib import Path

import pytest

from mobilenetv2.checkpoints.labels import find_labels, labels_among, read_label_file, read_labels
from mobilenetv2.errors import DialectError
from mobilenetv2.spec.records import Labels

THREE = ("hat", "shoes", "t-shirt")
IMAGENET = Labels.imagenet()


@pytest.mark.parametrize(
    "text",
    [
        "hat\nshoes\nt-shirt\n",
        "\ufeffhat\r\nshoes\r\n\r\nt-shirt",
        "0 hat\n1 shoes\n2 t-shirt\n",
        "0: hat\n1: shoes\n2: t-shirt\n",
        "1: hat\n2: shoes\n3: t-shirt\n",
        "0,hat\n1,shoes\n2,t-shirt\n",
        "2\tt-shirt\n0\that\n1\tshoes\n",
        "hat,0\nshoes,1\nt-shirt,2\n",
        "index,label\n0,hat\n2,t-shirt\n1,shoes\n",
        "class;id\nhat;0\nshoes;1\nt-shirt;2\n",
        '"id","name","extra"\n0,hat,x\n1,shoes,y\n2,t-shirt,z\n',
        "label\nhat\nshoes\nt-shirt\n",
        json.dumps(list(THREE)),
        json.dumps({"0": "hat", "2": "t-shirt", "1": "shoes"}),
        json.dumps({"t-shirt": 2, "hat": 0, "shoes": 1}),
        json.dumps({"id2label": {"0": "hat", "1": "shoes", "2": "t-shirt"}, "model_type": "x"}),
        json.dumps({"class_indices": {"hat": 0, "shoes": 1, "t-shirt": 2}}),
        json.dumps({"pretrained_cfg": {"label_names": list(THREE)}}),
        json.dumps({"tfjsVersion": "1.3.1", "labels": list(THREE), "imageSize": 224}),
        json.dumps(
            [{"id": 1, "name": "shoes"}, {"id": 0, "name": "hat"}, {"id": 2, "name": "t-shirt"}]
        ),
    ],
)
def test_every_form_gives_the_names_in_the_order_of_the_outputs(text: str) -> None:
    assert read_labels(text).names == THREE


def test_ids_of_wordnet_are_kept() -> None:
    text = "n01440764 tench, Tinca tinca\nn01443537 goldfish\n"
    assert read_labels(text) == Labels(
        ("tench, Tinca tinca", "goldfish"), ("n01440764", "n01443537")
    )
    keras = {
        str(i): [id_, n]
        for i, (id_, n) in enumerate(zip(IMAGENET.wordnet, IMAGENET.names, strict=True))
    }
    assert read_labels(json.dumps(keras)) == IMAGENET
    two = read_labels('{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}')
    assert two.wordnet == ("n01440764", "n01443537")


def test_numbers_can_be_names() -> None:
    assert read_labels("5 dollars\n10 dollars\n").names == ("5 dollars", "10 dollars")
    assert read_labels("tench, Tinca tinca\nkite, bird\n").names == (
        "tench, Tinca tinca",
        "kite, bird",
    )
    long = "1" * 5000
    assert read_labels(f"{long} a\nb: {long}\n").names == (f"{long} a", f"b: {long}")


def test_a_quotation_mark_that_is_never_closed_is_part_of_a_name() -> None:
    lines = ["name", '"a', *(f"{index} {'b' * 90}" for index in range(2000))]
    assert read_labels("\n".join(lines)).names == tuple(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no class names"),
        ("hat\nshoes\nhat\n", "twice: 'hat'"),
        ("0 hat\n2 shoes\n", "class number 1"),
        ("0: hat\n3: shoes\n", "class number 1"),
        ("0: hat\n0: shoes\n", "number 0 occurs twice"),
        ('{"hat": 0, "shoes": 2}', "class number 1"),
        ('{"hat": -1, "shoes": 0}', "-1 is below 0"),
        ("index,label\n-1,hat\n0,shoes\n", "-1 is below 0"),
        ('{"a": "b"}', "'a'"),
        ('{"' + "1" * 1000 + '": "a"}', "neither a number"),
        ("index,label\n" + "1" * 5000 + ",hat\n", "row 2.*not the number"),
        ("name\n" + "a" * 140_000 + "\n", "16,384 characters"),
        ("[1, 2]", "entry 0"),
        ("[", "not JSON"),
        ("index,label\n0,hat\nx,shoes\n", "row 3.*'x'"),
        ("item {\n  id: 1\n  name: 'hat'\n}\n", "object detection"),
    ],
    ids=lambda value: value[:20],
)
def test_a_list_that_is_none_is_an_error(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(text, "utf-8")
    with pytest.raises(DialectError, match=f"list.txt: .*{reason}"):
        read_label_file(tmp_path / "list.txt")


def test_utf_16_is_read_and_other_bytes_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("hat\r\nGröße\r\n".encode("utf-16"))
    assert read_label_file(tmp_path / "a.txt").names == ("hat", "Größe")
    for data in ("Größe".encode("latin-1"), "hat\n".encode("utf-16-le")):
        (tmp_path / "b.txt").write_bytes(data)
        with pytest.raises(DialectError, match=r"b\.txt: .*UTF-8"):
            read_label_file(tmp_path / "b.txt")
    with pytest.raises(DialectError, match="a folder"):
        read_label_file(tmp_path)


def test_imagenets_own_names_may_occur_twice() -> None:
    names = [name.split(",")[0].lower() for name in IMAGENET.names]
    assert names.count("crane") == 2
    assert read_labels("\n".join(names)) == IMAGENET
    with pytest.raises(DialectError, match="twice"):
        read_labels("\n".join([*names[:-300], *["bird"] * 300]))


@pytest.mark.parametrize(
    "name",
    ["net.txt", "net.labels.txt", "labels.txt", "class_names.txt", "dict.txt", "labelmap.txt"],
)
def test_a_list_beside_the_network_is_found(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("hat\nshoes\n", "utf-8")
    assert find_labels(tmp_path / "net.onnx", 2) == (Labels(("hat", "shoes")), tmp_path / name)


def test_json_beside_the_network_is_found_and_other_json_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text('{"made": "here"}', "utf-8")
    assert find_labels(tmp_path / "net.onnx", 2) is None
    (tmp_path / "metadata.json").write_text('{"labels": ["hat", "shoes"]}', "utf-8")
    found = find_labels(tmp_path / "net.onnx", 2)
    assert found is not None and found[0].names == ("hat", "shoes")


def test_a_list_of_another_network_is_passed_over_aloud_or_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.txt").write_text("hat\nshoes\n", "utf-8")
    assert find_labels(tmp_path / "net.onnx", 3) is None
    said = capsys.readouterr().err
    assert "labels.txt" in said and "2 names for the 3 classes of net.onnx" in said
    (tmp_path / "net.txt").write_text("hat\nshoes\n", "utf-8")
    with pytest.raises(
        DialectError, match=r"net\.txt: 2 names for the 3 classes of net\.onnx.*labels"
    ):
        find_labels(tmp_path / "net.onnx", 3)


def test_the_first_fitting_list_among_texts_is_taken() -> None:
    texts = {"vocabulary.txt": "a\na\n", "other.txt": "a\n", "labels.txt": "hat\nshoes\n"}
    assert labels_among(texts, 2) == (Labels(("hat", "shoes")), "labels.txt")
    assert labels_among(texts, 5) is None

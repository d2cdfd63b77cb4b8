from mobilenetv2.audit.audit import Audit, Entry
from mobilenetv2.audit.finding import Finding, listed, number


def test_numbers_and_lists_read_as_people_write_them() -> None:
    assert [number(n, "photo") for n in (1, 2, 3000)] == ["1 photo", "2 photos", "3,000 photos"]
    assert [number(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
    assert listed(["a", "it's"]) == "'a', \"it's\""
    assert listed(list("abcdef")) == "'a', 'b', 'c', 'd', 'e' ..."


def test_the_json_names_photos() -> None:
    photos = tuple(Entry(name, "all", 0, name, "bad", None) for name in ("a/1", "a/2", "a/3"))
    audit = Audit("place", ("a",), ("all",), photos, (), (), 0)
    found = Finding("leak", "grave", "title", "advice", ((0, 2), (1,)), {1: "odd"})
    assert found.to_dict(audit) == {
        "kind": "leak", "level": "grave", "title": "title", "advice": "advice",
        "photos": [["a/1", "a/3"], ["a/2"]], "notes": {"a/2": "odd"},
    }  # fmt: skip

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mobilenetv2.auditing import issues as audit_issues
from mobilenetv2.auditing.inspection import Copies, Entry, Facts, Inspection, LabelError
from mobilenetv2.auditing.issues import CHECKS, Evidence, Issue, find_issues

PLAIN = Facts(300, 200, "RGB", False, False, False)


def entries(split: str, counts: tuple[int, ...], facts: Facts | None = PLAIN) -> list[Entry]:
    return [
        Entry(f"{split}/{'abc'[label]}/{i}", split, label, "", "" if facts else "damaged", facts)
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def audit(
    photos: list[Entry], *copies: Copies, classes: str = "abc", splits: str = "train test",
    ignored: tuple[str, ...] = (), notes: tuple[str, ...] = (), unsearched: int = 0,
) -> Inspection:  # fmt: skip
    return Inspection(
        "place", tuple(classes), tuple(splits.split()), tuple(photos), copies, ignored, 0,
        unsearched, notes,
    )  # fmt: skip


def issues(
    found: Inspection, doubts: Sequence[LabelError] = (), *more: Any, **named: Any
) -> list[Issue]:
    return find_issues(Evidence(found, doubts, *more, **named))


SOUND = entries("train", (20, 20, 20)) + entries("test", (10, 10, 10))
"""Places: train a 0-19, b 20-39, c 40-59; test a 60-69, b 70-79, c 80-89."""


def test_of_a_sound_set_there_is_nothing_to_say() -> None:
    assert issues(audit(SOUND)) == []


def test_copies_are_leaks_contradictions_or_just_copies() -> None:
    leak, torn, both, twice = (
        Copies((0, 60), True), Copies((1, 21), False), Copies((2, 75), False), Copies((3, 4), True),
    )  # fmt: skip
    found = issues(audit(SOUND, leak, torn, both, twice))
    assert [(one.kind, one.level, one.groups) for one in found] == [
        ("leak", "grave", ((0, 60), (2, 75))),
        ("contradiction", "grave", ((1, 21), (2, 75))),
        ("copies", "look", ((3, 4),)),
    ]
    for one, parts in zip(
        found, (("2", "1 exactly", "1 nearly"), ("2", "2 nearly"), ("1", "1 exactly")), strict=True
    ):
        assert all(part in one.title for part in parts), one.title


def test_classes_that_are_alone_empty_few_or_unequal() -> None:
    (alone,) = issues(audit(entries("all", (20,)), classes="a", splits="all"))
    assert alone.kind == "classes" and "'a'" in alone.title
    (empty,) = issues(audit(entries("train", (20, 0, 20)) + entries("test", (15, 15, 15))))
    assert empty.kind == "empty" and "in train: 'b'" in empty.title
    whole = entries("all", (20, 0, 0)) + entries("all", (0, 3, 0), None)
    found = issues(audit(whole, splits="all"))
    assert found[0].title.startswith("2 classes") and found[0].title.endswith(": 'b', 'c'")
    found = issues(audit(entries("all", (27, 9, 26)), splits="all"))
    assert [(one.kind, one.level) for one in found] == [("few", "look"), ("imbalance", "look")]
    assert "fewer than 10" in found[0].title and found[0].title.endswith("'b'")
    assert "3.0 times" in found[1].title and found[1].title.endswith("'a' 27, 'b' 9")
    assert issues(audit(entries("all", (29, 10, 20)), splits="all")) == []


def test_doubted_labels_come_with_probabilities_and_a_caution() -> None:
    doubts = [LabelError(5, 0, 2, 0.012, 0.95, True), LabelError(70, 1, 0, 0.1, 0.8, False)]
    (one,) = issues(audit(SOUND), doubts, size=(200, 200), learnt=60)
    assert (one.kind, one.level, one.groups) == ("suspicious", "look", ((5,), (70,)))
    assert one.title.startswith("2 labels")
    assert one.notes == {5: "c 95%, a 1% (trained on)", 70: "a 80%, b 10%"}
    assert "trained on 60 photos of this set" in one.advice
    (one,) = issues(audit(SOUND), doubts[1:])
    assert one.title.startswith("1 label ") and "trained" not in one.advice


def test_the_worst_comes_first_and_every_advice_is_a_sentence() -> None:
    photos = [
        *SOUND,
        Entry("train/a/x", "train", 0, "", "damaged", None),
        Entry("train/a/y", "train", 0, "", "", Facts(30, 30, "L", False, True, False)),
    ]
    copies = (Copies((0, 1), True), Copies((2, 60), True))
    doubts = [LabelError(5, 0, 2, 0.0, 1.0, False)]
    found = issues(
        audit(
            photos, *copies, ignored=("notes.txt", "x.csv"), notes=("left out: x",), unsearched=7
        ),
        doubts,
        (96, 96),
    )
    assert [one.kind for one in found] == [
        "leak", "unreadable", "copies", "suspicious", "small", "grey", "turned", "unsearched",
        "found", "ignored",
    ]  # fmt: skip
    assert [one.level for one in found] == ["grave"] * 2 + ["look"] * 3 + ["note"] * 5
    assert all(one.advice.endswith(".") and one.title[-1] != "." for one in found)
    titles = {one.kind: one.title for one in found}
    assert titles["found"] == "Left out: x"
    assert titles["ignored"].startswith("2 files ") and "notes.txt, x.csv" in titles["ignored"]
    assert titles["unsearched"].startswith("7 pairs ")


def test_files_that_are_damaged_alike_are_no_copies() -> None:
    photos = [
        *SOUND,
        *(Entry(f"train/{c}/x", "train", i, "", "damaged", None) for i, c in enumerate("ab")),
        Entry("test/a/x", "test", 0, "", "damaged", None),
    ]
    found = issues(audit(photos, Copies((90, 91, 92), True)))
    assert [one.kind for one in found] == ["unreadable"]


def test_photos_of_another_place_are_said_to_have_the_same_names_only() -> None:
    doubts = [LabelError(5, 0, 2, 0.012, 0.95, True)]
    (one,) = issues(audit(SOUND), doubts, learnt=60, same_set=False)
    assert "60 photos of the same names" in one.advice


def test_a_model_that_doubts_no_label_that_it_was_trained_on_says_little() -> None:
    (one,) = issues(audit(SOUND), learnt=60)
    assert (one.kind, one.level) == ("unquestioned", "note")
    assert "trained on 60 photos of this set" in one.advice
    assert issues(audit(SOUND), learnt=0) == []


def audit_of(*facts: Facts | None) -> Inspection:
    photos = tuple(
        Entry(f"a/{i}", "all", 0, str(i), "" if one else "damaged", one)
        for i, one in enumerate(facts)
    )
    return Inspection("place", ("a",), ("all",), photos, (), (), 0)


PHOTO_KINDS = {"unreadable", "flat", "small", "long", "grey", "transparent", "turned"}


def photo_issues(found: Inspection, size: tuple[int, int] | None = None) -> list[Issue]:
    return [one for one in issues(found, size=size) if one.kind in PHOTO_KINDS]


def kinds(found: list[Issue]) -> dict[str, list[int]]:
    return {one.kind: [place for group in one.groups for place in group] for one in found}


def test_plain_photos_are_not_worth_a_word() -> None:
    assert photo_issues(audit_of(PLAIN, PLAIN)) == []
    assert photo_issues(audit_of(PLAIN), (200, 200)) == []
    assert photo_issues(audit_of()) == []


def test_each_kind_of_odd_photo_is_named() -> None:
    found = photo_issues(
        audit_of(
            PLAIN,
            None,
            Facts(300, 200, "RGB", False, False, True),
            Facts(63, 64, "RGB", False, False, False),
            Facts(64, 64, "RGB", False, False, False),
            Facts(100, 301, "RGB", False, False, False),
            Facts(100, 300, "RGB", False, False, False),
            Facts(200, 200, "L", False, False, False),
            Facts(200, 200, "I;16", False, False, False),
            Facts(200, 200, "LA", True, False, False),
            Facts(200, 200, "P", True, False, False),
            Facts(200, 200, "RGB", False, True, False),
        )
    )
    assert kinds(found) == {
        "unreadable": [1], "flat": [2], "small": [3], "long": [5], "grey": [7, 8, 9],
        "transparent": [9, 10], "turned": [11],
    }  # fmt: skip
    titles = {one.kind: one.title for one in found}
    assert titles["unreadable"].startswith("1 photo ") and "read" in titles["unreadable"]
    assert "64 pixels" in titles["small"] and "model" not in titles["small"]
    assert titles["grey"].startswith("3 photos are ")
    notes = {one.kind: one.notes for one in found if one.notes}
    assert notes == {
        "unreadable": {1: "damaged"},
        "small": {3: "63 x 64"},
        "long": {5: "100 x 301"},
    }
    assert {one.kind: one.level for one in found}["unreadable"] == "grave"


def test_small_is_what_the_model_would_have_to_enlarge() -> None:
    (found,) = photo_issues(
        audit_of(PLAIN, Facts(250, 191, "RGB", False, False, False)), (192, 224)
    )
    assert "192 pixels" in found.title and "the model" in found.title
    assert found.groups == ((1,),)


def test_the_json_names_photos() -> None:
    photos = tuple(Entry(name, "all", 0, name, "bad", None) for name in ("a/1", "a/2", "a/3"))
    audit = Inspection("place", ("a",), ("all",), photos, (), (), 0)
    found = Issue("leak", "grave", "title", "advice", ((0, 2), (1,)), {1: "odd"})
    assert found.to_dict(audit) == {
        "kind": "leak", "level": "grave", "title": "title", "advice": "advice",
        "photos": [["a/1", "a/3"], ["a/2"]], "notes": {"a/2": "odd"},
    }  # fmt: skip


def test_a_check_is_a_function_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def many_photos(evidence: Evidence) -> Iterator[Issue]:
        yield Issue("many", "grave", f"{len(evidence.inspection.photos)} photos", "Buy a disk.")

    monkeypatch.setattr(audit_issues, "CHECKS", (*CHECKS, many_photos))
    found = issues(audit([*SOUND, *entries("test", (0, 1, 0), None)], notes=("left out: x",)))
    assert [one.kind for one in found] == ["unreadable", "many", "found"]

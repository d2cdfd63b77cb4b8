from mobilenetv2.audit.audit import Audit, Copies, Entry, Facts
from mobilenetv2.audit.findings import findings
from mobilenetv2.audit.suspicion import Suspicion

PLAIN = Facts(300, 200, "RGB", False, False, False)


def entries(split: str, counts: tuple[int, ...], facts: Facts | None = PLAIN) -> list[Entry]:
    return [
        Entry(f"{split}/{'abc'[label]}/{i}", split, label, "", "" if facts else "damaged", facts)
        for label, count in enumerate(counts)
        for i in range(count)
    ]


def audit(
    photos: list[Entry], *copies: Copies, classes: str = "abc", splits: str = "train test",
    ignored: tuple[str, ...] = (), links: int = 0, unsearched: int = 0,
) -> Audit:  # fmt: skip
    return Audit(
        "place", tuple(classes), tuple(splits.split()), tuple(photos), copies, ignored, links,
        unsearched,
    )  # fmt: skip


SOUND = entries("train", (20, 20, 20)) + entries("test", (10, 10, 10))
"""Places: train a 0-19, b 20-39, c 40-59; test a 60-69, b 70-79, c 80-89."""


def test_of_a_sound_set_there_is_nothing_to_say() -> None:
    assert findings(audit(SOUND)) == []


def test_copies_are_leaks_contradictions_or_just_copies() -> None:
    leak, torn, both, twice = (
        Copies((0, 60), True), Copies((1, 21), False), Copies((2, 75), False), Copies((3, 4), True),
    )  # fmt: skip
    found = findings(audit(SOUND, leak, torn, both, twice))
    assert [(one.kind, one.level, one.groups) for one in found] == [
        ("leak", "grave", ((0, 60), (2, 75))),
        ("contradiction", "grave", ((1, 21), (2, 75))),
        ("copies", "look", ((3, 4),)),
    ]
    assert [one.title for one in found] == [
        "2 pictures are in more than one split (1 exactly and 1 nearly the same)",
        "2 pictures are in more than one class (2 nearly the same)",
        "1 picture is more than once in a class (1 exactly the same)",
    ]


def test_classes_that_are_alone_empty_few_or_unequal() -> None:
    (alone,) = findings(audit(entries("all", (20,)), classes="a", splits="all"))
    assert (alone.kind, alone.title) == ("classes", "There is only one class, 'a'")
    found = findings(audit(entries("train", (20, 0, 20)) + entries("test", (15, 15, 15))))
    assert [one.title for one in found] == [
        "1 class has no photos that can be read in train: 'b'"
    ]  # fmt: skip
    whole = entries("all", (20, 0, 0)) + entries("all", (0, 3, 0), None)
    found = findings(audit(whole, splits="all"))
    assert found[0].title == "2 classes have no photos that can be read: 'b', 'c'"
    found = findings(audit(entries("all", (27, 9, 26)), splits="all"))
    assert [(one.kind, one.level, one.title) for one in found] == [
        ("few", "look", "1 class has fewer than 10 photos: 'b'"),
        ("imbalance", "look",
         "The largest class has 3.0 times the photos of the smallest: 'a' 27, 'b' 9"),
    ]  # fmt: skip
    assert findings(audit(entries("all", (29, 10, 20)), splits="all")) == []


def test_doubted_labels_come_with_probabilities_and_a_caution() -> None:
    doubts = [Suspicion(5, 0, 2, 0.012, 0.95, True), Suspicion(70, 1, 0, 0.1, 0.8, False)]
    (one,) = findings(audit(SOUND), doubts, "abc", (200, 200), 60)
    assert (one.kind, one.level, one.groups) == ("suspicious", "look", ((5,), (70,)))
    assert one.title == "2 labels are doubted by the model"
    assert one.notes == {5: "c 95%, a 1% (trained on)", 70: "a 80%, b 10%"}
    assert "The model was trained on 60 photos of this set" in one.advice
    (one,) = findings(audit(SOUND), doubts[1:], "abc")
    assert one.title == "1 label is doubted by the model" and "trained" not in one.advice


def test_the_worst_comes_first_and_every_advice_is_a_sentence() -> None:
    photos = [
        *SOUND,
        Entry("train/a/x", "train", 0, "", "damaged", None),
        Entry("train/a/y", "train", 0, "", "", Facts(30, 30, "L", False, True, False)),
    ]
    copies = (Copies((0, 1), True), Copies((2, 60), True))
    doubts = [Suspicion(5, 0, 2, 0.0, 1.0, False)]
    found = findings(
        audit(photos, *copies, ignored=("notes.txt", "x.csv"), links=1, unsearched=7),
        doubts,
        "abc",
        (96, 96),
    )
    assert [one.kind for one in found] == [
        "leak", "unreadable", "copies", "suspicious", "small", "grey", "turned", "unsearched",
        "links", "ignored",
    ]  # fmt: skip
    assert [one.level for one in found] == ["grave"] * 2 + ["look"] * 3 + ["note"] * 5
    assert all(one.advice.endswith(".") and one.title[-1] != "." for one in found)
    titles = {one.kind: one.title for one in found}
    assert titles["links"] == "1 link was not followed"
    assert titles["ignored"] == "2 files were passed over: notes.txt, x.csv"
    assert titles["unsearched"].startswith("7 pairs of photos may be near copies")


def test_files_that_are_damaged_alike_are_no_pictures_that_are_twice() -> None:
    photos = [
        *SOUND,
        *(Entry(f"train/{c}/x", "train", i, "", "damaged", None) for i, c in enumerate("ab")),
        Entry("test/a/x", "test", 0, "", "damaged", None),
    ]
    found = findings(audit(photos, Copies((90, 91, 92), True)))
    assert [one.kind for one in found] == ["unreadable"]


def test_photos_of_another_place_are_said_to_have_the_same_names_only() -> None:
    doubts = [Suspicion(5, 0, 2, 0.012, 0.95, True)]
    (one,) = findings(audit(SOUND), doubts, "abc", learnt=60, here=False)
    assert "trained on 60 photos of the same names as in this set" in one.advice


def test_a_model_that_doubts_no_label_that_it_was_trained_on_says_little() -> None:
    (one,) = findings(audit(SOUND), [], "abc", learnt=60)
    assert (one.kind, one.level) == ("unquestioned", "note")
    assert "trained on 60 photos of this set and may know their labels by heart" in one.advice
    assert findings(audit(SOUND), [], "abc", learnt=0) == []

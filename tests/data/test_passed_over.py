"""Files and folders that are passed over, by what systems leave and by a user's patterns."""

import pytest

from mobilenetv2.data.passed_over import (
    BROKEN,
    SYSTEM,
    Ignore,
    PassedOver,
    passed_folder,
)
from mobilenetv2.errors import DataError


def test_a_pattern_is_of_a_name_or_of_a_path() -> None:
    ignore = Ignore(["raw*", "hat/old", "*/x?.jpg", "none/"])
    assert [ignore.matches(p) for p in ("rawfiles", "a/raw.jpg", "hat/old", "a/x1.jpg")] == [
        True
    ] * 4
    assert not any(map(ignore.matches, ("draw", "old", "a/hat/old", "x1.jpg", "a/x12.jpg", "Raw")))
    assert ignore.unused() == ["none"]
    assert passed_folder(["a", "raw", "b", "1.jpg"], ignore) == ("a/raw/", "as a pattern says")
    assert passed_folder(["a", "raw.jpg"], ignore) == ("a/raw.jpg", "as a pattern says")
    assert passed_folder(["a", "b"], ignore) is None
    with pytest.raises(DataError, match="ignore: a pattern is empty"):
        Ignore(["a", "/"])


def test_a_note_counts_each_reason_and_names_the_first() -> None:
    passed, inner = PassedOver(), PassedOver()
    passed.add(SYSTEM, ".DS_Store")
    assert passed.notes() == []
    inner.add(SYSTEM, "@eaDir/")
    inner.add(BROKEN, "hat/1.jpg")
    passed.join(inner, "train/")
    assert passed.notes() == [
        "passed over, hidden or made by a system: 2 (first: .DS_Store)",
        "passed over, links that lead nowhere: 1 (first: train/hat/1.jpg)",
    ]
    assert passed.count(BROKEN, SYSTEM) == 3

from mobilenetv2.audit.audit import Audit, Entry, Facts
from mobilenetv2.audit.finding import Finding
from mobilenetv2.audit.photo_findings import photo_findings

PLAIN = Facts(300, 200, "RGB", False, False, False)


def audit(*facts: Facts | None) -> Audit:
    photos = tuple(
        Entry(f"a/{i}", "all", 0, str(i), "" if one else "damaged", one)
        for i, one in enumerate(facts)
    )
    return Audit("place", ("a",), ("all",), photos, (), (), 0)


def kinds(found: list[Finding]) -> dict[str, list[int]]:
    return {one.kind: [place for group in one.groups for place in group] for one in found}


def test_plain_photos_are_not_worth_a_word() -> None:
    assert photo_findings(audit(PLAIN, PLAIN)) == []
    assert photo_findings(audit(PLAIN), (200, 200)) == []
    assert photo_findings(audit()) == []


def test_each_kind_of_odd_photo_is_named() -> None:
    found = photo_findings(
        audit(
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
    assert titles["unreadable"] == "1 photo cannot be read"
    assert titles["small"] == "1 photo is smaller than 64 pixels on a side"
    assert titles["grey"] == "3 photos are without colours"
    notes = {one.kind: one.notes for one in found if one.notes}
    assert notes == {
        "unreadable": {1: "damaged"},
        "small": {3: "63 x 64"},
        "long": {5: "100 x 301"},
    }
    assert {one.kind: one.level for one in found}["unreadable"] == "grave"


def test_small_is_what_the_model_would_have_to_enlarge() -> None:
    (found,) = photo_findings(audit(PLAIN, Facts(250, 191, "RGB", False, False, False)), (192, 224))
    assert found.title == "1 photo is smaller than 192 pixels on a side, which the model takes"
    assert found.groups == ((1,),)

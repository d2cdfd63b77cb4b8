import json

from mobilenetv2.audit.audit import Audit, Copies, Entry, Facts


def entry(name: str, label: int, facts: Facts | None, split: str = "train") -> Entry:
    return Entry(name, split, label, f"digest of {name}", "" if facts else "damaged", facts)


def facts(width: int, height: int, mode: str = "RGB") -> Facts:
    return Facts(width, height, mode, False, False, False)


def made(*photos: Entry, copies: tuple[Copies, ...] = ()) -> Audit:
    return Audit("place", ("a", "b"), ("train", "test"), photos, copies, ("x.txt",), 2, 1)


SOME = made(
    entry("1", 0, facts(10, 20)), entry("2", 0, facts(30, 20)), entry("3", 0, facts(20, 20)),
    entry("4", 1, facts(100, 200, "L"), "test"), entry("5", 1, None),
    copies=(Copies((0, 3), False), Copies((1, 2), True)),
)  # fmt: skip


def test_counts_are_of_readable_photos() -> None:
    assert SOME.counts() == (3, 1)
    assert (SOME.counts("train"), SOME.counts("test")) == ((3, 0), (0, 1))


def test_imbalance_is_the_largest_over_the_smallest_class() -> None:
    assert SOME.imbalance() == 3
    assert made(entry("1", 0, facts(1, 1))).imbalance() == float("inf")


def test_sizes_are_least_median_and_greatest() -> None:
    assert SOME.sizes() == {
        "width": (10, 25, 100), "height": (20, 20, 200), "aspect": (0.5, 0.75, 1.5)
    }  # fmt: skip
    assert SOME.modes() == {"RGB": 3, "L": 1}


def test_the_json_has_everything_by_name() -> None:
    plain = json.loads(json.dumps(SOME.to_dict(), allow_nan=False))
    assert plain == {
        "data": "place", "photos": 5, "readable": 4,
        "classes": [
            {"name": "a", "photos": 3, "splits": {"train": 3, "test": 0}},
            {"name": "b", "photos": 1, "splits": {"train": 0, "test": 1}},
        ],
        "imbalance": 3.0,
        "sizes": {
            "width": {"min": 10, "median": 25, "max": 100},
            "height": {"min": 20, "median": 20, "max": 200},
            "aspect": {"min": 0.5, "median": 0.75, "max": 1.5},
        },
        "modes": {"RGB": 3, "L": 1},
        "unreadable": [{"photo": "5", "reason": "damaged"}],
        "copies": [
            {"photos": ["1", "4"], "exact": False, "splits": ["test", "train"],
             "classes": ["a", "b"]},
            {"photos": ["2", "3"], "exact": True, "splits": ["train"], "classes": ["a"]},
        ],
        "ignored": ["x.txt"], "links": 2, "unsearched": 1,
    }  # fmt: skip
    nothing = json.loads(json.dumps(made().to_dict(), allow_nan=False))
    assert (nothing["imbalance"], nothing["sizes"], nothing["photos"]) == (None, {}, 0)

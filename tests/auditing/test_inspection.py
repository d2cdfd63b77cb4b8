"""Every photo read once: its facts, its copies, what a predictor answered."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mobilenetv2.auditing.inspection import Copies, Entry, Facts, Inspection, connected, inspect
from mobilenetv2.data.dataset import find_splits, open_dataset
from mobilenetv2.data.sources import MemorySource
from mobilenetv2.spec.records import Preprocessing

Pack = Callable[[str, Mapping[str, bytes]], Path]


def picture(number: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    cells = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    made = io.BytesIO()
    image.save(made, kind, **options)
    return made.getvalue()


def inspected(files: Mapping[str, bytes]) -> Inspection:
    return inspect(find_splits(MemorySource("place", files)))[0]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_facts_of_every_photo_wherever_it_lies(pack: Pack, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    clear = picture(2).convert("RGBA")
    clear.putalpha(100)
    files = {
        "train/größe/1.png": file(picture(1)),
        "train/größe/clear.png": file(clear),
        "train/größe/grey.png": file(picture(3).convert("L")),
        "train/größe/lying.jpg": file(picture(4), "JPEG", exif=exif),
        "train/größe/lying.png": file(picture(5), exif=exif),
        "train/größe/flat.bmp": file(Image.new("RGB", (30, 30), (1, 2, 3)), "BMP"),
        "train/größe/bad.png": b"\x89PNG\r\n\x1a\n",
        "train/größe/notes.txt": b"x",
        "validation/größe/1.png": file(picture(6)),
        "validation/leer/": b"",
        "test/1.png": file(picture(7)),
    }
    place = pack(kind, files)
    audit, logits = inspect(open_dataset(place))
    assert logits is None
    assert (audit.place, audit.classes, audit.splits) == (
        str(place), ("größe", "leer"), ("train", "validation")
    )  # fmt: skip
    assert (len(audit.ignored), audit.links, audit.copies, audit.unsearched) == (1, 0, (), 0)
    assert audit.left_out == ("test/1.png",)
    found = {photo.name: photo for photo in audit.photos}
    for name, photo in found.items():
        assert photo.digest == hashlib.sha256(files[name]).hexdigest()
    assert found["train/größe/bad.png"].facts is None
    assert "JPEG, PNG" in found["train/größe/bad.png"].problem
    facts = {
        name.rpartition("/")[2]: (f.width, f.height, f.mode, f.transparent, f.turned, f.flat)
        for name, photo in found.items()
        if (f := photo.facts) and photo.split == "train"
    }
    assert facts == {
        "1.png": (48, 40, "RGB", False, False, False),
        "clear.png": (48, 40, "RGBA", True, False, False),
        "grey.png": (48, 40, "L", False, False, False),
        "lying.jpg": (40, 48, "RGB", False, True, False),
        "lying.png": (40, 48, "RGB", False, True, False),
        "flat.bmp": (30, 30, "RGB", False, False, True),
    }
    assert audit.counts() == (7, 0)
    assert audit.counts("train") == (6, 0) and audit.counts("validation") == (1, 0)


def test_exact_and_near_copies_are_one_group_and_unreadable_copies_are_copies_too() -> None:
    files = {f"{'ab'[i % 2]}/{i:02}.png": file(picture(i)) for i in range(12)}
    files["b/again.png"] = files["a/00.png"]
    files["b/other.jpg"] = file(picture(0).resize((96, 80)), "JPEG", quality=80)
    files["b/twice.png"] = files["b/01.png"]
    files["a/broken.png"] = files["b/broken.png"] = b"broken"
    audit = inspected(files)
    groups = [({audit.photos[p].name for p in g.photos}, g.exact) for g in audit.copies]
    assert len(groups) == 3
    for group in (
        ({"a/00.png", "b/again.png", "b/other.jpg"}, False),
        ({"b/01.png", "b/twice.png"}, True),
        ({"a/broken.png", "b/broken.png"}, True),
    ):
        assert group in groups


def test_a_hundred_copies_of_one_file_are_one_group() -> None:
    files = {f"a/{i:03}.png": file(picture(1)) for i in range(100)} | {"b/1.png": file(picture(2))}
    (group,) = inspected(files).copies
    assert group.exact and group.photos == tuple(range(100))


def test_the_predictor_sees_each_readable_photo_as_the_network_does() -> None:
    files = {f"{'ab'[i % 2]}/{i:02}.png": file(picture(i)) for i in range(19)}
    files["a/05.png"] = b"broken"
    files["b/long.png"] = file(picture(3, (40, 4)))
    record = Preprocessing((16, 16), (20, 20))
    sizes = []

    def predictor(pictures: NDArray) -> NDArray:
        sizes.append(len(pictures))
        return pictures.reshape(len(pictures), -1).astype(np.float32)[:, :3]

    dataset = find_splits(MemorySource("place", files))
    audit, logits = inspect(dataset, record, predictor)
    assert logits is not None and logits.shape == (21, 3) and logits.dtype == np.float32
    assert sizes == [8, 8, 4]
    from mobilenetv2.images.preprocess import preprocess

    split = dataset.splits["all"]
    for photo, entry, row in zip(split.photos, audit.photos, logits, strict=True):
        assert photo.name == entry.name
        if entry.facts is None:
            assert np.isnan(row).all() and photo.name == "a/05.png"
        else:
            wanted = preprocess(split.image(photo), record)
            np.testing.assert_array_equal(row, wanted.ravel()[:3])


def test_a_photo_that_cannot_be_brought_to_the_network_cannot_be_read() -> None:
    files = {"a/1.png": file(picture(1)), "b/strip.png": file(picture(2, (40_000, 4)))}
    dataset = find_splits(MemorySource("place", files))
    assert inspect(dataset)[0].counts() == (1, 1)
    audit, _ = inspect(dataset, Preprocessing())
    assert audit.counts() == (1, 0)
    problem = audit.photos[1].problem
    assert "40,000 x 4" in problem and "crop" in problem


def test_nothing_that_can_be_read_gives_no_logits() -> None:
    dataset = find_splits(MemorySource("place", {"a/1.png": b"x"}))
    audit, logits = inspect(dataset, Preprocessing(), lambda pictures: pictures)
    assert logits is None and audit.sizes() == {} and audit.counts() == (0,)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=25))
def test_groups_are_what_can_be_reached_from_each_other(pairs: list[tuple[int, int]]) -> None:
    groups = connected(pairs)
    members = [one for group in groups for one in group]
    assert sorted(members) == sorted({one for pair in pairs for one in pair})
    assert groups == sorted(tuple(sorted(group)) for group in groups)
    reach = np.eye(13, dtype=bool)
    for one, other in pairs:
        reach[one, other] = reach[other, one] = True
    for _ in range(4):
        reach = reach @ reach
    for group in groups:
        assert set(group) == set(np.flatnonzero(reach[group[0]]).tolist())


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB", "L", "I;16"])
def test_a_picture_is_transparent_where_a_pixel_is(mode: str) -> None:
    """Whatever place its file has for transparency."""
    found = {}
    for clear in (False, True):
        image = picture(1)
        options: dict[str, Any] = {}
        if mode in ("RGBA", "LA", "PA"):
            alpha = Image.new("L", image.size, 255)
            if clear:
                alpha.putpixel((7, 3), 254)
            image = image.convert("L" if mode == "LA" else "RGB").convert(mode)
            image.putalpha(alpha)
        elif mode == "P":
            image = image.quantize(16)
            options["transparency"] = bytes([254 if clear else 255] * 16)
        elif mode == "RGB":
            used = image.getpixel((7, 3))
            options["transparency"] = used if clear else (1, 255, 1)
            assert clear or not (np.asarray(image) == (1, 255, 1)).all(-1).any()
        else:
            levels = np.arange(48 * 40, dtype=np.uint16 if mode == "I;16" else np.uint8) % 200
            image = Image.fromarray(levels.reshape(40, 48))
            options["transparency"] = 7 if clear else 250
        kind = "TIFF" if mode == "PA" else "PNG"
        (photo,) = inspected({"a/1.png": file(image, kind, **options)}).photos
        assert photo.facts is not None
        found[clear] = photo.facts.transparent
    assert found == {False: False, True: True}


def entry(name: str, label: int, facts: Facts | None, split: str = "train") -> Entry:
    return Entry(name, split, label, f"digest of {name}", "" if facts else "damaged", facts)


def facts(width: int, height: int, mode: str = "RGB") -> Facts:
    return Facts(width, height, mode, False, False, False)


def made(*photos: Entry, copies: tuple[Copies, ...] = ()) -> Inspection:
    return Inspection(
        "place", ("a", "b"), ("train", "test"), photos, copies, ("x.txt",), 2, 1,
        left_out=("test/6",),
    )  # fmt: skip


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
        "ignored": ["x.txt"], "left_out": ["test/6"], "links": 2, "notes": [], "unsearched": 1,
    }  # fmt: skip
    nothing = json.loads(json.dumps(made().to_dict(), allow_nan=False))
    assert (nothing["imbalance"], nothing["sizes"], nothing["photos"]) == (None, {}, 0)

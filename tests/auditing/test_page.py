"""The page of an audit: whole, escaped, and with nothing in it that a browser would fetch."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2.auditing import page as audit_page
from mobilenetv2.auditing.inspection import inspect
from mobilenetv2.auditing.issues import Evidence, Issue, find_issues
from mobilenetv2.auditing.page import audit_html, thumbnails
from mobilenetv2.data.dataset import Dataset, find_splits
from mobilenetv2.data.sources import FolderSource, MemorySource

NASTY = '<script>alert("x")<\u2215script> & <b>帽子\x1b[31m'
VOID = {"meta", "link", "img", "br"}


class Reader(HTMLParser):
    """Elements with their attributes, the text, and whether all are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


def png(number: int, size: tuple[int, int] = (60, 50)) -> bytes:
    cells = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    made = io.BytesIO()
    Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC).save(made, "PNG")
    return made.getvalue()


def made(files: dict[str, bytes]) -> tuple[str, list[Issue], Dataset]:
    dataset = find_splits(MemorySource("some/place", files))
    audit, _ = inspect(dataset)
    found = find_issues(Evidence(audit))
    return audit_html(audit, found, dataset), found, dataset


@pytest.fixture(scope="module")
def nasty() -> str:
    files = {f"train/{NASTY}/{i} \"' <i>.png": png(i) for i in range(3)}
    files |= {f"train/b/{i}.png": png(i) for i in range(2, 5)}
    files |= {f"test/b/{i}.png": png(i + 2) for i in range(3)}
    files |= {f"test/{NASTY}/1.png": png(90, (400, 300)), f"train/{NASTY}/bad.png": b"<b>bad"}
    return made(files)[0]


def test_names_are_shown_as_they_are_and_become_no_elements(nasty: str) -> None:
    reader = read(nasty)
    shown = NASTY.replace("\x1b", "\ufffd")
    assert shown in reader.texts and "\x1b" not in nasty
    assert f"train/{shown}/2 \"' <i>.png" in reader.texts
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"script", "i", "iframe", "object"}
    assert all(not key.startswith("on") for _, more in reader.elements for key in more)


def test_nothing_is_fetched(nasty: str) -> None:
    reader = read(nasty)
    for _, attributes in reader.elements:
        for key in ("src", "href", "srcset", "action", "background"):
            assert (attributes.get(key) or "data:").startswith("data:")
    assert "url(" not in nasty and "@import" not in nasty
    policies = [a["content"] for tag, a in reader.elements if a.get("http-equiv")]
    assert policies == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
    ]
    assert "prefers-color-scheme: dark" in nasty


def test_thumbnails_are_small_pictures_of_the_photos(nasty: str) -> None:
    images = [a for tag, a in read(nasty).elements if tag == "img"]
    assert images
    sizes = set()
    for one in images:
        kind, _, data = str(one["src"]).partition(",")
        size = Image.open(io.BytesIO(base64.b64decode(data))).size
        assert kind == f"data:image/{'png' if max(size) < 96 else 'jpeg'};base64" and one["alt"]
        sizes.add(size)
    assert sizes <= {(60, 50), (208, 156)}


def test_what_was_found_stands_there_with_its_photos_and_the_worst_first() -> None:
    files = {f"train/{c}/{i}.png": png(i + 50 * (c == "b")) for c in "ab" for i in range(12)}
    files |= {f"test/{c}/{i}.png": png(i + 200 + 50 * (c == "b")) for c in "ab" for i in range(12)}
    files |= {"train/a/again.png": files["test/a/0.png"], "train/b/bad.png": b"x"}
    html, found, _ = made(files)
    texts = read(html).texts
    places = [texts.index(one.title) for one in found]
    assert [one.kind for one in found] == ["leak", "unreadable", "small"]
    assert places == sorted(places)
    assert all(one.advice in texts for one in found)
    leak = html[html.index('id="leak"') : html.index('id="unreadable"')]
    assert leak.count("<img") == 2 and "train/a/again.png" in leak and "test/a/0.png" in leak
    unreadable = html[html.index('id="unreadable"') : html.index('id="look"')]
    assert unreadable.count("<img") == 0 and "no image" in unreadable
    assert "49 photos of 2 classes in train, test, 48 of them readable" not in texts
    assert "50 photos of 2 classes in train, test, 49 of them readable" in texts


def test_a_page_shows_no_more_than_can_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_page, "MOST_GROUPS", 3)
    monkeypatch.setattr(audit_page, "MOST_IN_GROUP", 2)
    files = {f"a/{i}.png": png(i) for i in range(12)} | {
        f"b/{i}.png": png(i % 3) for i in range(12)
    }
    html, found, dataset = made(files)
    audit, _ = inspect(dataset)
    for one in found:
        shown = thumbnails(audit, [one], dataset)
        assert len(shown) == sum(len(group[:2]) for group in one.groups[:3])
    assert re.search(r"and \d+ more</p>", html) and "21 more are in audit.json." in html


def test_a_sound_set_says_so_and_one_photo_makes_a_page_too() -> None:
    files = {f"{c}/{i}.png": png(i + 50 * (c == "b"), (80, 90)) for c in "ab" for i in range(12)}
    assert "No problems found." in read(made(files)[0]).texts
    html, _, _ = made({"a/1.png": png(1)})
    assert "1 photo of 1 class, 1 of them readable" in read(html).texts
    html, _, _ = made({"a/1.png": b""})
    assert "No photo can be read." in read(html).texts


def test_a_photo_that_has_gone_since_has_no_picture(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(int(name[2])))
    dataset = find_splits(FolderSource(tmp_path))
    audit, _ = inspect(dataset)
    found = find_issues(Evidence(audit))
    (tmp_path / "a/1.png").unlink()
    assert "no image" in audit_html(audit, found, dataset)

"""Folders that are walked lazily."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilenetv2.data.passed_over import AGAIN, BROKEN, Ignore
from mobilenetv2.data.sources import Walk
from mobilenetv2.errors import DataError


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def files(walk: Walk) -> list[str]:
    return [name for name in walk if not name.endswith("/")]


@settings(max_examples=40, deadline=None)
@given(
    st.sets(
        st.lists(st.text("ab.-~", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join),
        max_size=12,
    )
)
def test_names_come_in_the_order_of_whole_names(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    root = tmp_path_factory.mktemp("walk")
    kept = set[str]()
    for name in sorted(names):
        parts = name.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        hidden = any(part.startswith(".") for part in parts)
        if above & kept or any(other.startswith(f"{name}/") for other in kept) or hidden:
            continue
        make(root, name)
        kept.add(name)
    assert files(Walk(root, Ignore())) == sorted(kept)
    assert sorted(files(Walk(root, Ignore(), ordered=False))) == sorted(kept)


def test_only_what_is_needed_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/1", "b/1", "c/1")
    listed: list[str] = []
    scandir = os.scandir

    def counted(path: Path) -> object:
        listed.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    walk = iter(Walk(tmp_path, Ignore()))
    assert [*itertools.islice(walk, 2)] == ["a/", "a/1"]
    assert listed == [tmp_path.name, "a"]
    assert [*walk] == ["b/", "b/1", "c/", "c/1"]


@pytest.mark.parametrize("ordered", [True, False])
def test_a_walk_that_is_left_closes_what_it_has_open(tmp_path: Path, ordered: bool) -> None:
    make(tmp_path, "a/b/1", "a/b/2", "c")
    walk = iter(Walk(tmp_path, Ignore(), ordered))
    next(walk)
    del walk  # an open scandir would warn, and warnings are errors


def test_links_to_folders_come_last_and_those_to_files_in_their_places(tmp_path: Path) -> None:
    root, elsewhere = make(tmp_path / "in", "b/1", "c"), make(tmp_path / "out", "x")
    (root / "a").symlink_to(elsewhere)
    (root / "again").symlink_to(root / "b")
    (root / "b2").symlink_to(elsewhere / "x")
    (root / "gone").symlink_to(root / "none")
    (root / "loop").symlink_to(root)
    walk = Walk(root, Ignore())
    assert files(walk) == ["b/1", "b2", "c", "a/x"]
    assert walk.passed.names == {BROKEN: ["gone"], AGAIN: ["again/", "loop/"]}
    assert walk.elsewhere == (2, "a")
    assert walk.notes() == ["2 links that lead out of the folder followed (first: a)"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_an_error_or_a_photo(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1")
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(DataError, match="a: the folder cannot be listed"):
            list(Walk(tmp_path, Ignore()))
        walk = Walk(tmp_path, Ignore(), lenient=True)
        assert files(walk) == ["a", "b/1"] and walk.unlisted == {"a"}
    finally:
        (tmp_path / "a").chmod(0o755)


def test_a_folder_that_is_gone_when_its_turn_comes(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1", "c/1")
    walk = Walk(tmp_path, Ignore(), lenient=True)
    found = []
    for name in walk:
        found.append(name)
        if name == "a/1":
            (tmp_path / "b/1").unlink()
            (tmp_path / "b").rmdir()
    assert found == ["a/", "a/1", "b/", "b", "c/", "c/1"] and walk.unlisted == {"b"}

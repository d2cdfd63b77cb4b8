import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from mobilenetv2.files import (
    ORPHANED,
    PREVIOUS,
    TEMPORARY,
    atomic_folder,
    open_file,
    read_file,
    recover,
    remove_orphans,
    require_only,
    sha256_of_file,
    sweep,
    take_place,
    write_atomically,
)


def test_a_regular_file_is_read_through_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == b"content"
    assert sha256_of_file(tmp_path / "link") == hashlib.sha256(b"content").hexdigest()
    with open_file(tmp_path / "file") as file:
        assert file.seek(0, 2) == 7


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
def test_what_is_no_regular_file_is_named_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    kinds = {"pipe": "pipe", "link": "pipe", "socket": "socket", os.devnull: "device"}
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for name, kind in kinds.items():
            with pytest.raises(OSError, match=f"is a {kind}, .*save its contents") as caught:
                read_file(Path(name))
            assert caught.value.filename == name
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "nothing")
    # A pipe that takes the place of a file after the first look at it is not waited for either.
    regular = Path(__file__).stat()
    monkeypatch.setattr(Path, "stat", lambda _: regular)
    with pytest.raises(OSError, match="is a pipe"):
        read_file(tmp_path / "pipe")


def test_writing_through_links(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    file, link, made = tmp_path / "deep" / "file", tmp_path / "link", tmp_path / "made"
    link.symlink_to("second")
    (tmp_path / "second").symlink_to("deep/file")
    for content in ("first", "second"):  # the first leads nowhere yet
        write_atomically(link, content)
        assert (link.is_symlink(), file.read_text()) == (True, content)
    made.write_text("made elsewhere")
    take_place(made, link)
    assert (link.is_symlink(), file.read_text()) == (True, "made elsewhere")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["deep", "file", "link", "second"]
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="links") as caught:
        write_atomically(tmp_path / "round", "x")
    assert caught.value.filename == str(tmp_path / "round")


def test_a_folder_is_replaced_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    folder, link = tmp_path / "disk" / "best", tmp_path / "best"
    link.symlink_to("disk/best")
    for name in ("first", "second"):
        with atomic_folder(link) as made:
            assert made.parent == folder.parent
            (made / name).write_text("")
        assert link.is_symlink()
        assert [path.name for path in folder.iterdir()] == [name]
    (folder.parent / f"{PREVIOUS}best").mkdir()
    folder.rename(tmp_path / "gone")
    recover(link)
    assert folder.is_dir()
    made = tmp_path / "gone"
    take_place(made, link)
    assert [path.name for path in link.iterdir()] == ["second"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["best", "best", "disk", "second"]


def test_only_what_may_be_lost_is(tmp_path: Path) -> None:
    require_only(tmp_path / "none", {"a"})
    (tmp_path / "a").write_text("")
    require_only(tmp_path, {"a", "b"})
    (tmp_path / "c").write_text("")
    with pytest.raises(FileExistsError) as caught:
        require_only(tmp_path, {"a"})
    assert caught.value.filename == str(tmp_path / "c")
    (tmp_path / "c").unlink()
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError):
        require_only(tmp_path, {"a", "b"})


def test_an_error_while_writing_a_folder_leaves_the_old_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "best"
    with atomic_folder(target) as folder:
        (folder / "old").write_text("old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), atomic_folder(target) as folder:
            (folder / "new").write_text("new")
            raise error
        assert [path.name for path in target.iterdir()] == ["old"]
        assert list(target.parent.iterdir()) == [target]


def test_the_new_folder_replaces_all_of_the_old(tmp_path: Path) -> None:
    target = tmp_path / "best"
    for name in ("old", "new"):
        with atomic_folder(target) as folder:
            assert folder.parent == tmp_path
            assert list(folder.iterdir()) == []
            (folder / name).mkdir()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_flushed_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Mock()
    calls.fsync.side_effect, calls.replace.side_effect = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", calls.fsync)
    monkeypatch.setattr(os, "replace", calls.replace)
    write_atomically(tmp_path / "text", "Größe\r\n")
    assert (tmp_path / "text").read_bytes() == "Größe\r\n".encode()
    # The last: the folder's own entry.
    assert [name for name, _, _ in calls.mock_calls] == ["fsync", "replace", "fsync"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small disk: {getattr(error, 'stderr', None) or error}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_old_and_names_the_target(small_disk: Path) -> None:
    target = small_disk / "weights"
    write_atomically(target, b"old" * 5000)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(target, bytes(100_000))
    assert caught.value.filename == str(target)
    assert TEMPORARY not in str(caught.value)
    with pytest.raises(OSError, match="No space left"), atomic_folder(small_disk / "run") as folder:
        (folder / "a").write_bytes(bytes(100_000))
    assert list(small_disk.iterdir()) == [target]
    assert target.read_bytes() == b"old" * 5000


@pytest.mark.parametrize("parent", ["missing", "a file"])
def test_a_place_that_cannot_be_is_named(tmp_path: Path, parent: str) -> None:
    (tmp_path / "a file").write_text("")
    target = tmp_path / parent / "config.json"
    with pytest.raises(OSError) as caught:
        write_atomically(target, "{}")
    assert caught.value.filename == str(target)
    assert TEMPORARY not in str(caught.value)


def test_recover_finishes_what_a_kill_between_the_renames_left(tmp_path: Path) -> None:
    target, previous = tmp_path / "best", tmp_path / f"{PREVIOUS}best"
    recover(target)
    assert list(tmp_path.iterdir()) == []
    previous.mkdir()
    (previous / "old").write_text("")
    recover(target)
    assert list(tmp_path.iterdir()) == [target]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_recover_removes_nothing_that_another_process_may_need(tmp_path: Path) -> None:
    target, previous = tmp_path / "best", tmp_path / f"{PREVIOUS}best"
    for folder in (target, previous):
        folder.mkdir()
    recover(target)
    assert sorted(tmp_path.iterdir()) == [previous, target]
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    target = tmp_path / "best"
    target.write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file"), atomic_folder(target):
        pass
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_text() == "mine"


def test_the_next_writer_recovers_first(tmp_path: Path) -> None:
    target, previous = tmp_path / "best", tmp_path / f"{PREVIOUS}best"
    previous.mkdir()
    with pytest.raises(ValueError, match="half"), atomic_folder(target):
        raise ValueError("half")
    assert list(tmp_path.iterdir()) == [target]
    previous.mkdir()
    (previous / "old").write_text("")
    with atomic_folder(target) as folder:
        (folder / "new").write_text("")
    assert list(tmp_path.rglob("*")) == [target, target / "new"]


def test_sweep_takes_only_what_a_killed_process_left(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("model", PREVIOUS + "best", "deep")]
    for folder in (*kept, tmp_path / f"{TEMPORARY}run-1"):
        folder.mkdir()
        (folder / "file").write_text("")
    (tmp_path / "deep" / f"{TEMPORARY}file-2").write_text("")
    (tmp_path / f"{TEMPORARY}file-3").write_text("")
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert (tmp_path / "deep" / f"{TEMPORARY}file-2").exists()


@pytest.mark.parametrize("locks", [True, False])
def test_what_a_killed_writer_left_goes_with_the_next_once_nobody_can_be_writing(
    tmp_path: Path, locks: bool
) -> None:
    names = ("a[1]-00000000", "a[1]-0000000f", "a[1]-b-00000000")
    old, new, another = (tmp_path / f"{TEMPORARY}{name}" for name in names)
    for orphan in (old, new, another):
        orphan.mkdir()
        (orphan / "half").write_text("x")
        days = 0 if orphan is new else 2
        then = time.time() - days * ORPHANED
        os.utime(orphan, (then, then))
    remove_orphans(tmp_path / "a[1]", alone=locks)
    kept = [another.name] if locks else [new.name, another.name]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
    with atomic_folder(tmp_path / "a[1]"):
        pass  # it holds the lock
    assert {p.name for p in tmp_path.iterdir()} == {another.name, "a[1]"}


def test_the_current_folder_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with atomic_folder(Path()) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]

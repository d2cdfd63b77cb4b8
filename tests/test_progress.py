import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import mobilenetv2
from mobilenetv2 import progress
from mobilenetv2.progress import say, track

SCRIPT = """
import sys, time
from mobilenetv2.progress import say, track
for item in track(range(40), "epoch 3/10", total=40):
    time.sleep(0.01)
    print(item)
    if item == int(sys.argv[1]):
        break
say("a summary")
"""


class Clock:
    """Time that passes only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_say_leaves_stdout_free(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_off_a_terminal_lines_come_now_and_then_on_stderr(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in track(range(6), "epoch 1/2", total=170, weight=32):  # the last batch has 10
        clock.now += 8
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "epoch 1/2: 64 of 170, 4/s, 26 s left",
        "epoch 1/2: 128 of 170, 4/s, 10 s left",
    ]  # every 15 s at the soonest, and none at the end: a summary follows


def test_short_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", "reading", total=3)) == ["a", "b", "c"]
    assert list(track([], "reading", total=0)) == []
    assert capsys.readouterr() == ("", "")


def test_items_are_taken_one_at_a_time_as_asked_for() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for item in range(3):
            taken.append(item)
            yield item

    tracked = track(source(), "reading", total=3)
    assert taken == []
    assert next(iter(tracked)) == 0
    assert taken == [0]


def test_an_error_of_the_source_passes_through() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(track(source(), "reading", total=2))


def on_a_terminal(last: int) -> tuple[list[str], str]:
    """Run the script with stderr on a real terminal: its lines on stdout, and what was shown."""
    pty = pytest.importorskip("pty", reason="terminals are made the POSIX way")
    shown, terminal = pty.openpty()
    environment = os.environ | {
        "PYTHONPATH": str(Path(mobilenetv2.__file__).parents[1]),
        "TERM": "xterm-256color",
        "COLUMNS": "100",
    }
    command = [sys.executable, "-c", SCRIPT, str(last)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=terminal, text=True
    ) as process:
        os.close(terminal)
        text = b""
        while True:
            try:
                part = os.read(shown, 4096)
            except OSError:  # Linux says so when the last writer is gone
                break
            if not part:
                break
            text += part
        os.close(shown)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == 0
    return lines, text.decode()


def test_on_a_terminal_a_bar_counts_to_the_end_and_makes_way() -> None:
    _, shown = on_a_terminal(last=-1)
    assert "epoch 3/10" in shown
    counts = [int(count) for count in re.findall(r"(\d+)/40", re.sub(r"\x1b\[[\d;]*m", "", shown))]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2
    assert counts[0] == 0
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # cursor hidden, and back
    end = shown.rpartition("\x1b[2K")[2]  # after the bar's line is wiped
    assert end.strip() == "a summary"


def test_leaving_the_loop_early_gives_the_terminal_back() -> None:
    _, shown = on_a_terminal(last=5)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1


def test_under_a_bar_what_is_printed_still_goes_to_stdout() -> None:
    lines, _ = on_a_terminal(last=-1)
    assert lines == [str(item) for item in range(40)]


class Shell:
    """A notebook's shell, as far as progress looks at it."""

    kernel, execution_count = object(), 1


class Handle:
    def __init__(self, shown: list[dict[str, str]]) -> None:
        self.update = lambda data, raw: shown.append(data)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A process that serves a notebook: what its cells displayed and, of each, the states."""
    shell, cells = Shell(), list[list[dict[str, str]]]()

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Handle:
        cells.append([data])
        return Handle(cells[-1])

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(progress, "_status_line", progress.Status())
    return SimpleNamespace(shell=shell, cells=cells)


def test_in_a_notebook_a_cell_has_one_bar_which_is_emptied(
    notebook: SimpleNamespace, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("epoch 1/2", "<b>"):
        for _ in track(range(4), label, total=4):
            clock.now += 0.3
    say("a summary")
    (states,) = notebook.cells
    texts = [state["text/plain"] for state in states]
    expected = "{}: 2 of 4, 3/s, 1 s left|{}: 4 of 4, 3/s, 0 s left|".split("|")
    assert texts == [text.format(label) for label in ("epoch 1/2", "<b>") for text in expected]
    assert '<progress value="0.500">' in states[0]["text/html"]
    assert "&lt;b&gt;: 2 of 4" in states[3]["text/html"] and states[-1]["text/html"] == ""
    assert capsys.readouterr() == ("a summary\n", "")  # stderr would look like an error
    notebook.shell.execution_count = 2
    for _ in track(range(2), "reading", total=2):
        clock.now += 1
    assert len(notebook.cells) == 2


def test_ipython_on_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    for ipython in (SimpleNamespace(get_ipython=lambda: object()), SimpleNamespace(), None):
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        assert progress.notebook() is None


def test_a_program_without_a_console_works_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)  # pythonw
    say("lost")
    assert list(track(range(3), "reading", total=3)) == [0, 1, 2]
    assert capsys.readouterr().out == ""


def test_a_stream_that_nobody_reads_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    end, pipe = os.pipe()
    os.close(end)
    with os.fdopen(pipe, "wb", buffering=0) as raw:
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, write_through=True))
        say("lost")
        assert list(track(range(3), "reading", total=3)) == [0, 1, 2]
    say("lost, too: the stream is closed")
    assert list(track(range(3), "reading", total=3)) == [0, 1, 2]
    monkeypatch.undo()


def test_a_programs_own_stream_takes_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(kept, "cp1252"))
    say("caf\u00e9 \u6f22 \udce9")
    assert kept.getvalue().decode("ascii").split() == ["caf\\xe9", "\\u6f22", "\\xe9"]


@pytest.mark.parametrize(
    ("done", "total", "seconds", "said"),
    [
        (64, 170, 16.0, "64 of 170, 4/s, 26 s left"),
        (3, 40, 90.0, "3 of 40, 30 s each, 18.5 minutes left"),
        (1, 1000, 100.0, "1 of 1000, 100 s each, 27.8 hours left"),
        (5, 5, 0.0, "5 of 5, 5000000000/s, 0 s left"),
    ],
)
def test_slow_work_is_told_in_seconds_for_each_part(
    done: int, total: int, seconds: float, said: str
) -> None:
    assert progress.describe("cases", done, total, seconds) == f"cases: {said}"


def test_muted_it_does_the_work_and_tells_nothing(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow() -> Iterator[int]:
        for item in range(3):
            clock.now += 60
            yield item

    with progress.muted():
        say("a sentence")
        assert list(track(slow(), "work", 3)) == [0, 1, 2]
        with progress.muted(False):  # one that would tell, within one that does not
            say("another")
    assert capsys.readouterr().err == ""
    say("again")
    assert capsys.readouterr().err == "again\n"

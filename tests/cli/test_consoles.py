"""Consoles of other encodings, closed streams, readers that leave, no home, no current folder.

``benchmarks/consoles.py`` runs every verb in every console; here are some of each.
"""

import os
from pathlib import Path

import pytest
from command_lines import Inputs, command_lines, make_inputs
from consoles import CONSOLES, ORDINARY, Ended, differences, start

pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="a shell's redirections"),
]  # fmt: skip
LIGHT = ("help of a verb", "predict --json", "predict --csv", "no such model")
HEAVY = {
    "evaluate --report": "both closed", "audit": "ascii", "explain": "stdout's reader gone",
    "train, torch": "stderr's reader gone", "export, onnx": "stdout closed",
    "weights import, torch": "C locale",
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"), ("onnx",))


@pytest.fixture(scope="module")
def ordinary(inputs: Inputs) -> dict[str, Ended]:
    """How each light command ends in an ordinary console."""
    out = inputs.folder / "out"
    lines = command_lines(inputs, out)
    return {title: start(lines[title], ORDINARY, out) for title in LIGHT}


def test_an_ordinary_console_shows_names_as_they_are(ordinary: dict[str, Ended]) -> None:
    assert [ended.status for ended in ordinary.values()] == [0, 1, 1, 2]
    assert "\U0001f408" in ordinary["predict --json"].out.decode()
    assert "no\\xe9 \U0001f600" in ordinary["no such model"].err.decode()
    assert list(ordinary["predict --csv"].files) == ["\u6f22.csv"]


@pytest.mark.parametrize("console", CONSOLES, ids=lambda console: console.name)
def test_a_command_ends_as_in_an_ordinary_console(
    console: object, inputs: Inputs, ordinary: dict[str, Ended]
) -> None:
    assert isinstance(console, type(ORDINARY))
    out = inputs.folder / "out"
    lines = command_lines(inputs, out)
    for title, expected in ordinary.items():
        found = start(lines[title], console, out)
        assert [*differences(found, expected, console, lines[title])] == [], title


@pytest.mark.parametrize("title", HEAVY)
def test_work_ends_as_in_an_ordinary_console(title: str, inputs: Inputs) -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra: torch)")
    (console,) = (one for one in CONSOLES if one.name == HEAVY[title])
    out = Path(inputs.folder / "out")
    words = command_lines(inputs, out)[title]
    ordinary = start(words, ORDINARY, out)
    assert ordinary.status in (0, 1), ordinary.err
    assert [*differences(start(words, console, out), ordinary, console)] == []

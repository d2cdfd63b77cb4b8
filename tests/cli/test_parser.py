"""The command line: help, examples, and mistakes in typing."""

import re
import shlex
import subprocess
import sys

import pytest

from mobilenetv2 import __version__
from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.cli import parser
from mobilenetv2.cli.parser import EXAMPLES, VERBS, make_parser

PAGES = [[verb] for verb in VERBS] + [
    ["weights", action] for action in ("list", "fetch", "import", "export")
]


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """(exit status, stdout, stderr) of a command line that ends inside the parser."""
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args(arguments)
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def examples(text: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"^ +(mobilenetv2 .*)$", text, re.M)]


@pytest.mark.parametrize("verb", PAGES, ids=" ".join)
def test_the_help_of_every_verb_has_examples_that_parse(
    verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = printed([*verb, "--help"], capsys)
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: mobilenetv2 {' '.join(verb)}")
    own, _, others = out.partition("examples:")[2].partition("\n\n")  # of verbs that are near
    assert examples(own)
    for example in examples(own):
        assert example[: len(verb)] == verb
    for example in examples(own) + examples(others):
        cells = [cell.split("  ")[0] for cell in example]
        assert make_parser().parse_args(cells).verb == example[0]


def test_the_first_help_names_every_verb_and_shows_the_whole_job(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = printed(["--help"], capsys)
    assert status == 0
    for verb in VERBS:
        assert re.search(rf"^    {verb} +\w", out, re.M), verb
    assert EXAMPLES.strip() in out
    for example in examples(re.sub(r"(?<=\S)  +.*", "", EXAMPLES)):  # what it is for
        assert make_parser().parse_args(example).verb == example[0]


def test_dialect_takes_what_the_registry_has() -> None:
    assert tuple(registry.DIALECTS) == parser.DIALECTS


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["--version"], capsys) == (0, f"mobilenetv2 {__version__}\n", "")


def test_no_help_needs_more_than_the_standard_library() -> None:
    script = f"""
import sys
from mobilenetv2.cli.main import main
for words in {[[], *PAGES]}:
    try:
        main([*words, "--help"])
    except SystemExit as end:
        assert end.code == 0
ours = {{name.partition(".")[0] for name in sys.modules}}
loaded = ours - set(sys.stdlib_module_names) - before - {{"mobilenetv2"}}
sys.exit(f"loaded: {{loaded}}" if loaded else 0)
"""
    script = 'import sys\nbefore = {name.partition(".")[0] for name in sys.modules}\n' + script
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_verb_is_imported_once_it_is_given() -> None:
    script = (
        "import sys; from mobilenetv2.cli.parser import VERBS, make_parser\n"
        "make_parser().parse_args(['describe'])\n"
        "print(*(verb for verb in VERBS if f'mobilenetv2.cli.{verb}' in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["describe"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required: VERB; see 'mobilenetv2 --help'"),
        (["trian"], "invalid choice: 'trian'; did you mean 'train'?; see 'mobilenetv2 --help'"),
        (["train"], "arguments are required: DATA; see 'mobilenetv2 train --help'"),
        (["train", "x", "--output", "y", "--epochs", "few"], "--epochs: invalid int value: 'few'"),
        (["train", "x", "--output", "y", "--resume", "--overwrite"], "not allowed with argument"),
        (["train", "x", "--output", "y", "--edition", "numpy"], "invalid choice: 'numpy'"),
        (["describe", "--size", "2x2x4"], "'2x2x4' is not a size such as 224 or 192x256"),
        (["describe", "--size", "big"], "'big' is not a size such as 224 or 192x256"),
        (["predict", "x", "--model", "m", "--json", "--csv", "f"], "not allowed with argument"),
        (["predict", "--model", "m"], "arguments are required: IMAGE|FOLDER"),
        (["weights"], "arguments are required: ACTION; see 'mobilenetv2 weights --help'"),
        (["evaluate", "x", "--model", "m", "--colour"], "unrecognized arguments: --colour; see"),
        (
            ["train", "x", "--ouput", "y"],
            "--ouput y; did you mean --output?; see 'mobi",
        ),
        (["predict", "x", "--runtime", "torhc"], "'torhc'; did you mean 'torch'?"),
        (["explain", "x", "--model", "m", "--flips"], "unrecognized arguments: --flips"),
    ],
)
def test_a_mistake_in_typing_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = printed(arguments, capsys)
    assert (status, out) == (2, "")
    assert err.startswith("mobilenetv2: error: ") and err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    "text, size", [("224", (224, 224)), ("192x256", (192, 256)), ("64X32", (64, 32))]
)
def test_a_size_is_a_square_or_height_x_width(text: str, size: tuple[int, int]) -> None:
    assert make_parser().parse_args(["describe", "--size", text]).size == size


def test_changes_are_gathered_in_order_and_none_are_shared_between_calls() -> None:
    words = ["train", "x", "--output", "y", "--set", "a=1", "--set", "a=2"]
    assert make_parser().parse_args(words).set == ["a=1", "a=2"]
    assert make_parser().parse_args(words[:4]).set == []


@pytest.mark.parametrize("text", ["-1..1", "0..1"])
def test_a_range_that_begins_with_a_minus_is_a_value(text: str) -> None:
    words = ["weights", "import", "a.tflite", "a", "--preprocessing", text]
    assert make_parser().parse_args(words).preprocessing == text

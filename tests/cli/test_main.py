"""From an error to one sentence and an exit status; tables."""

import contextlib
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenetv2 import errors
from mobilenetv2.cli import describe
from mobilenetv2.cli.main import main, table
from mobilenetv2.hub.catalogue import DEFAULT

OURS = [kind for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MobileNetV2Error)]  # fmt: skip


def raising(error: BaseException) -> Callable[[object], int]:
    def run(_: object) -> int:
        raise error

    return run


@pytest.mark.parametrize("kind", OURS)
def test_every_error_of_ours_is_one_line_and_status_2(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(describe, "run", raising(kind("photos/: nothing there")))
    assert main(["describe"]) == 2
    assert capsys.readouterr() == ("", "mobilenetv2: error: photos/: nothing there\n")


def test_the_command_alone_prints_its_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: mobilenetv2") and "train digits" in out and err == ""
    monkeypatch.setattr(sys, "argv", ["mobilenetv2"])
    assert main() == 0
    assert capsys.readouterr() == (out, "")


NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_without_a_model_the_embedded_one_answers_and_that_is_said_first(
    photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(photo), "--json"]) == 0
    out, err = capsys.readouterr()
    (row,) = [json.loads(line) for line in out.splitlines()]
    assert len({g["label"] for g in row["predictions"]} & set(NAMES)) == 5
    assert err == (
        "no --model given, so the embedded model answers, which knows only "
        f"{', '.join(NAMES[:-1])} and truck; for ImageNet's 1,000 classes, add --model {DEFAULT}\n"
    )
    assert main(["predict", str(photo), "--json", "--model", "embedded"]) == 0
    again, err = capsys.readouterr()
    assert json.loads(again)["predictions"] == row["predictions"]
    assert err == ""


def test_nothing_is_said_of_the_embedded_model_before_an_error(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    for verb in ("predict", "explain", "evaluate"):
        assert "embedded" not in refused(verb, tmp_path / "nowhere")


def test_messages_have_the_options_that_were_typed(
    model: Path, refused: Callable[..., str]
) -> None:
    said = refused("export", model, "out.unknown")
    assert "choose one with --format" in said


@pytest.mark.parametrize("verb", ["predict", "evaluate", "train"])
def test_a_path_that_was_not_quoted_is_named(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my photos" / "of cats").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SystemExit):
        assert main([verb, "my", "photos/of", "cats"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "needs quotes: 'my photos/of cats'" in err


def test_explain_and_evaluate_do_without_one_too(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(photo), "--output", str(tmp_path / "out.png")]) == 0
    assert "embedded" in capsys.readouterr().err and (tmp_path / "out.png").is_file()
    for name in ("cat", "ship"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.png").write_bytes(photo.read_bytes())
    assert main(["evaluate", str(tmp_path / "data"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert "embedded" in err and json.loads(out)["images"] == 2


def test_a_run_where_photos_or_a_model_are_expected_is_asked_about(
    trained: Path, photos: Path, refused: Callable[..., str]
) -> None:
    best = trained / "best"
    for verb in ("predict", "explain", "evaluate"):
        message = refused(verb, trained)
        assert message.startswith(f"{trained}: a run, not photos; did you mean it as the model:")
        assert message.endswith(f"--model {best}?")
        given = photos / "ball" if verb != "evaluate" else photos
        assert f"did you mean {best}?" in refused(verb, given, "--model", trained)
    assert f"did you mean {best}?" in refused("parity", trained)


@pytest.mark.parametrize(
    "number, line",
    [
        (errno.ENOSPC, "run/best: No space left on device; free some space or choose another fold"),
        (errno.EACCES, "run/best: Permission denied; choose a folder that you may write to"),
        (errno.EROFS, "run/best: Read-only file system; choose a folder that you may write to"),
        (errno.EIO, "run/best: Input/output error\n"),
    ],
)
def test_an_error_of_the_system_names_the_place_and_says_what_to_do(
    number: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(describe, "run", raising(OSError(number, os.strerror(number), "run/best")))
    assert main(["describe"]) == 2
    assert capsys.readouterr().err.startswith(f"mobilenetv2: error: {line}")


@pytest.mark.parametrize("defect", [KeyError("x"), OSError("no number"), AssertionError()])
def test_a_defect_keeps_its_traceback(defect: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "run", raising(defect))
    with pytest.raises(type(defect)):
        main(["describe"])


def test_ctrl_c_is_status_130_also_while_a_verb_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(describe, "run", raising(KeyboardInterrupt()))
    assert main(["describe"]) == 130
    monkeypatch.setattr("importlib.import_module", raising(KeyboardInterrupt()))
    assert main(["describe"]) == 130
    assert capsys.readouterr() == ("", "mobilenetv2: stopped\n" * 2)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "mobilenetv2", "describe", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_the_verbs_status_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "run", lambda _: 1)
    assert main(["describe"]) == 1


def test_a_table_off_a_terminal_shows_every_cell_whole(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a very long path/" * 30
    table("Title", ("photo", "figure"), [(long, 1), ("[bold]short", 22)])
    out = capsys.readouterr().out
    assert long in out and "[bold]short" in out
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == "Title"
    assert lines[-3].endswith(" 1") and lines[-2].endswith("22")
    assert len(lines[-3]) == len(lines[-2])


def test_on_a_narrow_terminal_texts_are_folded_and_figures_stay_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    table(None, ("photo", "probability", "class"), [("n" * 50, "97.5%", "why " * 20)], (0, 2))
    out = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert "97.5%" in out and "probability" in out and "\u2026" not in out
    assert out.count("n") == 50 and out.count("why") == 20
    assert max(map(len, out.splitlines())) <= 40


@pytest.mark.parametrize("texts, row", [((0,), "a       x"), ((0, 1), "a   x")])
def test_columns_are_to_the_right_unless_they_are_texts(
    texts: tuple[int, ...], row: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table(None, ("n", "value"), [("a", "x"), ("b", "wider")], texts)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()][-3] == row


@pytest.mark.parametrize(
    ("error", "words"), [(RecursionError(), "nested too deeply"), (MemoryError(), "the memory")]
)
def test_what_no_reader_has_thought_of_is_one_sentence_too(
    error: BaseException, words: str, model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("mobilenetv2.cli.describe.run", fail)
    assert main(["describe", str(model)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and words in err


def test_ctrl_c_that_a_native_module_turned_into_an_error_is_still_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for ours in (ImportError, errors.ArtifactError):

        def run(_: object, kind: type[Exception] = ours) -> int:
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt:
                raise kind("initialization failed") from None

        monkeypatch.setattr(describe, "run", run)
        assert main(["describe"]) == 130
        assert capsys.readouterr().err == "mobilenetv2: stopped\n"


def test_an_error_that_another_process_tells_is_a_status_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "run")
    error.told = True  # type: ignore[attr-defined]

    def failing(*_: object) -> int:
        raise error

    monkeypatch.setattr("mobilenetv2.cli.main._run", failing)
    assert main(["train", "photos"]) == 2
    assert capsys.readouterr().err == ""


def test_of_processes_that_train_together_the_first_tells_of_wrong_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, told in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit):
            main(["train", "photos", "--epochs", "many"])
        assert ("invalid int value" in capsys.readouterr().err) is told
    with pytest.raises(SystemExit):
        main(["predict", "photos", "--top", "many"])  # other verbs are not divided
    assert "invalid int value" in capsys.readouterr().err

"""Tab in a real shell: verbs, options, choices, lists, names and files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2.cli.completion import complete_model, list_completer
from mobilenetv2.cli.main import main

ASK = """\
eval "$(mobilenetv2 --completion bash)"
function=$(complete -p mobilenetv2 | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
"$function" mobilenetv2 "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
ASK_ZSH = """\
autoload -U is-at-least; compdef() { :; }
eval "$(mobilenetv2 --completion zsh)"
_describe() { print -rl -- ${(P)2}; }
BUFFER="$*"; CURSOR=${#BUFFER}; words=("$@")
_python_argcomplete
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The command on the path, and a folder with a run, a photo and an odd name."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "mobilenetv2"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mobilenetv2 "$@"\n')
    command.chmod(0o755)
    work = tmp_path / "work"
    (work / "runs" / "best").mkdir(parents=True)
    (work / "photo.jpg").write_bytes(b"")
    (work / "photo two.jpg").write_bytes(b"")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "WORK": str(work)}


def completed(environment: dict[str, str], *words: str, shell: str = "bash") -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program = ASK if shell == "bash" else ASK_ZSH
    found = subprocess.run(
        [shell, "-c", program, shell, "mobilenetv2", *words], env=environment,
        cwd=environment["WORK"], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stderr == ""
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("exp",), {"explain", "export"}),
        (("weights", "im"), {"import"}),
        (("export", "--p"), {"--precision", "--pictures", "--photos"}),
        (("weights", "export", "m", "o", "--dialect", "to"), {"torchvision", "tonylins"}),
        (("quantize", "--method", "m"), {"min-max", "mse"}),
        (("export", "--format", "onnx,li"), {"onnx,litert"}),
        (("benchmark", "--precision", "int"), {"int8"}),
        (("weights", "fetch", "timm-1"), {"timm-100", "timm-110d", "timm-120d", "timm-140"}),
        (("predict", "x.jpg", "--model", "ru"), {"runs/"}),
        (("export", "embed"), {"embedded"}),
    ],
)
def test_a_shell_is_told_how_the_line_may_go_on(
    environment: dict[str, str], shell: str, words: tuple[str, ...], expected: set[str]
) -> None:
    pytest.importorskip("argcomplete", reason="argcomplete is not installed")
    found = completed(environment, *words, shell=shell)
    assert {line.partition(":")[0] for line in found} >= expected
    assert all(line.startswith(words[-1]) for line in found)


def test_files_are_completed_where_any_may_stand(environment: dict[str, str]) -> None:
    pytest.importorskip("argcomplete", reason="argcomplete is not installed")
    for words in (("predict", "pho"), ("train", "pho"), ("weights", "import", "pho")):
        assert "photo.jpg" in completed(environment, *words)


def test_a_list_goes_on_with_what_it_has_not_yet() -> None:
    suggest = list_completer(("onnx", "litert", "all"))
    assert suggest("o") == ["onnx", "litert", "all"]
    assert suggest("onnx,") == ["onnx,litert", "onnx,all"]
    assert suggest("litert,onnx,x") == ["litert,onnx,all"]


def test_a_model_is_a_published_name_or_a_folder(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("argcomplete", reason="argcomplete is not installed")
    monkeypatch.chdir(environment["WORK"])
    found = complete_model("")
    assert {"runs/", "embedded", "timm-100", "torchvision-v2"} <= set(found)


def test_the_script_is_printed_and_another_shell_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("argcomplete", reason="argcomplete is not installed")
    for shell in ("bash", "zsh"):
        with pytest.raises(SystemExit) as end:
            main(["--completion", shell])
        assert end.value.code == 0 and "mobilenetv2" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["--completion", "cmd"])
    assert end.value.code == 2 and "invalid choice: 'cmd'" in capsys.readouterr().err


def test_no_other_call_imports_it() -> None:
    script = (
        "import sys; from mobilenetv2.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert 'argcomplete' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)

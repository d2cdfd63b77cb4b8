"""The lines of README, docs/ and the end of the demo, run as they stand."""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import ModuleType
from typing import Any

import pytest

import mobilenetv2 as mn
from mobilenetv2.serving.page_files import missing_vendor

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
MADE = DOCS / "recipe.md"
"""A page that a test of its own makes."""
PAGES = [README, *sorted(path for path in DOCS.glob("*.md") if path != MADE)]
"""The pages whose lines are typed."""
LONGEST = 150
FOLD = 60
"""Lines of README before its first task of the reader's own."""

FETCHED = "litert-tf2-1.0-224"
PUBLISHED = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
"""What ``weights import`` of that name fetches: the cache is filled with it."""

NEW_SHELL = os.defpath
TRAIN = "--epochs 1 --set train_scale=0.3 --set selection=0.3"
QUICK = {
    # No test reaches the published default: some other weights are named.
    "train photos/ --output runs/photos": f"--weights embedded {TRAIN}",
    # An epoch's answers are close calls, and a dozen photos judge them.
    "quantize": "--force",
    "benchmark": "--runtime onnxruntime,litert --seconds 0.1",
    # A dozen photos' network has logits of 900, of which half precision keeps 97%.
    "export runs/photos/best app/": "--precision float32",
}
"""Appended to commands that begin so: they stay what they are, only shorter."""
QUICK_PYTHON = {'mn.train("photos/", output="runs/photos")': 'weights="embedded"'}
"""The same for a call of a program."""
PAGE = "--format web"
"""Part of a line that writes the page: it says so where 'make web' has not run, as without npm."""
REPLACES = ("train photos/ --output runs/photos", 'output="runs/photos"')
"""What writes the run folder that the other lines of a page take as there."""


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and text of what stands between fences."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


def commands(block: str) -> list[str]:
    """The lines that a person types, without comments."""
    lines = [re.sub(r"\s*#.*", "", line) for line in block.splitlines()]
    return [line for line in lines if line]


def all_commands(page: Path) -> list[str]:
    text = page.read_text("utf-8")
    return [
        line for language, block in blocks(text) if language == "sh" for line in commands(block)
    ]


def programs(page: Path) -> list[str]:
    return [block for language, block in blocks(page.read_text("utf-8")) if language == "python"]


def last_lines(printed: str) -> list[str]:
    """The commands that the demo ends with."""
    end = printed[printed.index("\nDone in ") :]
    return [line.strip() for line in end.splitlines() if line.startswith("  ")]


def typed(line: str, folder: Path, cache: Path, **environment: str) -> str:
    """Type a line in a shell there, with this environment's commands; what it prints."""
    for start, extra in QUICK.items():
        line += f" {extra}" if f"mobilenetv2 {start}" in line else ""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if " serve " in line:
        return served(f"exec {line} --port 0", folder, {**os.environ, "PATH": path})
    variables = {**os.environ, "PATH": path, "MOBILENETV2_CACHE": str(cache), **environment}
    run = subprocess.run(
        line, shell=True, cwd=folder, env=variables, capture_output=True, text=True
    )
    if PAGE in line and (lacking := missing_vendor()):
        assert run.returncode in (1, 2) and lacking in run.stderr, run.stderr
        return run.stderr
    assert run.returncode == 0, f"{line}\n{run.stdout}\n{run.stderr}"
    return run.stdout


def served(line: str, folder: Path, variables: dict[str, str]) -> str:
    """Type a line that serves, end it when it does, and return what it said."""
    process = subprocess.Popen(
        line, shell=True, cwd=folder, env=variables, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as said:
        first = next((text for text in said if text.startswith("serving ")), "")
        process.terminate()
        rest = said.read()
    assert process.wait() == 0 and first, rest
    return first


def put_own_photos(folder: Path, photo_folder: Callable[[Path, int], Path]) -> None:
    """Write the files that the pages call the reader's own, such as photos/ and list.txt."""
    photos = photo_folder(folder / "photos", 12)
    rows = [f"photos/{path.parent.name}/{path.name},{path.parent.name}\n"
            for path in sorted(photos.glob("*/*"))]  # fmt: skip
    (folder / "labels.csv").write_text("".join(["filename,label\n", *rows]))
    (folder / "list.txt").write_text("new.jpg\nholiday/\n")
    photo = next(path for path in photos.rglob("*.jpg"))
    (folder / "holiday").mkdir()
    for copy in (folder / "new.jpg", folder / "holiday" / "one.jpg"):
        copy.write_bytes(photo.read_bytes())


def test_the_readme_is_short_and_its_first_screen_has_what_matters() -> None:
    lines = README.read_text("utf-8").splitlines()
    assert len(lines) <= LONGEST
    screen = "\n".join(lines[:FOLD])
    for part in ("![", "git clone", "PowerShell", "```sh", "95% interval", "```python", "Licence"):
        assert part in screen, part


def test_the_index_has_every_page() -> None:
    index = INDEX.read_text("utf-8")
    for page in DOCS.glob("*.md"):
        assert page == INDEX or f"]({page.name})" in index, page.name


def test_the_pages_show_every_verb() -> None:
    from mobilenetv2.cli.parser import VERBS

    lines = [line for page in PAGES for line in all_commands(page)]
    shown = {line.split()[1] for line in lines if "mobilenetv2 " in line}
    assert shown == set(VERBS)
    command_line = (DOCS / "command-line.md").read_text("utf-8")
    assert all(f"`{verb} " in command_line or f"`{verb}`" in command_line for verb in VERBS)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_verb_and_option_of_a_page_exists(page: Path) -> None:
    from mobilenetv2.cli.parser import make_parser

    for line in all_commands(page):
        program, *arguments = shlex.split(line)
        assert PurePath(program).name == "mobilenetv2", line
        assert make_parser().parse_args(arguments).verb == arguments[0]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_name_of_the_library_that_a_page_uses_exists(page: Path) -> None:
    for program in programs(page):
        ast.parse(program)
    for used in re.findall(r"\bmn\.(\w+)", page.read_text("utf-8")):
        assert used in dir(mn), used


def test_every_key_of_a_recipe_that_a_page_sets_exists() -> None:
    from mobilenetv2.training.recipe_file import read_recipe

    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    changes = re.findall(r"--set\s+'?([\w.]+=[^\s`']+)", text)
    assert changes
    for change in changes:
        read_recipe("finetune", [change])


def test_make_has_the_targets_that_the_readme_names() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in ("demo", "test"):
        assert f"`make {target}`" in README.read_text("utf-8")
        assert f"\n{target}:" in makefile


def test_the_install_has_extras_that_exist_and_names_the_tested_version() -> None:
    page = (DOCS / "install.md").read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    lines = re.findall(r'"\.\[([\w,]+)\]"', page + README.read_text("utf-8"))
    extras = {extra for line in lines for extra in line.split(",")}
    assert extras == {"torch", "export"}
    named = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", page, re.MULTILINE)
    for extra in {extra for extras in named for extra in extras if extra} | extras:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    constraints = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    (tested,) = re.findall(r"\(([\d.]+) is what we test\)", page)
    assert f"torch=={tested}" in constraints


@pytest.mark.parametrize("page", [*PAGES, MADE], ids=name)
def test_every_linked_file_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def demo_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("script", "here", "found", "expected"),
    [
        ("/home/a/clone/.venv/bin/mobilenetv2", "/home/a/clone", None, ".venv/bin/mobilenetv2"),
        ("/home/a/clone/.venv/bin/mobilenetv2", "/home/a/clone",
         "/home/a/clone/.venv/bin/mobilenetv2", "mobilenetv2"),
        ("/opt/b c/bin/mobilenetv2", "/home/a", "/usr/bin/mobilenetv2",
         "'/opt/b c/bin/mobilenetv2'"),
        (r"C:\clone\.venv\Scripts\mobilenetv2", r"C:\clone", None,
         r".venv\Scripts\mobilenetv2"),
        (r"C:\clone\.venv\Scripts\mobilenetv2", r"C:\clone",
         r"c:\clone\.venv\Scripts\mobilenetv2.EXE", "mobilenetv2"),
        (r"C:\my venv\Scripts\mobilenetv2", r"C:\clone", None,
         r'& "C:\my venv\Scripts\mobilenetv2"'),
    ],
)  # fmt: skip
def test_the_demo_names_the_command_as_the_shell_finds_it(
    script: str, here: str, found: str | None, expected: str
) -> None:
    kind = PureWindowsPath if script.startswith("C:") else PurePosixPath
    assert demo_module().command(kind(script), kind(here), found) == expected


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which ``make demo`` ran, only shorter, and what it printed.

    As from make, no environment is activated: :data:`NEW_SHELL` finds none of its commands.
    """
    folder = tmp_path_factory.mktemp("clone")
    script = ROOT / "examples" / "demo.py"
    line = shlex.join([sys.executable, str(script), "--epochs", "1", "--output", "my demo"])
    return folder, typed(line, folder, folder / "cache", PATH=NEW_SHELL)


@pytest.mark.slow
def test_what_the_demo_prints_last_runs_as_it_stands(
    demo: tuple[Path, str], photo_folder: Callable[[Path, int], Path]
) -> None:
    folder, printed = demo
    put_own_photos(folder, photo_folder)
    lines = last_lines(printed)
    assert len(lines) == 4
    for line in lines:
        assert typed(line, folder, folder / "cache", PATH=NEW_SHELL)
    assert (folder / "my demo" / "run" / "summary.md").is_file()


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    photo_folder: Callable[[Path, int], Path],
    public_folder: Callable[[str], Path],
) -> Path:
    """A reader's folder: own photos, a finished run, ``imagenet``, a filled cache, a clone's files.

    Only to be copied.
    """
    folder = tmp_path_factory.mktemp("reader")
    published = public_folder("published") / PUBLISHED
    (folder / "cache" / FETCHED).mkdir(parents=True)
    (folder / "cache" / FETCHED / PUBLISHED).write_bytes(published.read_bytes())
    put_own_photos(folder, photo_folder)
    for line in (
        f"mobilenetv2 train photos/ --weights {FETCHED} --output runs/photos {TRAIN}",
        f"mobilenetv2 weights import {FETCHED} imagenet",
    ):
        typed(line, folder, folder / "cache")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (folder / "src").symlink_to(ROOT / "src")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_line_of_a_page_runs(
    page: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scope = tmp_path / "reader", dict[str, Any]()
    shutil.copytree(prepared, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MOBILENETV2_CACHE", str(folder / "cache"))
    if page == INDEX:
        shutil.rmtree("imagenet")
    for language, block in blocks(page.read_text("utf-8")):
        lines = commands(block) if language == "sh" else [block] if language == "python" else []
        for line in lines:
            if any(text in line for text in REPLACES):
                shutil.rmtree("runs/photos")
            if language == "sh":
                printed = typed(line, folder, folder / "cache")
                into_files = " predict " in line and ("--output" in line or "--copy-to" in line)
                assert printed or into_files, line
            else:
                for call, extra in QUICK_PYTHON.items():
                    line = line.replace(call, f"{call[:-1]}, {extra})")
                exec(compile(line, str(page), "exec"), scope)
    if page.name == "predict.md":
        assert Path("holiday.csv").read_text("utf-8").startswith("image,rank")

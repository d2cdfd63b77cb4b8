"""The table of formats: complete, true of the modules around it, and the only one."""

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilenetv2 import formats
from mobilenetv2.cli.parser import make_parser
from mobilenetv2.errors import EXTRAS
from mobilenetv2.formats import (
    ALIASES,
    BY_ENDING,
    ENGINES,
    EXPORTED,
    FORMATS,
    GRAPHS,
    INT8,
    OF_INT8,
    PRECISIONS,
    RUNTIMES,
    Format,
    engines_of,
)

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mobilenetv2"
OWN = "formats.py"
EXCEPTIONS = {
    "errors.py": "import names of packages, of which some are called as their format is",
    "checkpoints/containers/reader.py": "kinds of containers, of which some are called as a format",
    "checkpoints/containers/kinds.py": "kinds of files that are not read, some of them formats",
    "checkpoints/preprocessing_choice.py": "names of dialects, some of them called as a format",
    "evaluation/report/facts.py": "names of packages, of which some are called as a format",
}
"""Module -> why it may list what looks like names of formats."""
WORDS = {*FORMATS, *(word for made in FORMATS.values() for word in (made.suffix, made.ending))}
LISTED = re.compile(
    r"(?<![\w.])(?:{0})(?:, | and | or |,)(?:and |or )?(?:{0})(?!\w)".format(
        "|".join(re.escape(word) for word in sorted(WORDS - {""}, key=len, reverse=True))
    )
)
EXAMPLE = re.compile(r"^ +mobilenetv2 .*$", re.MULTILINE)
"""A command in a help text."""
ALONE = EXPORTED.keys() - FORMATS
"""Format that is written by its name only, since it is no file for a runtime."""


def literals(node: ast.AST) -> list[str]:
    """The strings that a display or a ``Literal[...]`` lists."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        parts: list[ast.expr | None] = [*node.elts]
    elif isinstance(node, ast.Dict):
        parts = [*node.keys, *node.values]
    else:
        return []
    return [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]


def lists(text: str) -> Iterator[str]:
    """What lists two or more formats in a module's source: displays, and texts but docstrings."""
    tree = ast.parse(text)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        found = set(literals(node)) & WORDS
        if len(found) > 1:
            yield f"{getattr(node, 'lineno', 0)}: {sorted(found)}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            for match in LISTED.finditer(EXAMPLE.sub("", node.value)):
                yield f"{node.lineno}: {match.group()!r} in a text"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('A = ("onnx", "litert")', 1),
        ('A = {".onnx": 1, ".xml": 2}', 1),
        ('A = Literal["ncnn", "mnn", "other"]', 1),
        ('if a in ("onnx", "mnn"): pass', 1),
        ('say("int8 of onnx, openvino and litert")', 1),
        ('A = ("onnx", "other")', 0),
        ('A = "  mobilenetv2 export model out/ --format onnx,mnn"', 0),
        ('"""Writes onnx, litert."""', 0),
    ],
)
def test_what_counts_as_a_list(text: str, count: int) -> None:
    assert len(list(lists(text))) == count


def test_no_other_module_lists_formats() -> None:
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        found = list(lists(path.read_text("utf-8")))
        if name in EXCEPTIONS:
            assert found, f"{name} lists none, so it needs no exception"
        elif name != OWN:
            wrong += [f"{name}:{each}" for each in found]
    assert not wrong, "\n".join(wrong)


def defines(runtime: str, function: str) -> bool:
    """Whether a runtime's module has a function."""
    path = SOURCE / "runtime" / "engines" / f"{runtime}.py"
    return path.is_file() and f"\ndef {function}(" in path.read_text("utf-8")


@pytest.mark.parametrize("made", EXPORTED.values(), ids=EXPORTED)
def test_every_format_has_its_modules_and_its_packages_an_extra(made: Format) -> None:
    module = importlib.import_module(f"mobilenetv2.exporting.{made.writer or made.name}")
    assert callable(getattr(module, f"write_{made.name}"))
    assert set(made.packages) - {"onnxruntime"} <= set(EXTRAS)  # that one is in the core install
    assert made.purpose and made.likes and made.title and "float32" in made.precisions
    (runner,) = [name for name, one in RUNTIMES.items() if one.own == made] or ["none"]
    assert hasattr(module, "reload") == (runner not in ENGINES)
    assert defines(runner, "read_artifact") == made.readable
    assert made.has("float32") and made.has(INT8) == made.int8 == (made.name in OF_INT8)


def test_an_ending_says_which_format() -> None:
    assert len(BY_ENDING) == len(FORMATS)
    assert BY_ENDING[".param"].name == "ncnn" and BY_ENDING[".savedmodel"].name == "savedmodel"
    for made in FORMATS.values():
        assert made.suffix == "" or made.suffix.endswith(made.ending)
    assert set(GRAPHS) < set(FORMATS)


def test_every_runtime_runs_formats_that_there_are() -> None:
    for name, runtime in RUNTIMES.items():
        assert set(runtime.formats) <= set(FORMATS)
        assert defines(name, "create_engine") == runtime.engine
        assert runtime.builds in ("", *runtime.formats)
        assert runtime.engine or runtime.formats == (name,)  # its export module runs it
    assert [RUNTIMES[name].own.name for name in ("openvino", "onnxruntime")] == ["openvino", "onnx"]
    assert engines_of("onnx") == ["onnxruntime", "openvino"] and engines_of("pt2") == []


def test_the_size_is_that_of_all_its_files(tmp_path: Path) -> None:
    for name, count in (("m.xml", 5), ("m.bin", 7), ("n.bin", 100), ("m.onnx", 3)):
        (tmp_path / name).write_bytes(b"x" * count)
    (tmp_path / "f" / "deep").mkdir(parents=True)
    (tmp_path / "f" / "deep" / "w").write_bytes(b"x" * 11)
    (tmp_path / "f" / "g").write_bytes(b"x" * 2)
    assert FORMATS["openvino"].size(tmp_path / "m.xml") == 12
    assert FORMATS["onnx"].size(tmp_path / "m.onnx") == 3
    assert FORMATS["savedmodel"].size(tmp_path / "f") == 13
    (tmp_path / "m.ncnn.param").write_bytes(b"x")
    (tmp_path / "m.ncnn.bin").write_bytes(b"xx")
    assert FORMATS["ncnn"].size(tmp_path / "m.ncnn.param") == 3


def test_what_is_not_installed_is_found_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"openvino", "pnnx"}
    monkeypatch.setattr(formats, "is_installed", lambda name: name not in absent)
    assert FORMATS["onnx"].missing() == []
    assert FORMATS["openvino"].missing() == ["openvino"]
    assert FORMATS["ncnn"].missing() == ["pnnx"]


@pytest.mark.parametrize(
    ("verb", "option", "known"),
    [
        ("export", "--format", EXPORTED),
        ("export", "--precision", PRECISIONS),
        ("quantize", "--format", OF_INT8),
        ("benchmark", "--runtime", RUNTIMES),
        ("benchmark", "--precision", (*PRECISIONS, INT8)),
        ("predict", "--runtime", (*ENGINES, "torch", "auto")),
        ("explain", "--runtime", (*ENGINES, "torch")),
    ],
)
def test_the_command_line_offers_what_the_table_has(
    verb: str, option: str, known: tuple[str, ...]
) -> None:
    (verbs,) = (a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    verbs.choices[verb].fill()
    (action,) = (a for a in verbs.choices[verb]._actions if option in a.option_strings)
    assert action.help is not None
    shown = re.findall(r"[\w]+", action.help.partition("(")[0])
    assert [word for word in shown if word in known] == list(known)
    if action.choices is not None:
        assert list(action.choices) == list(known)
    else:
        assert callable(action.type) and action.type(",".join(known)) == list(known)
        assert action.type("all") == [name for name in known if name not in ALONE]
        for other, name in ALIASES.items():
            if name in known:
                assert action.type(other) == [name]


def test_the_page_of_exports_names_every_format() -> None:
    text = " ".join((ROOT / "docs" / "export.md").read_text("utf-8").split())
    assert not [made.title for made in EXPORTED.values() if made.title not in text]

"""Docstrings open with a sentence or phrase that stands alone, since a tooltip shows only that.

Read are those of modules, classes and functions, and the strings below constants and fields.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mobilenetv2"

FRAGMENTS = frozenset(
    "Of What As See That Whether Where Whatever Which Who Whose How When Why If".split()
)
"""First words of fragments, questions and subordinate clauses."""
ALLOWED: dict[str, str] = {}
"""Reason why a docstring may break the rules, by its name: 'room/module.py: Class.field'."""
REFERENCE = re.compile(r"\bSee the (class|protocol|module|function|method)\b", re.IGNORECASE)
"""A reference in place of a description."""


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each docstring of a module, with the name of what it describes."""
    module = path.relative_to(SOURCE).as_posix()
    for name, text in _described(ast.parse(path.read_text("utf-8")).body, ()):
        yield f"{module}: {name}" if name else module, text


def _described(body: Sequence[ast.stmt], owner: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    assigned: tuple[str, ...] = ()
    for node in body:
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield ".".join((*owner, *assigned)), text
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _described(node.body, (*owner, node.name))
            case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While():
                yield from _described(node.body, owner)
                yield from _described(getattr(node, "orelse", ()), owner)
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        assigned = (ast.unparse(target),) if target else ()


def problem(text: str) -> str:
    """Return what is wrong with a docstring; '' if nothing is."""
    first = " ".join(text.strip().partition("\n\n")[0].split())
    word = re.match(r"[\w'-]*", first)
    if word and word[0] in FRAGMENTS:
        return f"opens with {word[0]!r}"
    if REFERENCE.search(text):
        return "refers to another docstring instead of saying what it describes"
    if not first[:1].isupper():
        return "does not open with a capital letter"
    if not first.endswith((".", ":")):
        return "has a first paragraph without a full stop"
    return ""


def modules() -> dict[str, Path]:
    """Return all modules of the package by their path in it."""
    return {path.relative_to(SOURCE).as_posix(): path for path in sorted(SOURCE.rglob("*.py"))}


def test_every_docstring_stands_alone() -> None:
    wrong = [
        f"{name}: {found}: {text.strip().splitlines()[0]}"
        for path in modules().values()
        for name, text in docstrings(path)
        if name not in ALLOWED and (found := problem(text))
    ]
    assert not wrong, "\n".join(wrong)


def test_exceptions_are_needed() -> None:
    """A docstring that follows the rules needs no exception."""
    found = {name: problem(text) for path in modules().values() for name, text in docstrings(path)}
    assert [name for name in ALLOWED if not found.get(name)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Return the weights.", ""),
        ("Seconds between checkpoints.", ""),
        ("Kinds of block:\n\n* one\n", ""),
        ("Of a job; importing a library on a busy machine counts as one.", "opens with 'Of'"),
        ("Whatever of it is there; the rest is empty.", "opens with 'Whatever'"),
        ("Whether it is folded.", "opens with 'Whether'"),
        ("Reader of an engine. See the protocol.", "refers to another docstring"),
        ("'softmax': one of n classes.", "does not open with a capital"),
        ("(batch, channels).", "does not open with a capital"),
        ("Return the weights\n\nof a file.", "without a full stop"),
        ("", "does not open with a capital"),
    ],
)
def test_problem(text: str, expected: str) -> None:
    assert expected in problem(text)
    assert bool(problem(text)) == bool(expected)


def test_all_kinds_of_docstrings_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    module = tmp_path / "room" / "module.py"
    module.parent.mkdir()
    module.write_text(
        '"""A."""\nx = 1\n"""B."""\n\n\nclass C:\n    """C."""\n\n    y: int = 2\n    """D."""\n\n'
        '    def f(self):\n        """E."""\n        self.z = 3\n        """F."""\n\n\n'
        'if x:\n\n    async def g():\n        """G."""\nelse:\n    h = 4\n    """H."""\n'
    )
    assert dict(docstrings(module)) == {
        "room/module.py": "A.", "room/module.py: x": "B.", "room/module.py: C": "C.",
        "room/module.py: C.y": "D.", "room/module.py: C.f": "E.",
        "room/module.py: C.f.self.z": "F.", "room/module.py: g": "G.", "room/module.py: h": "H.",
    }  # fmt: skip

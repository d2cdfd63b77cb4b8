"""docs/recipe.md lists every key of a recipe, and is made from the record by this file:

python tests/training/test_recipe_reference.py
"""

import ast
import inspect
import json
import textwrap
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from mobilenetv2.spec.mapping import bounds_in_words, to_mapping
from mobilenetv2.training.recipe import ALIASES, SUPPORTED, Recipe
from mobilenetv2.training.recipe_file import every_key, recipe_names

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"
INTRODUCTION = f"""\
# Every key of a recipe

Made from the record (`src/mobilenetv2/training/recipe.py`) by
`tests/training/test_recipe_reference.py`; edit there. A recipe is a TOML file, or a name:
{", ".join(f"`{name}`" for name in recipe_names())}
(`recipes/` has them with comments). Keys that a file leaves out have their defaults. `--set
KEY=VALUE` changes one: `--set optimizer.momentum=0.8`, or from Python
`mobilenetv2.train(..., changes={{"optimizer.momentum": 0.8}})`. RUN/recipe.toml has
the values of all keys in a run.

Many keys have a second, older name without a table. It still works, in files and in `--set
momentum=0.8`.
"""
WORDS = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}


def page() -> str:
    """Return docs/recipe.md."""
    tables = [field for field in fields(Recipe) if is_dataclass(field.default_factory)]
    parts = [INTRODUCTION, table_of(Recipe, "")]
    for field in tables:
        cls: Any = field.default_factory
        about = " ".join(str(cls.__doc__).partition("\n\n")[0].split())
        parts += [f"## [{field.name}]\n\n{about}\n", table_of(cls, f"{field.name}.")]
    return "\n".join(parts)


def table_of(cls: Any, table: str) -> str:
    """Return a table of the keys of one record."""
    hints, texts, defaults = (
        typing.get_type_hints(cls, include_extras=True), meanings(cls), to_mapping(cls()),
    )  # fmt: skip
    others = {name: key for key, name in ALIASES.items()}
    lines = ["| key | second name | values | default | meaning |", "|---|---|---|---|---|"]
    for name in (field.name for field in fields(cls) if not is_dataclass(field.default_factory)):
        second = f"`{others[table + name]}`" if table + name in others else ""
        default = "absent" if defaults[name] is None else f"`{json.dumps(defaults[name])}`"
        cells = [f"`{name}`", second, values(hints[name]), default, texts[name]]
        if restricted := restriction(table + name):
            cells[-1] += f" {restricted}"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def values(hint: Any) -> str:
    """Return what a key may hold, in words."""
    if typing.get_origin(hint) is typing.Annotated:
        return f"{values(hint.__origin__)}, {bounds_in_words(hint.__metadata__[0])}"
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)
        return "height and width" if inner == (int, int) else f"list of {values(inner[0])}s"
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    return " or ".join(map(values, options)) if options else WORDS.get(hint.__name__, hint.__name__)


def restriction(key: str) -> str:
    """Return which editions do not have every value of a key."""
    lacking = {edition: keys[key] for edition, keys in SUPPORTED.items() if key in keys}
    if not lacking:
        return ""
    shown = ", ".join(f"`{value}`" for value in next(iter(lacking.values())))
    return f"({' and '.join(lacking)}: only {shown}.)"


def meanings(cls: Any) -> dict[str, str]:
    """Return the text under each field of a record."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for before, node in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(node, ast.Expr):
            assert isinstance(before.target, ast.Name) and isinstance(node.value, ast.Constant)
            text = " ".join(str(node.value.value).split()).replace("``", "`").replace("|", "\\|")
            found[before.target.id] = text
    return found


def test_the_page_is_that_of_the_record() -> None:
    assert PAGE.read_text("utf-8") == page(), (
        "stale: python tests/training/test_recipe_reference.py"
    )


def test_every_key_stands_there_with_a_meaning() -> None:
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == [
        key.rpartition(".")[2] for key in sorted(every_key(), key=lambda key: "." in key)
    ]
    assert all(len(row[-1]) > 5 for row in rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")

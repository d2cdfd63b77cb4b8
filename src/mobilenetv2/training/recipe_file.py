"""Recipes as TOML: reading by name or from a file, changing keys, and writing.

Files and changes may also use the older names of keys (:data:`training.recipe.ALIASES`).
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields, is_dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from mobilenetv2.documents import parse_toml, read_toml
from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.mapping import from_mapping, suggestion, to_mapping
from mobilenetv2.text import nearest
from mobilenetv2.training.recipe import ALIASES, Recipe

Changes = Mapping[str, object] | Iterable[str]
"""Changes of recipe keys: ``{"optimizer.learning_rate": 0.01}``, or texts such as 'epochs=3'."""


def read_recipe(recipe: str | PathLike[str] | Recipe, changes: Changes = ()) -> Recipe:
    """Return a recipe by name or from a TOML file, with some keys changed.

    Args:
        recipe: the name of a recipe of the package, a TOML file, or a ``Recipe``.
        changes: a mapping of keys, or texts 'KEY=VALUE' with TOML values, in which strings need no
            quotes. Keys of a table have its name: 'augmentation.flip'. Default: no changes.

    Raises:
        RecipeError: the recipe or a key is unknown, or a value is impossible.
    """
    if isinstance(recipe, Recipe):
        mapping, where = to_mapping(recipe), "the recipe"
    else:
        name = os.fspath(recipe)
        mapping, where = _read_mapping(name)
    for key, value in parse_changes(changes).items():
        _put(mapping, key, value, f"{where}, changed")
    return from_mapping(Recipe, mapping, where, RecipeError)


def _read_mapping(name_or_file: str) -> tuple[dict[str, Any], str]:
    """Return the keys of a recipe in their tables, and its name for messages."""
    known = recipe_names()
    if name_or_file in known:
        where = f"recipe {name_or_file}"
        text = _folder().joinpath(f"{name_or_file}.toml").read_bytes()
        return in_tables(parse_toml(text, where, RecipeError), where), where
    if not Path(name_or_file).is_file():
        raise RecipeError(
            f"recipe {name_or_file!r} is neither a file nor the name of a recipe; "
            f"{suggestion(name_or_file, known)}"
        )
    found = read_toml(Path(name_or_file), RecipeError)
    return in_tables(found, name_or_file), name_or_file


def parse_recipe(text: str, where: str) -> Recipe:
    """Return the recipe in the text of a TOML file; raise RecipeError if it has none."""
    found = parse_toml(text, where, RecipeError)
    return from_mapping(Recipe, in_tables(found, where), where, RecipeError)


def recipe_toml(recipe: Recipe) -> str:
    """Return the recipe as text for a TOML file; absent keys are left out."""
    plain = to_mapping(recipe)
    tables = {key: plain.pop(key) for key in [*plain] if isinstance(plain[key], dict)}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
    return "\n".join([*lines, ""])


def recipe_names() -> list[str]:
    """Return the names of the package's recipes, sorted."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _folder().iterdir()
        if entry.name.endswith(".toml")
    )


def keys_of(changes: Changes) -> set[str]:
    """Return the full names of the keys that changes set, such as 'optimizer.momentum'."""
    return set(parse_changes(changes))


def parse_changes(changes: Changes) -> dict[str, Any]:
    """Return changes as full key -> value.

    Raises:
        RecipeError: a text is not KEY=VALUE.
    """
    found: dict[str, Any] = {}
    if isinstance(changes, Mapping):
        for key, value in changes.items():
            found |= _flat(key, _plain(value))
        return found
    for change in [changes] if isinstance(changes, str) else changes:
        found |= parse_change(change)
    return found


def parse_change(change: str) -> dict[str, Any]:
    """Return the change in a text KEY=VALUE; an inline table gives several keys.

    Raises:
        RecipeError: the text is not KEY=VALUE.
    """
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise RecipeError(
            f"the change {change!r} of the recipe must be KEY=VALUE, such as epochs=3"
        )
    return _flat(key.strip(), _value(text.strip()))


def _plain(value: object) -> object:
    """Return a Python value as a value of TOML: list, table, string or number."""
    if is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, PathLike) else value


def every_key() -> list[str]:
    """Return the full names of all keys of a recipe: 'epochs', 'network.name' ..."""
    keys: list[str] = []
    for field in fields(Recipe):
        table = field.default_factory
        inside: tuple[Field[Any], ...] = fields(table) if is_dataclass(table) else ()
        keys += [f"{field.name}.{key.name}" for key in inside] or [field.name]
    return keys


def in_tables(mapping: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a file's mapping with all keys in their tables.

    Args:
        mapping: keys by full or older names, and tables.
        where: name of the file, for messages.
    """
    found: dict[str, Any] = {}
    for name, content in mapping.items():
        for key, value in _flat(name, content).items():
            _put(found, key, value, where)
    return found


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Return the value by the full name of its key; of a table, all its values."""
    if isinstance(value, dict) and name in _tables():
        return {f"{name}.{key}": item for key, item in value.items()}
    return {ALIASES.get(name, name): value}


def _tables() -> set[str]:
    return {key.partition(".")[0] for key in every_key() if "." in key}


def _put(mapping: dict[str, Any], key: str, value: Any, where: str) -> None:
    if key in _tables():
        raise RecipeError(f"{where}, {key}: expected a table, found {value!r}; set a key in it")
    *path, last = _known(key, where).split(".")
    if key == "classifier.hidden":  # a plain number is the number of units
        items = value if isinstance(value, list) else [value]
        value = [{"units": item} if isinstance(item, int) else item for item in items]
    for part in path:
        mapping = mapping.setdefault(part, {})
    mapping[last] = value


def _known(key: str, where: str) -> str:
    """Return a known key; for an unknown one, raise RecipeError with the nearest or all keys."""
    keys = every_key()
    tables = {name.partition(".")[0] for name in keys}
    if key in keys:
        return key
    table, _, word = key.partition(".")
    inside = [name for name in keys if name.startswith(f"{table}.")]
    names = {name: name for name in keys} | ALIASES
    letters = re.compile(".*".join(map(re.escape, word)))  # 'lr' abbreviates 'learning_rate'
    own = {name.partition(".")[2]: name for name in inside}
    if word and (near := nearest(word, own) or [*filter(letters.match, own)]):
        raise RecipeError(f"{where}: unknown key {key!r}; did you mean {own[near[0]]!r}?")
    if near := nearest(key, names):
        raise RecipeError(f"{where}: unknown key {key!r}; did you mean {names[near[0]]!r}?")
    known = ", ".join(sorted(inside or tables))
    raise RecipeError(f"{where}: unknown key {key!r}; known are: {known}")


def _folder() -> Any:
    packaged = files("mobilenetv2").joinpath("recipes")
    if packaged.is_dir():
        return packaged
    return Path(__file__).parents[3] / "recipes"  # an editable install of a checkout


def _value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}", "", RecipeError)["value"]
    except RecipeError:
        return text


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_toml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # Numbers, booleans and strings are the same in JSON, except for one character.
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # a name that is no text

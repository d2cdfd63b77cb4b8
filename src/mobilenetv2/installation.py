"""Install commands for optional packages, from the same source as this installation.

The distribution is on no package index, where anybody could claim its name. So no message tells a
user to install ``mobilenetv2[...]`` by its name. PEP 610's ``direct_url.json``, which every
installer writes, holds the source of the installed distribution.
"""

import ast
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NAME = "mobilenetv2"
HARMLESS = re.compile(r"[\w./:@%+=-]+")
"""Words that need no quotes in POSIX shells and PowerShell."""
INTERPRETED = re.compile(r"[$`\"]" if os.name == "nt" else r"[$`\"\\]")
"""Characters that a shell of this system interprets between double quotes."""


def command(extras: Iterable[str]) -> str:
    """Return the command line that installs extras of this distribution.

    It names the folder, archive or repository that this distribution was installed from, with the
    extras. Without such a source, it names the packages that the extras need.
    """
    named = sorted(set(extras))
    wanted = f"[{','.join(named)}]"
    try:
        distribution = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:  # the source tree itself is on the path
        root = Path(__file__).parents[2]
        if (root / "pyproject.toml").is_file():
            return join([*installer(), "-e", shown(root) + wanted])
        return f"{join([*installer(), f'.{wanted}'])} in the folder of its source"
    if origin := source(distribution, wanted):
        return join([*installer(), *origin])
    return join([*adder(), *packages(distribution.requires or [], named)])


def source(distribution: metadata.Distribution, wanted: str) -> list[str]:
    """Return the installer's arguments for the source of the distribution, with extras.

    Args:
        distribution: the installed distribution.
        wanted: extras, as in ``[torch,keras]``.

    Returns:
        The arguments; none if the distribution came from an index, or its source is gone.
    """
    origin = direct_url(distribution)
    url, folder = str(origin.get("url", "")), origin.get("dir_info")
    place = local_path(url)
    if place is not None and (place.is_dir() if folder is not None else place.is_file()):
        editable = isinstance(folder, Mapping) and folder.get("editable") is True
        return [*(["-e"] if editable else []), shown(place) + wanted]
    repository = origin.get("vcs_info")
    if isinstance(repository, Mapping):
        revision = repository.get("requested_revision")
        at = f"@{revision}" if revision else ""
        return [f"{NAME}{wanted} @ {repository.get('vcs', 'git')}+{url}{at}"]
    return [f"{NAME}{wanted} @ {url}"] if url and place is None else []


def direct_url(distribution: metadata.Distribution) -> Mapping[str, Any]:
    """Return the source that the installer recorded; empty for an index."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return origin if isinstance(origin, Mapping) else {}


def local_path(url: str) -> Path | None:
    """Return the path of a ``file:`` URL; None for other URLs."""
    from urllib.parse import urlsplit

    if not url.startswith("file:"):
        return None
    from urllib.request import url2pathname

    return Path(url2pathname(urlsplit(url).path))


def shown(place: Path) -> str:
    """Return a path as an argument, '.' for the current folder."""
    try:
        here = place.is_dir() and place.samefile(Path.cwd())
    except OSError:
        here = False
    return "." if here else str(place)


def installer() -> list[str]:
    """Return the command that installs this distribution into its environment."""
    if in_uv_tool():
        return ["uv", "tool", "install", "--force"]
    if in_pipx():
        return ["pipx", "install", "--force"]
    return ["pip", "install"] if find_spec("pip") else ["uv", "pip", "install"]


def adder() -> list[str]:
    """Return the command that adds other packages to this distribution's environment."""
    if in_uv_tool():
        return ["uv", "pip", "install", "--python", sys.prefix]
    return ["pipx", "inject", NAME] if in_pipx() else installer()


def in_uv_tool() -> bool:
    """Return True if 'uv tool install' created this environment."""
    return (Path(sys.prefix) / "uv-receipt.toml").is_file()


def in_pipx() -> bool:
    """Return True if pipx created this environment."""
    return (Path(sys.prefix) / "pipx_metadata.json").is_file()


# ---------------------------------------------------------------- packages of an extra


def packages(requires: Sequence[str], extras: Iterable[str]) -> list[str]:
    """Return the names of the packages that extras need on this machine, each once.

    Args:
        requires: lines of ``Requires-Dist``, such as ``torch>=2.9; extra == 'torch'``.
        extras: names of extras. An extra may consist of others (``mobilenetv2[torch]``).
    """
    found: dict[str, None] = {}
    todo, seen = list(extras), set[str]()
    while todo:
        extra = todo.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for line in requires:
            requirement, _, marker = line.partition(";")
            if not marker or not fits(marker, extra):
                continue
            parts = re.match(r"\s*([\w.-]+)\s*(?:\[([^]]*)\])?", requirement)
            if parts is None:
                continue
            if parts[1] == NAME:
                todo += [word.strip() for word in (parts[2] or "").split(",")]
            else:
                found[parts[1]] = None
    return list(found)


def fits(marker: str, extra: str) -> bool:
    """Return True if an environment marker names an extra and holds on this machine.

    It reads comparisons for equality only, since this distribution has no others.
    """
    values = {
        "extra": extra, "platform_system": platform.system(),
        "platform_machine": platform.machine(), "sys_platform": sys.platform, "os_name": os.name,
    }  # fmt: skip

    def value(node: ast.expr) -> object:
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(value(part) for part in parts)
            case ast.BoolOp(values=parts):
                return any(value(part) for part in parts)
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                return value(left) == value(right)
            case ast.Compare(left=left, ops=[ast.NotEq()], comparators=[right]):
                return value(left) != value(right)
            case ast.Name(id=name):
                return values[name]
            case ast.Constant(value=constant):
                return constant
        raise ValueError(f"{marker!r} is not understood")

    try:
        parsed = ast.parse(marker.strip(), mode="eval").body
        return "extra" in marker and bool(value(parsed))
    except (SyntaxError, ValueError, KeyError):
        return False


# ---------------------------------------------------------------- shells


def join(words: Iterable[str]) -> str:
    """Return a command line, quoted for both POSIX shells and PowerShell if possible."""
    return " ".join(map(quote, words))


def quote(word: str) -> str:
    """Return a word with the quotes that it needs."""
    if HARMLESS.fullmatch(word):
        return word
    if "'" not in word:
        return f"'{word}'"
    return shlex.quote(word) if INTERPRETED.search(word) else f'"{word}"'

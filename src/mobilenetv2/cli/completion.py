"""Shell completion of verbs, options, choices, names and files.

At each Tab, the shell runs the command with the typed line in the environment (argcomplete). The
command then imports the standard library and the catalogue's table only, to be fast.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence

from mobilenetv2.cli.parser import Names

MODELS = frozenset(("MODEL", "MODEL|none", "NAME"))
"""Metavars of options that accept a published name."""

Completer = Callable[..., list[str]]


def complete(parser: argparse.ArgumentParser) -> None:
    """Print the completions for the shell, and exit."""
    import argcomplete

    for action in fill(parser):
        if isinstance(action.type, Names):
            known = (*action.type.known, "all")
            action.completer = list_completer(known)  # type: ignore[attr-defined]  # its interface
        elif action.metavar in MODELS and action.dest in ("model", "weights", "name"):
            action.completer = complete_model  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, append_space=None)


def fill(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Add the options of a parser and its subparsers, and yield them."""
    if add_options := getattr(parser, "fill", None):  # they are added when needed
        add_options()
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from fill(below)


def list_completer(known: Sequence[str]) -> Completer:
    """Return a completer of the last name of 'A,B'."""

    def suggest(prefix: str, **_: object) -> list[str]:
        before, comma, _last = prefix.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{name}" for name in known if name not in taken]

    return suggest


def complete_model(prefix: str, **_: object) -> list[str]:
    """Return the published names, and the files and folders with this prefix."""
    from argcomplete.completers import FilesCompleter

    from mobilenetv2.hub.catalogue import EMBEDDED, catalogue

    files: list[str] = FilesCompleter()(prefix)
    return [*files, EMBEDDED, *catalogue()]


def script(shell: str) -> str:
    """Return the script that registers this command's completion in a shell."""
    from argcomplete.shell_integration import shellcode

    text: str = shellcode(["mobilenetv2"], shell=shell)
    return text

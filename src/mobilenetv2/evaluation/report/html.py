"""HTML: elements in which all data is escaped, and files that need no other file."""

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TypeAlias

from mobilenetv2.text import visible

VOID = frozenset({"meta", "link", "img", "br"})
"""Elements of HTML that have no end."""
LONG = 48
"""Characters of a value that gets a line of its own."""


class Markup(str):
    """Text that is HTML already. Every other text is escaped where it becomes a child."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"


def element(
    name: str, /, *children: Child, attributes: Mapping[str, str] | None = None, **more: object
) -> Markup:
    """Return ``<name ...>children</name>``.

    Args:
        children: texts, which are escaped, elements, lists of both; None is nothing.
        attributes: by their own names.
        more: by Python's spelling: ``class_`` is 'class', ``stroke_width`` 'stroke-width'; floats
            get at most two decimals; None and False leave one out, True is one without a value.
    """
    pairs: dict[str, object] = {
        key.removesuffix("_").replace("_", "-"): value for key, value in more.items()
    }
    pairs |= attributes or {}
    start = "".join(_attribute(key, value) for key, value in pairs.items())
    if name in VOID:
        return Markup(f"<{name}{start}>")
    return Markup(f"<{name}{start}>{join(children)}</{name}>")


def join(children: Child) -> Markup:
    """Return children one after the other, texts escaped."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(visible(children), quote=False))
    return Markup("".join(join(child) for child in children))


def coordinate(value: float) -> str:
    """Return a number with at most two decimals, and none that are zero: '12.5', '3'."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {key}"
    text = coordinate(value) if isinstance(value, float) else visible(str(value))
    return f' {key}="{html.escape(text)}"'


def definitions(rows: Sequence[tuple[str, Child]]) -> Markup:
    """Return a list of names and values that are there; a long one gets a line of its own."""
    return element(
        "dl",
        [
            element(
                "div", element("dt", name), element("dd", value),
                class_="long" if len(str(value)) > LONG else None,
            )
            for name, value in rows
            if value is not None
        ],
    )  # fmt: skip


def plain_table(
    rows: Iterable[Sequence[str]], columns: Sequence[str] = (), caption: str | None = None
) -> Markup:
    """Return a table for a notebook, whose own style it takes; each row begins with its name."""
    head = element("tr", [element("th", name) for name in columns]) if columns else None
    body = [
        element("tr", element("th", name), [element("td", cell) for cell in cells])
        for name, *cells in rows
    ]
    return element("table", element("caption", caption) if caption else None, head, body)


def document(title: str, body: Markup, style: str = "", script: str = "") -> str:
    """Return a whole file in the style of the reports. It needs no other file and no network.

    Args:
        style: further rules.
        script: the only one in ``body`` that a browser may run; '': none.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", content=policy, attributes={"http-equiv": "Content-Security-Policy"}),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(resource("style.css") + style)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def resource(name: str) -> str:
    """Return the text of a file that lies beside this module."""
    return files("mobilenetv2.evaluation.report").joinpath(name).read_text("utf-8")

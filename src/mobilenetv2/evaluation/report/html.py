"""HTML elements with escaped content, and self-contained HTML files."""

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TypeAlias

from mobilenetv2.text import visible

VOID = frozenset({"meta", "link", "img", "br"})
"""HTML elements without an end tag."""
LONG = 48
"""Number of characters above which a value gets its own line."""


class Markup(str):
    """Text that is HTML already; all other text is escaped when it becomes a child."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"


def element(
    name: str, /, *children: Child, attributes: Mapping[str, str] | None = None, **more: object
) -> Markup:
    """Return an HTML element, ``<name ...>children</name>``.

    Args:
        name: name of the element.
        children: texts, which are escaped, elements, or lists of both; None is skipped.
        attributes: attributes by their HTML names. Default: none.
        more: attributes by Python names: ``class_`` is 'class', ``stroke_width`` 'stroke-width'.
            Floats get at most two decimals; None and False are left out; True has no value.
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
    """Return the HTML of children, with escaped texts."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(visible(children), quote=False))
    return Markup("".join(join(child) for child in children))


def coordinate(value: float) -> str:
    """Return a number with at most two decimals and no trailing zeros: '12.5', '3'."""
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
    """Return a list of names and values; None is skipped, and a long value gets its own line."""
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
    """Return a table in the style of a notebook; the first cell of a row is its header.

    Args:
        rows: the rows of texts.
        columns: titles of the columns. Default: no title row.
        caption: caption of the table. Default: none.
    """
    head = element("tr", [element("th", name) for name in columns]) if columns else None
    body = [
        element("tr", element("th", name), [element("td", cell) for cell in cells])
        for name, *cells in rows
    ]
    return element("table", element("caption", caption) if caption else None, head, body)


def document(title: str, body: Markup, style: str = "", script: str = "") -> str:
    """Return a self-contained HTML file in the style of the reports.

    Args:
        title: title of the page.
        body: the body element.
        style: additional CSS rules. Default: none.
        script: the script in ``body`` that the browser may run; '' (default) for none.
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
    """Return the text of a file in the folder of this module."""
    return files("mobilenetv2.evaluation.report").joinpath(name).read_text("utf-8")

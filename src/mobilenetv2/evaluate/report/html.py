"""HTML and SVG elements, in which whatever comes from data is escaped."""

import html
from collections.abc import Iterable, Mapping
from typing import TypeAlias

VOID = frozenset({"meta", "link", "img", "br"})
"""Elements of HTML that have no end."""


class Markup(str):
    """Text that is HTML already. Every other text is escaped where it becomes a child."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"


def element(
    name: str, /, *children: Child, attributes: Mapping[str, str] | None = None, **more: object
) -> Markup:
    """``<name ...>children</name>``.

    Args:
        children: texts, which are escaped, elements, lists of both; None is nothing.
        attributes: by their own names.
        more: attributes by Python's spelling: ``class_`` is 'class', ``stroke_width``
            'stroke-width'; floats get at most two decimals; None and False leave one out, True is
            one without a value.
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
    """Children one after the other, texts escaped."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(visible(children), quote=False))
    return Markup("".join(join(child) for child in children))


def number(value: float) -> str:
    """At most two decimals, and none that are zero: '12.5', '3'."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def visible(text: str) -> str:
    """Without the characters that HTML cannot hold: control characters, halves of surrogates."""
    kept = (c if c.isprintable() or c in "\n\t" or ord(c) >= 0xA0 else "\ufffd" for c in text)
    return "".join(kept).encode("utf-8", "replace").decode("utf-8")


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {key}"
    text = number(value) if isinstance(value, float) else visible(str(value))
    return f' {key}="{html.escape(text)}"'

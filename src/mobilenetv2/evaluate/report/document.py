"""A self-contained HTML file under a policy by which a browser fetches nothing."""

import base64
import hashlib
from importlib.resources import files

from mobilenetv2.evaluate.report.html import Markup, element


def document(title: str, body: Markup, style: str = "", script: str = "") -> str:
    """The whole file, in the style of the reports.

    Args:
        body: the element; a script inside it runs only if it is ``script``.
        style: further rules.
        script: the only one that a browser may run; '': none.
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
    """The text of a file that lies beside this module."""
    return files("mobilenetv2.evaluate.report").joinpath(name).read_text("utf-8")

"""The frame of a page: its policy lets a browser run one script, or none, and fetch nothing."""

import base64
import hashlib

from mobilenetv2.evaluate.report.document import document
from mobilenetv2.evaluate.report.html import Markup, element


def test_no_script_may_run_where_none_is_given() -> None:
    page = document("<title>", element("body", "a & b"))
    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert "<title>&lt;title&gt;</title>" in page and "a &amp; b" in page
    assert "default-src 'none'" in page.replace("&#39;", "'").replace("&#x27;", "'")
    assert "script-src" not in page


def test_only_the_given_script_may_run() -> None:
    script = "document.title = 'x';"
    page = document("t", element("body", element("script", Markup(script))), ".x{}", script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"sha256-{digest}" in page and ".x{}" in page

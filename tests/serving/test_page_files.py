"""Files of the page: which there are, as what they are sent, and that no path leads elsewhere."""

import gzip
import tomllib
from pathlib import Path

import pytest

from mobilenetv2.serving import page_files
from mobilenetv2.serving.page_files import all_files, missing_vendor, page_file

SCRIPT, WASM = b"export const x = 1;\n", b"\0asm" + bytes(range(256))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a page beside a file that is none of it."""
    place = tmp_path / "serving"
    for path, data in {
        "serving/page/index.html": b"<title>Photos</title>",
        "serving/page/main.js": SCRIPT,
        "serving/page/notes.py": b"import os",
        "serving/vendor/litert/engine.wasm.gz": gzip.compress(WASM),
        "serving/vendor/fflate.js": SCRIPT + SCRIPT,
        "serving/secret.js": b"the token",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    monkeypatch.setattr(page_files, "HERE", place)
    return place


def test_every_file_has_its_type_and_a_tag_of_its_content() -> None:
    found = all_files()
    shown = {path: (one.plain(), one.media_type, one.gzipped) for path, one in found.items()}
    assert shown == {
        "index.html": (b"<title>Photos</title>", "text/html; charset=utf-8", False),
        "page/main.js": (SCRIPT, "text/javascript; charset=utf-8", False),
        "vendor/litert/engine.wasm": (WASM, "application/wasm", True),
        "vendor/fflate.js": (SCRIPT + SCRIPT, "text/javascript; charset=utf-8", False),
    }
    assert len({file.tag for file in found.values()}) == len(found)
    assert all(file.tag[0] == file.tag[-1] == '"' for file in found.values())
    assert page_file("vendor/litert/engine.wasm") == found["vendor/litert/engine.wasm"]


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "page", "page/", "page/index.html", "secret.js", "page/../secret.js",
        "page/%2e%2e/secret.js", "/page/main.js", "page//main.js", "./page/main.js",
        "page\\main.js", "page/notes.py", "vendor/litert/engine.wasm.gz", "page/main.js\0",
        "page/" + "x" * 5000 + ".js", "../page_files.py",
    ],
)  # fmt: skip
def test_no_other_path_is_a_file(path: str) -> None:
    assert page_file(path) is None


def test_a_changed_file_is_read_again(here: Path) -> None:
    before = page_file("page/main.js")
    (here / "page" / "main.js").write_bytes(SCRIPT * 2)
    after = page_file("page/main.js")
    assert before is not None and after is not None
    assert after.data == SCRIPT * 2 and after.tag != before.tag


def test_what_is_missing_is_said_with_the_command_that_makes_it(here: Path) -> None:
    assert missing_vendor() == ""
    (here / "vendor" / "fflate.js").unlink()
    said = missing_vendor()
    assert "vendor/fflate.js" in said and "vendor/litert" not in said and "'make web'" in said


def test_a_page_without_other_makers_files_is_still_one(here: Path) -> None:
    (here / "vendor").rename(here / "elsewhere")
    assert list(all_files()) == ["index.html", "page/main.js"]
    assert "lacks vendor/litert and vendor/fflate.js" in missing_vendor()


def test_what_make_web_builds_is_in_the_wheel_and_not_in_git() -> None:
    root = Path(__file__).parents[2]
    wheel = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    folder = "src/mobilenetv2/serving/vendor/"
    assert f"{folder}**" in wheel["targets"]["wheel"]["artifacts"]
    assert f"/{folder}" in (root / ".gitignore").read_text("utf-8").splitlines()
    # The lock file works with any registry, and holds every package to its content.
    lock = (root / "web" / "package-lock.json").read_text("utf-8")
    assert "://" not in lock and lock.count('"integrity": "sha512-') > 3

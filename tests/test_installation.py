"""The advice that installs an extra: one for every way in which a distribution gets here."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2 import installation
from mobilenetv2.installation import command, packages

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
REQUIRES = [
    "numpy>=2.0",
    "torch>=2.9; extra == 'torch'",
    "matplotlib>=3.9; extra == 'torch'",
    "keras>=3.12; extra == 'keras'",
    "tensorflow-cpu>=2.20; (platform_system == 'Linux' and platform_machine == 'x86_64') and "
    "extra == 'keras'",
    "tensorflow>=2.20; (platform_system != 'Linux' or platform_machine != 'x86_64') and "
    "extra == 'keras'",
    "matplotlib>=3.9; extra == 'keras'",
    "mobilenetv2[keras,torch]; extra == 'export'",
    "MNN>=3.2; extra == 'export'",
]

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Have this distribution seem installed, with that direct_url.json (None: from an index)."""

    def make(origin: object) -> None:
        folder = tmp_path / "site" / "mobilenetv2-0.1.0.dist-info"
        folder.mkdir(parents=True)
        lines = ["Metadata-Version: 2.4", "Name: mobilenetv2", "Version: 0.1.0"]
        lines += [f"Requires-Dist: {line}" for line in REQUIRES]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
        if origin is not None:
            text = origin if isinstance(origin, str) else json.dumps(origin)
            (folder / "direct_url.json").write_text(text)
        found = metadata.Distribution.at(folder)
        monkeypatch.setattr(metadata, "distribution", lambda name: found)
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
        monkeypatch.setattr(installation, "find_spec", lambda name: object())
        (tmp_path / "environment").mkdir()

    return make


def folder_origin(place: Path, **info: object) -> dict[str, object]:
    return {"url": place.as_uri(), "dir_info": info}


def test_a_clone_is_named_by_its_folder(install: Install, tmp_path: Path) -> None:
    clone = tmp_path / "mobilenetv2"
    clone.mkdir()
    install(folder_origin(clone))
    assert command(["torch"]) == f"pip install '{clone}[torch]'"


def test_an_editable_clone_stays_editable(install: Install, tmp_path: Path) -> None:
    clone = tmp_path / "mobilenetv2"
    clone.mkdir()
    install(folder_origin(clone, editable=True))
    assert command(["torch", "keras", "torch"]) == f"pip install -e '{clone}[keras,torch]'"


def test_in_the_clone_itself_it_is_the_current_folder(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    install(folder_origin(clone))
    monkeypatch.chdir(clone)
    assert command(["torch"]) == "pip install '.[torch]'"


@pytest.mark.parametrize(
    ("revision", "end"), [({}, ""), ({"requested_revision": "v0.1.0"}, "@v0.1.0")]
)
def test_a_repository_is_named_by_its_address(
    install: Install, revision: dict[str, str], end: str
) -> None:
    url = "https://git.example/me/mobilenetv2.git"
    install({"url": url, "vcs_info": {"vcs": "git", "commit_id": "0" * 40, **revision}})
    assert command(["torch"]) == f"pip install 'mobilenetv2[torch] @ git+{url}{end}'"


@pytest.mark.parametrize("name", ["mobilenetv2-0.1.0-py3-none-any.whl", "mobilenetv2-0.1.0.tar.gz"])
def test_an_archive_is_named_by_its_path(install: Install, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    install({"url": (tmp_path / name).as_uri(), "archive_info": {}})
    assert command(["torch"]) == f"pip install '{tmp_path / name}[torch]'"


def test_an_archive_from_elsewhere_is_named_by_its_address(install: Install) -> None:
    url = "https://files.example/mobilenetv2-0.1.0.tar.gz"
    install({"url": url, "archive_info": {}})
    assert command(["torch"]) == f"pip install 'mobilenetv2[torch] @ {url}'"


GONE = {"url": "file:///gone", "dir_info": {}}


@pytest.mark.parametrize("origin", [None, "not JSON", "[]", GONE])
def test_without_a_source_the_packages_are_named(
    install: Install, origin: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(origin)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert command(["torch"]) == "pip install torch matplotlib"
    assert command(["export"]) == "pip install MNN keras tensorflow-cpu matplotlib torch"
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert command(["keras"]) == "pip install keras tensorflow matplotlib"


@pytest.mark.parametrize(
    ("receipt", "anew", "beside"),
    [
        ("uv-receipt.toml", "uv tool install --force", "uv pip install --python {prefix}"),
        ("pipx_metadata.json", "pipx install --force", "pipx inject mobilenetv2"),
    ],
)
def test_the_program_that_made_the_environment_installs(
    install: Install, tmp_path: Path, receipt: str, anew: str, beside: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    url = "https://files.example/mobilenetv2-0.1.0.tar.gz"
    install({"url": url, "archive_info": {}})
    (tmp_path / "environment" / receipt).write_text("")
    assert command(["torch"]) == f"{anew} 'mobilenetv2[torch] @ {url}'"
    monkeypatch.setattr(installation, "direct_url", lambda distribution: {})
    assert command(["torch"]) == f"{beside.format(prefix=sys.prefix)} torch matplotlib"


def test_without_pip_uv_installs(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(None)
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    assert command(["torch"]) == "uv pip install torch matplotlib"


def test_a_source_tree_that_is_not_installed_is_installed(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    install(None)
    monkeypatch.setattr(metadata, "distribution", nowhere)
    monkeypatch.chdir(tmp_path)
    root = Path(installation.__file__).parents[2]
    assert command(["torch"]) == f"pip install -e '{root}[torch]'"
    copy = tmp_path / "lib" / "site" / "mobilenetv2" / "installation.py"
    monkeypatch.setattr(installation, "__file__", str(copy))
    assert command(["torch"]) == "pip install '.[torch]' in the folder of its source"


@pytest.mark.parametrize(
    "place", ["clone", "my clone", "it's", "a $HOME", "back`tick", 'a "b"', "it's $5", "é[1]"]
)
def test_a_posix_shell_reads_the_place_as_it_is(place: str) -> None:
    line = installation.join(["printf", "%s", f"/tmp/{place}[torch]"])
    shell = subprocess.run(["sh", "-c", line], capture_output=True, check=True)
    assert shell.stdout.decode() == f"/tmp/{place}[torch]"


@pytest.mark.parametrize("place", ["clone", "my clone", "it's", "a $HOME", "back`tick", 'a "b"'])
def test_powershell_reads_the_quotes_in_the_same_way(place: str) -> None:
    """By its rules: '...' is literal without another quote inside, "..." without $, ` and "."""
    word = installation.quote(f"/tmp/{place}[torch]")
    kind, inside = word[0], word[1:-1]
    assert kind == word[-1] and kind in "'\"" and inside == f"/tmp/{place}[torch]"
    assert kind not in inside and (kind == "'" or not set("$`") & set(inside))


def brought(extras: set[str]) -> set[str]:
    """Names of all packages that the distribution brings with extras, by what is installed."""
    requirements = pytest.importorskip("packaging.requirements")
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    lines = list(project["dependencies"])
    lines += [line for extra in extras for line in project["optional-dependencies"][extra]]
    found, waiting = set[str](), [(line, "") for line in lines]
    done = set[tuple[str, str]]()
    while waiting:
        line, extra = waiting.pop()
        asked = requirements.Requirement(line)
        if asked.marker is not None and not asked.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", asked.name).lower()
        found.add(name)
        for wanted in {"", *asked.extras}:
            if (name, wanted) not in done:
                done.add((name, wanted))
                waiting += [(each, wanted) for each in metadata.requires(name) or ()]
    return found


def test_a_server_needs_few_packages_more() -> None:
    try:
        more = brought({"serve"}) - brought(set())
    except metadata.PackageNotFoundError as error:
        pytest.skip(f"{error} is not installed: the extra 'serve' has it")
    assert {"starlette", "uvicorn", "prometheus-client", "python-multipart", "anyio"} <= more
    assert len(more) <= 12, sorted(more)


def test_the_names_of_the_extras_packages_are_the_declared_ones() -> None:
    found = metadata.distribution("mobilenetv2").requires or []
    named = packages(found, ["torch", "hub"])
    assert named == ["matplotlib", "scikit-learn", "scipy", "torch", "huggingface-hub"]
    assert shlex.join(named) == installation.join(named)
    odd = ["a>=1; python_version > '3' and extra == 'x'", "b; extra ==", "; extra == 'x'"]
    assert packages(odd, ["x"]) == []

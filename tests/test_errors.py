import importlib
import inspect
import json
import pickle
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2 import errors
from mobilenetv2.errors import (
    EXTRAS,
    MissingExtra,
    MobileNetV2Error,
    OptionsInMessages,
    argument,
    recipe_key,
    require,
)
from mobilenetv2.exporting.job import NotKept, Options, Outcome, Request
from mobilenetv2.formats import FORMATS
from mobilenetv2.installation import command

SOURCE = Path(errors.__file__).parent

DISTRIBUTIONS = {
    "pi_heif": "pi-heif",
    "sklearn": "scikit-learn",
    "ai_edge_litert": "ai-edge-litert",
    "python_multipart": "python-multipart",
    "ray": "ray[data,train]",
}
"""Import names that are not the name to install."""


def test_every_error_is_one_that_the_command_line_catches() -> None:
    classes = [item for _, item in inspect.getmembers(errors, inspect.isclass)]
    own = [item for item in classes if item.__module__ == errors.__name__]
    own = [item for item in own if issubclass(item, BaseException)]
    assert len(own) > 5
    for item in own:
        assert issubclass(item, (MobileNetV2Error, KeyboardInterrupt))
        assert item.__doc__


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [(errors.DialectError, errors.WeightsError), (errors.ImageError, errors.DataError)],
)
def test_who_catches_the_wide_error_catches_the_narrow(
    narrow: type[Exception], wide: type[Exception]
) -> None:
    with pytest.raises(wide, match="what, where and what to do"):
        raise narrow("what, where and what to do")
    assert not issubclass(wide, narrow)


def subclasses(kind: type[MobileNetV2Error]) -> Iterator[type[MobileNetV2Error]]:
    """A class and all that are made of it, wherever they are."""
    yield kind
    for one in kind.__subclasses__():
        yield from subclasses(one)


NAMES = "|".join(one.__name__ for one in subclasses(MobileNetV2Error))
DEFINED = re.compile(rf"^class \w+\(({NAMES})\)", re.MULTILINE)
for module in SOURCE.rglob("*.py"):
    if DEFINED.search(module.read_text("utf-8")):
        importlib.import_module(
            ".".join(["mobilenetv2", *module.relative_to(SOURCE).with_suffix("").parts])
        )


@pytest.mark.parametrize("kind", list(subclasses(MobileNetV2Error)), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_comes_whole_out_of_another_process(
    kind: type[MobileNetV2Error], protocol: int
) -> None:
    """Errors come out of a pool of processes, which pickles them, as they were raised."""
    error = kind.__new__(kind)
    MobileNetV2Error.__init__(error, "photos/\x1b[2Ja.jpg: " + "long" * 5000)
    error.add_note("in a data loader")
    found = pickle.loads(pickle.dumps(error, protocol))
    assert type(found) is kind and str(found) == str(error) and "a.jpg" in str(found)
    assert found.__notes__ == ["in a data loader"]


def test_an_error_about_several_files_keeps_them() -> None:
    request = Request(FORMATS["onnx"], Options(), Path("a.onnx"))
    made: Outcome[Any] = Outcome(request, None, error="onnxruntime crashed on it")
    found = pickle.loads(pickle.dumps(NotKept([made])))
    assert str(found) == "a.onnx: onnxruntime crashed on it" and found.outcomes == [made]


def test_a_package_that_is_there_is_imported() -> None:
    assert require("json") is json
    assert require("json.decoder") is json.decoder


@pytest.mark.parametrize("package", EXTRAS)
@pytest.mark.parametrize("part", ["", ".part"])
def test_a_missing_package_comes_with_the_line_that_installs_it(
    package: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # Python's own way to say: not there
    with pytest.raises(MissingExtra) as caught:
        require(package + part)
    assert str(caught.value).startswith(f"{package} is not installed")
    assert str(caught.value).endswith(f"install it with: {command([EXTRAS[package]])}")
    assert caught.value.__suppress_context__  # a person sees no chain of tracebacks


def test_every_extra_named_installs_its_package() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        wanted = DISTRIBUTIONS.get(package, package)
        assert any(line.partition(">")[0] == wanted for line in extras[extra]), package


def test_what_is_broken_inside_an_installed_package_is_not_reworded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "matplotlib"
    package.mkdir()
    (package / "__init__.py").write_text("import a_dependency_that_is_gone\n")
    with pytest.raises(ModuleNotFoundError) as caught:
        require("matplotlib")
    assert caught.value.name == "a_dependency_that_is_gone"


def test_a_message_names_an_argument_as_its_user_types_it() -> None:
    assert argument("find_rate", True) == "find_rate=True"
    assert argument("weights", "none") == "weights='none'"
    assert recipe_key("trained", "all") == "changes={'trained': 'all'}"
    with OptionsInMessages():
        assert argument("find_rate", True) == "--find-rate"
        assert argument("weights", "none") == "--weights none"
        assert argument("output") == "--output"
        assert recipe_key("trained", "all") == "--set trained=all"
    assert argument("output") == "output"

import inspect
import json
import sys
import tomllib
from pathlib import Path

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
from mobilenetv2.installation import command

DISTRIBUTIONS = {
    "pi_heif": "pi-heif",
    "sklearn": "scikit-learn",
    "ai_edge_litert": "ai-edge-litert",
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

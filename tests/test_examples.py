"""Every public function and class has a documented signature, and an example that runs."""

import doctest
import inspect
import shutil
import types
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mobilenetv2 as mn

PUBLIC = [name for name in mn.__all__ if not name.startswith("_")]
RECORDS = {
    name
    for name in PUBLIC
    if name[0].isupper() and name not in ("Classifier", "NetworkSpec", "Labels", "Preprocessing")
}
"""What functions return: their examples are those of the functions."""
NEEDS = "# needs:"


def test_all_names_every_public_name_and_each_is_there() -> None:
    homes = {name for names in mn.HOMES.values() for name in names}
    assert homes | {"MobileNetV2Error", "Stopped", "__version__"} == set(mn.__all__)
    assert set(mn.__all__) <= set(dir(mn))
    for name in mn.__all__:
        assert getattr(mn, name) is not None


def test_a_function_stays_one_after_its_room_was_imported() -> None:
    """A room of the same name would take its place."""
    for name in mn.HOMES:
        __import__(f"mobilenetv2.{name}")
    assert not [name for name in PUBLIC if isinstance(getattr(mn, name), types.ModuleType)]


def parameters(called: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    for parameter in inspect.signature(called).parameters.values():
        if parameter.name not in ("self", "options"):
            yield parameter


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_typed_and_documented(name: str) -> None:
    value = getattr(mn, name)
    text = inspect.getdoc(value) or ""
    assert text and text[0].isupper(), f"{name} has no docstring"
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        assert signature.return_annotation is not inspect.Signature.empty, f"{name} -> ?"
        for parameter in parameters(value):
            assert parameter.annotation is not inspect.Parameter.empty, f"{name}({parameter})"
            assert parameter.name in text, f"{name}'s docstring does not say what {parameter} is"
        assert "Raises:" in text or name in ("list_models",), f"{name} raises nothing?"


@pytest.fixture(scope="module")
def photo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two classes: bright ones and dark ones, so that a classifier can learn them."""
    import numpy as np

    place = tmp_path_factory.mktemp("examples") / "photos"
    random = np.random.default_rng(0)
    for label, (low, high) in {"hat": (0, 110), "shoes": (140, 255)}.items():
        (place / label).mkdir(parents=True)
        for index in range(12):
            colours = random.integers(low, high, (6, 6, 3), np.uint8)
            picture = Image.fromarray(colours).resize((64, 64), Image.Resampling.BICUBIC)
            picture.save(place / label / f"{index}.jpg")
    return place


EXAMPLES = [name for name in PUBLIC if name not in RECORDS]
LONG = ("benchmark", "parity", "quantize")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in EXAMPLES],
)
def test_the_example_runs(
    name: str, tmp_path: Path, photo_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = inspect.getdoc(getattr(mn, name)) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    assert example.examples, f"{name} has no example"
    for line in text.splitlines():
        for package in line.partition(NEEDS)[2].replace(",", " ").split():
            if find_spec(package) is None:
                pytest.skip(f"{package} is not installed, which this example needs")
    photos = tmp_path / "photos"
    shutil.copytree(photo_data, photos)
    shutil.copy(photos / "hat" / "0.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    example.globs = {"mn": mn, "folder": tmp_path, "photos": "photos", "photo": "photo.jpg"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)

"""The choice of Keras's backend, each in a process of its own, and the edition on every one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2.editions.keras_backend import BACKENDS, choose
from mobilenetv2.errors import MobileNetV2Error, installing

FOLDER = Path(__file__).parent
TESTS = (FOLDER / "keras" / "test_network.py", FOLDER / "test_contract.py")


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | variables
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "tensorflow"])
def test_the_edition_on_the_other_backends(backend: str) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         "-o", "filterwarnings=default", "-k", "keras_edition or test_network", *map(str, TESTS)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        env={**os.environ, "KERAS_BACKEND": backend},
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-5000:]
    assert " passed" in found.stdout


CHOICE = "from mobilenetv2.editions.keras_backend import choose\nprint('RUNS', choose({}))"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "variable", "configured", "expected"),
    [
        ("'jax'", "torch", "tensorflow", "jax"),
        ("", "torch", "tensorflow", "torch"),
        ("", "", "jax", "jax"),
        ("", "", "numpy", "tensorflow"),
        ("", "", "", "tensorflow"),
    ],
)
def test_asked_for_beats_environment_beats_configuration_beats_what_is_there(
    argument: str, variable: str, configured: str, expected: str, tmp_path: Path
) -> None:
    if configured:
        (tmp_path / "keras.json").write_text(f'{{"backend": "{configured}"}}')
    variables = {"KERAS_BACKEND": variable} if variable else {}
    found = run(CHOICE.format(argument), KERAS_HOME=str(tmp_path), **variables)
    assert f"RUNS {expected}\n" in found.stdout, found.stderr


@pytest.mark.slow
def test_a_second_backend_in_one_process_is_refused() -> None:
    found = run(
        "import mobilenetv2 as mn\n"
        "spec = mn.NetworkSpec(width=0.1, classes=3, size=32)\n"
        "print(type(mn.build(spec, edition='keras', backend='jax')).__name__)\n"
        "try: mn.build(spec, edition='keras', backend='torch')\n"
        "except mn.MobileNetV2Error as error: print(error)\n"
    )
    assert found.stdout.startswith("Functional\n"), found.stderr
    assert "runs on jax" in found.stdout and "KERAS_BACKEND=torch" in found.stdout


@pytest.mark.slow
def test_a_backend_that_is_not_there_or_unknown_is_named() -> None:
    found = run(
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'jax' else real(name)\n"
        "from mobilenetv2.editions.keras_backend import choose\n"
        "from mobilenetv2.errors import MobileNetV2Error\n"
        "try: choose('jax')\n"
        "except MobileNetV2Error as error: print(error)\n"
    )
    assert "backend jax is not installed" in found.stdout, found.stderr
    assert installing(["jax"]) in found.stdout


@pytest.mark.parametrize("backend", ["numpy", "os", "tensorflwo"])
def test_the_variable_is_checked_before_keras_imports_what_it_names(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(MobileNetV2Error, match=f"KERAS_BACKEND: .* '{backend}'"):
        choose()
    assert "keras" not in sys.modules


@pytest.mark.slow
def test_another_backend_that_runs_already_is_refused() -> None:
    found = run(
        "import keras\n"
        "from mobilenetv2.editions.keras_backend import choose\n"
        "from mobilenetv2.errors import MobileNetV2Error\n"
        "try: choose()\n"
        "except MobileNetV2Error as error: print(error)\n",
        KERAS_BACKEND="numpy",
    )
    assert "runs in this process" in found.stdout and "'numpy'" in found.stdout, found.stderr


@pytest.mark.slow
def test_the_article_takes_what_is_installed_too() -> None:
    """Keras by itself insists on TensorFlow."""
    found = run(
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'tensorflow' else real(name)\n"
        "sys.modules['tensorflow'] = None\n"
        "import mobilenetv2.editions.article.keras as article\n"
        "print(article.keras.backend.backend())\n"
    )
    assert found.stdout == "jax\n", found.stderr


def test_an_unknown_backend_is_an_error() -> None:
    with pytest.raises(MobileNetV2Error, match=f"'mxnet' .*{', '.join(BACKENDS)}"):
        choose("mxnet")

from pathlib import Path

import pytest

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.serving.settings import (
    BOUNDS,
    Settings,
    models_of_environment,
    settings_of,
    tokens_of,
)

P = "MOBILENETV2_SERVE_"


def test_arguments_come_before_the_environment() -> None:
    environment = {P + "PORT": "9000", P + "BATCH": "2", P + "PAGE": "no", P + "HOSTS": "A,b",
                   P + "DEADLINE": "1.5", "OTHER": "x"}  # fmt: skip
    found = settings_of({"port": 1234, "batch": None}, environment)
    assert (found.port, found.batch, found.page, found.hosts) == (1234, 2, False, ("a", "b"))
    assert found.deadline == 1.5
    assert settings_of({}, {}) == Settings()


@pytest.mark.parametrize("name", BOUNDS)
def test_each_number_has_bounds(name: str) -> None:
    least, most = BOUNDS[name]
    for value in (least - 1, most + 1, float("nan")):
        if value != value and name not in ("deadline", "delay_ms", "body_seconds", "max_mb"):
            continue
        with pytest.raises(MobileNetV2Error, match=name.replace("_", ".")):
            Settings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "environment", "part"),
    [
        ({"token": "x"}, {}, "tokens"),
        ({}, {P + "PROT": "1"}, f"did you mean '{P}PORT'"),
        ({}, {P + "PORT": "many"}, f"{P}PORT 'many' is not a whole number"),
        ({}, {P + "TOKENS": ""}, f"{P}TOKENS '' is not a file"),
        ({}, {P + "HOST": ""}, f"{P}HOST"),
        ({"port": True}, {}, "whole number"),
        ({"workers": 1.5}, {}, "whole number"),
        ({}, {P + "PAGE": "perhaps"}, "true or false"),
        ({"origins": ("shop.example",)}, {}, "origin"),
        ({"origins": ("https://shop.example/path",)}, {}, "origin"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(
    given: dict[str, object], environment: dict[str, str], part: str
) -> None:
    with pytest.raises(MobileNetV2Error, match=part):
        settings_of(given, environment)


def test_what_kubernetes_sets_is_passed_over() -> None:
    links = {
        P + "PORT": "tcp://10.0.0.1:8000", P + "SERVICE_HOST": "10.0.0.1",
        P + "SERVICE_PORT": "8000", P + "PORT_8000_TCP": "tcp://10.0.0.1:8000",
        P + "PORT_8000_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    assert settings_of({}, links) == Settings()


def test_models_are_words() -> None:
    assert models_of_environment({P + "MODEL": "a=x 'b c'"}) == ["a=x", "b c"]
    assert models_of_environment({}) == []
    with pytest.raises(MobileNetV2Error, match="MODEL"):
        models_of_environment({P + "MODEL": "'a"})


def test_tokens_are_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text("# of the shop\nabcdefgh\n\n  12345678 \n")
    assert tokens_of(Settings(tokens=file)) == (b"abcdefgh", b"12345678")
    for text in ("", "# nothing\n", "short\n", "with a space\n"):
        file.write_text(text)
        with pytest.raises(MobileNetV2Error, match=r"tokens\.txt"):
            tokens_of(Settings(tokens=file))
    with pytest.raises(MobileNetV2Error, match=r"none.*8 characters"):
        tokens_of(Settings(tokens=tmp_path / "none"))

"""``describe``: the numbers that any correct implementation gives, and where a spec comes from."""

import json
from pathlib import Path

import pytest

from mobilenetv2.cli.main import main
from mobilenetv2.diagrams.diagram import diagram
from mobilenetv2.model.card import kind
from mobilenetv2.networks.description import describe
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED

FACTS = [
    (0.35, 1_677_128, 59_285_808),
    (0.50, 1_968_680, 97_131_840),
    (0.75, 2_636_424, 209_069_792),
    (1.00, 3_504_872, 300_774_272),
    (1.30, 5_386_792, 509_374_560),
    (1.40, 6_108_776, 582_195_824),
]


def described(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    """What ``--json`` prints: one object on one line of stdout, nothing on stderr."""
    assert main(["describe", "--json", *options]) == 0
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    found: dict[str, object] = json.loads(out)
    return found


@pytest.mark.parametrize("width, parameters, multiply_adds", FACTS)
def test_every_published_width_has_its_numbers(
    width: float, parameters: int, multiply_adds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    found = described(capsys, "--width", str(width))
    assert found["parameters"] == parameters
    assert found["multiply_adds"] == multiply_adds
    layers = found["layers"]
    assert isinstance(layers, list)
    assert sum(layer["parameters"] for layer in layers) == parameters
    assert sum(layer["multiply_adds"] for layer in layers) == multiply_adds


def test_multiply_adds_by_kind_and_memory_at_width_1(capsys: pytest.CaptureFixture[str]) -> None:
    found = described(capsys)
    roles = found["multiply_adds_by_role"]
    assert isinstance(roles, dict)
    shares = sorted((round(100 * value / 300_774_272, 1) for value in roles.values()), reverse=True)
    assert shares == [43.1, 39.3, 6.9, 6.7, 3.6, 0.4]
    assert isinstance(found["activation_bytes_float32"], int)
    assert isinstance(found["expanded_bytes_float32"], int)
    assert round(found["activation_bytes_float32"] / 1e6, 1) == 53.8
    assert round(found["expanded_bytes_float32"] / 1e6, 1) == 46.7


@pytest.mark.parametrize(
    "name, parameters", [("tf-slim", 3_506_153), ("timm-110d", 4_516_520), ("timm-120d", 5_831_144)]
)
def test_published_families_have_their_numbers(
    name: str, parameters: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert described(capsys, "--spec", name)["parameters"] == parameters


def test_other_classes_drop_the_background_class(capsys: pytest.CaptureFixture[str]) -> None:
    spec = described(capsys, "--spec", "tf-slim", "--classes", "10")["spec"]
    assert isinstance(spec, dict)
    assert (spec["classes"], spec["background"]) == (10, None)


def test_a_spec_comes_from_a_model_folder_its_config_or_a_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = json.loads((model / "config.json").read_text())["spec"]
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(mapping))
    for place in (model, model / "config.json", file):
        assert described(capsys, "--spec", str(place))["spec"] == mapping
    changed = described(capsys, "--spec", str(file), "--size", "64x96", "--width", "0.5")["spec"]
    assert changed == {**mapping, "size": [64, 96], "width": 0.5}


@pytest.mark.parametrize("name", [*PUBLISHED, "small"])
def test_the_table_ends_with_the_totals(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = described(capsys, "--spec", name)
    assert main(["describe", "--spec", name]) == 0
    out = capsys.readouterr().out
    spec = NetworkSpec.from_dict(found["spec"], "spec")
    assert out.startswith(
        f"{kind(spec)}, width {spec.width:g}, {spec.size[0]} x {spec.size[1]} pix"
    )
    assert out.startswith("MobileNetV1, ") == (name == "mobilenet-v1")
    assert f"parameters       {found['parameters']:,}\n" in out
    assert f"multiply-adds    {found['multiply_adds']:,} (" in out
    layers = found["layers"]
    assert isinstance(layers, list)
    for layer in layers:
        assert f" {layer['name']} " in out


@pytest.mark.parametrize(
    "options, message",
    [
        (["--spec", "torchvison"], "network 'torchvison' is unknown; did you mean 'torchvision'?"),
        (["--width", "0"], "width 0.0"),
        (["--width", "nan"], "width nan"),
        (["--size", "16"], "16"),
        (["--classes", "0"], "classes 0"),
        (["--spec", "{folder}/bad.json"], "bad.json: not JSON"),
        (["--spec", "{folder}/list.json"], "list.json: expected a table of NetworkSpec"),
        (["--spec", "{folder}/key.json"], "unknown key 'widht'; did you mean 'width'?"),
        (["--spec", "{folder}"], "not a model folder, it has no config.json"),
    ],
)
def test_an_impossible_network_is_one_line_and_status_2(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("bad", "{"), ("list", "[1]"), ("key", '{"widht": 1}')):
        (tmp_path / f"{name}.json").write_text(text)
    assert main(["describe", *(option.format(folder=tmp_path) for option in options)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("mobilenetv2: error: ") and message in err


def test_the_model_is_the_first_word_or_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    found = [described(capsys, *words) for words in (["small"], ["--spec", "small"])]
    assert found[0] == found[1] and found[0] != described(capsys)
    with pytest.raises(SystemExit):
        main(["describe", "small", "--spec", "keras"])
    assert "not allowed" in capsys.readouterr().err


def test_a_diagram_is_written_beside_the_description(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "network.svg"
    words = ["describe", "keras", "--size", "96", "--diagram", str(file), "--json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert file.read_text("utf-8") == str(diagram("keras", size=96))
    assert err == f"wrote {file}\n"
    assert json.loads(out) == describe("keras", size=96).to_dict()
    assert main([*words, "--block", "blocks.4"]) == 0
    assert file.read_text("utf-8") == str(diagram("keras", size=96, block=4))


def test_a_block_that_there_is_not_and_one_without_a_diagram(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "block.svg"
    for options, message in (
        (["--diagram", str(file), "--block", "17"], "--block 17: the network has no such block"),
        (["--block", "3"], "--block chooses what --diagram FILE draws; give both"),
    ):
        assert main(["describe", *options]) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err and not file.exists()

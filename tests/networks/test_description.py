"""Descriptions: the same of a name, a spec, a folder and a network; in text, HTML and JSON."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.cli.main import main
from mobilenetv2.errors import MobileNetV2Error, SpecError, WeightsError
from mobilenetv2.networks.description import Description, describe
from mobilenetv2.spec import count
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import ModelConfig, Origin

SPEC = mn.published("small", width=0.1, classes=3)


@pytest.mark.parametrize(
    "name", [*PUBLISHED, "small", "mobilenetv2_140", "timm-100", "MobileNetV2"]
)
def test_it_is_what_the_command_prints_as_json(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", "--json", "--spec", name, "--size", "96"]) == 0
    assert json.loads(capsys.readouterr().out) == describe(name, size=96).to_dict()


def test_a_network_is_described_however_it_is_given(tmp_path: Path) -> None:
    network = mn.build(SPEC)
    mn.save(network, tmp_path / "m")
    (tmp_path / "spec.json").write_text(json.dumps(SPEC.to_dict()))
    given = (SPEC, network.config, network, mn.build(SPEC, "numpy"), tmp_path / "m",
             str(tmp_path / "m"), tmp_path / "spec.json")  # fmt: skip
    expected = Description.of(SPEC)
    assert [describe(model) for model in given] == [expected] * len(given)
    assert expected.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert describe(network, width=0.5, size=64, classes=7) == describe(
        SPEC.replace(width=0.5, size=(64, 64), classes=7)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("edition", "package"), [("keras", "keras"), ("jax", "flax")])
def test_networks_of_the_other_editions_are_described_too(edition: str, package: str) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed (extra: {edition})")
    assert describe(mn.build(SPEC, edition)) == describe(SPEC)


def test_other_classes_drop_the_background_whatever_the_model_is(tmp_path: Path) -> None:
    spec = mn.published("tf-slim", width=0.1, size=32)
    mn.save(mn.build(spec, "numpy"), tmp_path / "m")
    for model in ("tf-slim", "mobilenet_v2_1.0_224", spec, tmp_path / "m"):
        found = describe(model, classes=10).spec
        assert (found.classes, found.background) == (10, None)
        assert describe(model).spec.background == "first"


def test_nothing_is_fetched_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilenetv2.hub.fetching.fetch", None)
    assert describe("timm-050") == describe("mobilenetv2_050") == describe("timm", width=0.5)


def test_a_table_for_people() -> None:
    found = describe("mobilenet_v2")
    assert repr(found) == (
        "Description(MobileNetV2, width 1, 224 x 224 pixels, 1000 classes: "
        "3,504,872 parameters, 300,774,272 multiply-adds)"
    )
    lines = str(found).splitlines()
    assert lines[0] == "MobileNetV2, width 1, 224 x 224 pixels, 1000 classes"
    assert re.fullmatch(
        "layer +channels +kernel +stride +output +parameters +multiply-adds", lines[2]
    )
    rows = lines[3 : 3 + len(found.layers)]
    assert [row.split()[0] for row in rows] == [layer.name for layer in found.layers]
    assert len({len(row) for row in lines[2 : 3 + len(found.layers)]}) == 1  # the columns are even
    assert "parameters       3,504,872" in lines
    shown = found._repr_html_()
    assert shown.count("<tr>") == 1 + len(found.layers) + len(found.totals)
    assert "<td>3 &gt; 32</td>" in shown


def test_a_models_preprocessing_is_shown_with_its_reason(tmp_path: Path) -> None:
    record = mn.Preprocessing((64, 64), (73, 73), mean=(1.0,) * 3, std=(2.0,) * 3)
    origin = Origin("m.tflite", preprocessing="Pixels so: it was given.")
    config = ModelConfig(SPEC.replace(size=(64, 64)), record, mn.Labels.numbered(3), origin)
    mn.save(mn.build(config), tmp_path / "m")
    for given in (config, tmp_path / "m", str(tmp_path / "m")):
        found = describe(given, size=128)
        assert found.preprocessing == record.at((128, 128))
        assert "cover 146 x 146" in found.totals["preprocessing"]
        assert found.totals["chosen"] == origin.preprocessing
        assert found.to_dict()["preprocessing_from"] == origin.preprocessing
    assert "preprocessing" not in describe(SPEC).totals


def test_its_figures_are_the_counts() -> None:
    found = describe("keras", width=0.75)
    assert (found.parameters, found.multiply_adds) == (2_636_424, 209_069_792)
    assert found.layers == count.layers(found.spec)
    assert sum(found.multiply_adds_by_role.values()) == found.multiply_adds
    assert found.peak_bytes_16bit <= found.peak_bytes_16bit_unsplit
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.parameters = 0  # type: ignore[misc]


def test_what_is_no_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'mobilenet_v2'"):
        describe("mobilenet_v3")
    with pytest.raises(WeightsError, match="not a model folder"):
        describe(tmp_path)
    with pytest.raises(SpecError, match="describe takes a name, a folder, a spec or a network"):
        describe(3)
    other = type("Other", (), {"config": {}})()
    with pytest.raises(MobileNetV2Error, match="is not a network of an edition"):
        describe(other)

"""``mn.diagram``: every form of a model, blocks by index and name, files, notebooks."""

import json
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2.diagrams.block import draw_block
from mobilenetv2.diagrams.network import draw_network
from mobilenetv2.errors import MobileNetV2Error, SpecError

SPEC = mn.published("small", width=0.1, classes=3)


def test_a_network_is_drawn_however_it_is_given(tmp_path: Path) -> None:
    network = mn.build(SPEC, "numpy")
    mn.save(network, tmp_path / "m")
    (tmp_path / "spec.json").write_text(json.dumps(SPEC.to_dict()))
    expected = draw_network(SPEC)
    for given in (SPEC, network.config, network, tmp_path / "m", str(tmp_path / "spec.json")):
        assert str(mn.diagram(given)) == expected
    assert mn.diagram().svg == mn.diagram("mobilenet_v2").svg == draw_network(mn.NetworkSpec())
    changed = SPEC.replace(width=0.5, size=(64, 96), classes=7)
    assert mn.diagram(network, width=0.5, size=(64, 96), classes=7).spec == changed


def test_a_block_is_an_index_or_a_name() -> None:
    expected = draw_block(mn.NetworkSpec(), 3)
    for block in (3, "3", "blocks.3"):
        found = mn.diagram(block=block)
        assert found.svg == expected and found.block == 3
    assert repr(found) == "Diagram(Block 3: inverted residual, stride 2)"
    assert found.title in expected and found.description.replace("\u00a0", " ") in expected


@pytest.mark.parametrize("block", [17, -1, "17", "block 3", "blocks.", "", "9" * 5000, True, 1.0])
def test_a_block_that_there_is_not(block: int | str) -> None:
    with pytest.raises(SpecError, match=r"no such block; it has blocks\.0 to blocks\.16"):
        mn.diagram(block=block)


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(SpecError, match="diagram takes a name, a folder, a spec or a network"):
        mn.diagram(3)
    with pytest.raises(MobileNetV2Error, match="did you mean 'mobilenet_v2'"):
        mn.diagram("mobilenet_v3")


def test_it_is_saved_and_shown_as_the_same_file(tmp_path: Path) -> None:
    found = mn.diagram(SPEC, file=tmp_path / "network.svg")
    assert (tmp_path / "network.svg").read_text("utf-8") == str(found) == found.svg
    mn.diagram(SPEC, block=0).save(tmp_path / "network.svg")  # replaced as a whole
    assert (tmp_path / "network.svg").read_text("utf-8") == draw_block(SPEC, 0)
    assert found._repr_svg_() == found._repr_html_() == found.svg
    assert repr(found).startswith("Diagram(MobileNetV2, width 0.1, ")
    assert found.title in repr(found) and "Stage 1: " in found.description
    with pytest.raises(OSError, match="gone"):
        found.save(tmp_path / "gone" / "network.svg")

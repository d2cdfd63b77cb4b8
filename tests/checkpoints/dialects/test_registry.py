"""Dialects by name, and which one a file is in."""

from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.dialects import registry
from mobilenetv2.cli.parser import DIALECTS
from mobilenetv2.errors import DialectError, WeightsError
from mobilenetv2.formats import GRAPHS
from mobilenetv2.model.arrays import random_arrays


def test_names_are_the_command_lines() -> None:
    assert set(DIALECTS) == set(registry.DIALECTS)
    assert set(GRAPHS) == set(registry.GRAPHS)
    assert all(registry.find(name).name == name for name in DIALECTS)
    with pytest.raises(DialectError, match="did you mean 'torchvision'"):
        registry.find("torchvison")


def test_a_graph_is_known_by_its_name_its_content_or_by_what_was_asked_for(tmp_path: Path) -> None:
    assert registry.find_graph(Path("x.ONNX"), "auto") is registry.GRAPHS["onnx"]
    assert registry.find_graph(tmp_path / "nothing.pth", "auto") is None
    assert registry.find_graph(tmp_path / "x.pb", "onnx") is registry.GRAPHS["onnx"]
    (tmp_path / "renamed").write_bytes(b"\0\0\0\0TFL3")
    assert registry.find_graph(tmp_path / "renamed", "auto") is registry.GRAPHS["litert"]
    with pytest.raises(DialectError, match="in the dialect litert, not timm"):
        registry.find_graph(tmp_path / "renamed", "timm")
    (tmp_path / "text").write_bytes(b"words")
    with pytest.raises(WeightsError, match="text: not a weights file"):
        registry.find_graph(tmp_path / "text", "auto")


def test_tensors_of_another_dialect_or_of_none() -> None:
    timm = registry.TENSORS["timm"]
    spec = timm.bases[0].replace(width=0.35)
    container = Container(timm.encode(spec, random_arrays(spec)), {"format": "pytorch"})
    assert registry.identify(container, "timm").dialect is timm
    with pytest.raises(DialectError, match="not in the dialect keras; its names are timm's"):
        registry.identify(container, "keras")
    other = Container({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    with pytest.raises(DialectError, match=r"begin with 'conv1\.weight'.* Known dialects: .*onnx"):
        registry.identify(other, "auto")
    with pytest.raises(DialectError, match=r"not in the dialect keras$"):
        registry.identify(other, "keras")
    with pytest.raises(DialectError, match="begin with nothing"):
        registry.identify(Container({}), "auto")
    numbered = Container(
        {"layers/conv2d/vars/0": np.zeros((3, 3, 3, 8), np.float32)},
        {"format": "keras-3", "names": {"layers/conv2d/vars": "block1", "x/vars": "predictions"}},
    )
    with pytest.raises(DialectError, match="begin with 'block1/kernel'"):
        registry.identify(numbered, "auto")

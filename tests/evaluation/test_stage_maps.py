"""Maps of the stages: the channels that are chosen, their values, and the drawing."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.editions import torch as edition
from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.evaluation.gradcam import COLOURS
from mobilenetv2.evaluation.stage_maps import (
    SIDE,
    STRONGEST,
    StageMaps,
    coloured,
    draw_stage_maps,
    load_stage_maps,
    stage_outputs,
    strongest,
)
from mobilenetv2.images.decode import read_photo
from mobilenetv2.images.display import GAP, MARGIN, enlarge_picture
from mobilenetv2.images.preprocess import normalise, preprocess
from mobilenetv2.model import store
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import published


def test_the_channels_that_vary_most_come_first() -> None:
    maps = np.zeros((2, 2, 5), np.float32)
    maps[..., 0] = 100  # large, but the same everywhere
    maps[0, 0, 1], maps[0, 0, 3] = 1, -8
    maps[..., 4] = -200
    assert strongest(maps, 5) == [3, 1, 4, 0, 2]
    assert strongest(maps, 2) == [3, 1] and strongest(maps[..., :1], 6) == [0]
    assert strongest(np.array([[[1.0, -3.0, 2.0, 3.0]]]), 3) == [1, 3, 2]  # a single cell


@pytest.mark.parametrize(
    "spec",
    [NetworkSpec(), published("article-torch"), NetworkSpec(head="none"), published("small")],
    ids=["paper", "article", "no head", "small"],
)
def test_there_is_a_row_for_each_stage(spec: NetworkSpec) -> None:
    network, found = resolve(spec), stage_outputs(spec)
    stages = [f"stage {index + 1}" for index in range(len(spec.stages))]
    assert list(found) == ["stem", *stages, *(["head"] if network.head else [])]
    for index, stage in enumerate(stages):
        last = [block for block in network.blocks if block.stage == index][-1]
        assert found[stage] == f"blocks.{last.index}"


def test_the_maps_are_those_of_another_edition(model: Path, photos: Path) -> None:
    config, arrays = store.load(model)
    picture = preprocess(read_photo(photos / "ball" / "00.png"), config.preprocessing)
    found = load_stage_maps(model)(picture)
    network = edition.MobileNetV2(config)
    edition.load(network, arrays)
    tensors = edition.intermediates(network, normalise(picture[None], config.preprocessing))
    outputs = stage_outputs(config.spec)
    assert [one.name for one in found] == list(outputs)
    for one in found:
        expected = tensors[outputs[one.name]][0]
        assert one.channels == expected.shape[2] and one.size == expected.shape[:2]
        assert len(one.strongest) == min(STRONGEST, one.channels)
        assert one.to_dict() == {
            "name": one.name, "channels": one.channels, "size": list(one.size),
            "strongest": list(one.strongest),
        }  # fmt: skip
        planes = expected[..., list(one.strongest)].transpose(2, 0, 1)
        np.testing.assert_allclose(one.maps, planes, atol=1e-4)
        spread = expected.std((0, 1))
        rest = np.delete(spread, list(one.strongest))
        assert spread[list(one.strongest)].min() >= rest.max(initial=0) - 1e-4


def test_a_network_in_memory_and_what_gives_no_maps(tmp_path: Path) -> None:
    spec = published("small", width=0.1, classes=3)
    network = mn.build(spec, "numpy", seed=0)
    picture = np.random.default_rng(0).integers(0, 256, (*spec.size, 3), np.uint8)
    found = load_stage_maps(network)(picture)
    stem = resolve(spec).stem
    height, width = stem.out_size
    assert repr(found[0]) == f"StageMaps(stem: {height} x {width}, {stem.out_channels} channels)"
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"m\.onnx: an exported file does not give the maps"):
        load_stage_maps(tmp_path / "m.onnx")
    with pytest.raises(WeightsError, match="no such model"):
        load_stage_maps(tmp_path / "gone")


def test_a_map_is_drawn_in_squares_on_its_own_scale() -> None:
    drawn = coloured(np.array([[-3.0, 5.0], [1.0, 1.0]]), 40, 20)
    assert drawn.shape == (40, 20, 3)
    np.testing.assert_array_equal(drawn[:20, :10], np.broadcast_to(COLOURS[0], (20, 10, 3)))
    np.testing.assert_array_equal(drawn[:20, 10:], np.broadcast_to(COLOURS[-1], (20, 10, 3)))
    np.testing.assert_array_equal(drawn[20:], np.broadcast_to(COLOURS[8], (20, 20, 3)))
    flat = coloured(np.full((2, 2), 7.0), 4, 4)
    np.testing.assert_array_equal(flat, np.broadcast_to(COLOURS[0], (4, 4, 3)))


def test_the_drawing_has_the_photo_beside_the_maps_of_each_stage() -> None:
    random = np.random.default_rng(1)
    picture = random.integers(0, 256, (60, 90, 3), np.uint8)
    stages = [
        StageMaps("stem", 2, (1, 0), random.random((2, 30, 45), np.float32)),
        StageMaps("stage 1", 8, (3, 1, 7), random.random((3, 15, 23), np.float32)),
    ]
    with Image.open(io.BytesIO(draw_stage_maps(picture, "p.png", stages))) as image:
        pixels = np.asarray(image)
    large = enlarge_picture(picture, SIDE)
    height, width = large.shape[:2]
    assert pixels.shape[1] == 2 * MARGIN + 4 * SIDE + 3 * GAP
    top = MARGIN
    for stage in stages:
        rows = [y for y in range(top, len(pixels) - height)
                if (pixels[y : y + height, MARGIN : MARGIN + width] == large).all()]  # fmt: skip
        top = rows[0]
        for place, values in enumerate(stage.maps, 1):
            left = MARGIN + place * (SIDE + GAP)
            tile = pixels[top : top + height, left : left + width]
            np.testing.assert_array_equal(tile, coloured(values, height, width))
        top += height

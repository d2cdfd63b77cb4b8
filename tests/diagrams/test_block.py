"""The picture of a block: what it says, what it draws, and that all of it can be read."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from mobilenetv2.diagrams.block import NARROWEST, WIDEST, draw_block
from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import Block, resolve
from mobilenetv2.spec.network import NetworkSpec, StageSpec

PAPER = NetworkSpec()


def chosen(spec: NetworkSpec) -> list[Block]:
    """The first and the second block of each stage, and the last block."""
    blocks = resolve(spec).blocks
    return [one for one in blocks if one.index < 3 or one.stride > 1 or one is blocks[-1]]


def test_it_says_and_draws_every_step(spec: NetworkSpec, read: Callable[[str], Any]) -> None:
    for block in chosen(spec):
        found = read(draw_block(spec, block.index))
        assert found.title.startswith(f"Block {block.index}: ")
        said, drawn = found.description, [line.text for line in found.lines]
        place = 0  # the description goes through the block in the order of its steps
        for step in block.steps:
            for words in (
                f"{step.role.capitalize()}: {step.kernel} \u00d7 {step.kernel}",
                f"stride {step.stride}" if step.kernel > 1 else "",
                {None: "linear", "relu": "ReLU", "relu6": "ReLU6"}[step.activation],
                f"{step.out_size[0]} \u00d7 {step.out_size[1]}, {step.out_channels:,} channel",
            ):
                place = said.index(words, place)
        shown = " ".join(drawn).replace("\u00a0", " ")
        for number in re.findall(r"\d[\d,]*\d|\d", said):
            assert number in shown, number
        assert ("Addition" in drawn) == block.residual == ("Addition of the input" in said)
        assert any("No shortcut: " in line for line in drawn) != block.residual
        assert "No shortcut: " in said or block.residual
        layers = [
            one for one in count.layers(spec) if one.name.startswith(f"blocks.{block.index}.")
        ]
        assert f"{sum(one.parameters for one in layers):,} parameters" in said
        assert f"{sum(one.multiply_adds for one in layers):,} multiply-adds" in said


def test_slabs_are_as_wide_as_the_channels_and_as_high_as_the_maps(
    spec: NetworkSpec, read: Callable[[str], Any]
) -> None:
    for block in chosen(spec):
        slabs = read(draw_block(spec, block.index)).attributes("front")
        maps = [(block.in_channels, block.in_size)]
        maps += [(step.out_channels, step.out_size) for step in block.steps]
        if block.residual or (block.kind == "bottleneck" and len(slabs) > len(maps)):
            maps.append((block.out_channels, block.out_size))
        assert len(slabs) == len(maps)
        most = max(channels for channels, _ in maps)
        for slab, (channels, size) in zip(slabs, maps, strict=True):
            wide = max(NARROWEST, WIDEST * channels / most)
            assert float(slab["width"]) == pytest.approx(wide, abs=0.01)
            ratio = float(slab["height"]) / float(slabs[0]["height"])
            least = 4 / float(slabs[0]["height"])
            assert ratio == pytest.approx(max(least, size[0] / block.in_size[0]), abs=0.01)


def test_every_convolution_is_a_shape_between_two_slabs(spec: NetworkSpec) -> None:
    for block in chosen(spec):
        svg = draw_block(spec, block.index)
        alone = sum(step.role == "depthwise" for step in block.steps)
        assert svg.count('class="depthwise"') == alone
        assert svg.count('class="dense"') == len(block.steps) - alone


def test_narrow_wide_narrow(read: Callable[[str], Any]) -> None:
    slabs = read(draw_block(PAPER, 2)).attributes("front")
    widths = [float(slab["width"]) for slab in slabs]
    assert widths == pytest.approx([WIDEST / 6, WIDEST, WIDEST, WIDEST / 6, WIDEST / 6], abs=0.01)


def test_the_shortcut_is_a_line_from_the_input_to_the_sum(read: Callable[[str], Any]) -> None:
    stages = (StageSpec(4, 64, 2, 2, "bottleneck"),)
    for spec, index, dashed in ((PAPER, 2, ""), (NetworkSpec(stages=stages), 0, " dashed")):
        found = read(draw_block(spec, index))
        (line,) = (
            one["d"] for one in found.attributes(f"shortcut{dashed}") if one["d"].count("L") == 3
        )
        points = [tuple(map(float, point.split())) for point in line[1:].split("L")]
        slab, (circle,) = (
            found.attributes("front")[0],
            [one for one in found.attributes("sum") if "cx" in one],
        )
        middle = float(slab["y"]) + float(slab["height"]) / 2
        assert points[0] == pytest.approx((float(slab["x"]), middle), abs=0.02)
        end = (float(circle["cx"]) - float(circle["r"]), float(circle["cy"]))
        assert points[-1] == pytest.approx(end, abs=0.02)
        assert any(line.text == "1\u00a0\u00d7\u00a01" for line in found.lines) == bool(dashed)
    assert "shortcut-tip" not in draw_block(PAPER, 1).partition("</style>")[2]


def test_a_bottleneck_is_activated_behind_the_addition(read: Callable[[str], Any]) -> None:
    stages = (StageSpec(4, 64, 1, 1, "bottleneck"),)
    for shortcut, words in (("identity", "then ReLU6"), ("none", "Then ReLU6")):
        found = read(draw_block(NetworkSpec(stages=stages).replace(shortcut=shortcut), 0))
        assert words in [line.text for line in found.lines]
        assert "Then ReLU6. Output: " in found.description


def test_a_block_is_told_by_its_number_in_the_network_and_in_its_stage(
    read: Callable[[str], Any],
) -> None:
    """Block 4 of the network, counted from 0, is the second of stage 3."""
    found = read(draw_block(PAPER, 4))
    assert found.title.startswith("Block 4: ")
    for text in (found.description, " ".join(line.text for line in found.lines)):
        assert "stage 3, block 2 of 3; the first block of the network is block 0." in text
    assert "stage 1, block 1 of 1" in read(draw_block(PAPER, 0)).description

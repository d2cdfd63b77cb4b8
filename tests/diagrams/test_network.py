"""The picture of a network: what it says, what it draws, and that all of it can be read."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from mobilenetv2.diagrams.network import MOST_SYMBOLS, draw_network, parts
from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.text import counted


def test_it_says_every_layer_in_order(spec: NetworkSpec, read: Callable[[str], Any]) -> None:
    found, network = read(draw_network(spec)), resolve(spec)
    expected = ["Input: ", f"{spec.size[0]} \u00d7 {spec.size[1]}, {spec.input_channels} channel"]
    expected += ["Stem: 3 \u00d7 3, ", f"{network.stem.out_channels} channel"]
    for index, stage in enumerate(spec.stages):
        last = [one for one in network.blocks if one.stage == index][-1]
        expected += [
            f"Stage {index + 1}: {stage.repeats} ", f"t = {stage.expansion}, c = ",
            f"n = {stage.repeats}, s = {stage.stride}",
            f"{last.out_size[0]} \u00d7 {last.out_size[1]}, {last.out_channels:,} channel",
        ]  # fmt: skip
    if network.head:
        expected += ["Head: 1 \u00d7 1", f"{network.head.out_channels:,} channel"]
    expected += [f"{spec.classifier.pooling.capitalize()} pooling: "]
    expected += [f"dropout {spec.dropout:g}"] if spec.dropout else []
    for hidden in spec.classifier.hidden:
        expected += ["Hidden layer ", *([f"dropout {hidden.dropout:g}"] * bool(hidden.dropout))]
        expected += [f"{hidden.units} units"]
    expected += ["Classifier: linear", f"{counted(spec.logits, 'logit')}, "]
    place = 0
    for words in expected:
        place = found.description.index(words, place)
    shown = " ".join(line.text for line in found.lines).replace("\u00a0", " ")
    said = re.sub("[^.;]*shortcut in [^.;]*", "", found.description)  # arcs show these
    for number in re.findall(r"\d[\d,.]*\d|\d", said):
        assert number in shown, number
    assert f"{count.parameters(spec):,} parameters" in found.description
    assert f"{count.multiply_adds(spec):,} multiply-adds" in found.description


def test_every_row_has_a_slab_in_proportion(spec: NetworkSpec, read: Callable[[str], Any]) -> None:
    rows = parts(spec)
    slabs = read(draw_network(spec)).attributes("front")
    assert len(slabs) == len(rows)
    most = max(row.channels for row in rows)
    for slab, row in zip(slabs, rows, strict=True):
        wide = max(4, 118 * (row.channels / most) ** 0.5)
        assert float(slab["width"]) == pytest.approx(wide, abs=0.01)
        tall = max(3, 52 * (row.size[0] / spec.size[0]) ** 0.5)
        assert float(slab["height"]) == pytest.approx(tall, abs=0.01)
    tops = [float(slab["y"]) for slab in slabs]
    bottoms = [float(slab["y"]) + float(slab["height"]) for slab in slabs]
    assert all(low < high for low, high in zip(bottoms, tops[1:], strict=False))


def test_shortcuts_are_arcs_and_are_said(spec: NetworkSpec) -> None:
    network, svg = resolve(spec), draw_network(spec).partition("</style>")
    shown = []
    for index in range(len(spec.stages)):
        blocks = [one for one in network.blocks if one.stage == index]
        more = len(blocks) > MOST_SYMBOLS
        shown += blocks[: MOST_SYMBOLS - 1] if more else blocks
    arcs = [block for block in shown if block.residual]
    assert svg[2].count('class="shortcut-tip"') == len(arcs)
    dashed = sum(block.shortcut is not None for block in arcs)
    assert svg[2].count('class="shortcut dashed"') == dashed
    assert ("Arc: the shortcut" in " ".join(re.findall(">([^<]*)</text>", svg[2]))) == bool(arcs)


def test_the_blocks_with_a_shortcut_are_named() -> None:
    rows = {row.title: row.sentence for row in parts(NetworkSpec())}
    assert rows["Stage 1"].endswith("; no shortcut in block 1.")
    assert rows["Stage 4"].endswith("; no shortcut in block 1; identity shortcut in blocks 2 to 4.")
    stages = (StageSpec(4, 64, 3, 2, "bottleneck"),)
    row = parts(NetworkSpec(stages=stages))[2].sentence
    assert row.endswith("; projected shortcut in block 1; identity shortcut in blocks 2 to 3.")


def test_many_blocks_are_counted(read: Callable[[str], Any]) -> None:
    for repeats, words in ((5, None), (6, "+ 2"), (900, "+ 896")):
        spec = NetworkSpec(stages=(StageSpec(6, 8, repeats, 1),), width=0.1)
        lines = [line.text for line in read(draw_network(spec)).lines]
        assert [line for line in lines if line.startswith("+")] == ([words] if words else [])

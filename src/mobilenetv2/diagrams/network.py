"""Diagram of a whole network: stem, stages, head, pooling and classifier, from top to bottom."""

import math
from dataclasses import dataclass

from mobilenetv2.diagrams.drawing import BODY, MARGIN, SMALL, TITLE, WIDTH, Drawing
from mobilenetv2.diagrams.words import (
    ACTIVATIONS,
    after_words,
    kind_words,
    map_words,
    network_words,
    step_title,
)
from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import Block, Convolution, Linear, Network, resolve
from mobilenetv2.spec.network import NetworkSpec, Size
from mobilenetv2.text import counted

CENTRE = 78.0
"""Horizontal position of the middle of the slabs."""
WIDEST, TALLEST, DEEPEST = 118.0, 52.0, 20.0
"""Width, height and depth of the slabs with the most channels, rows and columns, in pixels."""
NARROWEST, LOWEST = 4.0, 3.0
"""Least width and height of a slab."""
COLUMN = 158.0
"""Left end of the text."""
SHAFT = 18.0
"""Least height of an arrow."""
GAP = 8.0
"""Space between parts."""
SYMBOL, APART, RISE = (32.0, 24.0), 10.0, 9.0
"""Width and height of a block's symbol, the space between two, and the arc's height above it."""
MOST_SYMBOLS = 5
"""Largest number of symbols in a stage's row; of more blocks the first four are drawn."""
OUTPUTS = {"softmax": "softmax", "sigmoid": "sigmoid", "logit": "sigmoid"}
"""Function that turns the logits into probabilities, by the meaning of the outputs."""


@dataclass(frozen=True, slots=True)
class Part:
    """A row of the diagram: a map or vector, and what makes it."""

    title: str
    lines: tuple[str, ...]
    """Lines below the title; the last one is about the output."""
    size: Size
    channels: int
    blocks: tuple[Block, ...] = ()
    """Blocks of a stage."""

    @property
    def sentence(self) -> str:
        """The row in words."""
        return f"{self.title}: {'; '.join([*self.lines, *map(_shortcut_words, self.groups)])}."

    @property
    def groups(self) -> list[tuple[str, list[int]]]:
        """Numbers of a stage's blocks, from 1, by the kind of their shortcut."""
        found: dict[str, list[int]] = {}
        for number, block in enumerate(self.blocks, 1):
            how = "projected" if block.shortcut else "identity" if block.residual else "no"
            found.setdefault(how, []).append(number)
        return list(found.items())


def _shortcut_words(group: tuple[str, list[int]]) -> str:
    how, numbers = group
    first, last = numbers[0], numbers[-1]
    if len(numbers) == 1:
        return f"{how} shortcut in block {first}"
    # A stage's blocks behind the first are alike, so that a group has no gaps.
    return f"{how} shortcut in blocks {first} to {last}"


def parts(spec: NetworkSpec) -> list[Part]:
    """Return the rows of a network's diagram, from the input to the classifier."""
    network, head = resolve(spec), spec.classifier
    found = [
        Part("Input", (map_words(spec.size, spec.input_channels),), spec.size, spec.input_channels),
        _convolution_part("Stem", network.stem),
        *(_stage_part(network, index) for index in range(len(spec.stages))),
    ]  # fmt: skip
    if network.head:
        found.append(_convolution_part("Head", network.head))
    dropped = (f"dropout {spec.dropout:g} in training",) if spec.dropout else ()
    pooled = (*dropped, map_words((1, 1), network.features))
    found.append(Part(f"{head.pooling.capitalize()} pooling", pooled, (1, 1), network.features))
    found += [_linear_part(linear, spec) for linear in network.linears]
    return found


def _convolution_part(title: str, step: Convolution) -> Part:
    kernel = step_title(step).partition(": ")[2]
    lines = (f"{kernel}, {after_words(step)}", map_words(step.out_size, step.out_channels))
    return Part(title, lines, step.out_size, step.out_channels)


def _stage_part(network: Network, index: int) -> Part:
    spec = network.spec
    stage, blocks = spec.stages[index], [one for one in network.blocks if one.stage == index]
    last = blocks[-1]
    lines = (
        counted(len(blocks), f"{kind_words(last)} block"),
        f"t = {stage.expansion}, c = {spec.stage_channels(stage)}, n = {stage.repeats}, "
        f"s = {stage.stride}",
        map_words(last.out_size, last.out_channels),
    )  # fmt: skip
    return Part(f"Stage {index + 1}", lines, last.out_size, last.out_channels, tuple(blocks))


def _linear_part(linear: Linear, spec: NetworkSpec) -> Part:
    bias = "" if linear.bias else " without bias"
    if linear.name == "classifier":
        made = f"{counted(linear.out_features, 'logit')}, {OUTPUTS[spec.classifier.outputs]}"
        title, how = "Classifier", f"linear{bias}"
    else:
        activation = linear.activation
        made = counted(linear.out_features, "unit")
        title = f"Hidden layer {int(linear.name.rpartition('.')[2]) + 1}"
        how = f"linear{bias}" + (f", {ACTIVATIONS[activation]}" if activation else "")
    dropped = (f"dropout {linear.dropout:g} in training",) if linear.dropout else ()
    return Part(title, (how, *dropped, made), (1, 1), linear.out_features)


def network_title(spec: NetworkSpec) -> str:
    """Return the name of a network's diagram."""
    return f"{network_words(spec)}, {counted(spec.classes, 'class')}"


def network_description(spec: NetworkSpec) -> str:
    """Return what a network's diagram shows, in words, from the input to the classifier."""
    sentences = [part.sentence for part in parts(spec)]
    return " ".join([cost_words(spec), *sentences, letter_words(spec)])


def cost_words(spec: NetworkSpec) -> str:
    """Return the parameters and the multiply-adds of a network."""
    return f"{count.parameters(spec):,} parameters, {count.multiply_adds(spec):,} multiply-adds."


def letter_words(spec: NetworkSpec) -> str:
    """Return the meaning of the letters t, c, n and s."""
    kinds = {stage.kind for stage in spec.stages}
    reduction = " (in a bottleneck: reduction)" if "bottleneck" in kinds else ""
    narrow = " (in a wide block: of its projection)" if "wide" in kinds else ""
    return f"t: expansion{reduction}, c: channels{narrow}, n: blocks, s: stride of the first block."


def legend_words(spec: NetworkSpec) -> str:
    """Return the meaning of the shapes and letters of a network's diagram."""
    made = (
        "Slabs are maps: the wider, the more channels; the taller, the more rows and columns "
        "(square roots of both). Symbols are blocks, read from left to right: the taller, the "
        "more channels; yellow: a convolution over all channels, green: a depthwise one. "
    )
    blocks = resolve(spec).blocks
    if any(block.residual for block in blocks):
        dashed = "; dashed: projected" if any(block.shortcut for block in blocks) else ""
        made += f"Arc: the shortcut, which adds the block's input to its output{dashed}. "
    return made + letter_words(spec)


def draw_network(spec: NetworkSpec) -> str:
    """Return the SVG of a whole network."""
    drawing, rows = Drawing(), parts(spec)
    title, room = network_title(spec), WIDTH - 2 * MARGIN
    y = drawing.text(title, MARGIN, MARGIN, room, TITLE, bold=True)
    y = drawing.text(cost_words(spec), MARGIN, y + 2, room, SMALL, soft=True) + 2 * GAP
    scale = _Scale.of(rows)
    end = None
    for part in rows:
        y, end = _draw_part(drawing, part, scale, y, end)
    y += GAP
    drawing.path("rule", (MARGIN, y), (WIDTH - MARGIN, y), closed=False)
    y = drawing.text(legend_words(spec), MARGIN, y + GAP, room, SMALL, soft=True)
    return drawing.svg(title, network_description(spec), y + MARGIN)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Largest map and number of channels of a network."""

    rows: int
    columns: int
    channels: int

    @classmethod
    def of(cls, parts: list[Part]) -> "_Scale":
        rows, columns = (max(part.size[axis] for part in parts) for axis in (0, 1))
        return cls(rows, columns, max(part.channels for part in parts))

    def slab(self, part: Part) -> tuple[float, float, float]:
        """Return the width, height and depth of a slab in pixels."""
        width = max(NARROWEST, WIDEST * math.sqrt(part.channels / self.channels))
        height = max(LOWEST, TALLEST * math.sqrt(part.size[0] / self.rows))
        return width, height, max(LOWEST, DEEPEST * math.sqrt(part.size[1] / self.columns))


def _draw_part(
    drawing: Drawing, part: Part, scale: _Scale, y: float, end: float | None
) -> tuple[float, float]:
    """Draw a row.

    Args:
        drawing: the drawing.
        part: the row.
        scale: the scale of the slabs.
        y: top of the row.
        end: bottom of the slab above; None for the first row.

    Returns:
        Top of the next row, and bottom of the slab.
    """
    width, height, depth = scale.slab(part)
    tall = _draw_words(Drawing(), part, 0.0)
    # The words and the slab have one middle; the arrow needs its height.
    middle = max(y + tall / 2, y + (height + depth) / 2)
    if end is not None:
        middle = max(middle, end + SHAFT + (height + depth) / 2)
    top = middle - (height + depth) / 2
    if end is not None:
        drawing.arrow((CENTRE, end), (CENTRE, top))
    drawing.slab(CENTRE - width / 2, top, width, height, depth)
    bottom = _draw_words(drawing, part, middle - tall / 2)
    end = top + depth + height
    return max(bottom, end) + GAP, end


def _draw_words(drawing: Drawing, part: Part, y: float) -> float:
    """Write the words of a row and draw the symbols of its blocks; return their bottom."""
    room = WIDTH - MARGIN - COLUMN
    y = drawing.text(part.title, COLUMN, y, room, BODY, bold=True)
    y = drawing.text(list(part.lines), COLUMN, y, room, SMALL)
    if not part.blocks:
        return y
    y += 4 + (RISE + 2) * any(block.residual for block in part.blocks)
    most = max(max(_profile(block)) for block in part.blocks)
    x, (wide, tall) = COLUMN, SYMBOL
    number = len(part.blocks)
    shown = number if number <= MOST_SYMBOLS else MOST_SYMBOLS - 1
    for block in part.blocks[:shown]:
        _draw_symbol(drawing, block, x, y, most)
        x += wide + APART
    if number > shown:
        more = f"+ {number - shown}"
        drawing.text(more, x, y + tall / 2 - SMALL * 0.62, WIDTH - MARGIN - x, SMALL)
    return y + tall


def _profile(block: Block) -> list[int]:
    """Return the channels at the input of a block and behind each of its convolutions."""
    return [block.in_channels, *(step.out_channels for step in block.steps)]


def _draw_symbol(drawing: Drawing, block: Block, x: float, y: float, most: int) -> None:
    """Draw a block's convolutions from left to right, with an arc for its shortcut."""
    wide, tall = SYMBOL
    middle, profile = y + tall / 2, _profile(block)
    halves = [max(1.5, tall / 2 * channels / most) for channels in profile]
    across = wide / len(block.steps)
    for index, step in enumerate(block.steps):
        left, right = x + index * across, x + (index + 1) * across
        drawing.path(
            "depthwise" if step.role == "depthwise" else "dense",
            (left, middle - halves[index]), (right, middle - halves[index + 1]),
            (right, middle + halves[index + 1]), (left, middle + halves[index]),
        )  # fmt: skip
    if block.residual:
        ends = middle - max(halves[0], halves[-1]) - 2
        drawing.arc(x, x + wide, ends, ends - y + RISE, dashed=block.shortcut is not None)

"""Diagram of one block: its maps, its convolutions and its shortcut, from top to bottom."""

from dataclasses import dataclass

from mobilenetv2.diagrams.drawing import BODY, MARGIN, SMALL, TITLE, WIDTH, Drawing
from mobilenetv2.diagrams.words import (
    after_words,
    channels_words,
    dimensions,
    kind_words,
    map_words,
    network_words,
    no_shortcut_words,
    shortcut_words,
    step_title,
    sum_activation,
)
from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import Block, Convolution, resolve
from mobilenetv2.spec.network import NetworkSpec, Size

LANE = 34.0
"""Horizontal position of the shortcut."""
CENTRE = 128.0
"""Horizontal position of the middle of the slabs."""
WIDEST = 136.0
"""Width of the slab with the most channels."""
TALLEST, DEEPEST = 30.0, 14.0
"""Height and depth of the slab of the largest map."""
NARROWEST, LOWEST = 3.0, 4.0
"""Least width and height of a slab."""
FUNNEL, SHAFT = 46.0, 30.0
"""Least heights of a convolution and of an arrow."""
RADIUS = 11.0
"""Radius of the addition's circle."""
SIGN = (40.0, 22.0)
"""Width and height of the sign of a projection on the shortcut."""
GAP = 10.0
"""Space between parts."""
COLUMN = 218.0
"""Left end of the text."""
MOST_COLUMNS = 9
"""Largest number of lines that stand for the channels of a depthwise convolution."""
RAYS = (0.1, 0.5, 0.9)
"""Ends of the lines that stand for the sums of a convolution over all channels."""


def block_title(block: Block) -> str:
    """Return the name of a diagram: 'Block 3: inverted residual, stride 2'."""
    return f"Block {block.index}: {kind_words(block)}, stride {block.stride}"


def block_description(spec: NetworkSpec, block: Block) -> str:
    """Return what a block's diagram shows, in words, from the input to the output."""
    sentences = [
        place_words(spec, block), cost_words(spec, block),
        f"Input: {map_words(block.in_size, block.in_channels)}.",
    ]  # fmt: skip
    for step in block.steps:
        sentences.append(
            f"{step_title(step)}, {after_words(step)}: "
            f"{map_words(step.out_size, step.out_channels)}."
        )
    if block.residual:
        sentences.append(f"Addition {shortcut_words(block)}.")
    else:
        sentences.append(no_shortcut_words(block, spec))
    if activation := sum_activation(block, spec):
        sentences.append(f"Then {activation}.")
    sentences.append(f"Output: {map_words(block.out_size, block.out_channels)}.")
    return " ".join(sentences)


def place_words(spec: NetworkSpec, block: Block) -> str:
    """Return where a block is: its network, its stage, and its number there."""
    repeats = [stage.repeats for stage in spec.stages]
    number = block.index - sum(repeats[: block.stage]) + 1
    place = f"stage {block.stage + 1}, block {number} of {repeats[block.stage]}"
    return f"{network_words(spec)}, {place}; the first block of the network is block 0."


def cost_words(spec: NetworkSpec, block: Block) -> str:
    """Return the parameters and the multiply-adds of a block."""
    layers = [one for one in count.layers(spec) if one.name.startswith(f"blocks.{block.index}.")]
    parameters = sum(layer.parameters for layer in layers)
    work = sum(layer.multiply_adds for layer in layers)
    return f"{parameters:,} parameters, {work:,} multiply-adds."


def draw_block(spec: NetworkSpec, index: int) -> str:
    """Return the SVG of a block.

    Args:
        spec: the network.
        index: index of the block, from 0.
    """
    block = resolve(spec).blocks[index]
    return _Picture(spec, block).svg()


@dataclass(frozen=True, slots=True)
class Label:
    """Words beside a shape: a title and lines."""

    title: str
    lines: tuple[str, ...] = ()

    @property
    def height(self) -> float:
        """Height of the words in pixels."""
        return self._draw(Drawing(), 0.0)

    def draw(self, drawing: Drawing, middle: float) -> float:
        """Draw the words around a height, and return their bottom."""
        return self._draw(drawing, middle - self.height / 2)

    def _draw(self, drawing: Drawing, y: float) -> float:
        room = WIDTH - MARGIN - COLUMN
        if self.title:
            y = drawing.text(self.title, COLUMN, y, room, BODY, bold=True)
        return drawing.text(list(self.lines), COLUMN, y, room, SMALL)


class _Picture:
    """A block's diagram while it is drawn.

    ``y`` is where the next shape begins, ``over`` how far the last words reach below it.
    """

    def __init__(self, spec: NetworkSpec, block: Block) -> None:
        self.spec, self.block, self.drawing = spec, block, Drawing()
        self.y, self.over = MARGIN, 0.0
        self.most = max(block.in_channels, *(step.out_channels for step in block.convolutions))

    def svg(self) -> str:
        """Draw everything from top to bottom, and return the SVG."""
        spec, block, drawing = self.spec, self.block, self.drawing
        title, room = block_title(block), WIDTH - 2 * MARGIN
        self.y = drawing.text(title, MARGIN, self.y, room, TITLE, bold=True)
        under = [place_words(spec, block), cost_words(spec, block)]
        self.y = drawing.text(under, MARGIN, self.y + 2, room, SMALL, soft=True) + GAP
        start = self.map("Input", block.in_size, block.in_channels)
        activation = sum_activation(block, spec)
        for step in block.steps:
            self.convolution(step, last=step is block.steps[-1] and not block.residual)
        if block.residual:
            self.addition(start, activation)
        elif activation:
            self.arrow(Label(f"Then {activation}"))
            self.map("Output", block.out_size, block.out_channels)
        self.y += self.over
        if not block.residual:
            words = no_shortcut_words(block, spec)
            self.y = drawing.text(words, MARGIN, self.y + GAP, room, SMALL)
        self.legend()
        return drawing.svg(title, block_description(spec, block), self.y + MARGIN)

    def width(self, channels: int) -> float:
        """Return the width of a slab in pixels."""
        return max(NARROWEST, WIDEST * channels / self.most)

    def map(self, name: str, size: Size, channels: int, join: Convolution | None = None) -> float:
        """Draw a map with its words, and return the vertical middle of its front.

        Args:
            name: title of the words; '' for none.
            size: height and width of the map.
            channels: its channels.
            join: the convolution that made it, which is drawn between it and the map above it.
        """
        label = Label(name, (dimensions(size), channels_words(channels)))
        shares = [side / largest for side, largest in zip(size, self.block.in_size, strict=True)]
        height, depth = max(LOWEST, TALLEST * shares[0]), max(LOWEST, DEEPEST * shares[1])
        if join:
            words = Label(step_title(join), tuple(after_words(join).split(", ", 1)))
            if join.kernel == join.stride == 1:
                words = Label(step_title(join), (after_words(join),))
            above = label.height / 2 - depth - height / 2
            tall = max(FUNNEL, words.height + 2 * (GAP / 2 + max(0.0, above, self.over)))
            top, self.y = self.y, self.y + tall
            ends = self.width(join.in_channels), self.width(join.out_channels)
            funnel(self.drawing, join, CENTRE, top, self.y, *ends)
            words.draw(self.drawing, (top + self.y) / 2)
        middle = self.y + depth + height / 2
        width = self.width(channels)
        self.drawing.slab(CENTRE - width / 2, self.y, width, height, depth)
        self.y += depth + height
        self.over = max(0.0, label.draw(self.drawing, middle) - self.y)
        return middle

    def convolution(self, step: Convolution, last: bool) -> None:
        """Draw a convolution and the map that it makes."""
        name = "Output" if last and not sum_activation(self.block, self.spec) else ""
        self.map(name, step.out_size, step.out_channels, step)

    def arrow(self, label: Label) -> None:
        """Draw an arrow with words beside it."""
        top = self.y
        self.y += max(SHAFT, label.height + 2 * (GAP + self.over))
        self.drawing.arrow((CENTRE, top), (CENTRE, self.y))
        label.draw(self.drawing, (top + self.y) / 2)
        self.over = 0.0

    def addition(self, start: float, activation: str | None) -> None:
        """Draw the shortcut from the height ``start``, the addition and the output."""
        drawing, block = self.drawing, self.block
        then = (f"then {activation}",) if activation else ()
        label = Label("Addition", (shortcut_words(block), *then))
        top = self.y
        middle = top + max(SHAFT, self.over + GAP + label.height / 2)
        left = CENTRE - self.width(block.in_channels) / 2
        drawing.arrow((CENTRE, top), (CENTRE, middle - RADIUS))
        drawing.arrow(
            (left, start), (LANE, start), (LANE, middle), (CENTRE - RADIUS, middle),
            class_="shortcut", dashed=block.shortcut is not None,
        )  # fmt: skip
        drawing.add("circle", "sum", cx=CENTRE, cy=middle, r=RADIUS)
        drawing.path("shortcut", (CENTRE - 6, middle), (CENTRE + 6, middle), closed=False)
        drawing.path("shortcut", (CENTRE, middle - 6), (CENTRE, middle + 6), closed=False)
        if block.shortcut:
            half, (wide, tall) = (start + middle) / 2, SIGN
            drawing.add(
                "rect", "sum", x=LANE - wide / 2, y=half - tall / 2, width=wide, height=tall, rx=4.0
            )
            kernel = dimensions((block.shortcut.kernel, block.shortcut.kernel))
            drawing.symbol(kernel, LANE, half, SMALL)
        self.over = 0.0
        # The words beside the output are taller than its slab.
        self.y = max(middle + SHAFT, label.draw(drawing, middle) + 2 * GAP)
        drawing.arrow((CENTRE, middle + RADIUS), (CENTRE, self.y))
        self.map("Output", block.out_size, block.out_channels)

    def legend(self) -> None:
        """Explain the shapes below the diagram."""
        self.y += GAP
        drawing, room = self.drawing, WIDTH - 2 * MARGIN
        drawing.path("rule", (MARGIN, self.y), (WIDTH - MARGIN, self.y), closed=False)
        text = (
            "Slabs are maps: the wider, the more channels; the taller, the more rows and columns. "
            "Yellow: each output sums over all channels. Green: each channel by itself."
        )
        self.y = drawing.text(text, MARGIN, self.y + 8, room, SMALL, soft=True)


def funnel(
    drawing: Drawing, step: Convolution, centre: float, top: float, bottom: float, wide: float,
    narrow: float,
) -> None:  # fmt: skip
    """Draw a convolution as a shape between two slabs.

    Args:
        drawing: the drawing.
        step: the convolution.
        centre: horizontal middle.
        top: bottom of the upper slab.
        bottom: top of the lower slab.
        wide: width of the upper slab.
        narrow: width of the lower slab.
    """
    alone = step.role == "depthwise"
    drawing.path(
        "depthwise" if alone else "dense", (centre - wide / 2, top), (centre + wide / 2, top),
        (centre + narrow / 2, bottom), (centre - narrow / 2, bottom),
    )  # fmt: skip
    if alone:
        lines = min(MOST_COLUMNS, step.in_channels)
        shares = [(one + 0.5) / lines for one in range(lines)]
        pairs = [(share, share) for share in shares]
    else:
        pairs = [(start, end) for start in RAYS for end in RAYS]
    for start, end in pairs:
        drawing.path(
            "columns" if alone else "rays", (centre + (start - 0.5) * wide, top),
            (centre + (end - 0.5) * narrow, bottom), closed=False,
        )  # fmt: skip

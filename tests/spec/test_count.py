"""The numbers that any correct MobileNetV2 reproduces."""

import math

import pytest

from mobilenetv2.spec import count
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, StageSpec
from mobilenetv2.spec.published import published

FACTS = {
    0.35: ((16, 8, 8, 16, 24, 32, 56, 112), 1_677_128, 59_285_808),
    0.50: ((16, 8, 16, 16, 32, 48, 80, 160), 1_968_680, 97_131_840),
    0.75: ((24, 16, 24, 24, 48, 72, 120, 240), 2_636_424, 209_069_792),
    1.00: ((32, 16, 24, 32, 64, 96, 160, 320), 3_504_872, 300_774_272),
    1.30: ((40, 24, 32, 40, 80, 128, 208, 416), 5_386_792, 509_374_560),
    1.40: ((48, 24, 32, 48, 88, 136, 224, 448), 6_108_776, 582_195_824),
}


@pytest.mark.parametrize("width", FACTS)
def test_the_published_widths_come_out_exactly(width: float) -> None:
    spec = NetworkSpec(width=width)
    channels, parameters, multiply_adds = FACTS[width]
    stages = {block.stage: block.out_channels for block in resolve(spec).blocks}
    assert (resolve(spec).stem.out_channels, *stages.values()) == channels
    assert count.parameters(spec) == parameters
    assert count.multiply_adds(spec) == multiply_adds


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("tf-slim", 3_506_153), ("timm-110d", 4_516_520), ("timm-120d", 5_831_144)],
)
def test_published_variants_have_their_parameters(name: str, parameters: int) -> None:
    assert count.parameters(published(name)) == parameters


def test_shares_of_the_multiply_adds_are_the_known_ones() -> None:
    totals = count.multiply_adds_by_role(NetworkSpec())
    shares = {role: round(100 * n / sum(totals.values()), 1) for role, n in totals.items()}
    assert shares == {
        "stem": 3.6, "expand": 43.1, "depthwise": 6.9, "project": 39.3, "head": 6.7,
        "classifier": 0.4,
    }  # fmt: skip


def test_activation_memory_is_the_known_one() -> None:
    assert round(count.activation_memory(NetworkSpec()) / 1e6, 1) == 53.8
    assert round(count.expanded_memory(NetworkSpec()) / 1e6, 1) == 46.7


def test_the_largest_bottleneck_is_the_papers_400_kb() -> None:
    assert count.bottleneck_memory(NetworkSpec()) == 112 * 112 * 16 * 2


def test_the_receptive_field_is_491_pixels() -> None:
    assert count.receptive_field(NetworkSpec()) == 491
    assert count.receptive_field(NetworkSpec(shortcut="projection")) == 491


def test_peak_memory_of_one_block_is_input_output_and_a_slice() -> None:
    spec = NetworkSpec(size=(32, 32), stages=(StageSpec(6, 24, 1, 2),), stem_channels=16)
    inputs, outputs, inner = 16 * 16 * 16, 24 * 8 * 8, 16 * 16 * 16 + 16 * 8 * 8
    assert count.peak_memory(spec, bytes_per_value=1) == inputs + outputs + inner
    assert count.peak_memory(spec, 1, split=1) == inputs + outputs + 6 * inner
    assert count.peak_memory(spec, 1, split=96) == inputs + outputs + inner // 16
    assert count.peak_memory(spec, 1, split=95) == inputs + outputs + 2 * inner // 16


def test_a_block_without_an_expansion_holds_its_input_once() -> None:
    spec = NetworkSpec(size=(32, 32), stages=(StageSpec(1, 8, 1, 1),))
    assert count.peak_memory(spec, 1) == (32 + 8 + 32) * 16 * 16
    always = spec.replace(expand="always")
    assert count.peak_memory(always, 1) == (32 + 8 + 2 * 32) * 16 * 16


WIDE = NetworkSpec(
    size=(32, 32), stages=(StageSpec(4, 8, 2, 2, "wide"),), stem_channels=16, head_channels=24,
    classes=5,
)  # fmt: skip
"""16 x 16 pixels behind the stem, 8 x 8 behind the first block."""


def test_the_costs_of_wide_blocks_by_hand() -> None:
    stem = 27 * 16 * 256
    first = 16 * 8 * 256 + 8 * 32 * 256 + 9 * 32 * 64
    second = 32 * 8 * 64 + 8 * 32 * 64 + 9 * 32 * 64
    assert count.multiply_adds(WIDE) == stem + first + second + 32 * 24 * 64 + 24 * 5
    kernels = 27 * 16 + (16 * 8 + 8 * 32 + 9 * 32) + (32 * 8 + 8 * 32 + 9 * 32) + 32 * 24
    norms = 2 * (16 + 2 * (8 + 32 + 32) + 24)
    assert count.parameters(WIDE) == kernels + norms + 24 * 5 + 5
    assert count.receptive_field(WIDE) == 3 + 2 * 2 + 2 * 4


def test_the_memory_of_wide_blocks_by_hand() -> None:
    first = 16 * 256 + 2 * 32 * 256 + 32 * 64  # input, tensor inside twice, output
    second = 32 * 64 + 2 * 32 * 64 + 32 * 64
    assert count.expanded_memory(WIDE, 1) == first + second
    assert count.bottleneck_memory(WIDE, 1) == 32 * 64
    # The first block projects, and then holds the narrow tensor, a slice and the output.
    assert count.peak_memory(WIDE, 1) == 8 * 256 + max(16 * 256, 32 * 256 // 4 + 32 * 64)
    assert count.peak_memory(WIDE, 1, split=1) == 8 * 256 + 32 * 256 + 32 * 64
    # The second holds its input, too, until it is added.
    alone = WIDE.replace(stages=(StageSpec(4, 4, 2, 1, "wide"),), divisor=1)
    assert count.peak_memory(alone, 1, split=16) == (4 + 16 + 1 + 16) * 256
    bare = alone.replace(stages=(StageSpec(1, 16, 1, 1, "wide"),), shortcut="none")
    assert count.peak_memory(bare, 1) == (16 + 16) * 256


def test_splitting_more_never_needs_more_memory() -> None:
    peaks = [count.peak_memory(NetworkSpec(), split=split) for split in (1, 2, 3, 6, 12, 10**6)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] > peaks[3]


def test_the_rows_add_up_and_name_every_layer() -> None:
    spec = NetworkSpec(conv_bias=True, shortcut="projection", classes=7)
    rows = count.layers(spec)
    assert [row.name for row in rows][:3] == ["stem", "blocks.0.depthwise", "blocks.0.project"]
    assert rows[-1].parameters == 1280 * 7 + 7
    assert rows[0].parameters == 32 * 27 + 32 + 2 * 32
    assert sum(row.parameters for row in rows) == count.parameters(spec)
    assert rows[0].multiply_adds == math.prod((32, 3, 3, 3, 112, 112))


def test_the_largest_bottleneck_is_401408_bytes_and_grows_with_the_value() -> None:
    assert count.bottleneck_memory(NetworkSpec()) == 401_408
    assert count.bottleneck_memory(NetworkSpec(), bytes_per_value=4) == 802_816


@pytest.mark.parametrize("size", [(97, 160), (225, 33), (32, 224)])
def test_multiply_adds_of_any_size_are_those_of_the_sizes_brute_force(
    size: tuple[int, int],
) -> None:
    spec = NetworkSpec(size=size)
    total = 1280 * 1000
    for conv in resolve(spec).convolutions:
        rows, columns = (len(range(0, side, conv.stride)) for side in conv.in_size)
        inputs = 1 if conv.role == "depthwise" else conv.in_channels
        total += rows * columns * conv.out_channels * inputs * conv.kernel**2
    assert count.multiply_adds(spec) == total
    assert count.parameters(spec) == FACTS[1.0][1]

"""``mobilenetv2 describe``: a network layer by layer, and what it costs."""

import argparse
import dataclasses
import json

from mobilenetv2.cli.main import table
from mobilenetv2.cli.parser import Parser, size
from mobilenetv2.spec import count
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED, published

EXAMPLES = """\
  mobilenetv2 describe --width 0.5 --size 160 --classes 10
  mobilenetv2 describe --spec tonylins
  mobilenetv2 describe --spec runs/photos/best --json
"""


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_argument("--width", type=float, help="width multiplier (default: 1.0)")
    parser.add_argument("--size", type=size, help="input size: 224, or 192x256 (height x width)")
    parser.add_argument("--classes", type=int, help="outputs of the classifier (default: 1000)")
    parser.add_argument(
        "--spec", metavar="NAME|FILE", default="torchvision",
        help="a published network by name, a model folder, or a JSON file (default: torchvision)",
    )  # fmt: skip
    parser.add_shared("--json")


def run(arguments: argparse.Namespace) -> int:
    """Print the description; 0."""
    changes = {
        name: getattr(arguments, name)
        for name in ("width", "size", "classes")
        if getattr(arguments, name) is not None
    }
    if arguments.spec in PUBLISHED or arguments.spec == "small":
        if "classes" in changes:
            changes["background"] = None
        spec = published(arguments.spec, **changes)
    else:
        from mobilenetv2.hub.models import find_spec

        spec = find_spec(arguments.spec).replace(**changes)
    if arguments.json:
        print(json.dumps(facts(spec)))
    else:
        show(spec)
    return 0


def facts(spec: NetworkSpec) -> dict[str, object]:
    """Return everything that is counted, as plain values."""
    return {
        "parameters": count.parameters(spec),
        "multiply_adds": count.multiply_adds(spec),
        "multiply_adds_by_role": count.multiply_adds_by_role(spec),
        "receptive_field": count.receptive_field(spec),
        "activation_bytes_float32": count.activation_memory(spec),
        "expanded_bytes_float32": count.expanded_memory(spec),
        "bottleneck_bytes_16bit": count.bottleneck_memory(spec),
        "peak_bytes_16bit": count.peak_memory(spec),
        "peak_bytes_16bit_unsplit": count.peak_memory(spec, split=1),
        "spec": spec.to_dict(),
        "layers": [dataclasses.asdict(layer) for layer in count.layers(spec)],
    }


def show(spec: NetworkSpec) -> None:
    """Print the table of layers and a few lines of totals."""
    from mobilenetv2.model.card import classifier_words, kind

    rows = [
        (
            layer.name, f"{layer.in_channels} > {layer.out_channels}",
            f"{layer.kernel}x{layer.kernel}", layer.stride,
            f"{layer.out_size[0]} x {layer.out_size[1]}",
            f"{layer.parameters:,}", f"{layer.multiply_adds:,}",
        )
        for layer in count.layers(spec)
    ]  # fmt: skip
    height, width = spec.size
    table(
        f"{kind(spec)}, width {spec.width:g}, {height} x {width} pixels, {spec.classes} classes",
        ("layer", "channels", "kernel", "stride", "output", "parameters", "multiply-adds"), rows,
    )  # fmt: skip
    print(f"classifier       {classifier_words(spec)}")
    total = count.multiply_adds(spec)
    shares = ", ".join(
        f"{role} {value / total:.1%}" for role, value in count.multiply_adds_by_role(spec).items()
    )
    print(f"parameters       {count.parameters(spec):,}")
    print(f"multiply-adds    {total:,} ({shares})")
    print(f"receptive field  {count.receptive_field(spec)} pixels")
    print(
        f"activations      {count.activation_memory(spec) / 1e6:.1f} MB read and written in "
        f"float32, {count.expanded_memory(spec) / 1e6:.1f} MB of it expanded tensors"
    )
    print(
        f"peak memory      {count.peak_memory(spec) / 1e3:.0f} kB in 16 bits with the expansion "
        f"split t ways, {count.peak_memory(spec, split=1) / 1e3:.0f} kB unsplit; largest "
        f"bottleneck {count.bottleneck_memory(spec) / 1e3:.0f} kB"
    )

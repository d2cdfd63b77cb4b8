"""``mobilenetv2 describe``: a network layer by layer, and what it costs."""

import argparse
import dataclasses
import json
from pathlib import Path

from mobilenetv2.cli.main import table
from mobilenetv2.errors import SpecError
from mobilenetv2.hub.catalogue import HUB, catalogue
from mobilenetv2.model.store import load_config
from mobilenetv2.spec import count
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.published import PUBLISHED, published


def run(arguments: argparse.Namespace) -> int:
    """Print the description; 0."""
    spec = find_spec(arguments.spec)
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
        spec = spec.replace(**changes)
    if arguments.json:
        print(json.dumps(facts(spec)))
    else:
        show(spec)
    return 0


def find_spec(name: str) -> NetworkSpec:
    """A published network, a model folder's, a catalogue name's, or one from a JSON file.

    Raises:
        SpecError: none of the three, or not a spec.
    """
    path = Path(name)
    if path.is_dir():
        return load_config(path).spec
    if path.is_file():
        try:
            mapping = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise SpecError(f"{path}: not JSON ({error})") from None
        if isinstance(mapping, dict) and "spec" in mapping:
            mapping = mapping["spec"]
        return NetworkSpec.from_dict(mapping, str(path))
    if name not in PUBLISHED and (name.startswith(HUB) or name in catalogue()):
        from mobilenetv2.hub.models import locate

        return load_config(locate(name)).spec
    return published(name)


def facts(spec: NetworkSpec) -> dict[str, object]:
    """Everything that is counted, as plain values."""
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
    """The table of layers and a few lines of totals."""
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
        f"MobileNetV2, width {spec.width:g}, {height} x {width} pixels, {spec.classes} classes",
        ("layer", "channels", "kernel", "stride", "output", "parameters", "multiply-adds"), rows,
    )  # fmt: skip
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

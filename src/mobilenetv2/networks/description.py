"""Description of a network: layers, parameters, multiply-adds and memory."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mobilenetv2.errors import SpecError
from mobilenetv2.networks.building import network_config
from mobilenetv2.spec import count
from mobilenetv2.spec.count import Layer
from mobilenetv2.spec.mapping import to_mapping
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig, Preprocessing

if TYPE_CHECKING:
    from mobilenetv2.networks.options import Network
    from mobilenetv2.spec.network import Size

COLUMNS = ("layer", "channels", "kernel", "stride", "output", "parameters", "multiply-adds")
TEXTS = 1
"""Number of left-aligned columns, from the first."""


@dataclass(frozen=True, slots=True)
class Description:
    """Layers, parameters, multiply-adds and memory of a network, for one image.

    ``print`` shows the table of layers and the totals; a notebook shows them as HTML.
    """

    parameters: int
    """Number of trainable parameters: weights, biases, BatchNorm scale and shift."""
    multiply_adds: int
    """Multiply-adds of the convolutions and the classifier, as the paper counts them."""
    multiply_adds_by_role: Mapping[str, int]
    """Multiply-adds by role of the layers, such as 'expand' and 'depthwise'."""
    receptive_field: int
    """Side of the receptive field of the last feature map, in input pixels."""
    activation_bytes_float32: int
    """Bytes of all convolutions' inputs and outputs, in float32."""
    expanded_bytes_float32: int
    """Bytes of the expanded tensors among them, in float32."""
    bottleneck_bytes_16bit: int
    """Bytes of the largest tensor between blocks, with 16 bits a value."""
    peak_bytes_16bit: int
    """Peak memory in bytes with the expansion computed in t parts, with 16 bits a value."""
    peak_bytes_16bit_unsplit: int
    """Peak memory in bytes with the expansion computed as a whole, with 16 bits a value."""
    spec: NetworkSpec
    layers: tuple[Layer, ...]
    """Convolutions and linear layers, in order."""
    preprocessing: Preprocessing | None = field(default=None, compare=False)
    """Preprocessing of photos, if a model was described and not a spec."""
    preprocessing_from: str = field(default="", compare=False)
    """Sentence on how an import chose the preprocessing, if one did."""

    @classmethod
    def of(cls, spec: NetworkSpec) -> "Description":
        """Return the description of a spec."""
        return cls(
            count.parameters(spec), count.multiply_adds(spec), count.multiply_adds_by_role(spec),
            count.receptive_field(spec), count.activation_memory(spec), count.expanded_memory(spec),
            count.bottleneck_memory(spec), count.peak_memory(spec),
            count.peak_memory(spec, split=1), spec, count.layers(spec),
        )  # fmt: skip

    @property
    def title(self) -> str:
        """Family, width, input size and number of classes in one line."""
        from mobilenetv2.model.card import kind

        height, width = self.spec.size
        return (
            f"{kind(self.spec)}, width {self.spec.width:g}, {height} x {width} pixels, "
            f"{self.spec.classes} classes"
        )

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Texts of the table's cells, one row for each layer."""
        return [
            (
                layer.name, f"{layer.in_channels} > {layer.out_channels}",
                f"{layer.kernel}x{layer.kernel}", f"{layer.stride}",
                f"{layer.out_size[0]} x {layer.out_size[1]}",
                f"{layer.parameters:,}", f"{layer.multiply_adds:,}",
            )
            for layer in self.layers
        ]  # fmt: skip

    @property
    def totals(self) -> dict[str, str]:
        """Totals of the network as text, by name."""
        from mobilenetv2.model.card import classifier_words

        shares = ", ".join(
            f"{role} {value / self.multiply_adds:.1%}"
            for role, value in self.multiply_adds_by_role.items()
        )
        return {
            "classifier": classifier_words(self.spec),
            "parameters": f"{self.parameters:,}",
            "multiply-adds": f"{self.multiply_adds:,} ({shares})",
            "receptive field": f"{self.receptive_field} pixels",
            "activations": (
                f"{self.activation_bytes_float32 / 1e6:.1f} MB read and written in float32, "
                f"{self.expanded_bytes_float32 / 1e6:.1f} MB of it expanded tensors"
            ),
            "peak memory": (
                f"{self.peak_bytes_16bit / 1e3:.0f} kB in 16 bits with the expansion split t ways, "
                f"{self.peak_bytes_16bit_unsplit / 1e3:.0f} kB unsplit; largest bottleneck "
                f"{self.bottleneck_bytes_16bit / 1e3:.0f} kB"
            ),
            **self._fed,
        }

    @property
    def _fed(self) -> dict[str, str]:
        """Preprocessing as text, and how it was chosen, as far as they are known."""
        from mobilenetv2.model.card import resizing

        record, found = self.preprocessing, {}
        if record is not None:
            normal = f"mean {list(record.mean)}, std {list(record.std)}"
            found["preprocessing"] = f"photos {resizing(record)}; {normal}"
        if self.preprocessing_from:
            found["chosen"] = self.preprocessing_from
        return found

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON, as ``mobilenetv2 describe --json`` prints them."""
        return to_mapping(self)

    def __repr__(self) -> str:
        return (
            f"Description({self.title}: {self.parameters:,} parameters, "
            f"{self.multiply_adds:,} multiply-adds)"
        )

    def __str__(self) -> str:
        table = [COLUMNS, *self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in table]
        wide = max(map(len, self.totals))
        totals = [f"{name:{wide}}  {text}" for name, text in self.totals.items()]
        return "\n".join([self.title, "", *lines, "", *totals])

    def _repr_html_(self) -> str:
        from html import escape  # in notebooks only

        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in cells) + "</tr>"

        rows = "".join(row(cells, "td") for cells in self.rows)
        totals = "".join(row(cells, "td") for cells in self.totals.items())
        return (
            f"<p>{escape(self.title)}</p><table>{totals}</table>"
            f"<details><summary>{len(self.layers)} layers</summary>"
            f"<table>{row(COLUMNS, 'th')}{rows}</table></details>"
        )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if index < TEXTS else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def describe(
    model: "str | PathLike[str] | NetworkSpec | ModelConfig | Network" = "torchvision",
    *,
    width: float | None = None,
    size: "int | Size | None" = None,
    classes: int | None = None,
) -> Description:
    """Return the layers, parameters, multiply-adds and memory of a network.

    Args:
        model: name of ``list_models``, model folder, JSON file of a spec, spec or config, or
            network of any edition.
        width: width multiplier; default: the model's.
        size: height and width of the input in pixels; default: the model's.
        classes: number of classes; default: the model's.

    Raises:
        SpecError: a name is unknown, a file has no spec, or the network is impossible.
        WeightsError: a folder is not a model folder.
        MobileNetV2Error: ``model`` is an object of another type.

    Example:
        >>> mn.describe("mobilenet_v2")
        Description(MobileNetV2, width 1, 224 x 224 pixels, 1000 classes: 3,504,872 parameters,
        300,774,272 multiply-adds)
        >>> mn.describe("MobileNetV2", width=0.35, size=96).parameters
        1677128
        >>> print(mn.describe("small"))
        MobileNetV2, width 1, 32 x 32 pixels, 10 classes
        ...
    """
    spec, config = find_network(model, width, size, classes)
    described = Description.of(spec)
    return _with_preprocessing(described, config) if config else described


def find_network(
    model: "str | PathLike[str] | NetworkSpec | ModelConfig | Network",
    width: float | None = None,
    size: "int | Size | None" = None,
    classes: int | None = None,
    function: str = "describe",
) -> tuple[NetworkSpec, ModelConfig | None]:
    """Return the spec of a network in any form, and its config if it is a model.

    Args:
        model: as in :func:`describe`, like ``width``, ``size`` and ``classes``.
        function: name of the calling function, for messages.

    Raises:
        SpecError, WeightsError, MobileNetV2Error: as in :func:`describe`.
    """
    if isinstance(model, str | PathLike):
        from mobilenetv2.hub.models import find_spec

        spec = find_spec(os.fspath(model), width, size, classes)
        if not Path(model).is_dir():
            return spec, None
        from mobilenetv2.model.store import load_config

        return spec, load_config(Path(model))
    if isinstance(model, NetworkSpec):
        return model.at(width, size, classes), None
    if isinstance(model, ModelConfig):
        config = model
    elif hasattr(model, "config"):
        config = network_config(cast(object, model))
    else:
        raise SpecError(f"{function} takes a name, a folder, a spec or a network, not {model!r}")
    return config.spec.at(width, size, classes), config


def _with_preprocessing(described: Description, config: ModelConfig) -> Description:
    """Return a description with what the model does to photos, at the size described."""
    return replace(
        described, preprocessing=config.preprocessing.at(described.spec.size),
        preprocessing_from=config.origin.preprocessing if config.origin else "",
    )  # fmt: skip

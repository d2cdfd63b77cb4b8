"""A Keras model's own config (of a ``.keras`` file, or a whole model's ``.h5``), read as data.

It has what bare weights lack: strides, padding, BatchNorm's numbers, dropout, the input's size.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.spec.blocks import resolve
from mobilenetv2.spec.network import NetworkSpec, Numerics, StageSpec
from mobilenetv2.weights.dialects.description import field
from mobilenetv2.weights.dialects.keras import TABLE

UNBIASED = "UnbiasedBatchNormalization"
"""Of :mod:`mobilenetv2.editions.keras.batchnorm`."""
Layers = Mapping[str, tuple[str, Mapping[str, Any]]]
"""Layer name -> (class, settings)."""


def layers(config: Mapping[str, Any]) -> Layers:
    """The layers of a functional model, in order.

    Raises:
        DialectError: not the config of a functional model.
    """
    try:
        rows = config["config"]["layers"]
        return {
            row["config"]["name"]: (str(row["class_name"]), dict(row["config"])) for row in rows
        }
    except (KeyError, TypeError, ValueError):
        raise DialectError("its config is not that of a functional Keras model") from None


def numerics(found: Layers, default: Numerics) -> tuple[Numerics, float]:
    """(numerics, dropout) as the layers have them.

    Raises:
        DialectError: a layer whose settings this network cannot have.
    """
    norms = [row for kind, row in found.values() if kind.endswith("BatchNormalization")]
    biased = all(kind != UNBIASED for kind, _ in found.values())
    if not norms or TABLE.stem[0] not in found:
        raise DialectError("its layers are not keras.applications.MobileNetV2's")
    pairs = {
        (
            float(field(row, "epsilon", float, default.epsilon)),
            float(field(row, "momentum", float, default.momentum)),
        )
        for row in norms
    }
    if len(pairs) > 1:
        raise DialectError("its BatchNorm layers have different epsilons or momenta")
    epsilon, momentum = pairs.pop()
    relus = [row for kind, row in found.values() if kind == "ReLU"]
    bounds = {field(row, "max_value", float, None) for row in relus}
    if not bounds <= {6} and bounds != {None}:
        raise DialectError(f"its ReLU layers are bounded by {sorted(map(str, bounds))}, not by 6")
    dropouts = [row for kind, row in found.values() if kind == "Dropout"]
    rates = [float(field(row, "rate", float, 0.0)) for row in dropouts]
    return (
        dataclasses.replace(
            default,
            epsilon=epsilon, momentum=momentum, momentum_of="old",
            padding="same" if _pads_same(found) else "symmetric",
            activation="relu" if bounds == {None} else "relu6",
            running_variance="biased" if biased else "unbiased",
        ),
        rates[0] if rates else 0.0,
    )  # fmt: skip


def _pads_same(found: Layers) -> bool:
    stem = found[TABLE.stem[0]][1]
    if _stride(found, TABLE.stem[0]) == 2:
        return bool(field(stem, "padding", str, "same") == "same")
    # Networks for small pictures are this project's own, which pads explicitly in one case only.
    return all(kind != "ZeroPadding2D" for kind, _ in found.values())


def size(found: Layers) -> tuple[int, int] | None:
    """(height, width) of the input; None where it is open."""
    for kind, row in found.values():
        if kind == "InputLayer":
            old = field(row, "batch_input_shape", (list, tuple), [])
            shape: Sequence[Any] = field(row, "batch_shape", (list, tuple), old)
            if len(shape) == 4 and all(isinstance(side, int) for side in shape[1:3]):
                return (shape[1], shape[2])
    return None


def with_strides(spec: NetworkSpec, found: Layers) -> NetworkSpec:
    """``spec`` with the strides that the layers have.

    Raises:
        DialectError: strides that no stage table gives.
    """
    network = resolve(spec)
    stem = _stride(found, TABLE.stem[0])
    strides = [
        _stride(found, (TABLE.block if block.index else TABLE.first)["depthwise"][0].format(
            n=block.index))
        for block in network.blocks
    ]  # fmt: skip
    stages: list[StageSpec] = []
    for block in network.blocks:
        first = block.index == 0 or network.blocks[block.index - 1].stage != block.stage
        stride = strides[block.index]
        if first:
            stages.append(dataclasses.replace(spec.stages[block.stage], stride=stride))
        elif stride != 1:
            raise DialectError(f"block {block.index} has stride {stride} inside a stage")
    try:
        changed = spec.replace(stem_stride=stem, stages=tuple(stages))
        resolve(changed)
    except SpecError as error:
        raise DialectError(str(error)) from None
    return changed


def _stride(found: Layers, name: str) -> int:
    if name not in found:
        raise DialectError(f"its config has no layer {name}")
    value = found[name][1].get("strides", [1, 1])
    for stride in (1, 2):
        if value in (stride, [stride, stride], (stride, stride)):
            return stride
    raise DialectError(f"layer {name} has strides {value}")

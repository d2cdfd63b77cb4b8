"""Dialects of timm and Hugging Face transformers, which have config files beside the weights.

timm's ``config.json`` has the preprocessing, labels and licence.

Hugging Face also has a ``preprocessor_config.json``. Two of its numbers are TensorFlow's, with
another meaning. BatchNorm's momentum (0.997 in the code, in PyTorch's convention) is corrected on
import, and not changed in exported files. The published ``classifier_dropout_prob`` of 0.8 is
TF-slim's probability to *keep* a feature. It is imported as 0.2, and exported as 0.8 if the weights
came from Hugging Face.

A network that this project does not have, or a value of a wrong type, is a DialectError.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
from mobilenetv2.checkpoints.description import Description
from mobilenetv2.checkpoints.dialects import tables
from mobilenetv2.checkpoints.dialects.tensors import TensorDialect
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.files import atomic_folder, write_atomically
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics, Size
from mobilenetv2.spec.published import SLIM, published
from mobilenetv2.spec.records import Interpolation, Labels, ModelConfig, Preprocessing

# ---------------------------------------------------------------- values of strangers' config files


def field(config: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """Return ``config[name]``, or the default if it is absent or null.

    Raises:
        DialectError: the value has another type than ``kind``.
    """
    value = config.get(name)
    if value is None:
        return default
    number = kind is float and isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, kind) or number):
        raise DialectError(f"config.json: {name} = {value!r} is not of the type that belongs there")
    return value


def sides(value: Any, name: str) -> Size:
    """Return (height, width) for a side or a pair in a config file.

    Raises:
        DialectError: the value is neither.
    """
    pair = [value, value] if isinstance(value, int) else value
    if isinstance(pair, Mapping):
        pair = [pair.get("height"), pair.get("width")]
    if isinstance(pair, list) and [type(side) for side in pair] == [int, int]:
        return (pair[0], pair[1])
    raise DialectError(f"{name} = {value!r} is neither a side nor a height and a width in pixels")


def numbers(value: Any, name: str) -> tuple[float, ...]:
    """Return one number for each channel.

    Raises:
        DialectError: the value is not a number or a list of numbers.
    """
    values = [value] if isinstance(value, int | float) else value
    if isinstance(values, Sequence) and all(isinstance(one, int | float) for one in values):
        return tuple(float(one) for one in values)
    raise DialectError(f"{name} = {value!r} is not a list of numbers")


# ---------------------------------------------------------------- timm


def describe_timm(config: Mapping[str, Any]) -> Description:
    """Return the preprocessing, labels and licence in a ``config.json``.

    Raises:
        DialectError: it is not a MobileNetV2's, or a value cannot be used.
    """
    name = field(config, "architecture", str, "")
    if not name.startswith("mobilenetv2"):
        raise DialectError(f"config.json: architecture {name!r} is not a MobileNetV2")
    published = field(config, "pretrained_cfg", dict, {})
    shape = field(published, "input_size", list, [3, 224, 224])
    if len(shape) != 3 or not all(isinstance(side, int) for side in shape):
        raise DialectError(f"config.json: input_size = {shape!r} is not (channels, height, width)")
    size = (shape[1], shape[2])
    share = float(field(published, "crop_pct", float, 0.875))
    interpolation = field(published, "interpolation", str, "bicubic")
    if interpolation not in get_args(Interpolation) or not 0 < share <= 1:
        raise DialectError(f"config.json: crop_pct {share}, interpolation {interpolation!r}")
    # rounded down, as in timm's own transform
    resize = (int(size[0] / share), int(size[1] / share))
    mean, std = (
        tuple(round(255 * one, 6) for one in numbers(published.get(name, [0.5] * 3), name))
        for name in ("mean", "std")
    )
    record = Preprocessing(size, resize, interpolation=interpolation, mean=mean, std=std)
    names = field(config, "label_names", list, None) or field(published, "label_names", list, None)
    labels = Labels(tuple(map(str, names))) if names else None
    licence = field(published, "license", str, None)
    return Description(preprocessing=record, labels=labels, licence=licence)


TIMM = TensorDialect(
    "timm", ("timm", "timm-110d", "timm-120d"), tables.TIMM,
    signature=("conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.1.0.conv_pwl.weight"),
    configs=("config.json",), describe=describe_timm,
)  # fmt: skip

# ---------------------------------------------------------------- Hugging Face transformers

RESAMPLING: dict[int, Interpolation] = {
    0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box",
}  # fmt: skip
"""Interpolation by Pillow's number."""
PUBLISHED_DROPOUT, MEANT_DROPOUT = 0.8, 0.2
WEIGHTS, CONFIG, PREPROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"


def prefixed(foreign: Arrays) -> Arrays:
    """Return names with the prefix that a MobileNetV2Model saved without its classifier lacks."""
    if "conv_stem.first_conv.convolution.weight" not in foreign:
        return dict(foreign)
    return {f"mobilenet_v2.{name}": array for name, array in foreign.items()}


def describe(config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None) -> Description:
    """Return the description in the two config files.

    Raises:
        DialectError: the network is not supported, or a value cannot be used.
    """
    if field(config, "output_stride", int, 32) != 32:
        raise DialectError(
            f"output_stride = {config['output_stride']}: dilated networks are for segmentation; "
            "only 32 is read"
        )
    if float(field(config, "expand_ratio", float, 6.0)) != 6.0:
        raise DialectError(f"expand_ratio = {config['expand_ratio']}: only 6 is read")
    if field(config, "min_depth", int, 8) != field(config, "depth_divisible_by", int, 8):
        raise DialectError("min_depth differs from depth_divisible_by: that is not read")
    dropout = float(field(config, "classifier_dropout_prob", float, 0.8))
    numerics = Numerics(
        padding="same" if field(config, "tf_padding", bool, True) else "symmetric",
        epsilon=float(field(config, "layer_norm_eps", float, 1e-3)),
        momentum=SLIM.momentum, momentum_of=SLIM.momentum_of,
        activation=field(config, "hidden_act", str, "relu6"),
    )  # fmt: skip
    names = _labels(config)
    labels = None
    if names:
        background = 0 if names[0].lower() == "background" else None
        imagenet = Labels.imagenet("first" if background == 0 else None)
        labels = imagenet if names == imagenet.names else Labels(names, background=background)
    fine = field(config, "finegrained_output", bool, True)
    spec = published(
        "huggingface",
        width=float(field(config, "depth_multiplier", float, 1.0)),
        size=sides(field(config, "image_size", (int, list), 224), "image_size"),
        classes=max(len(names), 2) if names else 1000,
        divisor=field(config, "depth_divisible_by", int, 8),
        expand="when-needed" if field(config, "first_layer_is_expansion", bool, True) else "always",
        head="published" if fine else "scaled",
        dropout=MEANT_DROPOUT if dropout == PUBLISHED_DROPOUT else dropout,
        numerics=numerics,
        background="first" if labels and labels.background == 0 else None,
    )
    record = _preprocessing(preprocessor, spec) if preprocessor is not None else None
    if record and record.size != spec.size:
        spec = spec.replace(size=record.size)
    licence = field(config, "license", str, None)
    return Description(spec, preprocessing=record, labels=labels, licence=licence)


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    table = field(config, "id2label", dict, {})
    try:
        return tuple(str(table[str(index)]) for index in range(len(table)))
    except KeyError as error:
        raise DialectError(f"config.json: id2label has no entry {error}") from None


def _preprocessing(config: Mapping[str, Any], spec: NetworkSpec) -> Preprocessing:
    size = resize = spec.size
    fit: Literal["cover", "stretch", "none"] = "none"
    if field(config, "do_resize", bool, True):
        fit = "stretch"
        wanted = field(config, "size", (dict, int), {"shortest_edge": 256})
        edge = wanted.get("shortest_edge") if isinstance(wanted, dict) else wanted
        if edge is not None:
            resize, fit = sides(edge, "size"), "cover"
        else:
            resize = sides(wanted, "size")
        size = resize
    if field(config, "do_center_crop", bool, True):
        size = sides(field(config, "crop_size", (dict, int), list(spec.size)), "crop_size")
    factor = float(field(config, "rescale_factor", float, 1 / 255))
    scale = 1 / factor if field(config, "do_rescale", bool, True) else 1.0
    mean: tuple[float, ...] = (0.0,) * spec.input_channels
    std: tuple[float, ...] = (1.0,) * spec.input_channels
    if field(config, "do_normalize", bool, True):
        mean = numbers(config.get("image_mean", [0.5] * 3), "image_mean")
        std = numbers(config.get("image_std", [0.5] * 3), "image_std")
    try:
        return Preprocessing(
            size, resize, fit, interpolation=RESAMPLING[field(config, "resample", int, 2)],
            mean=tuple(round(one * scale, 6) for one in mean),
            std=tuple(round(one * scale, 6) for one in std),
        )  # fmt: skip
    except (KeyError, SpecError) as error:
        raise DialectError(f"preprocessor_config.json: {error}") from None


def approximated(record: Preprocessing) -> bool:
    """Return True if the export can describe the resize only roughly."""
    square = record.resize[0] == record.resize[1]
    return record.central_fraction < 1 or (record.fit == "cover" and not square)


def compose(config: ModelConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the contents of both files for a network that the dialect can express."""
    spec, record = config.spec, config.preprocessing
    theirs = config.origin is not None and config.origin.dialect == "huggingface"
    keep = theirs and spec.dropout == MEANT_DROPOUT
    size: int | list[int] = spec.size[0] if spec.size[0] == spec.size[1] else list(spec.size)
    network = {
        "architectures": ["MobileNetV2ForImageClassification"],
        "classifier_dropout_prob": PUBLISHED_DROPOUT if keep else spec.dropout,
        "depth_divisible_by": spec.divisor,
        "depth_multiplier": spec.width,
        "dtype": "float32",
        "expand_ratio": 6.0,
        "finegrained_output": spec.head == "published",
        "first_layer_is_expansion": spec.expand == "when-needed",
        "hidden_act": spec.numerics.activation,
        "id2label": {str(index): name for index, name in enumerate(config.labels.names)},
        "image_size": size,
        "label2id": {name: index for index, name in enumerate(config.labels.names)},
        "layer_norm_eps": spec.numerics.epsilon,
        "min_depth": spec.divisor,
        "model_type": "mobilenet_v2",
        "num_channels": spec.input_channels,
        "output_stride": 32,
        "tf_padding": spec.numerics.padding == "same",
    }
    # Its resize has no central part; a larger resize with the same crop is nearly the same.
    resize = [round(side / record.central_fraction) for side in record.resize]
    square = record.fit == "cover" and resize[0] == resize[1]
    codes = {name: code for code, name in RESAMPLING.items()}
    preprocessor = {
        "crop_size": {"height": record.size[0], "width": record.size[1]},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": record.fit != "none",
        "image_mean": [value / 255 for value in record.mean],
        "image_processor_type": "MobileNetV2ImageProcessor",
        "image_std": [value / 255 for value in record.std],
        "resample": codes[record.interpolation],
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": resize[0]} if square
        else {"height": resize[0], "width": resize[1]},
    }  # fmt: skip
    return network, preprocessor


def save_folder(config: ModelConfig, foreign: Arrays, out: Path) -> None:
    """Write the weights and their two configs as a folder for the hub."""
    with atomic_folder(out) as folder:
        write_atomically(folder / WEIGHTS, safetensors_bytes(foreign, {"format": "pt"}))
        for name, content in zip((CONFIG, PREPROCESSOR), compose(config), strict=True):
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            write_atomically(folder / name, text + "\n")


HUGGING_FACE = TensorDialect(
    "huggingface", ("huggingface",), tables.HUGGING_FACE,
    signature=("mobilenet_v2.conv_stem.first_conv.convolution.weight",),
    # Its code takes TensorFlow's momentum of 0.997 in PyTorch's convention, and TF-slim's
    # probability to keep a feature as the probability to drop it.
    repairs={"numerics": SLIM, "dropout": MEANT_DROPOUT},
    records=frozenset({"padding", "epsilon", "activation"}),
    prepare=prefixed, configs=(CONFIG, PREPROCESSOR), describe=describe,
    suffixes=(), folder=frozenset({WEIGHTS, CONFIG, PREPROCESSOR}), save=save_folder,
    approximates=approximated,
)  # fmt: skip

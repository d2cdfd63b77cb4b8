"""Dialect of timm, whose folders for a model hub have a ``config.json`` beside the weights.

Its ``architecture`` names the network, ``model_args`` change it, and ``pretrained_cfg`` says how
photos are prepared. Older files have all of it in one flat table. Whatever changes what is computed
is used or refused, and the rest is named in a note
(:mod:`~mobilenetv2.checkpoints.dialects.config_values`).
"""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
from mobilenetv2.checkpoints.description import Description
from mobilenetv2.checkpoints.dialects import tables
from mobilenetv2.checkpoints.dialects.candidates import same_network
from mobilenetv2.checkpoints.dialects.config_values import Keys, field, numbers, passed_over
from mobilenetv2.checkpoints.dialects.tensors import TensorDialect
from mobilenetv2.checkpoints.dialects.wrappings import joined
from mobilenetv2.checkpoints.labels import require_distinct
from mobilenetv2.errors import DialectError
from mobilenetv2.files import atomic_folder, write_atomically
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.aliases import aliases
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Numerics, Pooling, Size
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Interpolation,
    Labels,
    ModelConfig,
    Preprocessing,
)

WEIGHTS, CONFIG = "model.safetensors", "config.json"
CROP = 0.875
"""Share of a resized photo that timm crops where nothing else is said."""
POOLS: dict[str, Pooling] = {"avg": "average", "fast": "average", "max": "max"}
"""Pooling by timm's name."""
WORDNET = re.compile(r"n\d{8}")
MEANINGLESS = frozenset(
    # where it is from, and what only loading with timm needs
    "num_features tag url file source hf_hub_id hf_hub_filename architecture custom_load "
    "fixed_input_size min_input_size pool_size test_pool_size first_conv description origin_url "
    "paper_name paper_ids notes state_dict".split()
)
"""Keys that change nothing that the network computes."""
TRAINING_ARGS = frozenset(
    "drop_path_rate drop_connect_rate pretrained checkpoint_path scriptable exportable no_jit "
    "features_only out_indices device dtype pretrained_cfg cache_dir".split()
)
"""Arguments that change nothing that the network computes in prediction."""
REFUSED_ARGS = {
    "aa_layer": "anti-aliased strides", "norm_layer": "another normalisation",
    "se_layer": "squeeze-and-excitation", "group_size": "grouped convolutions",
    "stem_size": "another stem", "round_chs_fn": "another rounding", "block_args": "other blocks",
    "fix_stem": "another stem", "stem_kernel_size": "another stem",
}  # fmt: skip
"""Arguments that give another network, with what it would have."""


def networks() -> dict[str, NetworkSpec]:
    """Return timm's networks by name: 'mobilenetv2_100' and others."""
    named = [alias for alias in aliases().values() if alias.family in TIMM.families]
    return {
        alias.name: published(alias.family, width=alias.width)
        for alias in named
        if re.fullmatch(r"mobilenetv2_\w+", alias.name)
    }


def describe_timm(config: Mapping[str, Any], size: Size | None = None) -> Description:
    """Return the network, the preprocessing, the labels and the licence in a ``config.json``.

    Args:
        config: content of the file.
        size: requested input size; the resize follows from it as in timm.

    Raises:
        DialectError: it is not a MobileNetV2's, or a value cannot be used.
    """
    whole = Keys(config)
    name = field(whole, "architecture", str, "")
    if not name.startswith("mobilenetv2"):
        raise DialectError(f"config.json: architecture {name!r} is not a MobileNetV2")
    known = networks()
    base = known.get(name.partition(".")[0])
    if base is None:
        raise DialectError(
            f"config.json: architecture {name!r} is unknown; {suggestion(name, known)}"
        )
    flat = "pretrained_cfg" not in config  # as timm wrote it until 2023
    cfg = whole if flat else Keys(field(whole, "pretrained_cfg", dict, {}))
    arguments = Keys(field(whole, "model_args", dict, {}))
    spec = _network(base, arguments, field(whole, "global_pool", str, None))
    counts = [field(one, "num_classes", int, None) for one in (arguments, whole, cfg)]
    classes = next((count for count in counts if count is not None), None)
    record, unsupported, notes = _preprocessing(cfg, arguments, size)
    labels, licence = _labels(whole, cfg), field(cfg, "license", str, None)
    if labels is not None:
        try:
            require_distinct(labels.names)
        except DialectError as error:
            notes.append(f"Labels in it are not used: there are {error}.")
            labels = None
    notes.append(passed_over("config.json", whole, MEANINGLESS))
    notes.append(passed_over("pretrained_cfg", cfg, MEANINGLESS) if not flat else "")
    notes.append(passed_over("model_args", arguments, TRAINING_ARGS))
    return Description(
        spec.replace(size=record.size), preprocessing=record,
        preprocessing_from="timm's config.json",
        labels=labels, licence=licence, classes=classes,
        unsupported_resize=unsupported, note=joined(notes),
    )  # fmt: skip


def _network(base: NetworkSpec, arguments: Keys, pooling: str | None) -> NetworkSpec:
    """Return the network that timm builds with these arguments.

    Raises:
        DialectError: this project does not have it.
    """
    stride = field(arguments, "output_stride", int, 32)
    if stride != 32:
        raise DialectError(
            f"config.json: output_stride = {stride}: dilated networks are for segmentation; only "
            "32 is read"
        )
    for name, what in REFUSED_ARGS.items():
        if arguments.get(name):  # false and 0 are timm's own values
            raise DialectError(
                f"config.json: model_args has {name} = {repr(arguments[name])[:80]}: {what}, "
                "which is not read"
            )
    padding = field(arguments, "pad_type", str, "")
    if padding not in ("", "symmetric", "same"):
        raise DialectError(f"config.json: pad_type = {padding!r}: only '' and 'same' are read")
    pooling = field(arguments, "global_pool", str, pooling) or "avg"
    if pooling not in POOLS:
        raise DialectError(f"config.json: global_pool = {pooling!r}: only 'avg' and 'max' are read")
    usual = base.numerics
    numerics = Numerics(
        padding="same" if padding == "same" else "symmetric",
        epsilon=float(field(arguments, "bn_eps", float, usual.epsilon)),
        momentum=float(field(arguments, "bn_momentum", float, usual.momentum)),
        momentum_of=usual.momentum_of,
        activation=field(arguments, "act_layer", str, usual.activation),
    )  # fmt: skip
    return base.replace(
        numerics=numerics, classifier=ClassifierSpec(pooling=POOLS[pooling]),
        dropout=float(field(arguments, "drop_rate", float, base.dropout)),
    )  # fmt: skip


def _preprocessing(
    cfg: Keys, arguments: Keys, size: Size | None
) -> tuple[Preprocessing, str, list[str]]:
    """Return the preprocessing, why it cannot be had if so, and remarks.

    Raises:
        DialectError: a value is impossible.
    """
    notes = []
    shape = field(cfg, "input_size", list, [3, 224, 224])
    if len(shape) != 3 or not all(type(s) is int and 0 < s < 10**9 for s in shape):
        raise DialectError(
            f"config.json: input_size = {repr(shape)[:80]} is not (channels, height, width)"
        )
    channels = field(arguments, "in_chans", int, shape[0])
    size = size or (shape[1], shape[2])
    share = float(field(cfg, "crop_pct", float, CROP))
    mode = field(cfg, "crop_mode", str, "center")
    interpolation = field(cfg, "interpolation", str, "bicubic")
    if not 0 < share <= 1:
        raise DialectError(f"config.json: crop_pct {share} must be above 0 and at most 1")
    unsupported = ""
    if mode not in ("center", "squash"):
        unsupported = f"crop_mode = {mode!r}"  # 'border' pads the photo
    if interpolation not in get_args(Interpolation):
        unsupported = f"interpolation = {interpolation!r}"
        interpolation = "bicubic"
    mean, std = (
        tuple(round(255 * one, 6) for one in numbers(cfg.get(name, usual), name))
        for name, usual in (("mean", [m / 255 for m in IMAGENET_MEAN]),
                            ("std", [s / 255 for s in IMAGENET_STD]))
    )  # fmt: skip
    if channels == 1 and len(mean) == len(std) == 3:
        mean, std = ((sum(one) / 3,) for one in (mean, std))
        notes.append("Of the three channels' mean and std, the average is used for the one.")
    for name in ("test_input_size", "test_crop_pct"):
        if cfg.get(name) is not None:
            notes.append(f"config.json recommends {name} = {cfg[name]!r} for tests: not used.")
    if cfg.get("label_offset"):
        notes.append(f"config.json has label_offset = {cfg['label_offset']!r}: not applied.")
    if field(cfg, "classifier", str, "classifier") != "classifier":
        notes.append(f"config.json calls the classifier {cfg['classifier']!r}.")
    # Rounded down, as in timm's own transform.
    try:
        resize = (math.floor(size[0] / share), math.floor(size[1] / share))
    except OverflowError:
        raise DialectError(
            f"config.json: input_size = {list(size)} with crop_pct = {share} gives no size"
        ) from None
    record = Preprocessing(
        size, resize, "stretch" if mode == "squash" else "cover", interpolation=interpolation,
        mean=mean, std=std,
    )  # fmt: skip
    return record, unsupported, notes


def _labels(whole: Keys, cfg: Keys) -> Labels | None:
    """Return the labels: names, or WordNet ids with descriptions.

    Raises:
        DialectError: an index has no name.
    """
    kinds = (list, dict)
    keys = ("label_names", "labels")  # the second is the older name
    found = [field(one, key, kinds, None) for one in (whole, cfg) for key in keys]
    names = next((one for one in found if one), None)
    described = [field(one, "label_descriptions", dict, None) for one in (whole, cfg)]
    told: dict[str, Any] = next((one for one in described if one), {})
    if not names:
        return None
    if isinstance(names, Mapping):
        places = {str(index): name for index, name in names.items()}
        if places.keys() != {str(index) for index in range(len(places))}:
            raise DialectError(
                f"config.json: label_names has gaps: its {len(places)} indices are not 0 to "
                f"{len(places) - 1}"
            )
        names = [places[str(index)] for index in range(len(places))]
    own = tuple(map(str, names))
    shown = tuple(str(told.get(name, name)) for name in own)
    ids = own if all(map(WORDNET.fullmatch, own)) else ()
    imagenet = Labels.imagenet()
    return imagenet if ids == imagenet.wordnet else Labels(shown, ids)


# ---------------------------------------------------------------- writing


def compose(config: ModelConfig) -> dict[str, Any]:
    """Return the ``config.json`` of a network, as timm's own export writes it.

    Raises:
        DialectError: timm has no such network.
    """
    spec, record, numerics = config.spec, config.preprocessing, config.spec.numerics
    plain = spec.replace(classifier=ClassifierSpec())
    fitting = [name for name, one in networks().items() if same_network(one, _of(one, plain))]
    name = fitting[0] if fitting else ""
    if not name:
        raise DialectError(
            f"timm has no MobileNetV2 of width {spec.width:g} by name; give the path of a file "
            "instead of a folder, such as weights.safetensors"
        )
    usual = networks()[name].numerics
    arguments: dict[str, Any] = {"num_classes": spec.classes, "in_chans": spec.input_channels}
    if numerics.epsilon != usual.epsilon:
        arguments["bn_eps"] = numerics.epsilon
    if numerics.padding == "same":
        arguments["pad_type"] = "same"
    if numerics.activation != usual.activation:
        arguments["act_layer"] = numerics.activation
    if spec.dropout:
        arguments["drop_rate"] = spec.dropout
    pooling = "max" if spec.classifier.pooling == "max" else "avg"
    arguments["global_pool"] = pooling
    ids = [one for one in config.labels.wordnet if one]
    whole = len(ids) == len(config.labels)
    names = config.labels.names
    described = dict(zip(ids, names, strict=True)) if whole else {}
    return {
        "architecture": name,
        "num_classes": spec.classes,
        "num_features": spec.channels("head"),
        "global_pool": pooling,
        "label_names": ids if whole else list(names),
        **({"label_descriptions": described} if described else {}),
        "model_args": arguments,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [spec.input_channels, *spec.size],
            "fixed_input_size": False,
            "interpolation": record.interpolation,
            "crop_pct": _share(record),
            "crop_mode": "squash" if record.fit == "stretch" else "center",
            "mean": [value / 255 for value in record.mean],
            "std": [value / 255 for value in record.std],
            "num_classes": spec.classes,
            "pool_size": None,
            "first_conv": "conv_stem",
            "classifier": "classifier",
            **({"license": config.origin.licence.lower()}
               if config.origin and config.origin.licence else {}),
        },
    }  # fmt: skip


def _of(network: NetworkSpec, other: NetworkSpec) -> NetworkSpec:
    """Return a network with another's classes and channels in place of ours, to compare blocks."""
    return other.replace(
        classes=network.classes, input_channels=network.input_channels, background=None,
        numerics=network.numerics, size=network.size,
    )  # fmt: skip


def _share(record: Preprocessing) -> float:
    """Return the crop_pct from which timm's rounding makes the record's resize, if there is one."""
    pairs = [*zip(record.size, record.resize, strict=True)]
    high = min(side / resize for side, resize in pairs)
    low = max(side / (resize + 1) for side, resize in pairs)
    likely = (CROP, high, (low + high) / 2)
    return next((one for one in likely if _made(record, one) == record.resize), high)


def _made(record: Preprocessing, share: float) -> Size:
    height, width = (math.floor(side / share) for side in record.size)
    return height, width


def approximated(record: Preprocessing) -> bool:
    """Return True if a ``config.json`` can describe the resize only roughly."""
    return (
        record.fit == "none"
        or record.central_fraction < 1
        or _made(record, _share(record)) != record.resize
    )


def save_folder(config: ModelConfig, foreign: Arrays, out: Path) -> None:
    """Write the weights and their config as a folder that timm and a model hub read."""
    text = json.dumps(compose(config), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_folder(out) as folder:
        write_atomically(folder / WEIGHTS, safetensors_bytes(foreign, {"format": "pt"}))
        write_atomically(folder / CONFIG, text + "\n")


TIMM = TensorDialect(
    "timm", ("timm", "timm-110d", "timm-120d"), tables.TIMM,
    signature=("conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.1.0.conv_pwl.weight"),
    configs=(CONFIG,), describe=describe_timm,
)  # fmt: skip
FOLDER = dataclasses.replace(
    TIMM, records=frozenset({"padding", "epsilon", "activation"}), suffixes=(),
    folder=frozenset({WEIGHTS, CONFIG}), save=save_folder, approximates=approximated,
)  # fmt: skip
"""Dialect of timm's folders, whose config says more than a file's names."""

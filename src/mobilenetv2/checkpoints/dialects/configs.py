"""Dialect of Hugging Face transformers, which has two config files beside the weights.

They are ``config.json`` and ``preprocessor_config.json``. Two of their numbers are TensorFlow's,
with another meaning. BatchNorm's momentum (0.997 in the code, in PyTorch's convention) is corrected
on import, and not changed in exported files. The published ``classifier_dropout_prob`` of 0.8 is
TF-slim's probability to *keep* a feature. It is imported as 0.2, and exported as 0.8 if the weights
came from Hugging Face.

A network that this project does not have, or a value of a wrong type, is a DialectError.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mobilenetv2.checkpoints.containers.safetensors import safetensors_bytes
from mobilenetv2.checkpoints.description import Description
from mobilenetv2.checkpoints.dialects import tables
from mobilenetv2.checkpoints.dialects.config_values import (
    Keys,
    field,
    numbers,
    passed_over,
    sides,
)
from mobilenetv2.checkpoints.dialects.tensors import TensorDialect
from mobilenetv2.checkpoints.dialects.wrappings import joined
from mobilenetv2.checkpoints.labels import require_distinct
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.files import atomic_folder, write_atomically
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Numerics, Size
from mobilenetv2.spec.published import SLIM, published
from mobilenetv2.spec.records import Interpolation, Labels, ModelConfig, Preprocessing
from mobilenetv2.text import quoted

RESAMPLING: dict[int, Interpolation] = {
    0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box",
}  # fmt: skip
"""Interpolation by Pillow's number."""
PUBLISHED_DROPOUT, MEANT_DROPOUT = 0.8, 0.2
WEIGHTS, CONFIG, PREPROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"


MEANINGLESS = frozenset(
    # where it is from, and what only training, or another kind of model, needs
    "architectures transformers_version torch_dtype dtype _name_or_path _commit_hash "
    "initializer_range semantic_loss_ignore_index tie_word_embeddings output_attentions "
    "output_hidden_states return_dict use_return_dict torchscript use_bfloat16 is_encoder_decoder "
    "is_decoder add_cross_attention cross_attention_hidden_size chunk_size_feed_forward "
    "pruned_heads tokenizer_class prefix bos_token_id eos_token_id pad_token_id sep_token_id "
    "decoder_start_token_id task_specific_params finetuning_task tf_legacy_loss model_type "
    "num_labels max_length min_length do_sample early_stopping num_beams num_beam_groups "
    "diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty "
    "no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences "
    "output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id "
    "remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens "
    "license".split()
)
"""Keys of ``config.json`` that change nothing that the network computes."""
MEANINGLESS_OF_PHOTOS = frozenset(
    "image_processor_type feature_extractor_type processor_class do_reduce_labels reduce_labels "
    "data_format input_data_format return_tensors device do_convert_rgb _processor_class "
    "disable_grouping".split()
)
"""Keys of ``preprocessor_config.json`` that change nothing here: photos are always RGB."""
SIDES = frozenset({"shortest_edge", "height", "width"})
"""Keys of a size that are used."""
SMALLEST_FACTOR = 1e-9
"""Smallest rescale_factor: a pixel of 255 would become nearly 0."""
REFUSED_OF_PHOTOS = {
    "do_flip_channel_order": "blue comes first", "do_pad": "photos are padded",
    "do_center_pad": "photos are padded", "do_thumbnail": "photos are made thumbnails",
    "do_align_long_axis": "photos are turned",
}  # fmt: skip
"""Switches of other processors that are refused when on, with what they would do."""


def describe(
    config: Mapping[str, Any], preprocessor: Mapping[str, Any] | None, size: Size | None = None
) -> Description:
    """Return the description in the two config files.

    Args:
        config: content of ``config.json``.
        preprocessor: content of ``preprocessor_config.json``, if it is there.
        size: requested input size; the files name theirs.

    Raises:
        DialectError: the network is not supported, or a value cannot be used.
    """
    config = Keys(config)
    made = field(config, "architectures", list, [])
    others = [one for one in made if "MobileNetV2" in str(one) and "Segmentation" in str(one)]
    if others:
        raise DialectError(
            f"config.json: architectures = {others}: a network for segmentation, which is not read"
        )
    kind = field(config, "model_type", str, "mobilenet_v2")
    if kind != "mobilenet_v2":
        raise DialectError(f"config.json: model_type = {kind!r} is not mobilenet_v2")
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
    table = field(config, "label2id", dict, None)
    labels, notes = None, []
    if names and table and table != {name: index for index, name in enumerate(names)}:
        notes.append("label2id contradicts id2label, which is used.")
    problem = field(config, "problem_type", str, "single_label_classification")
    if problem == "regression":
        raise DialectError("config.json: problem_type = 'regression': only classes are read")
    background = 0 if names and names[0].lower() == "background" else None
    try:
        require_distinct(names)
        imagenet = Labels.imagenet("first" if background == 0 else None)
        if names:
            labels = imagenet if names == imagenet.names else Labels(names, background=background)
    except DialectError as error:
        notes.append(f"Labels in it are not used: id2label has {error}.")
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
        background="first" if background == 0 else None,
        input_channels=field(config, "num_channels", int, 3),
        classifier=ClassifierSpec(
            outputs="sigmoid" if problem == "multi_label_classification" else "softmax"
        ),
    )
    record, photos = None, Keys(preprocessor or {})
    if preprocessor is not None:
        record = _preprocessing(photos, spec)
    notes.append(passed_over("config.json", config, MEANINGLESS))
    notes.append(passed_over("preprocessor_config.json", photos, MEANINGLESS_OF_PHOTOS))
    if record and record.size != spec.size:
        spec = spec.replace(size=record.size)
    licence = field(config, "license", str, None)
    return Description(
        spec, preprocessing=record, labels=labels, licence=licence, note=joined(notes),
        classes=len(names) or None, channels=config.get("num_channels"),
    )  # fmt: skip


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    table = field(config, "id2label", dict, {})
    try:
        return tuple(str(table[str(index)]) for index in range(len(table)))
    except KeyError as error:
        raise DialectError(f"config.json: id2label has no entry {error}") from None


def _preprocessing(config: Mapping[str, Any], spec: NetworkSpec) -> Preprocessing:
    for name, what in REFUSED_OF_PHOTOS.items():
        if config.get(name):
            raise DialectError(f"preprocessor_config.json: {name} is on: {what}, which is not read")
    for name in ("size", "crop_size"):
        found = config.get(name)
        if isinstance(found, dict) and (others := _others(found)):
            raise DialectError(f"preprocessor_config.json: {name} has {others}, which is not read")
    square = field(config, "default_to_square", bool, False)  # meaning of a whole number
    size = resize = spec.size
    fit: Literal["cover", "stretch", "none"] = "none"
    if field(config, "do_resize", bool, True):
        fit = "stretch"
        wanted = field(config, "size", (dict, int), {"shortest_edge": 256})
        if isinstance(wanted, int) and square:
            wanted = {"height": wanted, "width": wanted}
        edge = wanted.get("shortest_edge") if isinstance(wanted, dict) else wanted
        if edge is not None:
            resize, fit = sides(edge, "size"), "cover"
        else:
            resize = sides(wanted, "size")
        size = resize
    if field(config, "do_center_crop", bool, True):
        size = sides(field(config, "crop_size", (dict, int), list(spec.size)), "crop_size")
    scale = 1.0
    factor = float(field(config, "rescale_factor", float, 1 / 255))
    if field(config, "do_rescale", bool, True):
        if factor < SMALLEST_FACTOR:
            raise DialectError(
                f"preprocessor_config.json: rescale_factor = {factor} must be above 0; it is "
                "usually 1/255"
            )
        scale = 1 / factor
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


def _others(side: Mapping[str, Any]) -> str:
    """Return the keys of a size with a value that is not used: a limit of the longer side."""
    return quoted([k for k in side if side[k] is not None and k not in SIDES])


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
    trunk="mobilenet_v2.", configs=(CONFIG, PREPROCESSOR), describe=describe,
    suffixes=(), folder=frozenset({WEIGHTS, CONFIG, PREPROCESSOR}), save=save_folder,
    approximates=approximated,
)  # fmt: skip

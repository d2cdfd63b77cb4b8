"""Dialect of keras.applications, with one layer per name.

Weights are in a legacy ``.h5`` (Keras 1 and 2, and published files), in Keras 3's ``.weights.h5``
(layers numbered by class), or in a ``.keras`` file or a whole model's ``.h5``, which also describe
the network. Keras loads a legacy ``.h5`` by order, not by name, so the names in published files may
differ from today's. keras-team/keras-applications calls the classifier ``Logits``. The code that
made the published files, JonathanCMitchell/mobilenet_v2_keras, also has ``mobl3_conv_3_expand`` and
``bn3_conv_3_bn_expand``. The names of layers are those of
:mod:`mobilenetv2.editions.keras.weights`.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.hdf5 import keras3_bytes, legacy_keras_bytes
from mobilenetv2.checkpoints.containers.reader import read_container
from mobilenetv2.checkpoints.description import Description, ImportOptions
from mobilenetv2.checkpoints.dialects.tables import KERAS as TABLE
from mobilenetv2.checkpoints.dialects.tables import KERAS_WORDS, Pair
from mobilenetv2.checkpoints.dialects.tensors import (
    TensorCheckpoint,
    TensorDialect,
    require_asked,
)
from mobilenetv2.checkpoints.graphs.chain import in_order
from mobilenetv2.checkpoints.graphs.head import no_head
from mobilenetv2.checkpoints.graphs.keras.config import layers_of
from mobilenetv2.checkpoints.graphs.keras.structure import Structure, follow
from mobilenetv2.checkpoints.graphs.keras.weights import KerasWeights
from mobilenetv2.checkpoints.graphs.network import GraphCheckpoint, GraphDialect, by_padding, infer
from mobilenetv2.errors import DialectError, argument, require
from mobilenetv2.files import temporary_folder, write_atomically
from mobilenetv2.model.arrays import Arrays, require_same
from mobilenetv2.spec.network import NetworkSpec
from mobilenetv2.spec.records import ModelConfig
from mobilenetv2.text import listed

BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
PARTS = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": BATCH_NORM,
    "unbiased_batch_normalization": BATCH_NORM,
}
"""Variables of a layer in the order of Keras 3's numbers, by the layer's class."""

# ---------------------------------------------------------------- names of every age


def layer_names(foreign: Arrays) -> Arrays:
    """Return the arrays under short names: 'Conv1/Conv1/kernel:0' as 'Conv1/kernel'.

    Layers with other names, as in the first published files, get today's names by their order, as
    in Keras itself. The only linear layer is the classifier, regardless of its name.
    """
    paths = {name: name.split("/") for name in foreign}
    variables = {name: _variable(path[-1]) for name, path in paths.items()}
    owners = Counter((path[0], variables[name]) for name, path in paths.items())
    arrays: Arrays = {}
    for name, array in foreign.items():
        *path, _ = paths[name]
        if path and not variables[name].isdigit():
            # In the old format a nested model is one layer with all its variables.
            nested = owners[path[0], variables[name]] > 1
            layer = path[-1] if nested else path[0]
            short = f"{layer}/{variables[name]}"
            name = name if short in arrays or short in foreign else short
        arrays[name] = array
    names = usual_names(arrays)
    return {_renamed(name, names): array for name, array in arrays.items()}


def _variable(word: str) -> str:
    return word.partition(":")[0].replace("depthwise_kernel", "kernel")


def _renamed(name: str, names: Mapping[str, str]) -> str:
    layer, slash, variable = name.partition("/")
    return f"{names.get(layer, layer)}{slash}{variable}"


def usual_names(arrays: Arrays) -> dict[str, str]:
    """Return today's names of layers that have another name.

    The shapes decide the kind of a layer, and the order decides which one it is. The resulting
    network is compared with all shapes later. If the layers are not MobileNetV2's, no layer is
    renamed.

    Args:
        arrays: array by 'layer/variable', in the order in which the layers run.
    """
    layers = by_layer(arrays)
    linear = [name for name, parts in layers.items() if _rank(parts) == 2]
    names = {linear[0]: TABLE.classifier} if len(linear) == 1 else {}
    if TABLE.stem[0] not in layers or TABLE.first["project"][0] not in layers:
        names |= _by_order(layers)
    names = {old: new for old, new in names.items() if old != new}
    taken = set(names.values()) & (layers.keys() - names.keys())
    return {} if taken else names


def _rank(parts: Mapping[str, NDArray]) -> int:
    return parts["kernel"].ndim if "kernel" in parts else 0


def _by_order(layers: Mapping[str, Mapping[str, NDArray]]) -> dict[str, str]:
    convolutions: list[str] = []
    norms: list[str] = []
    for name, parts in layers.items():
        if _rank(parts) == 4 and len(convolutions) == len(norms):
            convolutions.append(name)
        elif "gamma" in parts and len(norms) == len(convolutions) - 1:
            norms.append(name)
        elif _rank(parts) != 2:
            return {}
    pairs = [*zip(convolutions, norms, strict=False)]
    if len(convolutions) != len(norms) or len(pairs) < 4:
        return {}
    spatial = [layers[name]["kernel"].shape[:2] == (3, 3) for name in convolutions[1:-1]]
    usual = [TABLE.stem, *_blocks(spatial), TABLE.head]
    if len(usual) != len(pairs):
        return {}
    return {
        old: new for pair, other in zip(pairs, usual, strict=True)
        for old, new in zip(pair, other, strict=True)
    }  # fmt: skip


def _blocks(spatial: list[bool]) -> list[Pair]:
    """Return the names of the convolutions between stem and head; empty if they form no blocks.

    ``spatial`` is True for a 3 x 3 convolution, which in a block is the depthwise one.
    """
    kinds = "".join("d" if one else "p" for one in spatial)
    blocks = re.findall("p?dp", kinds)
    if "".join(blocks) != kinds:
        return []
    return [
        (convolution.format(n=index), norm.format(n=index))
        for index, block in enumerate(blocks)
        for part in ("expand", "depthwise", "project")[-len(block) :]
        for convolution, norm in [(TABLE.block if index else TABLE.first)[part]]
    ]


def named(
    foreign: Arrays, names: Mapping[str, str], spec: NetworkSpec, order: Sequence[str] = ()
) -> Arrays:
    """Return 'layers/conv2d_3/vars/0' as 'block_1_project/kernel', and so on.

    Args:
        names: the layer's name by 'layers/conv2d_3/vars'. Without it, layers have the order in
            which they are made for ``spec``.
        order: names of the layers in the order in which they run, if the model's config has it. The
            arrays are then returned in that order, and layers with other names are recognised by
            it.
    """
    usual = {f"{folder}/vars": layer for folder, layer in numbered_layers(spec).items()}
    if not order and not set(usual.values()) & set(names.values()):
        names = {}
    arrays: Arrays = {}
    for name, array in foreign.items():
        folder, _, place = name.rpartition("/")
        # A nested model has 'layers/functional/layers/conv2d_3/vars'.
        inner = folder[max(folder.rfind("layers/"), 0) :]
        own = inner.removesuffix("/vars").rpartition("/")[2]
        parts = PARTS.get(re.sub(r"_\d+$", "", own), ())
        if not place.isdecimal() or len(place) > 9 or int(place) >= len(parts):
            arrays[name] = array  # of the optimiser, or unknown; a later error names it
            continue
        short = f"{names.get(folder) or usual.get(inner, own)}/{parts[int(place)]}"
        arrays[name if short in arrays or short in foreign else short] = array
    places = {layer: index for index, layer in enumerate(order)}
    return dict(
        sorted(arrays.items(), key=lambda item: places.get(item[0].split("/")[0], len(places)))
    )


def numbered_layers(spec: NetworkSpec) -> dict[str, str]:
    """Return the names of layers by Keras 3's numbers: 'layers/conv2d_3' is 'block_1_project'."""
    layers: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for layer in dict.fromkeys(key.foreign.split("/")[0] for key in EXPORTED.keys(spec)):
        kind = _kind(layer)
        layers[f"layers/{kind}" + (f"_{counts[kind]}" if counts[kind] else "")] = layer
        counts[kind] += 1
    return layers


def _kind(layer: str) -> str:
    if layer.endswith(("_BN", "_bn")) or layer.startswith("bn_"):
        return "batch_normalization"
    if layer.endswith("_depthwise"):
        return "depthwise_conv2d"
    return "dense" if layer == TABLE.classifier or layer.startswith("hidden_") else "conv2d"


# ---------------------------------------------------------------- what a model says of itself


def inside(container: Container) -> tuple[Arrays, Description]:
    """Return a bare file's arrays under their layers' names; it has no description."""
    if container.metadata.get("format") == "keras-3":
        names = container.metadata["names"]
        return named(container.arrays, names, DIALECT.bases[0]), Description()
    return container.arrays, Description()


def bare_checkpoint(checkpoint: TensorCheckpoint, options: ImportOptions) -> TensorCheckpoint:
    """Return bare weights as what they say: without a head that they do not describe.

    Raises:
        DialectError: the head has several layers, of which weights say too little.
    """
    layers = by_layer(checkpoint.foreign)
    body = {key.foreign.split("/")[0] for key in DIALECT.keys(DIALECT.bases[0])}
    linear = [name for name, parts in layers.items() if _rank(parts) == 2]
    if options.body:
        body -= {TABLE.classifier}
        kept = {n: a for n, a in checkpoint.foreign.items() if n.split("/")[0] in body}
        checkpoint = dataclasses.replace(checkpoint, foreign=kept)
    elif len(linear) > 1:
        raise no_head(
            f"it has the linear layers {listed(linear, 4)}, and bare weights do not say what is "
            "between them; save the whole model (.keras, or .h5 by model.save) for its head"
        )
    if options.size is not None:
        return checkpoint
    height, width = DIALECT.bases[0].size
    said = (
        f"Bare weights do not say their input's size: {height} x {width} is assumed, and "
        f"{argument('size')} names another."
    )
    return dataclasses.replace(checkpoint, inside=Description(note=said))


def config_in(container: Container) -> Mapping[str, Any] | None:
    """Return the config of a whole Keras model in a file, or None if it has only weights."""
    config = container.metadata.get("config", container.metadata.get("model_config"))
    return config if isinstance(config, Mapping) else None


def open_model(container: Container, config: Mapping[str, Any], body: bool) -> "ModelCheckpoint":
    """Follow a whole model.

    Args:
        config: the model's own, from :func:`config_in`.
        body: True to leave its head out.

    Raises:
        DialectError: the model is another network.
    """
    return model_checkpoint(DIALECT, container, config, body)


def model_checkpoint(
    dialect: GraphDialect | TensorDialect, container: Container, config: Mapping[str, Any],
    body: bool = False, inside: Description | None = None,
) -> "ModelCheckpoint":  # fmt: skip
    """Return a whole model in a container as a checkpoint of a dialect.

    Args:
        config: the model's own.
        body: True to leave its head out.
        inside: description that is used instead of the model's own.

    Raises:
        DialectError: the model is another network.
    """
    weights = KerasWeights(container, layers_of(config).values())
    return checkpoint_of(dialect, follow(config, weights, body), inside)


def checkpoint_of(
    dialect: GraphDialect | TensorDialect, model: Structure, inside: Description | None = None
) -> "ModelCheckpoint":
    """Return a model that was followed as a checkpoint."""
    said = describe(model)
    assert said.spec is not None
    size, channels = said.spec.size, said.spec.input_channels
    return ModelCheckpoint(dialect, model.steps, model.head, size, channels, "same", inside or said)


@dataclass(frozen=True, slots=True, eq=False)
class ModelCheckpoint(GraphCheckpoint):
    """A whole Keras model that was followed successfully."""

    def infer(self, said: Description, options: ImportOptions) -> NetworkSpec:
        """Return the network, after a check against the options.

        Args:
            said: description in or beside the file.

        Raises:
            DialectError: the description or an option contradicts the model.
        """
        spec = GraphCheckpoint.infer(self, said, options)
        require_asked(spec, options)
        return spec if options.size is None else spec.replace(size=options.size)


def read_exported(path: Path, spec: NetworkSpec) -> Arrays:
    """Return the canonical arrays of a ``.keras`` file that this package made for ``spec``.

    The graph in the file is not read, so any head is allowed.

    Raises:
        WeightsError: the file is damaged, or has other tensors.
        MissingExtra: h5py is not installed.
    """
    container = read_container(path)
    arrays = named(container.arrays, container.metadata.get("names", {}), spec)
    expected = {key.foreign: key.shape for key in EXPORTED.keys(spec)}
    require_same(expected, {name: array.shape for name, array in arrays.items()}, str(path))
    return EXPORTED.decode(spec, arrays)


def describe(model: Structure) -> Description:
    """Return the description of a model.

    Raises:
        DialectError: the model is another network.
    """
    steps = [*in_order(model.steps)]
    norms = {(norm.epsilon, norm.momentum) for step in steps if (norm := step.batch_norm)}
    if not norms:
        raise DialectError("it has no BatchNorm layers; keras.applications.MobileNetV2 has")
    if len(norms) > 1:
        raise DialectError("its BatchNorm layers have different epsilons or momenta")
    [(epsilon, momentum)] = norms
    if momentum is not None and not 0 <= momentum <= 1:
        raise DialectError(f"BatchNorm momentum {momentum:g} must be between 0 and 1")
    # If both rules agree at this size, it is Keras's if Keras pads or epsilon is Keras's usual one.
    strided = {step.padding for step in steps} - {""}
    pads_as_keras = model.same or epsilon == EXPORTED.numerics.epsilon or not strided
    numerics = dataclasses.replace(
        EXPORTED.numerics, running_variance="unbiased" if model.unbiased else "biased"
    )
    head = model.head
    base = NetworkSpec(
        size=model.size or EXPORTED.bases[0].size, input_channels=steps[0].weight.shape[1],
        classes=head.classes or 1000, classifier=head.classifier, dropout=head.dropout,
    )  # fmt: skip
    spec = infer(
        model.steps, base, by_padding(numerics),
        "same" if pads_as_keras else "symmetric", EXPORTED.families,
    )  # fmt: skip
    scaling = model.front.normalisation() if model.front else None
    source = f"the layers {listed(model.front.layers, 4)}" if model.front and scaling else ""
    return Description(spec, normalisation=scaling, preprocessing_from=source)


# ---------------------------------------------------------------- writing


def by_layer(foreign: Arrays) -> dict[str, dict[str, NDArray]]:
    """Return the variables of each layer, in the order of the arrays."""
    layers: dict[str, dict[str, NDArray]] = {}
    for name, array in foreign.items():
        layer, _, variable = name.partition("/")
        layers.setdefault(layer, {})[variable] = array
    return layers


def save(config: ModelConfig, foreign: Arrays, out: Path) -> None:
    """Write old or new weights, or a whole ``.keras`` model, depending on the suffix."""
    name, layers = out.name.lower(), by_layer(foreign)
    if name.endswith(".keras"):
        spec, keras = config.spec, require("keras")
        model = keras.applications.MobileNetV2(
            (*spec.size, spec.input_channels), alpha=spec.width, weights=None, classes=spec.classes
        )
        for layer, parts in layers.items():
            model.get_layer(layer).set_weights(list(parts.values()))
        with temporary_folder() as folder:
            path = folder / "model.keras"
            # The model returns probabilities, as is usual in Keras.
            model.save(path)
            content = path.read_bytes()
    elif name.endswith(".weights.h5"):
        folders = numbered_layers(config.spec)
        content = keras3_bytes(
            [(folder, list(layers[layer].values())) for folder, layer in folders.items()]
        )
    else:
        content = legacy_keras_bytes([
            (layer, [(f"{layer}/{variable}:0", array) for variable, array in parts.items()])
            for layer, parts in layers.items()
        ])  # fmt: skip
    write_atomically(out, content)


DIALECT = TensorDialect(
    "keras", ("keras",), TABLE, words=KERAS_WORDS,
    signature=("Conv1/kernel", "expanded_conv_project/kernel"),
    dropped=r"^(optimizer|top_level_model_weights)",
    inside=inside, prepare=layer_names, suffixes=(".weights.h5", ".h5", ".keras"), save=save,
)  # fmt: skip
EXPORTED = dataclasses.replace(DIALECT, table=dataclasses.replace(TABLE, hidden="hidden_{n}"))
"""Dialect of the Keras edition here, whose classifier may have hidden layers."""

"""Registry of all dialects by name, and recognition of a file's dialect.

A new dialect is a record here, its place in ``TENSORS`` (the order in which they are tried), and
its name in ``cli.parser.DIALECTS``.

Dialects whose files do not describe the network are defined here, from their tables: torchvision,
tonylins/pytorch-mobilenet-v2, d-li14/mobilenetv2.pytorch, the article's PyTorch version
(:mod:`mobilenetv2.editions.article.torch`) and TF-slim.
"""

import os
import tempfile
from pathlib import Path

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.reader import recognise_kind
from mobilenetv2.checkpoints.containers.tensorflow import DATA, write_tensorflow
from mobilenetv2.checkpoints.description import ImportOptions
from mobilenetv2.checkpoints.dialects import configs, keras, tables, tfjs, timm
from mobilenetv2.checkpoints.dialects.tensors import TensorCheckpoint, TensorDialect
from mobilenetv2.checkpoints.graphs.litert import reader as litert
from mobilenetv2.checkpoints.graphs.network import GraphCheckpoint, GraphDialect
from mobilenetv2.checkpoints.graphs.onnx import reader as onnx
from mobilenetv2.errors import DialectError
from mobilenetv2.formats import BY_ENDING
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import ModelConfig

AVERAGE = "/ExponentialMovingAverage"
SLOTS = "RMSProp|Momentum|Adam|Adagrad|AdagradDA|ProximalAdagrad|Adadelta|Ftrl"
"""Names of the slots of TensorFlow 1's optimisers; a second slot ends in ``_1``."""


def averaged(foreign: Arrays) -> Arrays:
    """Return the arrays with every moving average in place of the variable that it averages.

    The published accuracies are those of the averages.
    """
    return {name: foreign.get(name + AVERAGE, array) for name, array in foreign.items()}


def save_slim(_: ModelConfig, foreign: Arrays, out: Path) -> None:
    """Write a TensorFlow checkpoint."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out.parent) as folder:
        prefix = Path(folder) / out.name
        write_tensorflow(foreign, prefix)
        # Remove the old index first and add the new one last: without it there is no checkpoint.
        out.with_name(f"{out.name}.index").unlink(missing_ok=True)
        for part in TF_SLIM.parts:
            fresh = prefix.with_name(f"{prefix.name}{part}")
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(fresh, out.with_name(fresh.name))


TORCHVISION = TensorDialect(
    "torchvision", ("torchvision",), tables.TORCHVISION,
    trunk="features.", signature=("features.0.0.weight", "features.1.conv.0.0.weight"),
)  # fmt: skip
TONYLINS = TensorDialect(
    "tonylins", ("tonylins",), tables.TONYLINS, trunk="features.",
    signature=("features.1.conv.0.weight", "features.18.0.weight"),
)  # fmt: skip
D_LI14 = TensorDialect(
    "d-li14", ("d-li14",), tables.D_LI14, signature=("features.1.conv.0.weight", "conv.0.weight")
)
ARTICLE = TensorDialect(
    "article", ("article-torch",), tables.ARTICLE,
    signature=("first_conv.0.weight", "layer1.0.bottleneck.0.0.weight"),
)  # fmt: skip
TF_SLIM = TensorDialect(
    "tf-slim", ("tf-slim",), tables.SLIM, words=tables.SLIM_WORDS,
    signature=("MobilenetV2/Conv/weights", "MobilenetV2/expanded_conv/project/weights"),
    # The step, Adam's two powers, the slots, and the averages, which have replaced the weights.
    # Powers and step may be in a scope.
    dropped=(
        rf"(^|/)(global_step|beta[12]_power(_\d+)?)$|{AVERAGE}$|/({SLOTS})(_\d+)?$"
        r"|/biased$|/local_step$"
    ),
    prepare=averaged, suffixes=(".ckpt",), parts=(DATA, ".index"), save=save_slim,
)  # fmt: skip

Dialect = TensorDialect | GraphDialect
Checkpoint = TensorCheckpoint | GraphCheckpoint
TENSORS: dict[str, TensorDialect] = {
    dialect.name: dialect
    for dialect in (
        TORCHVISION, timm.TIMM, keras.DIALECT, TF_SLIM, configs.HUGGING_FACE, TONYLINS, D_LI14,
        ARTICLE,
    )
}  # fmt: skip
"""Dialects that name their tensors, in the order in which they are tried."""
GRAPHS: dict[str, GraphDialect] = {
    one.name: one for one in (onnx.DIALECT, litert.DIALECT, tfjs.DIALECT)
}
FOLDERS: dict[str, TensorDialect] = {"timm": timm.FOLDER}
"""Dialects that also write a folder, whose config says what a file does not."""
DIALECTS: dict[str, Dialect] = {**TENSORS, **GRAPHS}


def find(name: str, out: Path | None = None) -> Dialect:
    """Return a dialect by name.

    Args:
        name: name of the dialect.
        out: path of an export; without an ending it is a folder, in the dialects that have one.

    Raises:
        DialectError: the name is unknown; the message suggests the nearest names.
    """
    if name not in DIALECTS:
        raise DialectError(f"dialect {name!r} is unknown; {suggestion(name, tuple(DIALECTS))}")
    if out is not None and not out.suffix[1:2].isalpha() and name in FOLDERS:  # 'net-0.5' has none
        return FOLDERS[name]
    return DIALECTS[name]


def find_graph(path: Path, name: str) -> GraphDialect | None:
    """Return the dialect of a file with a graph, or None for a file with named tensors.

    Args:
        name: the requested dialect, or 'auto'.

    Raises:
        DialectError: the file is in another dialect than the requested one.
    """
    if name in GRAPHS:
        return GRAPHS[name]
    made = BY_ENDING.get(path.suffix.lower())
    kind = made.name if made and made.graph else recognise_kind(path) if path.is_file() else ""
    if kind in GRAPHS and name != "auto":
        raise DialectError(f"in the dialect {kind}, not {name}")
    return GRAPHS.get(kind)


def open_named(container: Container, options: ImportOptions) -> Checkpoint:
    """Open named tensors, or a whole Keras model, in the dialect that the options name.

    Raises:
        DialectError: as :func:`identify` does, or the file says too little of its head.
    """
    found = identify(container, options.dialect, options.body)
    if isinstance(found, TensorCheckpoint) and found.dialect is keras.DIALECT:
        return keras.bare_checkpoint(found, options)
    return found


def identify(container: Container, name: str, body: bool = False) -> Checkpoint:
    """Open named tensors in a dialect, or with 'auto' in the first dialect that has their names.

    Args:
        body: True to leave out the head of a model that describes it.

    Raises:
        DialectError: the names are another dialect's, or of no known one.
    """
    config = keras.config_in(container)
    if config is not None and name in ("auto", keras.DIALECT.name):
        return keras.open_model(container, config, body)
    if name != "auto":
        dialect = find(name)
        assert isinstance(dialect, TensorDialect)
        if found := dialect.open(container, body):
            return found
    other = next((found for one in TENSORS.values() if (found := one.open(container, body))), None)
    if other and name == "auto":
        return other
    if other or name != "auto":
        hint = f"; its names are {other.dialect.name}'s" if other else ""
        raise DialectError(f"not in the dialect {name}{hint}")
    raw = container.arrays.keys()
    # Keras 3's numbered layers also have names, which are more useful in the message.
    names = {name for one in TENSORS.values() for name in one.inside(container)[0]} - raw or raw
    first = ", ".join(repr(one) for one in sorted(names)[:4]) or "nothing"
    raise DialectError(
        f"no MobileNetV2 that this project reads; its tensors begin with {first}. Known dialects: "
        f"{', '.join(DIALECTS)}"
    )

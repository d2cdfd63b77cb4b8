"""Dialects that are a table of names and nothing else: their files say nothing of the network.

torchvision, tonylins/pytorch-mobilenet-v2, d-li14/mobilenetv2.pytorch, the article's PyTorch
version (:mod:`mobilenetv2.editions.article.torch`) and TF-slim.
"""

import os
import tempfile
from pathlib import Path

from mobilenetv2.checkpoints.containers.tensorflow import write_tensorflow
from mobilenetv2.checkpoints.dialects.dialect import SLIM, KeyTable
from mobilenetv2.checkpoints.dialects.tensors import TensorDialect
from mobilenetv2.checkpoints.sidecar import DATA
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.spec.records import ModelConfig

# Everything lies in ``features``, blocks numbered from 1.
TORCHVISION = TensorDialect(
    "torchvision", ("torchvision",),
    KeyTable(
        stem=("features.0.0", "features.0.1"),
        first={
            "depthwise": ("features.1.conv.0.0", "features.1.conv.0.1"),
            "project": ("features.1.conv.1", "features.1.conv.2"),
        },
        block={
            "expand": ("features.{next}.conv.0.0", "features.{next}.conv.0.1"),
            "depthwise": ("features.{next}.conv.1.0", "features.{next}.conv.1.1"),
            "project": ("features.{next}.conv.2", "features.{next}.conv.3"),
        },
        head=("features.{end}.0", "features.{end}.1"),
        classifier="classifier.1",
    ),
    signature=("features.0.0.weight", "features.1.conv.0.0.weight"),
)  # fmt: skip

# A block is one flat nn.Sequential, activations counted.
FLAT_FIRST = {
    "depthwise": ("features.1.conv.0", "features.1.conv.1"),
    "project": ("features.1.conv.3", "features.1.conv.4"),
}
FLAT_BLOCK = {
    "expand": ("features.{next}.conv.0", "features.{next}.conv.1"),
    "depthwise": ("features.{next}.conv.3", "features.{next}.conv.4"),
    "project": ("features.{next}.conv.6", "features.{next}.conv.7"),
}


def bare_classifier(foreign: Arrays) -> Arrays:
    """Return 'classifier.1' as 'classifier': the first version had a dropout in front of it."""
    return {name.replace("classifier.1.", "classifier."): array for name, array in foreign.items()}


TONYLINS = TensorDialect(
    "tonylins", ("tonylins",),
    KeyTable(
        stem=("features.0.0", "features.0.1"),
        first=FLAT_FIRST,
        block=FLAT_BLOCK,
        head=("features.{end}.0", "features.{end}.1"),
        classifier="classifier",
    ),
    signature=("features.1.conv.0.weight", "features.18.0.weight"),
    prepare=bare_classifier,
)  # fmt: skip

# tonylins' blocks, the head outside of ``features``.
D_LI14 = TensorDialect(
    "d-li14", ("d-li14",),
    KeyTable(
        stem=("features.0.0", "features.0.1"),
        first=FLAT_FIRST,
        block=FLAT_BLOCK,
        head=("conv.0", "conv.1"),
        classifier="classifier",
    ),
    signature=("features.1.conv.0.weight", "conv.0.weight"),
)  # fmt: skip

_ROW = "layer{row}.{repeat}"
_ARTICLE_BLOCK = {
    "expand": (f"{_ROW}.bottleneck.0.0", f"{_ROW}.bottleneck.0.1"),
    "depthwise": (f"{_ROW}.bottleneck.1.0", f"{_ROW}.bottleneck.1.1"),
    "project": (f"{_ROW}.bottleneck.2.0", f"{_ROW}.bottleneck.2.1"),
    "shortcut": (f"{_ROW}.shortcut.0", f"{_ROW}.shortcut.1"),
}
ARTICLE = TensorDialect(
    "article", ("article-torch",),
    KeyTable(
        stem=("first_conv.0", "first_conv.1"),
        first=_ARTICLE_BLOCK,
        block=_ARTICLE_BLOCK,
        head=("last_conv.0", "last_conv.1"),
        classifier="linear",
    ),
    signature=("first_conv.0.weight", "layer1.0.bottleneck.0.0.weight"),
)  # fmt: skip

AVERAGE = "/ExponentialMovingAverage"
SLOTS = "RMSProp|Momentum|Adam|Adagrad|AdagradDA|ProximalAdagrad|Adadelta|Ftrl"
"""What TensorFlow 1's optimisers name their slots; a second one ends in ``_1``."""
_V2 = "MobilenetV2"
_PARTS = ("expand", "depthwise", "project")
_FIRST, _BLOCK = f"{_V2}/expanded_conv", f"{_V2}/expanded_conv_{{n}}"


def averaged(foreign: Arrays) -> Arrays:
    """Return the arrays with every moving average, which were published as accurate, in the place
    of what it averages."""
    return {name: foreign.get(name + AVERAGE, array) for name, array in foreign.items()}


def save_slim(_: ModelConfig, foreign: Arrays, out: Path) -> None:
    """Write a checkpoint of TensorFlow."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out.parent) as folder:
        prefix = Path(folder) / out.name
        write_tensorflow(foreign, prefix)
        # The old index first, the new one last: without it there is no checkpoint.
        out.with_name(f"{out.name}.index").unlink(missing_ok=True)
        for part in TF_SLIM.parts:
            fresh = prefix.with_name(f"{prefix.name}{part}")
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(fresh, out.with_name(fresh.name))


TF_SLIM = TensorDialect(
    "tf-slim", ("tf-slim",),
    KeyTable(
        stem=(f"{_V2}/Conv", f"{_V2}/Conv/BatchNorm"),
        first={part: (f"{_FIRST}/{part}", f"{_FIRST}/{part}/BatchNorm") for part in _PARTS},
        block={part: (f"{_BLOCK}/{part}", f"{_BLOCK}/{part}/BatchNorm") for part in _PARTS},
        head=(f"{_V2}/Conv_1", f"{_V2}/Conv_1/BatchNorm"),
        classifier=f"{_V2}/Logits/Conv2d_1c_1x1",
    ),
    words=SLIM,
    signature=(f"{_V2}/Conv/weights", f"{_V2}/expanded_conv/project/weights"),
    # The step, Adam's two powers, the slots, and the averages once they have taken the weights'
    # places. Powers and step may lie in a scope.
    dropped=(
        rf"(^|/)(global_step|beta[12]_power(_\d+)?)$|{AVERAGE}$|/({SLOTS})(_\d+)?$"
        r"|/biased$|/local_step$"
    ),
    prepare=averaged,
    suffixes=(".ckpt",),
    parts=(DATA, ".index"),
    save=save_slim,
)  # fmt: skip

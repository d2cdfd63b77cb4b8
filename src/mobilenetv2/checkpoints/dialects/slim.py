"""TF-slim's checkpoints. The moving averages of the weights are what was published as accurate."""

from mobilenetv2.checkpoints.dialects.dialect import Dialect
from mobilenetv2.checkpoints.dialects.keys import SLIM, KeyTable
from mobilenetv2.model.arrays import Arrays

AVERAGE = "/ExponentialMovingAverage"
SLOTS = "RMSProp|Momentum|Adam|Adagrad|AdagradDA|ProximalAdagrad|Adadelta|Ftrl"
"""What TensorFlow 1's optimisers name their slots; a second one ends in ``_1``."""
_FIRST, _BLOCK = "MobilenetV2/expanded_conv", "MobilenetV2/expanded_conv_{n}"
TABLE = KeyTable(
    stem=("MobilenetV2/Conv", "MobilenetV2/Conv/BatchNorm"),
    first={
        "expand": (f"{_FIRST}/expand", f"{_FIRST}/expand/BatchNorm"),
        "depthwise": (f"{_FIRST}/depthwise", f"{_FIRST}/depthwise/BatchNorm"),
        "project": (f"{_FIRST}/project", f"{_FIRST}/project/BatchNorm"),
    },
    block={
        "expand": (f"{_BLOCK}/expand", f"{_BLOCK}/expand/BatchNorm"),
        "depthwise": (f"{_BLOCK}/depthwise", f"{_BLOCK}/depthwise/BatchNorm"),
        "project": (f"{_BLOCK}/project", f"{_BLOCK}/project/BatchNorm"),
    },
    head=("MobilenetV2/Conv_1", "MobilenetV2/Conv_1/BatchNorm"),
    classifier="MobilenetV2/Logits/Conv2d_1c_1x1",
)


def averaged(foreign: Arrays) -> Arrays:
    """The arrays with every moving average in the place of what it averages."""
    return {name: foreign.get(name + AVERAGE, array) for name, array in foreign.items()}


DIALECT = Dialect(
    "tf-slim", ("tf-slim",), TABLE, SLIM,
    signature=("MobilenetV2/Conv/weights", "MobilenetV2/expanded_conv/project/weights"),
    # The step, Adam's two powers, the slots, and the averages once they have taken the weights'
    # places. Powers and step may lie in a scope.
    dropped=(
        rf"(^|/)(global_step|beta[12]_power(_\d+)?)$|{AVERAGE}$|/({SLOTS})(_\d+)?$"
        r"|/biased$|/local_step$"
    ),
    prepare=averaged,
)  # fmt: skip

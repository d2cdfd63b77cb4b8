"""Head of a foreign network: pooling and linear layers after the body, collected one by one.

A reader of a graph passes each layer behind the last feature map to a :class:`HeadBuilder`, in the
order in which they run. Whatever is linear is folded into the linear layers, such as a BatchNorm
between them. A head that :class:`~mobilenetv2.spec.network.ClassifierSpec` cannot express is an
error that offers to import the body alone.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.graphs.chain import Linear
from mobilenetv2.errors import DialectError, SpecError, argument
from mobilenetv2.spec.network import Activation, ClassifierSpec, HiddenSpec, Outputs, Pooling, Size

HIDDEN: Mapping[str, Activation] = {"relu": "relu", "relu6": "relu6"}
"""Activations that a hidden layer may have, by name; without one it is linear."""
PROBABILITIES = {"softmax": "softmax", "log_softmax": "softmax", "sigmoid": "sigmoid"}
"""Function that turns logits into probabilities, by the name of an activation."""


def no_head(what: str) -> DialectError:
    """Return the error for a head that cannot be described.

    Args:
        what: the layer and what it does, for the message.
    """
    return DialectError(
        f"its head cannot be imported: {what}; {argument('body', True)} imports the body alone, "
        "with a new classifier to be trained"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Head of a foreign network, as it can be computed here; without linear layers it has none."""

    classifier: ClassifierSpec = field(default_factory=ClassifierSpec)
    linears: tuple[Linear, ...] = ()
    dropout: float = 0.0
    """Probability that a pooled feature is dropped; 0 where the file does not say it."""
    outputs: int | None = None
    """Number of the file's outputs, if the head is absent or left out and they are known."""

    @property
    def classes(self) -> int | None:
        """Number of classes; one logit stands for two. None without a classifier."""
        if not self.linears:
            return None
        return 2 if self.classifier.outputs == "logit" else len(self.linears[-1].bias)


@dataclass(slots=True, eq=False)
class _Layer:
    """A linear layer that may still change."""

    weight: NDArray
    """Weight as float64 (outputs, inputs)."""
    bias: NDArray | None
    activation: Activation | None = None
    dropout: float = 0.0


class HeadBuilder:
    """Layers after the feature map, so far; every method adds one and may refuse it.

    A layer that is linear at every position may come before an average pooling, which commutes with
    it.

    Args:
        channels, size: those of the feature map.

    Raises:
        DialectError: every method raises it for a layer that has no place in a head here.
    """

    def __init__(self, channels: int, size: Size) -> None:
        self.channels = channels
        self.size = size
        self.pooled = size == (1, 1)
        """True once there is one vector for each image."""
        self._pooling: Pooling = "average"
        self._layers: list[_Layer] = []
        self._dropout = 0.0
        self._scaling: tuple[NDArray, NDArray] | None = None
        """Factor and offset of each channel, to be folded into the next layer."""
        self._ending = ""

    def pool(self, kind: Pooling, window: Size | None = None) -> None:
        """Add a pooling over height and width.

        Args:
            window: height and width that it covers; None means the whole map.
        """
        if self.pooled:
            return  # one position is its own mean and maximum
        if window is not None and tuple(window) != self.size:
            raise no_head(
                f"{kind} pooling over {window[0]} x {window[1]} of {self._places()} positions"
            )
        if kind == "max" and (self._layers or self._scaling):
            raise no_head("a maximum of what a linear layer gives at every position")
        self._pooling, self.pooled, self.size = kind, True, (1, 1)

    def flatten(self) -> None:
        """Make a vector of the map, which must have one position."""
        if not self.pooled:
            count = self.channels * math.prod(self.size)
            raise no_head(
                f"its classifier sees {count:,} values, each of the {self._places()} positions by "
                "itself, where a MobileNetV2 pools them"
            )

    def reshape(self, shape: Sequence[int]) -> None:
        """Reshape a map or vector.

        Args:
            shape: sides without the batch; -1 is the one that follows from the others.
        """
        positions = 1 if self.pooled else math.prod(self.size)
        total, sides = positions * self.channels, list(shape)
        if sides.count(-1) == 1:
            rest = math.prod(side for side in sides if side != -1)
            sides[sides.index(-1)] = total // rest if rest else 0
        if not sides or math.prod(sides) != total or min(sides) < 1:
            raise no_head(f"a reshape of {total:,} values into {list(shape)}")
        if not self.pooled and sides[-1] != self.channels:
            self.flatten()

    def scale(self, factor: NDArray, offset: NDArray) -> None:
        """Multiply by a factor and add an offset, one for each channel: a BatchNorm, or a bias."""
        self._require_open("a scaling")
        channels = self.channels
        if {np.size(factor), np.size(offset)} - {1, channels}:
            raise no_head(f"a scaling by {np.size(factor)} factors of {channels} channels")
        factor, offset = (
            np.broadcast_to(np.ravel(x).astype(np.float64), channels) for x in (factor, offset)
        )
        last = self._layers[-1] if self._layers else None
        if last is not None and not last.activation and self._scaling is None:
            bias = np.zeros(channels) if last.bias is None else last.bias
            last.weight = last.weight * factor[:, None]
            kept = last.bias is not None or offset.any()
            last.bias = bias * factor + offset if kept else None
            return
        if self._scaling is not None:
            before, added = self._scaling
            factor, offset = before * factor, added * factor + offset
        self._scaling = (factor, offset)

    def linear(self, weight: NDArray, bias: NDArray | None = None) -> None:
        """Add a linear layer.

        Args:
            weight: (outputs, inputs).
            bias: (outputs,); None if it adds none.
        """
        self._require_open("a linear layer")
        weight = np.asarray(weight, np.float64)
        if weight.ndim != 2 or weight.shape[1] != self.channels or not weight.shape[0]:
            raise no_head(f"a linear layer {list(weight.shape)} of {self.channels:,} values")
        outputs = weight.shape[0]
        if bias is not None and np.shape(bias) != (outputs,):
            raise no_head(f"{np.size(bias)} biases of a linear layer with {outputs} outputs")
        added = None if bias is None else np.asarray(bias, np.float64)
        if self._scaling is not None:
            factor, offset = self._scaling
            if offset.any():
                added = weight @ offset + (0 if added is None else added)
            weight, self._scaling = weight * factor, None
        self._layers.append(_Layer(weight, added))
        self.channels = outputs

    def activate(self, name: str) -> None:
        """Add an activation by its name: 'relu', 'relu6', 'softmax', 'sigmoid', or none of all."""
        name = name.lower()
        if name in ("", "linear", "none"):
            return
        self._require_open(f"the activation {name}")
        last = self._layers[-1] if self._layers else None
        if last is None and self._scaling is None and name in HIDDEN:
            return  # features are the mean or maximum of an activation's outputs already
        if not self.pooled:
            raise no_head(f"a linear layer with the activation {name} at every position")
        if last is None or self._scaling is not None:
            raise no_head(f"the activation {name} is not behind a linear layer")
        if name in PROBABILITIES:
            self._ending = name
        elif name not in HIDDEN:
            raise no_head(f"the activation {name}")
        elif last.activation == "relu":
            last.activation = HIDDEN[name]  # the lower bound of two
        elif not last.activation:
            last.activation = HIDDEN[name]

    def dropout(self, rate: float) -> None:
        """Add a dropout of features or of a hidden layer's outputs."""
        if not 0 <= rate < 1:
            raise no_head(f"a dropout of {rate:g}")
        if self._layers:
            last = self._layers[-1]
            last.dropout = 1 - (1 - last.dropout) * (1 - rate) if last.dropout else rate
        else:
            self._dropout = 1 - (1 - self._dropout) * (1 - rate) if self._dropout else rate

    def finish(self) -> Head:
        """Return the head; one without linear layers if the network ends in features."""
        plain = ClassifierSpec(pooling=self._pooling)
        if self._scaling is not None:
            raise no_head("a scaling of its outputs, with no linear layer behind it")
        if not self._layers:
            return Head(plain, dropout=self._dropout)
        if not self.pooled:
            raise no_head(f"it classifies each of {self._places()} positions by itself")
        *hidden, last = self._layers
        if last.activation:
            raise no_head(f"its last linear layer has the activation {last.activation}")
        try:
            classifier = dataclasses.replace(
                plain,
                hidden=tuple(
                    HiddenSpec(
                        len(layer.weight), layer.activation or "none", layer.bias is not None,
                        layer.dropout,
                    )
                    for layer in hidden
                ),
                bias=last.bias is not None, outputs=self._outputs(len(last.weight)),
            )  # fmt: skip
        except SpecError as error:
            raise no_head(str(error)) from None
        return Head(classifier, tuple(_finished(layer) for layer in self._layers), self._dropout)

    def _outputs(self, count: int) -> Outputs:
        """Return the meaning of the last layer's outputs."""
        if PROBABILITIES.get(self._ending) == "softmax" and count == 1:
            raise no_head("a softmax over one output, which is 100% for every photo")
        if count == 1:
            return "logit"
        return "sigmoid" if self._ending == "sigmoid" else "softmax"

    def _require_open(self, what: str) -> None:
        if self._ending:
            raise no_head(f"{what} behind the {self._ending}")

    def _places(self) -> str:
        return f"{self.size[0]} x {self.size[1]}"


def _finished(layer: _Layer) -> Linear:
    bias = np.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    return Linear(layer.weight.astype(np.float32), bias.astype(np.float32), layer.activation or "")

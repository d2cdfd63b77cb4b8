"""Graph in TensorFlow's operations, from which a SavedModel is traced."""

from typing import Any

from mobilenetv2.graph.graph import (
    INPUT,
    LOGITS,
    PICTURES,
    Add,
    Conv,
    Graph,
    Linear,
    Normalise,
    Operation,
    Pool,
    real,
)
from mobilenetv2.model.arrays import (
    TENSORFLOW_CONVOLUTION,
    TENSORFLOW_DEPTHWISE,
    TENSORFLOW_LINEAR,
)
from mobilenetv2.spec.blocks import padding


class GraphFunction:
    """Function from images (batch, height, width, channels) to logits (batch, n).

    Args:
        tf: the TensorFlow module, imported by the caller.
        graph: float.
    """

    def __init__(self, tf: Any, graph: Graph) -> None:
        self.tf, self.graph = tf, graph
        self.variables: dict[str, tuple[Any, ...]] = {}
        for layer in graph.layers():
            if isinstance(layer, Linear):
                layout = TENSORFLOW_LINEAR
            else:
                layout = TENSORFLOW_DEPTHWISE if layer.groups > 1 else TENSORFLOW_CONVOLUTION
            pair = [("weight", layout.from_canonical(real(layer.weight)))]
            if layer.bias is not None:
                pair.append(("bias", real(layer.bias)))
            self.variables[layer.name] = tuple(
                tf.Variable(values, trainable=False, name=f"{layer.name}.{part}")
                for part, values in pair
            )

    def __call__(self, x: Any) -> Any:
        """Return float32 logits (batch, n) for normalised float32 or, if normalising, uint8."""
        found = {PICTURES if self.graph.takes_pictures else INPUT: x}
        for operation in self.graph.operations:
            inputs = [found[name] for name in operation.inputs]
            found[operation.output] = self.compute(operation, *inputs)
        return found[LOGITS]

    def compute(self, operation: Operation, *inputs: Any) -> Any:
        """Return the output of one operation."""
        tf, x = self.tf, inputs[0]
        if isinstance(operation, Normalise):
            return (tf.cast(x, tf.float32) - list(operation.mean)) / list(operation.std)
        if isinstance(operation, Pool):
            reduce = {"average": tf.reduce_mean, "max": tf.reduce_max}[operation.kind]
            return reduce(x, (1, 2), name=operation.output)
        if isinstance(operation, Add):
            y = tf.add(*inputs, name=operation.output)
        elif isinstance(operation, Linear):
            weight, *bias = self.variables[operation.name]
            y = tf.matmul(x, weight, name=operation.name)
            y = tf.nn.bias_add(y, bias[0], name=operation.output) if bias else y
        else:
            y = self.convolve(operation, x)
        activate = {"relu6": tf.nn.relu6, "relu": tf.nn.relu, None: lambda value: value}
        return activate[operation.activation](y)

    def convolve(self, operation: Conv, x: Any) -> Any:
        """Return the output of a convolution with its bias."""
        assert operation.batch_norm is None
        nn, stride, option = self.tf.nn, operation.stride, "SAME"
        sides = self.graph.tensors[operation.input].shape[1:]
        same = tuple(padding("same", side, operation.kernel, stride) for side in sides)
        if operation.padding != same:
            # Converters support this pair of operators, which Keras uses; few support explicit
            # pads in a convolution.
            x = self.tf.pad(x, [[0, 0], *map(list, operation.padding), [0, 0]])
            option = "VALID"
        weight, bias = self.variables[operation.name]
        convolve = nn.depthwise_conv2d if operation.groups > 1 else nn.conv2d
        y = convolve(x, weight, [1, stride, stride, 1], option, name=operation.name)
        return nn.bias_add(y, bias)

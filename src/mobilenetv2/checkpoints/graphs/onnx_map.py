"""The last feature map out of an ONNX file that was written without it, in memory."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mobilenetv2.checkpoints.containers.onnx import parse_onnx
from mobilenetv2.checkpoints.graphs.onnx_graph import follow
from mobilenetv2.errors import DialectError
from mobilenetv2.graph.graph import MAP
from mobilenetv2.spec.network import Size

POOL = "GlobalAveragePool"
FLOAT = 1
"""TensorProto.FLOAT."""


def with_map(data: bytes, size: Size) -> tuple[bytes, NDArray]:
    """A graph of ours with one more output, ``map``: what its pooling takes.

    Args:
        data: an ONNX file, float or int8, whose first output is the logits.
        size: taken where the graph leaves height and width open.

    Returns:
        The file, without a seal, whose new output is float32 (batch, channels, height, width); and
        the classifier's weight, float32 (classes, channels), as the graph has it.

    Raises:
        WeightsError: not an ONNX file, or damaged.
        DialectError: a graph of another network, or one that pools otherwise.
    """
    import onnx
    from onnx import helper

    graph = parse_onnx(data)
    pools = [node for node in graph.nodes if node.kind == POOL]
    if len(pools) != 1 or not pools[0].inputs:
        raise DialectError(f"it has {len(pools)} operators {POOL}, where one is expected")
    weight = follow(replace(graph, outputs=graph.outputs[:1]), size).weight
    model = onnx.ModelProto.FromString(data)
    # A cast, since a graph may compute in float16; of float32 it is nothing.
    model.graph.node.append(helper.make_node("Cast", [pools[0].inputs[0]], [MAP], MAP, to=FLOAT))
    model.graph.output.append(helper.make_tensor_value_info(MAP, FLOAT, [None] * 4))
    return model.SerializeToString(), np.asarray(weight, np.float32)

"""Operators of an MNN file, in MNN's schema, held against those of the lowered graph.

Every field of the file is read, and has to be what MNN's converter writes for the network.
"""

from collections.abc import Iterable
from typing import Any

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.graph import INPUT, LOGITS, Activation, Add, Conv, Graph, Linear, Pool, real
from mobilenetv2.graph.lowering import lower_shapes
from mobilenetv2.graph.steps import Step, require_equal
from mobilenetv2.graph.tables import Schema, Tables, Unions, plain
from mobilenetv2.spec.blocks import Padding
from mobilenetv2.spec.records import ModelConfig

SCHEMA: Schema = {
    "Net": "bizCode:string - extraInfo:ExtraInfo oplists:[Op] outputName:[string] "
    "preferForwardType:byte sourceType:byte tensorName:[string] tensorNumber:int usage:byte - "
    "mnn_uuid:string",
    "ExtraInfo": "buffer:[byte] name:string version:string",
    "Op": "inputIndexes:[int] main:OpParameter name:string outputIndexes:[int] type:int "
    "defaultDimentionFormat:byte=1",
    "Input": "dims:[int] dtype:int=1 dformat:byte=2",
    "TensorConvertInfo": "source:byte dest:byte",
    "Convolution2D": "common:Convolution2DCommon weight:[float] bias:[float] "
    "quanParameter:IDSTQuan",
    "Convolution2DCommon": "padX:int padY:int kernelX:int=1 kernelY:int=1 strideX:int=1 "
    "strideY:int=1 dilateX:int=1 dilateY:int=1 padMode:byte group:int=1 outputCount:int "
    "inputCount:int relu:bool relu6:bool pads:[int] - hasOutputShape:bool",
    "IDSTQuan": "buffer:[byte] - type:int useInt32:bool quantScale:float scaleIn:float "
    "scaleOut:float aMaxOrBits:int aMin:int readType:int has_scaleInt:bool shapeInt32:bool "
    "weightSize:uint - - scaleStorage:byte",
    "BinaryOp": "opType:int T:int=1 activationType:int",
    "Pool3D": "- - - type:byte padType:byte isGlobal:bool",
    "Relu6": "minValue:float maxValue:float=6",
    "Flatten": "axis:int endAxis:int",
    # What the buffer of ExtraInfo holds: the metadata of the ONNX graph.
    "Extra": "type:string engine:string - attr:[Attribute]",
    "Attribute": "s:string - - key:string",
}
"""Parts of MNN's schema that its converter uses for such a network."""
UNIONS: Unions = {
    "OpParameter": {
        6: "BinaryOp", 9: "Convolution2D", 17: "Flatten", 21: "Input", 52: "Relu6",
        66: "TensorConvertInfo", 79: "Pool3D",
    }
}  # fmt: skip
DEPTHWISE = "ConvolutionDepthwise"
"""Operator of a convolution that has as many groups as inputs and outputs, also of a single one."""
KINDS = {
    34: "Input", 129: "ConvertTensor", 12: "Convolution", 13: "ConvolutionDepthwise",
    7: "BinaryOp", 70: "ReLU6", 112: "Pooling3D", 28: "Flatten",
}  # fmt: skip
"""Operators by their numbers in the schema."""
TABLES = {
    "ConvertTensor": "TensorConvertInfo", "Convolution": "Convolution2D",
    "ConvolutionDepthwise": "Convolution2D", "ReLU6": "Relu6",
    "Pooling3D": "Pool3D",
}  # fmt: skip
"""Tables of operators' fields, where they have another name than the operator."""
NCHW, NHWC, NC4HW4 = 0, 1, 2
"""Orders of a tensor's values in the schema."""
FLOAT, ADD, ONNX = 1, 0, 3
HEAD = {"sourceType": ONNX, "usage": 0, "preferForwardType": 0, "tensorNumber": 0}
POOLS = {"max": 0, "average": 1}
HALF = {
    "type": 3, "useInt32": 0, "quantScale": 0, "scaleIn": 0, "scaleOut": 0, "aMaxOrBits": 0,
    "aMin": 0, "readType": 0, "has_scaleInt": 0, "shapeInt32": 0, "weightSize": 0,
    "scaleStorage": 0,
}  # fmt: skip
"""Record of weights in float16, which lie in its buffer."""


def check(data: bytes, config: ModelConfig) -> None:
    """Raise unless a file has exactly the operators of a network, and as many weights.

    Args:
        data: bytes of the file.
        config: config inside the file.

    Raises:
        ArtifactError: the file is damaged, or holds another network.
    """
    net = Tables(data, SCHEMA, UNIONS).root("Net")
    found, names = net["oplists"] or [], net["tensorName"] or []
    require_equal([_step(at, one) for at, one in enumerate(found)], steps(lower_shapes(config)))
    if (
        len(names) != len(found)
        or len(set(names)) != len(names)
        or (names[0], names[-1], net["outputName"]) != (INPUT, LOGITS, [LOGITS])
        or any(net[name] != number for name, number in HEAD.items())
    ):
        raise ArtifactError("the names of its tensors are not those of the network")
    extra = net["extraInfo"]
    if extra and extra["buffer"] is not None:
        Tables(extra["buffer"].tobytes(), SCHEMA, UNIONS).root("Extra")


def _step(at: int, operator: dict[str, Any]) -> Step:
    """Return a read operator as a step."""
    kind = KINDS.get(operator["type"], "unknown")
    table, fields = operator["main"] or ("nothing", {})
    one_output = plain(operator["outputIndexes"]) == (at,)
    if table != TABLES.get(kind, kind) or operator["defaultDimentionFormat"] != NHWC:
        raise ArtifactError(f"operator {at} has a record of another kind")
    if not one_output:  # every operator has one output, the tensor of its own number
        raise ArtifactError(f"operator {at} has other outputs than its own")
    inputs = operator["inputIndexes"]
    return Step(kind, () if inputs is None else plain(inputs), plain(_weighed(fields)))


def _weighed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a convolution's fields with the number of its weights in place of the weights."""
    if "quanParameter" not in fields:
        return fields
    weight, bias, quantised = (fields[name] for name in ("weight", "bias", "quanParameter"))
    if fields["common"] is None:
        raise ArtifactError("a convolution has no numbers")
    count: float = -1 if weight is None else len(weight)
    if quantised is not None:
        half = dict(quantised)
        buffer = half.pop("buffer")
        # Either kind of weights, not both.
        count = len(buffer) / 2 if buffer is not None and weight is None and half == HALF else -1
    biases = -1 if bias is None else len(bias)
    return {**fields["common"], "weights": count, "biases": biases}


def steps(graph: Graph) -> list[Step]:
    """Return the operators that MNN's converter makes of a graph."""
    made: list[Step] = []
    numbers: dict[str, int] = {}

    def add(kind: str, inputs: Iterable[int], **fields: Any) -> int:
        made.append(Step(kind, tuple(inputs), fields))
        return len(made) - 1

    image = add("Input", (), dims=(1, *graph.tensors[INPUT].shape), dtype=FLOAT, dformat=NCHW)
    numbers[INPUT] = add("ConvertTensor", (image,), source=NCHW, dest=NC4HW4)
    for step in graph.operations:
        inputs = [numbers[name] for name in step.inputs]
        if isinstance(step, Conv):
            outputs, inside = len(real(step.weight)), step.weight.shape[1] * step.groups
            kind = DEPTHWISE if outputs == inside == step.groups else "Convolution"
            last = add(kind, inputs, **_convolution(step))
        elif isinstance(step, Linear):
            kind = DEPTHWISE if step.weight.shape == (1, 1) else "Convolution"
            last = add(kind, inputs, **_linear(step))
        elif isinstance(step, Pool):
            last = add("Pooling3D", inputs, type=POOLS[step.kind], padType=0, isGlobal=1)
        elif isinstance(step, Add):
            fused = int(step.activation == "relu")
            last = add("BinaryOp", inputs, opType=ADD, T=FLOAT, activationType=fused)
            if step.activation == "relu6":
                last = add("ReLU6", (last,), minValue=0.0, maxValue=6.0)
        numbers[step.output] = last
    flat = add("Flatten", (numbers[LOGITS],), axis=1, endAxis=0)
    add("ConvertTensor", (flat,), source=NC4HW4, dest=NCHW)
    return made


def _convolution(layer: Conv) -> dict[str, Any]:
    outputs, inputs = len(real(layer.weight)), layer.weight.shape[1] * layer.groups
    return _layer(
        real(layer.weight).size, outputs, inputs, layer.activation, layer.kernel, layer.stride,
        layer.groups, layer.padding,
    )  # fmt: skip


def _linear(layer: Linear) -> dict[str, Any]:
    outputs, inputs = layer.weight.shape
    return _layer(outputs * inputs, outputs, inputs, layer.activation)


def _layer(
    weights: int, outputs: int, inputs: int, activation: Activation, kernel: int = 1,
    stride: int = 1, groups: int = 1, padding: Padding | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the fields of a convolution; a linear layer is one without padding."""
    (top, bottom), (left, right) = padding or ((0, 0), (0, 0))
    return {
        "padX": left, "padY": top, "kernelX": kernel, "kernelY": kernel, "strideX": stride,
        "strideY": stride, "dilateX": 1, "dilateY": 1, "padMode": 0, "group": groups,
        "outputCount": outputs, "inputCount": inputs, "relu": int(activation == "relu"),
        "relu6": int(activation == "relu6"),
        "pads": (top, left, bottom, right) if padding else None, "hasOutputShape": 0,
        "weights": weights, "biases": outputs,
    }  # fmt: skip

"""Subgraphs of XNNPACK in an ExecuTorch program, in XNNPACK's schema, as steps.

A subgraph is a head, a flatbuffer with nodes and the values between them, and names of constants.
"""

import struct
from collections.abc import Mapping
from math import prod
from typing import Any

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph.steps import Step
from mobilenetv2.graph.tables import Schema, Tables, Unions, plain

SCHEMA: Schema = {
    "Graph": "version:string xnodes:[Node] xvalues:[Value] num_externs:uint input_ids:[uint] "
    "output_ids:[uint] - - constant_data:[Constant]",
    "Constant": "offset:ulong size:ulong named_key:string",
    "Node": "xnode_union:Nodes debug_handle:uint output_min_max:Bounds",
    "Bounds": "output_min:float output_max:float",
    "Value": "xvalue_union:Values",
    "Tensor": "datatype:short num_dims:uint dims:[uint] constant_buffer_idx:uint "
    "external_id:uint flags:uint id_out:uint",
    "Add": "input1_id:uint input2_id:uint output_id:uint flags:uint",
    "One": "input_id:uint output_id:uint flags:uint",
    "Linear": "input1_id:uint filter_id:uint bias_id:uint output_id:uint flags:uint",
    "Transpose": "num_dims:uint perm:[uint] input_id:uint output_id:uint flags:uint",
    "Convolution": "padding_top:uint padding_right:uint padding_bottom:uint padding_left:uint "
    "kernel_height:uint kernel_width:uint subsampling_height:uint subsampling_width:uint "
    "dilation_height:uint dilation_width:uint group_input_channels:uint "
    "group_output_channels:uint groups:uint adjustment_height:uint adjustment_width:uint "
    "input1_id:uint filter_id:uint bias_id:uint output_id:uint flags:uint",
    "Pad": "pre_paddings:[uint] post_paddings:[uint] padding_value:float input_id:uint "
    "output_id:uint flags:uint",
    "Reshape": "num_dims:uint new_shape:[uint] input_id:uint output_id:uint flags:uint",
}
"""Parts of the schema that the exporter uses for such a network."""
UNIONS: Unions = {
    "Nodes": {
        1: "Add", 2: "Linear", 5: "Transpose", 6: "Clamp=One", 7: "Convolution", 10: "Pad",
        13: "Depthwise=Convolution", 19: "Average=One", 20: "Reshape",
    },
    "Values": {1: "Tensor"},
}  # fmt: skip
HEAD = struct.Struct("<4sHIIIQ")
MAGIC = b"XH00"
NOWHERE, NOT_HERE = 2**32 - 1, 2**64 - 1
"""Number of no value, and offset of a constant that has a name instead."""
FLOAT, GIVEN, RESULT = 1, 1, 2
"""Type of the values; flags of the subgraph's input and output."""
INPUTS = ("input1_id", "input2_id", "input_id")
CONSTANTS = {"filter_id": "filter", "bias_id": "bias"}


def steps(data: bytes, image: int, start: int, sizes: Mapping[str, int]) -> list[Step]:
    """Return the nodes of a subgraph with one input and one output, the last one's.

    Args:
        data: bytes of the subgraph.
        image: number of the step that gives its input.
        start: number of its first step.
        sizes: bytes of each constant of the program by its name.

    Raises:
        ArtifactError: the subgraph is damaged, or its values do not fit together.
    """
    if len(data) < 4 + HEAD.size:
        raise ArtifactError("a part of the program is missing")
    magic, length, offset, size, _, constants = HEAD.unpack_from(data, 4)
    if (magic, length, constants) != (MAGIC, 4 + HEAD.size, 0) or offset + size > len(data):
        raise ArtifactError("a part of the program has another form")
    graph = Tables(data[offset : offset + size], SCHEMA, UNIONS).root("Graph")
    values = _values(graph, sizes)
    (given,), (result,) = plain(graph["input_ids"]), plain(graph["output_ids"])
    numbers, made = {given: image}, list[Step]()
    for node in graph["xnodes"] or []:
        kind, fields = plain(node["xnode_union"] or ("nothing", {}))
        bounds = plain(node["output_min_max"])
        try:
            inputs = tuple(numbers[fields.pop(name)] for name in INPUTS if name in fields)
            output = fields.pop("output_id")
            for name, title in CONSTANTS.items():
                if name in fields:
                    at = fields.pop(name)
                    fields[title] = None if at == NOWHERE else values.pop(("constant", at))
            fields |= {"sizes": values.pop(("value", output)), "bounds": bounds}
        except KeyError:
            raise ArtifactError("a value of the program is used before it is there") from None
        numbers[output] = start + len(made)
        made.append(Step(kind, inputs, fields))
    if numbers.get(result) != start + len(made) - 1 or list(values) != [("value", given)]:
        raise ArtifactError("a value of the program leads to no output")
    return made


def _values(graph: dict[str, Any], sizes: Mapping[str, int]) -> dict[tuple[str, int], Any]:
    """Return the shapes of a subgraph's values, by what they are and their numbers."""
    given, result = (plain(graph[key]) or () for key in ("input_ids", "output_ids"))
    constants, found = graph["constant_data"] or [], dict[tuple[str, int], Any]()
    externs = {given: (0, GIVEN), result: (1, RESULT)}
    if len(given) != 1 or len(result) != 1 or graph["num_externs"] != 2:
        raise ArtifactError("a part of the program has other inputs or outputs")
    for value in graph["xvalues"] or []:
        tensor: dict[str, Any] = plain(value["xvalue_union"] or ("nothing", {}))[1]
        shape: Any = tensor.get("dims")
        at: Any = tensor.get("id_out")
        constant: Any = tensor.get("constant_buffer_idx")
        wanted = externs.get((at,), (NOWHERE, 0))
        if (
            not isinstance(shape, tuple)
            or (tensor["datatype"], tensor["num_dims"]) != (FLOAT, len(shape))
            or (tensor["external_id"], tensor["flags"]) != wanted
            or {("value", at), ("constant", at)} & found.keys()
        ):
            raise ArtifactError("a value of the program has another form")
        if constant:
            stored = constants[constant] if constant < len(constants) else {"named_key": ""}
            size = 4 * prod(shape)
            if sizes.get(stored["named_key"] or "") != size or (
                stored["offset"],
                stored["size"],
            ) != (NOT_HERE, size):
                raise ArtifactError("a constant of the program has another size")
        found["constant" if constant else "value", at] = shape
    return found

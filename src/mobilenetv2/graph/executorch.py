"""Program of an ExecuTorch file as data: its config, and its steps against the lowered graph's."""

import struct
from collections.abc import Iterable
from math import prod
from typing import Any

from mobilenetv2.errors import ArtifactError
from mobilenetv2.graph import xnnpack
from mobilenetv2.graph.graph import INPUT, Activation, Add, Conv, Graph, Linear, Pool
from mobilenetv2.graph.lowering import lower_shapes
from mobilenetv2.graph.steps import Step, require_equal
from mobilenetv2.graph.tables import Schema, Tables, Unions, plain
from mobilenetv2.spec.records import ModelConfig

METHOD, CONFIG_METHOD = "forward", "mobilenetv2_config"
"""Names of the network's method, and of one without inputs that returns the config, since programs
hold only methods."""
MAGIC = b"ET12"
SCHEMA: Schema = {
    "Program": "version:uint execution_plan:[ExecutionPlan] constant_buffer:[Buffer] "
    "backend_delegate_data:[Inline] segments:[Segment] constant_segment:Offsets "
    "mutable_data_segments:[Offsets] named_data:[NamedData]",
    "ExecutionPlan": "name:string container_meta_type:Container values:[Value] inputs:[int] "
    "outputs:[int] chains:[Chain] operators:[Operator] delegates:[Delegate] "
    "non_const_buffer_sizes:[long] -",
    "Container": "encoded_inp_str:string encoded_out_str:string",
    "Buffer": "storage:[ubyte]",
    "Inline": "data:[ubyte]",
    "Segment": "offset:ulong size:ulong",
    "Offsets": "segment_index:uint offsets:[ulong]",
    "NamedData": "key:string segment_index:uint",
    "Value": "val:Kinds",
    "Null": "",
    "Int": "int_val:long",
    "Bool": "bool_val:bool",
    "Double": "double_val:double",
    "String": "string_val:string",
    "IntList": "items:[long]",
    "Tensor": "scalar_type:byte storage_offset:int sizes:[int] dim_order:[ubyte] "
    "requires_grad:bool data_buffer_idx:uint allocation_info:Allocation layout:byte "
    "shape_dynamism:byte -",
    "Allocation": "memory_id:uint memory_offset_low:uint memory_offset_high:uint",
    "Chain": "inputs:[int] outputs:[int] instructions:[Instruction] -",
    "Instruction": "instr_args:Calls",
    "KernelCall": "op_index:int args:[int]",
    "DelegateCall": "delegate_index:int args:[int]",
    "Operator": "name:string overload:string",
    "Delegate": "id:string processed:Reference compile_specs:[Specs]",
    "Reference": "location:byte index:uint",
    "Specs": "key:string value:[ubyte]",
}
"""Parts of ExecuTorch's schema that its exporter uses for such a network."""
UNIONS: Unions = {
    "Kinds": {
        1: "Null", 2: "Int", 3: "Bool", 4: "Double", 5: "Tensor", 6: "String", 7: "IntList",
    },
    "Calls": {1: "KernelCall", 2: "DelegateCall"},
}  # fmt: skip
HEAD, HEAD_MAGIC, HEAD_AT = struct.Struct("<4sIQQQ"), b"eh00", 8
"""Head of a program with data behind it: both sizes, where the data is, and its size."""
BACKEND, MAXIMUM = "XnnpackBackend", ("aten::amax", "out")
FLOAT, MEMORY, SEGMENT = 6, 1, 1
"""Type of the tensors, their memory's number, and where a subgraph is."""
TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Orders that bring channels to the end, and back."""
KEEP_SIDES = 64
BOUNDS: dict[Activation, tuple[float, float]] = {"relu6": (0.0, 6.0), "relu": (0.0, float("inf"))}


def read(data: bytes) -> dict[str, Any]:
    """Return the program of a file.

    Raises:
        ArtifactError: the file is no program, damaged, or holds more than such a program.
    """
    if data[4:8] != MAGIC:
        raise ArtifactError("no program of ExecuTorch")
    return Tables(data, SCHEMA, UNIONS).root("Program")


def config_text(program: dict[str, Any]) -> str | None:
    """Return the text that the method for the config returns; None if there is no such method."""
    for plan in program["execution_plan"] or []:
        values = plan["values"] or []
        if plan["name"] == CONFIG_METHOD and len(values) == 1 and values[0]["val"]:
            kind, value = values[0]["val"]
            text: str | None = value["string_val"] if kind == "String" else None
            return text
    return None


def check(data: bytes, program: dict[str, Any], config: ModelConfig) -> None:
    """Raise unless a program has exactly the steps of a network, and as many weights.

    Args:
        data: bytes of the file, without its seal.
        program: program that was read from it.
        config: config inside it.

    Raises:
        ArtifactError: the file is damaged, or holds another network.
    """
    plans = {plan["name"]: plan for plan in program["execution_plan"] or []}
    if plans.keys() != {METHOD, CONFIG_METHOD} or len(program["execution_plan"]) != 2:
        raise ArtifactError("it has other methods")
    require_equal(_Reader(data, program, plans[METHOD]).steps(), steps(lower_shapes(config)))


class _Reader:
    """Reader of one method's steps."""

    def __init__(self, data: bytes, program: dict[str, Any], plan: dict[str, Any]) -> None:
        self.plan, self.values = plan, [plain(one["val"]) for one in plan["values"] or []]
        self.segments = _segments(data, program["segments"] or [])
        self.constants: dict[str, int] = {}
        for one in program["named_data"] or []:
            self.constants[one["key"]] = len(self._segment(one["segment_index"]))

    def _segment(self, number: int) -> bytes:
        if number >= len(self.segments):
            raise ArtifactError("a part of the program is missing")
        return self.segments[number]

    def steps(self) -> list[Step]:
        """Return the steps of the only chain."""
        inputs: Any = plain(self.plan["inputs"]) or ()
        outputs: Any = plain(self.plan["outputs"]) or ()
        chains = self.plan["chains"] or []
        if len(chains) != 1 or len(inputs) != 1 or len(outputs) != 1:
            raise ArtifactError("it has other inputs or outputs")
        numbers = {inputs[0]: 0}
        made = [Step("Input", (), {"sizes": self.tensor(inputs[0])})]
        last = inputs[0]
        for one in chains[0]["instructions"] or []:
            kind, fields = plain(one["instr_args"] or ("nothing", {}))
            arguments: tuple[int, ...] = fields.get("args") or ()
            if len(arguments) < 2 or arguments[0] not in numbers:
                raise ArtifactError("an instruction without its input")
            last = arguments[-1]
            sizes, taken = self.tensor(last), numbers[arguments[0]]
            self.require_apart(arguments[0], last)
            if kind == "DelegateCall" and len(arguments) == 2:
                made += self.delegate(fields["delegate_index"], taken, len(made))
                if made[-1].numbers["sizes"] != sizes:
                    raise ArtifactError("a part of the program gives another shape")
            else:
                made.append(self.maximum(kind, fields, taken, sizes))
            numbers[last] = len(made) - 1
        if last != outputs[0]:
            raise ArtifactError("its output is not the last value")
        return made

    def delegate(self, number: int, taken: int, start: int) -> list[Step]:
        """Return the steps of a subgraph."""
        delegates = self.plan["delegates"] or []
        one = plain(delegates[number]) if 0 <= number < len(delegates) else {}
        where = one.get("processed") or {}
        if one.get("id") != BACKEND or one["compile_specs"] or where.get("location") != SEGMENT:
            raise ArtifactError("a part of the program is for another runtime")
        return xnnpack.steps(self._segment(where["index"]), taken, start, self.constants)

    def maximum(self, kind: str, fields: dict[str, Any], taken: int, sizes: Any) -> Step:
        """Return the step of the only kernel that such programs call."""
        operators = [plain(one) for one in self.plan["operators"] or []]
        arguments = fields["args"]
        if (
            kind != "KernelCall"
            or fields["op_index"] != 0
            or [(one["name"], one["overload"]) for one in operators] != [MAXIMUM]
            or len(arguments) != 5
            or arguments[3] != arguments[4]
        ):
            raise ArtifactError("it calls another operator")
        sides = tuple(self.value(at, "Int")["int_val"] for at in self.items(arguments[1]))
        keep = self.value(arguments[2], "Bool")["bool_val"]
        return Step("Maximum", (taken,), {"sides": sides, "keep": keep, "sizes": sizes})

    def items(self, at: int) -> tuple[int, ...]:
        """Return the numbers of a list's values."""
        found: tuple[int, ...] = self.value(at, "IntList")["items"] or ()
        return found

    def value(self, at: int, kind: str) -> dict[str, Any]:
        """Return a value of a kind."""
        found = self.values[at] if 0 <= at < len(self.values) else None
        if found is None or found[0] != kind:
            raise ArtifactError("a value of another kind")
        fields: dict[str, Any] = found[1]
        return fields

    def place(self, at: int) -> range:
        """Return the bytes of memory that a tensor has."""
        tensor = self.value(at, "Tensor")
        where = tensor["allocation_info"] or {"memory_id": 0}
        if where["memory_id"] != MEMORY or where["memory_offset_high"]:
            raise ArtifactError("a tensor in another memory")
        start = where["memory_offset_low"]
        return range(start, start + 4 * prod(tensor["sizes"]))

    def tensor(self, at: int) -> tuple[int, ...]:
        """Return the shape of a tensor, which has to lie in the method's memory."""
        tensor = dict(self.value(at, "Tensor"))
        shape, order, where = (tensor.pop(key) for key in ("sizes", "dim_order", "allocation_info"))
        sizes = plain(self.plan["non_const_buffer_sizes"]) or ()
        if (
            not isinstance(shape, tuple)
            or order != tuple(range(len(shape)))
            or where is None
            or tensor.pop("scalar_type") != FLOAT
            or any(tensor.values())
            or any(side < 1 for side in shape)
            or len(sizes) != MEMORY + 1
            or self.place(at).stop > sizes[MEMORY]
            or sizes[MEMORY] > 2**32
        ):
            raise ArtifactError("a tensor of another form")
        return shape

    def require_apart(self, one: int, other: int) -> None:
        """Raise if two tensors share memory."""
        first, second = self.place(one), self.place(other)
        if first.start < second.stop and second.start < first.stop:
            raise ArtifactError("two tensors in one place")


def _segments(data: bytes, segments: list[dict[str, Any]]) -> list[bytes]:
    """Return the parts behind the program."""
    if len(data) < HEAD_AT + HEAD.size:
        raise ArtifactError("it has no head")
    magic, length, size, base, more = HEAD.unpack_from(data, HEAD_AT)
    if magic != HEAD_MAGIC or length != HEAD.size or size > base or base + more > len(data):
        raise ArtifactError("its head is another")
    if any(one["offset"] + one["size"] > more for one in segments):
        raise ArtifactError("a part of it lies outside the file")
    places = [(base + one["offset"], base + one["offset"] + one["size"]) for one in segments]
    return [data[start:stop] for start, stop in places]


def steps(graph: Graph) -> list[Step]:
    """Return the steps that ExecuTorch's exporter makes of a graph, with XNNPACK's nodes."""
    made: list[Step] = []
    numbers: dict[str, int] = {}
    channels_last = False  # True where maps have their channels last

    def add(kind: str, inputs: Iterable[int], sizes: tuple[int, ...], **fields: Any) -> int:
        made.append(Step(kind, tuple(inputs), {**fields, "sizes": sizes}))
        return len(made) - 1

    def node(kind: str, inputs: Iterable[int], sizes: tuple[int, ...], **fields: Any) -> int:
        return add(kind, inputs, sizes, **{"flags": 0, "bounds": None, **fields})

    def turned(at: int, order: tuple[int, ...]) -> int:
        sizes = made[at].numbers["sizes"]
        return node("Transpose", (at,), tuple(sizes[i] for i in order), num_dims=4, perm=order)

    numbers[INPUT] = add("Input", (), (1, *graph.tensors[INPUT].shape))
    for step in graph.operations:
        inputs = [numbers[name] for name in step.inputs]
        shape = graph.tensors[step.output].shape
        if isinstance(step, Conv):
            (at,) = inputs
            fields = _convolution(step)
            if fields.pop("uneven"):
                at = node("Pad", (at,), **_padding(step, made[at].numbers["sizes"], channels_last))
            if not channels_last:
                at, channels_last = turned(at, TO_LAST), True
            kind = "Depthwise" if _is_depthwise(step) else "Convolution"
            last = node(kind, (at,), (1, *shape[1:], shape[0]), **fields)
        elif isinstance(step, Linear):
            bias = None if step.bias is None else step.bias.shape
            bounds = _bounds(step.activation)
            last = node(
                "Linear", inputs, (1, *shape), filter=step.weight.shape, bias=bias, bounds=bounds
            )
        elif isinstance(step, Add):
            last = node("Add", inputs, (1, *shape[1:], shape[0]), bounds=_bounds(step.activation))
        elif isinstance(step, Pool):
            (at,) = inputs
            channels = shape[0]
            if step.kind == "average":
                at = node("Average", (at,), (1, 1, 1, channels), flags=KEEP_SIDES)
                at = turned(at, TO_FIRST)
            else:
                at = turned(at, TO_FIRST)
                at = add("Maximum", (at,), (1, channels, 1, 1), sides=(2, 3), keep=1)
            last = node("Reshape", (at,), (1, channels), num_dims=2, new_shape=(1, channels))
        numbers[step.output] = last
    return made


def _bounds(activation: Activation) -> dict[str, float] | None:
    if activation is None:
        return None
    lowest, highest = BOUNDS[activation]
    return {"output_min": lowest, "output_max": highest}


def _is_depthwise(layer: Conv) -> bool:
    """Return True if each output is of one channel, also where there is no other."""
    return bool(layer.weight.shape[1] == 1)


def _convolution(layer: Conv) -> dict[str, Any]:
    """Return a convolution's fields; uneven padding is a node of its own."""
    outputs, inside, *kernel = layer.weight.shape
    (top, bottom), (left, right) = layer.padding
    uneven = top != bottom or left != right
    rows, columns = (0, 0) if uneven else (top, left)
    return {
        "uneven": uneven, "padding_top": rows, "padding_bottom": rows, "padding_left": columns,
        "padding_right": columns, "kernel_height": layer.kernel, "kernel_width": layer.kernel,
        "subsampling_height": layer.stride, "subsampling_width": layer.stride,
        "dilation_height": 1, "dilation_width": 1, "group_input_channels": inside,
        "group_output_channels": outputs // layer.groups, "groups": layer.groups,
        "adjustment_height": 0, "adjustment_width": 0,
        "filter": (1, *kernel, outputs) if _is_depthwise(layer) else (outputs, *kernel, inside),
        "bias": (outputs,), "bounds": _bounds(layer.activation),
    }  # fmt: skip


def _padding(layer: Conv, sizes: tuple[int, ...], last: bool) -> dict[str, Any]:
    """Return the fields of a node that pads a map, with its channels last or first."""
    sides = [layer.padding[0], layer.padding[1]]
    ordered = [(0, 0), *sides, (0, 0)] if last else [(0, 0), (0, 0), *sides]
    before, after = zip(*ordered, strict=True)
    padded = tuple(size + sum(pair) for size, pair in zip(sizes, ordered, strict=True))
    return {
        "pre_paddings": before, "post_paddings": after, "padding_value": 0.0, "sizes": padded,
    }  # fmt: skip

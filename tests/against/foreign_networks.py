"""Small foreign networks as ONNX files, with their answers by a plain reference.

The mean colour of the scaled picture goes through one linear layer: enough to see how the picture
was resized, scaled and ordered, and what becomes of the outputs.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WEIGHT = np.random.default_rng(7).normal(size=(3, 8)).astype(np.float32)
BIAS = np.random.default_rng(8).normal(size=8).astype(np.float32)


@dataclass(frozen=True)
class Foreign:
    """A network of ``classes`` outputs, as another program writes it."""

    classes: int = 5
    last: str = "none"
    """Last operator: 'none', 'Softmax', 'Sigmoid' or 'divided', a softmax of its parts."""
    layout: str = "NCHW"
    batch: int | str = "n"
    size: tuple[int | str, int | str] = (24, 32)
    dtype: int = TensorProto.FLOAT
    scaling: tuple[tuple[str, float], ...] = ()
    """Operators that scale the picture, with their constants."""
    metadata: dict[str, str] = field(default_factory=dict)
    producer: str = "pytorch"

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        path.write_bytes(self.model().SerializeToString())
        return path

    def model(self) -> onnx.ModelProto:
        """Return the file's model."""
        sides = (*self.size, 3) if self.layout == "NHWC" else (3, *self.size)
        given = helper.make_tensor_value_info("picture", self.dtype, [self.batch, *sides])
        ends = helper.make_tensor_value_info(
            "answer", TensorProto.FLOAT, [self.batch, self.classes]
        )
        constants: dict[str, NDArray] = {
            "weight": WEIGHT[:, : self.classes],
            "bias": BIAS[: self.classes],
        }
        nodes, now = [helper.make_node("Cast", ["picture"], ["real"], to=TensorProto.FLOAT)], "real"
        for index, (kind, value) in enumerate(self.scaling):
            constants[f"constant{index}"] = np.array(value, np.float32)
            nodes.append(helper.make_node(kind, [now, f"constant{index}"], [f"scaled{index}"]))
            now = f"scaled{index}"
        axes = [1, 2] if self.layout == "NHWC" else [2, 3]
        nodes += [
            helper.make_node("ReduceMean", [now], ["mean"], axes=axes, keepdims=0),
            helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
        ]
        if self.last == "divided":
            nodes += [
                helper.make_node("Exp", ["logits"], ["e"]),
                helper.make_node("ReduceSum", ["e"], ["sum"], keepdims=1),
                helper.make_node("Div", ["e", "sum"], ["answer"]),
            ]
        else:
            kind = "Identity" if self.last == "none" else self.last
            nodes.append(helper.make_node(kind, ["logits"], ["answer"]))
        graph = helper.make_graph(
            nodes, "network", [given], [ends],
            [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], producer_name=self.producer
        )
        model.ir_version = 8
        helper.set_model_props(model, self.metadata)
        return model

    def answer(self, pixels: NDArray) -> NDArray:
        """Return the probabilities for normalised pixels (height, width, 3), red first."""
        x = np.asarray(pixels, np.float64)
        for kind, value in self.scaling:
            x = {"Mul": x * value, "Div": x / value, "Add": x + value, "Sub": x - value}[kind]
        z = x.mean((0, 1)) @ WEIGHT[:, : self.classes] + BIAS[: self.classes]
        if self.classes == 1:
            p = 1 / (1 + np.exp(-z[0]))
            return np.array([1 - p, p])
        if self.last == "Sigmoid":
            return np.asarray(1 / (1 + np.exp(-z)))
        return np.asarray(np.exp(z) / np.exp(z).sum())

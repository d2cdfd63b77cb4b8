"""Writer of OpenVINO's format (IR): ``OUT.xml`` with the graph, ``OUT.bin`` with the weights.

The graph comes from the ONNX writer, so that both formats compute the same. The file also has the
entries that Intel's other tools read (Model API, DL Streamer): labels, means and scales.
"""

import io
import json
import re
from pathlib import Path
from typing import Any

from mobilenetv2.errors import ArtifactError, require
from mobilenetv2.exporting.direct import graph_of
from mobilenetv2.exporting.job import Options
from mobilenetv2.graph.graph import INPUT
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.engines.openvino import CONFIG, reason, sealed
from mobilenetv2.spec.records import ModelConfig


def write_openvino(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write an IR; float16 halves the .bin.

    OpenVINO computes in the precision that suits its device best, for both precisions of the file.
    """
    made = converted(write_onnx(graph_of(config, arrays, options)))
    write_ir(made, config, out, half=options.precision == "float16")


def converted(graph: bytes) -> Any:
    """Return an openvino.Model for an ONNX file of this package, float or int8.

    Raises:
        ArtifactError: OpenVINO does not support the graph.
    """
    openvino = require("openvino")
    proto = require("onnx").load_from_string(graph)
    del proto.metadata_props[:]  # it would come along: config and seal of another file
    try:
        # Its own converter, not read_model: that leaves ReLU6 as a minimum and a maximum.
        made = openvino.convert_model(io.BytesIO(proto.SerializeToString()))
    except Exception as error:
        raise ArtifactError(f"OpenVINO cannot convert the network ({reason(error)})") from None
    made.input().node.set_layout(openvino.Layout(_layout(made)))
    return made


def _layout(made: Any) -> str:
    return "NHWC" if made.input().element_type == require("openvino").Type.u8 else "NCHW"


def write_ir(
    made: Any, config: ModelConfig, out: Path, half: bool = False, method: str = ""
) -> None:
    """Write an openvino.Model as ``out`` (.xml) with the config inside, and the .bin beside it.

    Args:
        half: weights in float16.
        method: method of quantisation, in words.

    Raises:
        ArtifactError: OpenVINO cannot write there.
    """
    # In ASCII: XML cannot hold every character that a label can.
    made.set_rt_info(json.dumps(json.loads(config.to_json())), list(CONFIG))
    if method:
        made.set_rt_info(method, [CONFIG[0], "method"])
    for key, value in model_info(config, _layout(made)).items():
        made.set_rt_info(value, ["model_info", key])
    _settle_names(made)
    try:
        require("openvino").save_model(made, out, compress_to_fp16=half)
    except RuntimeError as error:
        raise ArtifactError(f"{out}: OpenVINO cannot write it ({reason(error)})") from None
    out.write_bytes(sealed(out.read_bytes(), out.with_suffix(".bin").read_bytes()))


def _settle_names(made: Any) -> None:
    """Name numbered operators after their consumers, so that the same network gives the same file.

    OpenVINO counts these numbers through the whole process.
    """
    for op in reversed(made.get_ordered_ops()):
        kind = op.get_type_name()
        if kind == "Constant" or re.fullmatch(rf"{kind}_\d+", op.friendly_name):
            takers = [
                (taker.get_node().friendly_name, taker.get_index())
                for output in op.outputs()
                for taker in output.get_target_inputs()
            ]
            if takers:
                op.friendly_name = "{}/{}".format(*min(takers))


def model_info(config: ModelConfig, layout: str) -> dict[str, str]:
    """Return the entries that other tools read, by key."""
    record = config.preprocessing
    # Their lists are separated by spaces.
    names = (re.sub(r"[^!-~\u00a1-\ud7ff]+", "_", name) or "_" for name in config.output_names)
    found = {
        "model_type": "Classification",
        "labels": " ".join(names),
        "layout": f"{INPUT}:{layout}",
        "resize_type": "standard" if record.fit == "stretch" else "crop",
        # From OpenCV's blue first.
        "reverse_input_channels": str(record.channels == 3),
    }
    if config.spec.classifier.outputs != "softmax":
        found["multilabel"] = "True"  # a sigmoid of each output, and the threshold 0.5
    if layout == "NCHW":  # else it normalises by itself
        found["mean_values"] = " ".join(map(str, record.mean))
        found["scale_values"] = " ".join(map(str, record.std))
    return found

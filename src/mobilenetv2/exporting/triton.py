"""Writer of a model for NVIDIA's Triton Inference Server: ONNX and what the server needs of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting.direct import write_onnx
from mobilenetv2.exporting.job import Options
from mobilenetv2.files import read_file
from mobilenetv2.model.arrays import Arrays
from mobilenetv2.runtime.engines.engine import Engine
from mobilenetv2.runtime.predictor import create_engine, load_artifact
from mobilenetv2.spec.records import ModelConfig

SETTINGS, LABELS, MODEL = "config.pbtxt", "labels.txt", Path("1") / "model.onnx"
"""Files of the folder; the 1 is the version of the model."""
LARGEST_BATCH = 32
"""Largest batch that the server makes of the requests that wait."""
LARGEST_TEXT = 16 * 1024**2
"""Limit of the size of a text file in bytes."""


def write_triton(config: ModelConfig, arrays: Arrays, out: Path, options: Options) -> None:
    """Write the folder of one model, which lies in a model repository: its name is the model's.

    The ONNX file takes and gives what :func:`mobilenetv2.exporting.direct.write_onnx` says. The
    server computes it with its backend onnxruntime, in batches of the requests that wait.
    """
    (out / MODEL).parent.mkdir(parents=True, exist_ok=True)
    write_onnx(config, arrays, out / MODEL, options)
    for name, text in texts(out, config).items():
        (out / name).write_text(text, "utf-8", newline="\n")


def reload(out: Path, threads: int | None = None) -> Engine:
    """Return the engine of a folder's ONNX file, after a check that its texts belong to it.

    Raises:
        ArtifactError: a file was changed or damaged, or the folder has another name.
    """
    artifact = load_artifact(out / MODEL)
    for name, text in texts(out, artifact.config).items():
        if read_file(out / name, LARGEST_TEXT) != text.encode():
            raise ArtifactError(
                f"{out / name}: not what belongs to {out.name} and its {MODEL.name}; it was "
                "changed or damaged, so export it again"
            )
    return create_engine(artifact, threads=threads)


def texts(out: Path, config: ModelConfig) -> dict[str, str]:
    """Return the content of the text files that belong to a folder's ONNX file, by name."""
    import onnx

    graph = onnx.load(out / MODEL).graph
    (given,), ends = graph.input, graph.output
    blocks = [
        f"name: {json.dumps(out.name, ensure_ascii=False)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {LARGEST_BATCH}",
        _tensor("input", given),
        *(_tensor("output", end, f'label_filename: "{LABELS}"') for end in ends),
        "dynamic_batching { }",
    ]
    # A name with a line break would become two labels.
    lines = (" ".join(name.split()) for name in config.output_names)
    return {SETTINGS: "\n".join(blocks) + "\n", LABELS: "\n".join(lines) + "\n"}


def _tensor(field: str, info: Any, *more: str) -> str:
    """Return the block of an input or output, whose first side is the batch and is left out."""
    from onnx import helper

    kind = np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
    name = {"float32": "FP32", "float16": "FP16"}.get(kind.name, kind.name.upper())
    _, *sides = info.type.tensor_type.shape.dim
    dims = ", ".join(str(side.dim_value or -1) for side in sides)
    parts = [f'name: "{info.name}"', f"data_type: TYPE_{name}", f"dims: [ {dims} ]", *more]
    inside = "\n".join(f"    {part}" for part in parts)
    return f"{field} [\n  {{\n{inside}\n  }}\n]"

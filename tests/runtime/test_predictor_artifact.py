"""What can be run: a model folder, an export of ours; what cannot is said."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from heads import BLOCKS, HEADS, with_head

from mobilenetv2.errors import ArtifactError, WeightsError
from mobilenetv2.exporting.job import Options, writer_of
from mobilenetv2.formats import FORMATS
from mobilenetv2.graph.lowering import lower
from mobilenetv2.graph.onnx import write_onnx
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.runtime.predictor import build_artifact, create_engine, load_artifact
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

SPEC = published("small", width=0.1, classes=4)
CONFIG = ModelConfig.default(SPEC)


def exported(path: Path) -> Path:
    path.write_bytes(write_onnx(lower(CONFIG, random_arrays(SPEC))))
    return path


def test_a_model_folder_becomes_a_graph_with_both_outputs(tmp_path: Path) -> None:
    store.save(tmp_path / "m", CONFIG, random_arrays(SPEC))
    found = load_artifact(tmp_path / "m")
    assert found.config == CONFIG and found.where == str(tmp_path / "m")
    graph = onnx.load_from_string(found.graph).graph
    assert [output.name for output in graph.output] == ["logits", "features"]
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert"])
def test_the_last_map_is_in_the_graph_only_when_it_is_asked_for(runtime: str) -> None:
    arrays = random_arrays(SPEC)
    bare, asked = (
        build_artifact(CONFIG, arrays, Path("m"), runtime, last_map=ask) for ask in (False, True)
    )
    assert bare == build_artifact(CONFIG, arrays, Path("m"), runtime)
    assert len(bare.graph) < len(asked.graph) < len(bare.graph) + 1000
    if asked.format == "onnx":
        graph = onnx.load_from_string(asked.graph).graph
        assert [output.name for output in graph.output] == ["logits", "features", "map"]


def test_an_exported_file_is_run_as_it_is(tmp_path: Path) -> None:
    path = exported(tmp_path / "m.onnx")
    found = load_artifact(path)
    assert found.config == CONFIG and found.graph == path.read_bytes()


def test_somebody_elses_file_says_how_to_bring_it_in(tmp_path: Path) -> None:
    model = onnx.load_from_string(exported(tmp_path / "m.onnx").read_bytes())
    del model.metadata_props[:]
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"other\.onnx: .* weights import"):
        load_artifact(tmp_path / "other.onnx")
    model.metadata_props.add(key="mobilenetv2.config", value="{")
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="the config inside it: not JSON"):
        load_artifact(tmp_path / "other.onnx")


def test_what_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07damaged")
    with pytest.raises(WeightsError, match=r"bad\.onnx"):
        load_artifact(tmp_path / "bad.onnx")
    with pytest.raises(WeightsError, match="no such model folder"):
        load_artifact(tmp_path / "nowhere")


def test_a_graph_with_data_in_other_files_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(exported(tmp_path / "m.onnx").read_bytes())
    tensor = model.graph.initializer[2]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"external|other file"):
        load_artifact(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", [*HEADS, *BLOCKS])
@pytest.mark.parametrize("format_", ["onnx", "openvino", "litert", "ncnn", "mnn"])
def test_a_file_of_every_head_and_block_is_read_back_and_run(
    format_: str, name: str, tmp_path: Path
) -> None:
    made = FORMATS[format_]
    if made.missing():
        pytest.skip(f"{made.missing()[0]} is not installed (extra: export)")
    spec = BLOCKS[name] if name in BLOCKS else with_head(name)
    config, arrays = ModelConfig.default(spec), random_arrays(spec)
    writer_of(made)(config, arrays, tmp_path / f"m{made.suffix}", Options())
    found = load_artifact(tmp_path / f"m{made.suffix}")
    assert (found.config.spec, found.format) == (spec, format_)
    x = np.random.default_rng(0).normal(size=(2, 3, *spec.size)).astype(np.float32)
    wanted = create_engine(build_artifact(config, arrays, tmp_path)).run(x, "logits")
    logits = create_engine(found).run(x, "logits")
    assert logits.shape == (2, spec.logits)
    assert np.abs(logits - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())

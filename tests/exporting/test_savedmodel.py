"""TensorFlow SavedModels: that they are the network, as TensorFlow's users expect it."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from short import short

from mobilenetv2.errors import ArtifactError
from mobilenetv2.exporting import savedmodel as export
from mobilenetv2.exporting.job import Options
from mobilenetv2.exporting.verify import Reference
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra: keras)")
SPEC = short(NetworkSpec(width=0.1, size=(48, 64), classes=5))


def reference(spec: NetworkSpec) -> Reference:
    config = ModelConfig.default(spec)
    return Reference(config, random_arrays(spec), sample_pictures(config.preprocessing, 2))


def test_the_config_lies_where_tensorflow_leaves_room(tmp_path: Path) -> None:
    expected = reference(SPEC)
    export.write_savedmodel(expected.config, expected.arrays, tmp_path / "shoes", Options())
    text = (tmp_path / "shoes" / "assets.extra" / "mobilenetv2.json").read_text("utf-8")
    assert ModelConfig.from_mapping(json.loads(text), "it") == expected.config


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_width_1_has_the_operators_that_people_expect(tmp_path: Path, padding: Any) -> None:
    import tensorflow as tf

    expected = reference(NetworkSpec(numerics=Numerics(padding)))
    export.write_savedmodel(expected.config, expected.arrays, tmp_path / "m", Options())
    assert expected.compare(export.reload(tmp_path / "m"), "float32").passed
    signature = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"]
    functions = [
        Counter(node.op for node in function.node_def)
        for function in signature.graph.as_graph_def().library.function
    ]
    found = max(functions, key=lambda kinds: kinds["Conv2D"])
    wanted = {
        "Conv2D": 35, "DepthwiseConv2dNative": 17, "BiasAdd": 53, "Relu6": 35, "AddV2": 10,
        "Mean": 1, "MatMul": 1, "Pad": 5 if padding == "symmetric" else 0,
    }  # fmt: skip
    assert {kind: found[kind] for kind in wanted} == wanted
    rest = {"ReadVariableOp", "Const", "Identity", "NoOp"}
    assert set(found) - set(wanted) <= rest, set(found) - set(wanted)


def test_what_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nothing: TensorFlow cannot run it \("):
        export.reload(tmp_path / "nothing")


@pytest.mark.slow
def test_nothing_is_printed_no_keras_is_needed_and_no_path_is_kept(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from mobilenetv2.exporting import savedmodel\n"
        "from mobilenetv2.exporting.job import Options\n"
        "from mobilenetv2.spec.network import NetworkSpec\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "spec = NetworkSpec(width=0.1, size=(48, 64), classes=5)\n"
        "out = Path(sys.argv[1])\n"
        "config = ModelConfig.default(spec)\n"
        "savedmodel.write_savedmodel(config, random_arrays(spec), out, Options())\n"
        "savedmodel.reload(out).run(np.zeros((2, 3, 48, 64), np.float32), 'logits')\n"
        "try:\n"
        "    savedmodel.reload(out, threads=3)\n"
        "except Exception as error:\n"
        "    sys.exit(str(error) if len(sys.argv) > 2 else 0)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "m")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    source = str(Path(export.__file__).parent).encode()
    for file in (tmp_path / "m").rglob("*"):
        assert file.is_dir() or source not in file.read_bytes()
    done = subprocess.run(
        [*command[:3], str(tmp_path / "n"), "say"], capture_output=True, text=True
    )
    assert done.stderr.startswith("threads=3: TensorFlow runs in this process with another")

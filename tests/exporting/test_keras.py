"""``.keras`` files: Keras needs nothing else to read them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from short import short

from mobilenetv2.errors import SpecError
from mobilenetv2.exporting import keras as export
from mobilenetv2.exporting.job import Options
from mobilenetv2.exporting.verify import Reference
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import NetworkSpec, Numerics
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import ModelConfig

pytest.importorskip("keras", reason="Keras is not installed (extra: keras)")
SPEC = short(NetworkSpec(width=0.1, size=(65, 97), classes=5, numerics=Numerics("same", 1e-3)))


def reference(spec: NetworkSpec) -> Reference:
    config = ModelConfig.default(spec)
    return Reference(config, random_arrays(spec), sample_pictures(config.preprocessing, 2))


def write(folder: Path, expected: Reference) -> Path:
    out = folder / "shoes.keras"
    export.write_keras(expected.config, expected.arrays, out, Options())
    return out


@pytest.mark.slow
def test_width_1_at_224(tmp_path: Path) -> None:
    expected = reference(NetworkSpec())
    assert expected.compare(export.reload(write(tmp_path, expected)), "float32").passed


def test_blocks_that_the_edition_has_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="blocks"):
        write(tmp_path, reference(published("resnet-bottleneck", width=0.1, size=64, classes=5)))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_keras_alone_reads_it(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend, reason=f"{backend} is not installed (make test-all)")
    expected = reference(SPEC)
    write(tmp_path, expected)
    x, answers = expected.tensors
    np.save(tmp_path / "x.npy", x.transpose(0, 2, 3, 1))
    program = (
        "import os, sys\n"
        f"os.environ['KERAS_BACKEND'] = {backend!r}\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'mobilenetv2':\n"
        "            raise ImportError('not here')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "import keras, numpy as np\n"
        "model = keras.models.load_model('shoes.keras')\n"
        "np.save('y.npy', keras.ops.convert_to_numpy(model(np.load('x.npy'), training=False)))\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(np.load('x.npy'), np.zeros((4, 5)), verbose=0)\n"
        "assert not any(name.startswith('mobilenetv2') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, check=True)
    difference = np.abs(np.load(tmp_path / "y.npy") - answers).max()
    assert difference <= 1e-4 * max(1.0, np.abs(answers).max())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_nothing_is_printed_on_any_backend(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend, reason=f"{backend} is not installed (make test-all)")
    program = (
        "import os, sys\n"
        f"os.environ['KERAS_BACKEND'] = {backend!r}\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from mobilenetv2.errors import ArtifactError\n"
        "from mobilenetv2.exporting import keras\n"
        "from mobilenetv2.exporting.job import Options\n"
        "from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec\n"
        "from mobilenetv2.spec.records import ModelConfig\n"
        "from mobilenetv2.model.arrays import random_arrays\n"
        "spec = NetworkSpec(stages=PAPER_STAGES[:2], width=0.1, size=(48, 64), classes=5)\n"
        "out = Path(sys.argv[1])\n"
        "keras.write_keras(ModelConfig.default(spec), random_arrays(spec), out, Options())\n"
        f"for _ in range({6 if backend == 'tensorflow' else 1}):\n"  # it warns of the fifth
        "    keras.reload(out).run(np.zeros((2, 3, 48, 64), np.float32), 'logits')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "m.keras")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

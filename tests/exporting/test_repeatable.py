"""The same network gives the same file, byte for byte, in another process at another time."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2.formats import FORMATS

SCRIPT = """if True:
    import sys
    from pathlib import Path
    from mobilenetv2.exporting.job import Options, writer_of
    from mobilenetv2.formats import FORMATS
    from mobilenetv2.model.arrays import random_arrays
    from mobilenetv2.spec.network import NetworkSpec
    from mobilenetv2.spec.records import ModelConfig
    spec = NetworkSpec(width=0.1, size=(32, 32), classes=3)
    writer_of(FORMATS[sys.argv[1]])(
        ModelConfig.default(spec), random_arrays(spec), Path(sys.argv[2]), Options()
    )
"""
RANDOM = {
    "coreml": {"Manifest.json", "model.mlmodel"},
    "savedmodel": {"fingerprint.pb"},
}
"""Files in which Core ML's and TensorFlow's own programs write random identifiers."""
QUICK = {"onnx", "litert"}


def digests(format_: str, folder: Path, seed: int) -> dict[str, str]:
    folder.mkdir()
    out = folder / f"m{FORMATS[format_].suffix}"
    environment = os.environ | {"PYTHONHASHSEED": str(seed), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", SCRIPT, format_, str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=300, env=environment)
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in RANDOM.get(format_, ())
    }


@pytest.mark.parametrize(
    "format_",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FORMATS],
)
def test_an_export_has_the_same_bytes_again(format_: str, tmp_path: Path) -> None:
    if missing := FORMATS[format_].missing():
        pytest.skip(f"{format_} needs {', '.join(missing)}: the extra 'export' has it")
    first = digests(format_, tmp_path / "first", 1)
    assert first
    assert digests(format_, tmp_path / "second", 2) == first

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
    from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec
    from mobilenetv2.spec.records import ModelConfig
    spec = NetworkSpec(stages=PAPER_STAGES[:3], width=0.1, size=(32, 32), classes=3)
    for name in sys.argv[2:]:
        folder = Path(sys.argv[1], name)
        folder.mkdir(parents=True)
        writer_of(FORMATS[name])(
            ModelConfig.default(spec), random_arrays(spec),
            folder / f"m{FORMATS[name].suffix}", Options(),
        )
"""
RANDOM = {
    "coreml": {"Manifest.json", "model.mlmodel"},
    "savedmodel": {"fingerprint.pb"},
}
"""Files in which Core ML's and TensorFlow's own programs write random identifiers."""
QUICK = ("onnx", "litert")


def digests(names: tuple[str, ...], folder: Path, seed: int) -> dict[str, str]:
    """Digests of all files of these formats, which a new process writes."""
    environment = os.environ | {"PYTHONHASHSEED": str(seed), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", SCRIPT, str(folder), *names]
    subprocess.run(command, check=True, capture_output=True, timeout=600, env=environment)
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in RANDOM.get(path.relative_to(folder).parts[0], ())
    }


@pytest.mark.parametrize(
    "names",
    [
        QUICK,
        pytest.param(tuple(name for name in FORMATS if name not in QUICK), marks=pytest.mark.slow),
    ],
    ids=["of our own", "of packages"],
)
def test_an_export_has_the_same_bytes_again(names: tuple[str, ...], tmp_path: Path) -> None:
    there = tuple(name for name in names if not FORMATS[name].missing())
    first = digests(there, tmp_path / "first", 1)
    assert {Path(name).parts[0] for name in first} == set(there)
    second = digests(there, tmp_path / "second", 2)
    assert [name for name in first | second if first.get(name) != second.get(name)] == []
    if left := [name for name in names if name not in there]:
        pytest.skip(f"{', '.join(left)}: not installed (extra: export); the others are the same")

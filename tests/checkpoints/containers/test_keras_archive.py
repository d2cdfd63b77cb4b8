""".keras archives: read in place, and those that are not what they say."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.checkpoints.containers.container import Container
from mobilenetv2.checkpoints.containers.hdf5_writer import write_keras3
from mobilenetv2.errors import WeightsError

h5py = pytest.importorskip("h5py", reason="h5py is not installed (extra: keras)")
Open = Callable[[Path], Container]
KERNEL = np.arange(12, dtype=np.float32).reshape(3, 4)
CONFIG = {"class_name": "Functional", "config": {"name": "mobilenetv2"}}


def members() -> dict[str, bytes]:
    return {
        "metadata.json": json.dumps({"keras_version": "3.15.1"}).encode(),
        "config.json": json.dumps(CONFIG).encode(),
        "model.weights.h5": write_keras3([("layers/conv2d", [KERNEL])]),
    }


def archive(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_three_members_are_read(opened: Open, tmp_path: Path, compression: int) -> None:
    found = opened(archive(tmp_path / "a.keras", members(), compression))
    np.testing.assert_array_equal(found.arrays["layers/conv2d/vars/0"], KERNEL, strict=True)
    assert found.metadata["config"] == CONFIG
    assert found.metadata["saved"] == {"keras_version": "3.15.1"}
    assert found.metadata["format"] == "keras-3"


def test_names_of_members_are_never_paths(opened: Open, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    strange = {"../../elsewhere": b"x", str(elsewhere): b"x", "assets/../../elsewhere": b"x"}
    inner = tmp_path / "inner"
    inner.mkdir()
    found = opened(archive(inner / "a.keras", members() | strange))
    assert list(found.arrays) == ["layers/conv2d/vars/0"]
    assert not elsewhere.exists() and sorted(tmp_path.iterdir()) == [inner]


def test_links_inside_the_weights_are_refused(opened: Open, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/hostname", "/")
    path = archive(tmp_path / "a.keras", members() | {"model.weights.h5": buffer.getvalue()})
    with pytest.raises(WeightsError, match="'layers' is a link to another place"):
        opened(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.json": b"import os"}, "its config.json is not JSON"),
        ({"config.json": b"[" * 100_000}, "its config.json is not JSON"),
        ({"config.json": b" " * (17 * 1024**2)}, "its config.json is larger than"),
        ({"model.weights.h5": b"nothing"}, "damaged HDF5 file"),
        ({"assets/zeros": bytes(10**8)}, "'assets/zeros' is declared larger than the file can"),
    ],
)
def test_members_that_lie_are_refused(
    opened: Open, tmp_path: Path, change: dict[str, bytes], message: str
) -> None:
    path = archive(tmp_path / "a.keras", members() | change, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match=message):
        opened(path)


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_missing_member_is_named(opened: Open, tmp_path: Path, name: str) -> None:
    content = {key: data for key, data in members().items() if key != name}
    with pytest.raises(WeightsError, match=f"not a .keras archive: it has no {name}"):
        opened(archive(tmp_path / "a.keras", content))

"""Made-up sets of photos, as a folder or as an archive."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def png() -> Callable[[int], bytes]:
    """A small PNG file by its number: different numbers, different pictures."""

    def make(number: int) -> bytes:
        levels = np.random.default_rng(number).integers(0, 256, (6, 5, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "PNG")
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Mapping[str, bytes]], Path]:
    """Writes files as a new 'folder', 'zip' or 'tar'; a name that ends in '/' is a folder."""

    def make(kind: str, files: Mapping[str, bytes]) -> Path:
        place = tmp_path_factory.mktemp("source") / {"folder": "photos"}.get(kind, f"photos.{kind}")
        if kind == "folder":
            place.mkdir()
            for name, data in files.items():
                path = place / name
                (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
                if not name.endswith("/"):
                    path.write_bytes(data)
        elif kind == "zip":
            with zipfile.ZipFile(place, "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
        else:
            with tarfile.TarFile(place, "w") as tar:
                for name, data in files.items():
                    member = tarfile.TarInfo(name)
                    member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        return place

    return make

"""Reader of a file's container in a process that stays between tests."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.reader import LIBRARIES, LibraryProcess, recognise_kind

Open = Callable[[Path], Container]


@pytest.fixture(scope="session")
def opened(readers: Mapping[str, LibraryProcess]) -> Open:
    """Reads as :func:`read_container` does, with one process for each library."""

    def read(path: Path) -> Container:
        kind = recognise_kind(path)
        return readers[LIBRARIES[kind]].read_container(kind, path)

    return read

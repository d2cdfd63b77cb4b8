"""Readers that stay between tests: importing PyTorch or TensorFlow for each would take minutes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mobilenetv2.checkpoints.containers import Container
from mobilenetv2.checkpoints.containers.reader import LIBRARIES, LibraryProcess, recognise_kind

Open = Callable[[Path], Container]


@pytest.fixture(scope="session")
def opened() -> Iterator[Open]:
    """Reads as :func:`read_container` does, with one process for each library."""
    readers: dict[str, LibraryProcess] = {}
    with ExitStack() as stack:

        def read(path: Path) -> Container:
            kind = recognise_kind(path)
            library = LIBRARIES[kind]
            if library not in readers:
                readers[library] = stack.enter_context(LibraryProcess(library))
            return readers[library].read_container(kind, path)

        yield read

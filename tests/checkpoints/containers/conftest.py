"""Readers that stay between tests: importing PyTorch or TensorFlow for each would take minutes."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def fuzzing() -> ModuleType:
    """benchmarks/fuzz.py, whose mutations and samples the tests share."""
    path = Path(__file__).parents[3] / "benchmarks" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module  # dataclasses look there for their own module
    spec.loader.exec_module(module)
    return module

"""Readers that stay between tests: importing PyTorch or TensorFlow for each would take minutes."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from mobilenetv2.checkpoints.containers.container import Container
from mobilenetv2.checkpoints.containers.isolated import LIBRARIES, Reader
from mobilenetv2.checkpoints.containers.kind import recognise

Open = Callable[[Path], Container]


@pytest.fixture(scope="session")
def opened() -> Iterator[Open]:
    """As :func:`container.read` does for a native reader, with one process for each library."""
    readers: dict[str, Reader] = {}
    with ExitStack() as stack:

        def read(path: Path) -> Container:
            kind = recognise(path)
            library = LIBRARIES[kind]
            if library not in readers:
                readers[library] = stack.enter_context(Reader(library))
            return readers[library].read(kind, path)

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

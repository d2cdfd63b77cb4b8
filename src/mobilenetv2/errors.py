"""The errors a person may see: each is one sentence that says what, where and what to do.

The command line prints the message of any :class:`MobileNetV2Error` without a traceback
and ends with exit status 2.
"""

import importlib
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, cast


class MobileNetV2Error(Exception):
    """Base of every error that is the input's fault, not the program's."""


class SpecError(MobileNetV2Error):
    """A network, preprocessing or label record that cannot be."""


class WeightsError(MobileNetV2Error):
    """Arrays that do not fit the network they are meant for, or a damaged weights file."""


class DialectError(WeightsError):
    """A foreign checkpoint whose naming or layout is not understood."""


class DataError(MobileNetV2Error):
    """A data folder or archive that cannot be trained on or evaluated."""


class ImageError(DataError):
    """One picture that cannot be read; the message begins with its name."""


class ArtifactError(MobileNetV2Error):
    """An exported file or a runtime that cannot be used."""


class RecipeError(MobileNetV2Error):
    """A training recipe with an unknown key or an impossible value."""


class RunError(MobileNetV2Error):
    """A run folder that exists already, does not exist, or cannot be resumed."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C (or SIGTERM) stopped a training run after a step; everything is saved.

    It is a ``KeyboardInterrupt``, so that a loop which skips errors does not skip it.

    Args:
        folder: the run folder, which ``resume`` takes.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        super().__init__(
            f"training was stopped and is saved; to continue, give the same data, output "
            f"{self.folder!r} and resume"
        )

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: one line, for nothing went wrong."""
        return [f"Stopped: {self}"]


class MissingExtra(MobileNetV2Error):
    """A package that an optional part needs is not installed."""


EXTRAS = {
    "torch": "torch",
    "matplotlib": "torch",
    "sklearn": "torch",
    "keras": "keras",
    "tensorflow": "keras",
    "jax": "jax",
    "flax": "jax",
    "optax": "jax",
    "h5py": "keras",
    "huggingface_hub": "hub",
    "ai_edge_litert": "litert",
    "openvino": "openvino",
    "nncf": "openvino",
    "executorch": "export",
    "coremltools": "export",
    "ncnn": "export",
    "pnnx": "export",
    "MNN": "export",
    "psutil": "export",
    "tensorboard": "tensorboard",
}
"""Import name of each optional package -> the extra of this distribution that installs it."""


def installing(packages: Iterable[str]) -> str:
    """Return the command line that installs optional packages.

    Args:
        packages: import names, each in :data:`EXTRAS`.
    """
    extras = sorted({EXTRAS[package] for package in packages})
    return f"pip install 'mobilenetv2[{','.join(extras)}]'"


def disable_telemetry() -> None:
    """Keep dependencies from sending usage data; call this before they are imported.

    ONNX Runtime from 1.29 on writes a device id, an event database and a session file into the
    user's folders as it is imported, and sends from there: only this variable stops that, no
    function does. OpenVINO and NNCF report to their maker unless this package is absent: then stubs
    of their own take its place.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    cast(Any, sys.modules).setdefault("openvino_telemetry", None)


def require(module: str) -> ModuleType:
    """Import a package with its telemetry off, e.g. ``require("matplotlib.pyplot")``.

    Raises:
        MissingExtra: an optional package is absent; the message has the line that installs it.
    """
    package = module.partition(".")[0]
    disable_telemetry()
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package or package not in EXTRAS:
            raise  # something is broken: not ours to reword
        raise MissingExtra(
            f"{package} is not installed and this needs it; "
            f"install it with: {installing([package])}"
        ) from None
    return importlib.import_module(module)

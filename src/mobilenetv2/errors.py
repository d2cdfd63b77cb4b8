"""Errors for users: each message is one sentence with what is wrong, where, and what to do.

The command line prints the message of any :class:`MobileNetV2Error` without a traceback and ends
with exit status 2.
"""

import errno
import importlib
import os
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from types import ModuleType
from typing import Any, cast, final

from mobilenetv2 import text


class MobileNetV2Error(Exception):
    """Base of all errors whose cause is the input, not the program.

    Args:
        message: the sentence, which may quote names from foreign files; what a terminal would obey
            is replaced, and its length is bounded.
    """

    told: bool = False
    """True if another process prints the message, of those that train together."""

    def __init__(self, message: str = "") -> None:
        super().__init__(text.message(str(message)))

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by __init__, since a class may be made of something else than its message.
        return _made_again, (type(self), *self.args), self.__dict__


def _made_again(kind: type[MobileNetV2Error], *args: object) -> MobileNetV2Error:
    return kind.__new__(kind, *args)


class SpecError(MobileNetV2Error):
    """An impossible network, preprocessing or label record."""


class WeightsError(MobileNetV2Error):
    """Arrays that do not fit their network, or a damaged weights file."""


class DialectError(WeightsError):
    """A foreign checkpoint whose names or layout are not supported."""


class DataError(MobileNetV2Error):
    """A data folder or archive that cannot be used for training or evaluation."""


@final
class ImageError(DataError):
    """An image that cannot be read; the message begins with its name.

    It is final, so that ``if answer.error:`` tells a type checker which result it has.
    """


class ArtifactError(MobileNetV2Error):
    """An exported file or a runtime that cannot be used."""


@final
class OutputError(ArtifactError):
    """Outputs of a model that are not finite numbers; the message names its file."""


class RecipeError(MobileNetV2Error):
    """A training recipe with an unknown key or an impossible value."""


class RunError(MobileNetV2Error):
    """A run folder that already exists, does not exist, or cannot be resumed."""


class StudyError(MobileNetV2Error):
    """A study that is unknown, cannot be resumed, or has cases that failed."""


class InUse(MobileNetV2Error):
    """A run folder or an output that another process is writing."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C (or SIGTERM) stopped work that can be resumed; what was done is saved.

    The work is a training run, a study or a file of answers. The error is a ``KeyboardInterrupt``,
    so that a loop which skips errors does not skip it.

    Args:
        folder: the folder of the run or the study, or the file, which ``resume`` takes.
        said: what was stopped and is saved, and what to give again.
    """

    def __init__(
        self, folder: str | os.PathLike[str],
        said: str = "training was stopped and is saved; to continue, give the same data",
    ) -> None:  # fmt: skip
        self.folder, self._said = os.fspath(folder), said
        super().__init__(
            f"{said}, {argument('output', self.folder)} and {argument('resume', True)}"
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.folder, self._said)  # its text is not its argument

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: one line, for nothing went wrong."""
        return [f"Stopped: {self}"]


class MissingExtra(MobileNetV2Error):
    """A package that is not installed and that an optional feature needs."""


EXTRAS = {
    "torch": "torch",
    "matplotlib": "torch",
    "sklearn": "torch",
    "scipy": "torch",
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
    "pi_heif": "heic",
    "pyarrow": "parquet",
    "zstandard": "zstd",
    "fsspec": "remote",
    "ray": "ray",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
}
"""Extra of this distribution that installs an optional package, by the package's import name."""


_DISK = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "; free some space or choose another folder"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "; choose a folder that you may write to"
    ),
    errno.EISDIR: "; give the name of a file",
    errno.ENOTDIR: "; give a folder, or the name of a new one",
}
"""Advice by error number of the operating system."""


def disk_sentence(error: OSError) -> str:
    """Return an error of the operating system in one sentence: the place, what and what to do."""
    named = error.filename  # a number, where a library opened what was open already
    place = f"{os.fsdecode(named)}: " if isinstance(named, str | bytes | os.PathLike) else ""
    return f"{place}{error.strerror or error}{_DISK.get(error.errno or 0, '')}"


_OPTIONS = {"changes": "set", "origins": "origin", "hosts": "host-name"}
"""Options of another name than their argument."""
_typed_as_options = ContextVar("typed_as_options", default=False)


class OptionsInMessages:
    """Context in which messages write arguments as the command line's options.

    It is a class, since ``contextlib`` would take 4% of the time of ``import mobilenetv2``.
    """

    def __enter__(self) -> None:
        self._token = _typed_as_options.set(True)

    def __exit__(self, *_: object) -> None:
        _typed_as_options.reset(self._token)


def argument(name: str, value: object = None) -> str:
    """Return an argument as its user types it, for a message.

    Args:
        name: the argument of a public function, such as 'find_rate'.
        value: the value to give; None names the argument alone.

    Returns:
        ``find_rate=True`` in Python, ``--find-rate`` on the command line.
    """
    if not _typed_as_options.get():
        return name if value is None else f"{name}={value!r}"
    option = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
    return option if value is None or value is True else f"{option} {value}"


def recipe_key(key: str, value: object) -> str:
    """Return the change of a recipe's key as its user types it, for a message."""
    if _typed_as_options.get():
        return f"--set {key}={value}"
    return f"changes={{{key!r}: {value!r}}}"


def importing(file: str | os.PathLike[str], output: str) -> str:
    """Return the call that imports a checkpoint as its user types it, for a message."""
    if _typed_as_options.get():
        return f"'mobilenetv2 weights import {os.fspath(file)} {output}'"
    return f"mobilenetv2.import_checkpoint({os.fspath(file)!r}, output={output!r})"


def installing(packages: Iterable[str]) -> str:
    """Return the command line that installs optional packages, from where this package came.

    Args:
        packages: import names, each in :data:`EXTRAS`.
    """
    from mobilenetv2 import installation  # for an error only: most processes never need it

    return installation.command(EXTRAS[package] for package in packages)


def disable_telemetry() -> None:
    """Keep dependencies from sending usage data; call this before they are imported.

    ONNX Runtime from 1.29 on writes a device id, an event database and a session file into the
    user's folders when it is imported, and sends data from there. Only this variable prevents it;
    there is no function for it. OpenVINO and NNCF send data to their maker through a package of its
    own; without it they use stubs.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    cast(Any, sys.modules).setdefault("openvino_telemetry", None)


def require(module: str) -> ModuleType:
    """Import a package with its telemetry off, e.g. ``require("matplotlib.pyplot")``.

    Raises:
        MissingExtra: an optional package is not installed; the message has the command that
            installs it.
    """
    package = module.partition(".")[0]
    disable_telemetry()
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package or package not in EXTRAS:
            raise  # a broken installation: its own message is better
        raise MissingExtra(
            f"{package} is not installed and this needs it; "
            f"install it with: {installing([package])}"
        ) from None
    return importlib.import_module(module)

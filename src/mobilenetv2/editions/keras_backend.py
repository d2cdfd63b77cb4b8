"""Choice of the Keras backend: one per process, before Keras is imported.

Two editions use it: ``keras`` and the article's Keras version.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from mobilenetv2.errors import MissingExtra, MobileNetV2Error, installing, require
from mobilenetv2.process import suppress_native_output

Backend = Literal["tensorflow", "jax", "torch"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
VARIABLE = "KERAS_BACKEND"


def choose(backend: str | None = None) -> str:
    """Import Keras on a backend and return the backend's name.

    Args:
        backend: 'tensorflow', 'jax' or 'torch'. Default: ``KERAS_BACKEND``, else Keras's
            configuration file, else the first of :data:`BACKENDS` that is installed. Keras alone
            would always take TensorFlow.

    Raises:
        MobileNetV2Error: the backend is unknown, or Keras already runs on another one.
        MissingExtra: Keras or the backend is not installed.
    """
    if backend is not None:
        _check(backend, "Keras backend")
    if "keras" in sys.modules:
        running: str = require("keras.backend").backend()
        _check(running, "Keras already runs in this process, and its backend")
        if backend not in (None, running):
            raise MobileNetV2Error(
                f"Keras already runs on {running} in this process and can have one backend only; "
                f"for {backend}, start a new process, or set {VARIABLE}={backend} before Keras "
                "is imported"
            )
        return running
    if find_spec("keras") is None:
        require("keras")  # raises with the install command
    backend = backend or os.environ.get(VARIABLE) or _configured() or _installed()
    _check(backend, f"the environment variable {VARIABLE}: Keras backend")
    if find_spec(backend) is None:
        raise MissingExtra(
            f"Keras's backend {backend} is not installed; install it with: "
            f"{installing([backend])}, "
            f"or choose another of {', '.join(BACKENDS)} with {VARIABLE}"
        )
    os.environ[VARIABLE] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no messages at the start
    with suppress_native_output():  # TensorFlow's native part greets all the same
        require("keras")
    return backend


def _check(backend: str, what: str) -> None:
    """Raise if a backend is unknown: Keras has others, such as 'numpy', which cannot train."""
    if backend not in BACKENDS:
        raise MobileNetV2Error(
            f"{what} {backend!r} is unknown here; known are: {', '.join(BACKENDS)}"
        )


def _configured() -> str | None:
    """Return the backend of Keras's configuration file, or None if it is not installed."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        found = json.loads((home / "keras.json").read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return found if found in BACKENDS and find_spec(found) else None


def _installed() -> str:
    return next((name for name in BACKENDS if find_spec(name)), BACKENDS[0])

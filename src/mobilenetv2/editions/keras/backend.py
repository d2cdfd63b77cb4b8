"""Which framework Keras computes with: one for a process, chosen before Keras is imported."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from mobilenetv2.errors import MissingExtra, MobileNetV2Error, require

Backend = Literal["tensorflow", "jax", "torch"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def choose(backend: str | None = None) -> str:
    """Import Keras on a backend, and say which it is.

    Args:
        backend: None takes that of ``KERAS_BACKEND``, else of Keras's configuration file, else
            the first installed of :data:`BACKENDS`; Keras itself would insist on TensorFlow.

    Raises:
        MobileNetV2Error: no such backend, or Keras already runs on another.
        MissingExtra: Keras or the backend is not installed.
    """
    if backend is not None and backend not in BACKENDS:
        raise MobileNetV2Error(
            f"Keras backend {backend!r} is unknown; known are: {', '.join(BACKENDS)}"
        )
    if "keras" in sys.modules:
        running: str = require("keras.backend").backend()
        if backend not in (None, running):
            raise MobileNetV2Error(
                f"Keras already runs on {running} in this process and can have one backend only; "
                f"for {backend} start a new process, or set KERAS_BACKEND={backend} before Keras "
                "is imported"
            )
        return running
    if find_spec("keras") is None:
        require("keras")  # raises, with the line that installs it
    wanted = backend or os.environ.get("KERAS_BACKEND") or _configured() or _installed()
    if find_spec(wanted) is None:
        raise MissingExtra(
            f"Keras's backend {wanted} is not installed; install it with: pip install {wanted}, "
            f"or choose another of {', '.join(BACKENDS)} with KERAS_BACKEND"
        )
    os.environ["KERAS_BACKEND"] = wanted
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's greetings on stderr
    require("keras")
    return wanted


def _configured() -> str | None:
    """The backend of Keras's configuration file, which Keras writes by itself: if installed."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        found = json.loads((home / "keras.json").read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and find_spec(found) else None


def _installed() -> str:
    return next((name for name in BACKENDS if find_spec(name)), BACKENDS[0])

"""Functions ``mn.serve`` and ``mn.app``: models behind HTTP."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mobilenetv2.errors import require
from mobilenetv2.networks.given_model import AnyModel
from mobilenetv2.progress import say
from mobilenetv2.runtime.given_options import GivenLabels, GivenPreprocessing, given_options
from mobilenetv2.spec.records import Resize

if TYPE_CHECKING:
    from mobilenetv2.serving.app import Application

Models = AnyModel | Sequence[AnyModel] | Mapping[str, AnyModel]
"""A model, several, or several by name."""


def serve(
    models: Models,
    *,
    runtime: str | None = None,
    fast_decode: bool = False,
    labels: GivenLabels | None = None,
    preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None,
    **settings: Any,
) -> None:
    """Serve models over HTTP until SIGTERM or Ctrl-C; what was accepted is answered.

    ``GET /docs`` lists the routes: ``POST /predict`` takes photos.

    Args:
        models: model folder, exported file, catalogue name, ``hf://OWNER/NAME``, network of any
            edition or run; a list of these, of which texts may be 'NAME=MODEL'; or a dictionary of
            names. The first one answers where a request names none.
        runtime: runtime of the computation; default: each model's default.
        fast_decode: True to decode JPEG files no larger than the network needs.
        labels: for a file of another program: as :class:`runtime.classifier.Classifier` takes it.
        preprocessing: for such a file, the same.
        resize: for such a file, the same.
        settings: fields of :class:`serving.settings.Settings`, such as ``port=8000``, ``workers=2``
            or ``tokens="tokens.txt"``. The environment variable MOBILENETV2_SERVE_NAME sets one
            that is not given.

    Raises:
        MissingExtra: the extra ``serve`` is not installed.
        WeightsError, ArtifactError, SpecError: a model cannot be found, read or run.
        MobileNetV2Error: a setting is unknown or impossible, or the port is in use.
        KeyboardInterrupt: Ctrl-C.

    Example:
        >>> import mobilenetv2 as mn
        >>> mn.serve("embedded", port=99999)
        Traceback (most recent call last):
            ...
        mobilenetv2.errors.MobileNetV2Error: port 99999 must be from 0 to 65535
    """
    application = app(
        models, runtime=runtime, fast_decode=fast_decode, labels=labels,
        preprocessing=preprocessing, resize=resize, **settings,
    )  # fmt: skip
    from mobilenetv2.serving.page_files import missing_vendor
    from mobilenetv2.serving.server import run

    if application.settings.page and (lacking := missing_vendor()):
        say(f"note: {lacking}")
    run(application, application.settings)


def app(
    models: Models,
    *,
    runtime: str | None = None,
    fast_decode: bool = False,
    labels: GivenLabels | None = None,
    preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None,
    **settings: Any,
) -> "Application":
    """Return an ASGI application that serves models, to be run by any ASGI server or mounted.

    ``host`` and ``port`` among the settings only choose the names by which callers may address it;
    ``hosts`` sets them.

    Args:
        models: models, as :func:`serve` takes them.
        runtime: runtime of the computation; default: each model's default.
        fast_decode: True to decode JPEG files no larger than the network needs.
        labels: labels of a file of another program, as for :func:`serve`.
        preprocessing: preprocessing of such a file.
        resize: resize of such a file.
        settings: fields of :class:`serving.settings.Settings`.

    Raises:
        MobileNetV2Error: as :func:`serve`, before anything starts.

    Example:
        >>> import mobilenetv2 as mn
        >>> application = mn.app({"small": "embedded"})
        >>> [model.name for model in application.models]
        ['small']
    """
    for package in ("starlette", "uvicorn", "prometheus_client", "python_multipart"):
        require(package)
    from mobilenetv2.serving.app import Application
    from mobilenetv2.serving.models import served_models
    from mobilenetv2.serving.settings import settings_of, tokens_of

    chosen = settings_of(settings)
    tokens = tokens_of(chosen)
    given = given_options(labels, preprocessing, resize)
    with ExitStack() as stack:
        served = served_models(models, stack, runtime, given)
        return Application(served, chosen, tokens, stack.pop_all(), fast_decode)

"""Models that a server answers with, and their names."""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.model.outputs import require_answers
from mobilenetv2.networks.given_model import AnyModel, located
from mobilenetv2.runtime.loading import config_of
from mobilenetv2.serving.computing.compute import digest_of, given_values
from mobilenetv2.spec.foreign import NOTHING, AnyConfig, ForeignConfig, Given
from mobilenetv2.text import quoted

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


@dataclass(frozen=True, slots=True)
class Served:
    """A model with its name in requests."""

    name: str
    place: Path
    config: AnyConfig
    digest: str
    """Checksum of its files, so that none is answered with that have changed."""
    runtime: str | None
    given: Given = NOTHING

    @property
    def explains(self) -> bool:
        """True if heat maps can be drawn of it: its feature map is at hand."""
        own = not isinstance(self.config, ForeignConfig)
        return own and (self.place.is_dir() or self.place.suffix.lower() == ".onnx")

    def job(self) -> dict[str, Any]:
        """Return what a process needs to load it, as plain values for JSON."""
        return {
            "name": self.name, "place": str(self.place), "runtime": self.runtime,
            "given": given_values(self.given), "digest": self.digest,
        }  # fmt: skip


def named(word: str) -> tuple[str | None, str]:
    """Return the name and the model of 'NAME=MODEL' or 'MODEL'; an existing path has no name."""
    name, equals, model = word.partition("=")
    if not equals or Path(word).exists() or not re.fullmatch(NAME, name):
        return None, word
    return name, model


def served_models(
    models: AnyModel | Sequence[AnyModel] | Mapping[str, AnyModel],
    stack: ExitStack,
    runtime: str | None = None,
    given: Given = NOTHING,
) -> list[Served]:
    """Return the models of a server, the first of which answers where a request names none.

    Args:
        models: a model, several, or several by name; a text may be 'NAME=MODEL'.
        stack: context that keeps networks in memory as temporary model folders.
        runtime: name of the engine; None for each model's default.
        given: options of the user about a foreign file; for one model only.

    Raises:
        MobileNetV2Error: there is no model, a name is impossible or there twice, or a model cannot
            be found or read.
    """
    pairs: list[tuple[str | None, AnyModel]]
    if isinstance(models, Mapping):
        pairs = [(name, model) for name, model in models.items()]
    else:
        every = list(models) if isinstance(models, list | tuple) else [models]
        pairs = [named(model) if isinstance(model, str) else (None, model) for model in every]
    if not pairs:
        raise MobileNetV2Error("no model to serve; give at least one, such as runs/shoes/best")
    if given and len(pairs) > 1:
        raise MobileNetV2Error(
            "labels, preprocessing and resize are for one model; serve it alone, or import it with "
            "'mobilenetv2 weights import'"
        )
    found: list[Served] = []
    for name, model in pairs:
        one = stack.enter_context(located(model))
        name = one.title if name is None else name
        if not re.fullmatch(NAME, name):
            raise MobileNetV2Error(
                f"model name {name!r}: a name has letters, digits, '.', '_' and '-', 64 at most; "
                "give it as NAME=MODEL"
            )
        if name in [other.name for other in found]:
            raise MobileNetV2Error(
                f"two models are called {name!r}; give them names of their own: NAME=MODEL"
            )
        place = one.place.resolve()
        before = digest_of(place)
        config = config_of(place, given)
        require_answers(config, one.name)
        found.append(Served(name, place, config, before, runtime, given))
    return found


def find(models: Sequence[Served], name: str | None) -> Served | None:
    """Return the model of a name, or the first one without a name; None if there is none."""
    if name is None:
        return models[0]
    return next((model for model in models if model.name == name), None)


def known_names(models: Sequence[Served]) -> str:
    """Return the names of models, for a message."""
    return quoted([model.name for model in models])

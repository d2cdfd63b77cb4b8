"""A class of a model, as a person names it on a command line."""

import difflib

from mobilenetv2.errors import DataError
from mobilenetv2.evaluate.matching import match
from mobilenetv2.spec.records import Labels

MOST_NAMED = 10
"""Classes that an error names."""


def class_of(name: str, labels: Labels) -> int:
    """The output that a person means: by label, a synonym of it, WordNet id or index.

    Raises:
        DataError: no class, or two.
    """
    try:
        return match((name,), labels, "--class")[0]
    except DataError:
        same = [i for i, label in enumerate(labels.names) if name.casefold() in _synonyms(label)]
        if len(same) > 1:
            raise DataError(
                f"--class {name}: the name of {len(same)} classes; say which by index: "
                f"{' or '.join(map(str, same))}"
            ) from None
        known = {synonym for label in labels.names for synonym in _synonyms(label)}
        near = difflib.get_close_matches(name.casefold(), sorted(known), n=1)
        some = ", ".join(labels.names[:MOST_NAMED]) + ", ..." * (len(labels) > MOST_NAMED)
        hint = f"did you mean {near[0]!r}?" if near else f"its classes are: {some}"
        raise DataError(
            f"--class {name}: no class of the model by label, WordNet id or index; {hint}"
        ) from None


def _synonyms(label: str) -> list[str]:
    return [synonym.strip().casefold() for synonym in label.split(",")]

"""Kinds of files that are recognised and not read: one sentence that says what each is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A recognisable kind of file."""

    title: str
    """Name of the kind, for the table in the documentation."""
    sentence: str
    """Sentence for messages: what the file is, and what to do instead."""


KINDS: dict[str, Kind] = {
    "edge-tpu": Kind(
        "LiteRT compiled for the Edge TPU (`*_edgetpu.tflite`)",
        "a LiteRT file compiled for Google's Edge TPU, whose operators only that chip runs; use "
        "the .tflite file that it was compiled from",
    ),
}
"""Kinds by their keys."""


def sentence(key: str) -> str:
    """Return the sentence of a kind."""
    return KINDS[key].sentence

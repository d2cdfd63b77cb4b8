"""Options about a foreign file as users give them: labels, preprocessing, resize."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias, get_args

from mobilenetv2.errors import ArtifactError, argument
from mobilenetv2.spec.foreign import Given
from mobilenetv2.spec.mapping import suggestion
from mobilenetv2.spec.records import Labels, Preprocessing, Resize

GivenLabels: TypeAlias = Labels | str | PathLike[str] | Sequence[str]
"""Labels, their names in the order of the outputs, or the path of a file with them."""
GivenPreprocessing: TypeAlias = Preprocessing | str | PathLike[str]
"""Preprocessing, or its name, or the path of a file with it."""


def given_options(
    labels: GivenLabels | None = None,
    preprocessing: GivenPreprocessing | None = None,
    resize: Resize | None = None,
) -> Given:
    """Return the options of a user as a record.

    Raises:
        DialectError: the file of labels cannot be read, or a name occurs twice.
        ArtifactError: the resize is unknown.
        OSError: the file of labels cannot be opened.
    """
    known = get_args(Resize)
    if resize is not None and resize not in known:
        raise ArtifactError(
            f"{argument('resize')} {resize!r} is unknown; {suggestion(resize, known)}"
        )
    if isinstance(labels, str | PathLike):
        from mobilenetv2.checkpoints.labels import read_label_file

        labels = read_label_file(Path(labels))
    elif labels is not None:
        from mobilenetv2.checkpoints.labels import labels_of

        labels = labels if isinstance(labels, Labels) else labels_of(Labels.of(labels).names)
    if isinstance(preprocessing, PathLike):
        preprocessing = fspath(preprocessing)
    return Given(labels, preprocessing, resize)

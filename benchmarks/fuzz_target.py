"""Target of fuzzing: a real file, the part of it that is mutated, and what reads the result."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class WrongAnswer(Exception):
    """Result of an attempt that neither refused a file nor understood it: an answer that lies."""


@dataclass(frozen=True, slots=True)
class Target:
    """Real file whose mutations are read, one after another, in a process of their own.

    A mutation may be read, or refused by a :class:`mobilenetv2.errors.MobileNetV2Error` or an
    ``OSError``. Every other exception, and every end of the process, is a crash.
    """

    title: str
    """Name in the table of results."""
    path: Path
    """File that each mutation replaces."""
    piece: bytes
    """Content that is mutated."""
    attempt: Callable[[], object]
    """Read the file at ``path`` as a user's command would; return what was read."""
    wrap: Callable[[bytes], bytes] = bytes
    """Return the file of a mutated piece, with right seals and checksums, as an attacker would."""
    mutate: Callable[[bytes, int], bytes] | None = None
    """Return a damaged piece, the same one for the same seed; None: as the harness does."""
    memory: Callable[[], int] | None = None
    """Return the bytes that the last attempt took, if it reads in a process of its own already.

    None: each attempt is made in a fork, whose memory is measured.
    """

"""Numbers and names as text for people, and numbers for JSON."""

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

SHOWN = 5
"""Maximum number of names that a sentence quotes."""


def percent(value: float, digits: int = 1) -> str:
    """Return a fraction as '92.1%', or '-' for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}%}"


def interval(bounds: tuple[float, float], digits: int = 1) -> str:
    """Return the two ends of an interval of fractions as '84.9% to 91.2%'."""
    return f"{bounds[0]:.{digits}%} to {bounds[1]:.{digits}%}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: '1 photo', '2,000 photos', '3 classes'."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def quoted(names: Sequence[str]) -> str:
    """Return the first :data:`SHOWN` names in quotes: "'a', 'b' ..." if there are more."""
    return ", ".join(map(repr, names[:SHOWN])) + (" ..." if len(names) > SHOWN else "")


def listed(names: Sequence[str], most: int) -> str:
    """Return names as 'a', 'a and b', 'a, b and c' or 'a, b and 3 more'.

    Args:
        most: maximum number of names.
    """
    more = len(names) - most
    parts = [*names[:most], f"{more} more"] if more > 0 else list(names)
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def duration(seconds: float) -> str:
    """Return a time as '45 seconds', '12.8 minutes' or '3.2 hours'."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def visible(text: str) -> str:
    """Replace control characters and unpaired surrogates, for HTML and terminals.

    Bytes of a file's name that are no text are shown as :func:`escaped` writes them.
    """
    shown = _bytes_shown(text)
    kept = (c if c.isprintable() or c in "\n\t" or ord(c) >= 0xA0 else "\ufffd" for c in shown)
    return "".join(kept).encode("utf-8", "replace").decode("utf-8")


def escaped(name: str | os.PathLike[str]) -> str:
    r"""Return a file's name as text that every file can hold, and from which it can be read back.

    A byte of a name that is not UTF-8 is written as ``\xe9``: a backslash, an x and two hexadecimal
    digits in lower case. A backslash that would be read as such is written as ``\x5c``. All other
    names stay as they are.

    Args:
        name: a name as Python gives it, such bytes being unpaired surrogates.
    """
    text = re.sub(r"\\(?=x[0-9a-f]{2})", r"\\x5c", os.fspath(name))
    return _bytes_shown(text)


def _bytes_shown(text: str) -> str:
    return re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)


def unescaped(text: str) -> str:
    """Return the name that :func:`escaped` has written, as Python's functions take it."""
    parts = re.split(r"\\x([0-9a-f]{2})", text)
    data = [
        bytes.fromhex(part) if place % 2 else part.encode("utf-8", "surrogateescape")
        for place, part in enumerate(parts)
    ]
    return b"".join(data).decode("utf-8", "surrogateescape")


def first_line(error: object) -> str:
    """Return the first line of an error's text; later lines of libraries' errors are internals."""
    return str(error).strip().partition("\n")[0]


def finite(value: float) -> float | None:
    """Return a number for JSON: None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def json_text(value: object, **how: Any) -> str:
    """Return a value as JSON: NaN and infinity, which JSON does not have, become null.

    Args:
        value: plain values.
        how: options of ``json.dumps``.
    """
    return json.dumps(_without_gaps(value), allow_nan=False, **how)


def _without_gaps(value: object) -> object:
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, dict):
        return {key: _without_gaps(one) for key, one in value.items()}
    return [*map(_without_gaps, value)] if isinstance(value, list | tuple) else value


def plain(record: object, *names: str) -> dict[str, object]:
    """Return fields of a record for JSON: tuples become lists, NaN and infinity become None."""
    values = {name: getattr(record, name) for name in names}
    for name, value in values.items():
        if isinstance(value, float | tuple):
            values[name] = finite(value) if isinstance(value, float) else list(value)
    return values


def several(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return one name or path, or several, as a list of texts."""
    if isinstance(given, str | os.PathLike):
        return [os.fspath(given)]
    return [os.fspath(one) for one in given]


def nearest(word: str, names: Iterable[str]) -> list[str]:
    """Return the name that is most like a mistyped word, as a list of one, or an empty list."""
    from difflib import get_close_matches  # for a mistake only: most processes never need it

    return get_close_matches(word, [*names], n=1)

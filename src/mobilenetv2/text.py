"""Numbers and names as text for people, and numbers for JSON."""

import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

SHOWN = 5
"""Maximum number of names that a sentence quotes."""
LONGEST_NAME = 300
"""Maximum number of characters of a name that a message shows; a file's name has at most 255."""
MOST_TABLE_LINES = 100
LONGEST_LINE = 9_000
"""Maximum number of characters of a line: two paths of 4,096 characters and a sentence."""


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
    return ", ".join(repr(shortened(name)) for name in names[:SHOWN]) + (
        " ..." if len(names) > SHOWN else ""
    )


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


_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
    # A joiner belongs between letters of Persian or Hindi and between parts of an emoji.
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
"""Characters that a terminal obeys, that turn the direction of text, or that nobody sees."""
_TABLE_LINE = r"\n(?=[-+!] |\.\.\. and )"
"""Start of a line of a table of tensors, which may follow the sentence of a message."""
_LONG_WORD = rf"[^\s/\\]{{{LONGEST_NAME + 1},}}"


def visible(text: str) -> str:
    """Replace what is no visible character with U+FFFD; line breaks and tabs stay.

    Control characters, marks that turn the direction of text, invisible characters and separators
    of lines are replaced. Bytes of a file's name that are no text are shown as :func:`escaped`
    writes them.
    """
    return re.sub(_UNSAFE, lambda found: _replaced(found[0]), encodable(text))


def _replaced(character: str) -> str:
    return character if character in "\n\t" else "\ufffd"


def line(text: str, most: int = LONGEST_LINE) -> str:
    """Return text as one line for a terminal: visible, and of bounded length.

    A word that is longer than every name of a file is cut in the middle, so that both ends of the
    sentence stay.

    Args:
        text: any text, also with names from foreign files.
        most: maximum number of characters.
    """
    if len(text) > 4 * most:  # bounds the work, too
        text = shortened(text, 4 * most)
    shown = re.sub(_UNSAFE, "\ufffd", encodable(text))
    shown = re.sub(_LONG_WORD, lambda found: shortened(found[0]), shown)
    return shortened(shown, most)


def message(text: str) -> str:
    """Return an error's message: a :func:`line`, and behind it the lines of a table of tensors.

    Such a line begins with '- ', '+ ' or '! ', so that no foreign name can begin another message.
    """
    first, *rows = re.split(_TABLE_LINE, text, maxsplit=MOST_TABLE_LINES)
    return "\n".join([line(first), *(line(row, 2 * LONGEST_NAME) for row in rows)])


def shortened(text: str, most: int = LONGEST_NAME) -> str:
    """Return text with its middle replaced by an ellipsis if it has too many characters.

    Args:
        text: a name, or a sentence.
        most: maximum number of characters of the result, at least 3.
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 3
    return f"{text[: most - 1 - end]}\u2026{text[-end:]}"


def escaped(name: str | os.PathLike[str]) -> str:
    r"""Return a file's name as text that every file can hold, and from which it can be read back.

    A byte of a name that is not UTF-8 is written as ``\xe9``: a backslash, an x and two hexadecimal
    digits in lower case. Half of a UTF-16 pair, which Windows allows in a name, is written as
    ``\ud83d``. A backslash that would be read as one of these is written as ``\x5c``. All other
    names stay as they are.

    Args:
        name: a name as Python gives it, such bytes and halves being unpaired surrogates.
    """
    return encodable(re.sub(r"\\(?=x[0-9a-f]{2}|ud[89a-f][0-9a-f]{2})", r"\\x5c", os.fspath(name)))


def encodable(text: str) -> str:
    """Return text whose unpaired surrogates are written as :func:`escaped` writes them.

    Bytes that are letters in UTF-8 become these: in the C locale, Python may take none for text.
    """
    if text.isascii():
        return text
    return re.sub("[\ud800-\udfff]", escape_of, re.sub("[\udc80-\udcff]+", _letters, text))


def _letters(found: re.Match[str]) -> str:
    return found[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def escape_of(found: re.Match[str]) -> str:
    r"""Return the escape of a character that was found: ``\xe9`` for a byte that is no text.

    Other characters are written as ``\ud83d`` or ``\U0001f600``.
    """
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unescaped(text: str) -> str:
    """Return the name that :func:`escaped` has written, as Python's functions take it.

    Where Python takes file names for another encoding than UTF-8, such as in the C locale, letters
    become the bytes that this encoding has for none.
    """
    # Bytes in a row may be the parts of one letter.
    parts = re.split(r"((?:\\x[0-9a-f]{2})+|\\ud[89a-f][0-9a-f]{2})", text)
    for place, part in enumerate(parts):
        if place % 2 and part.startswith("\\u"):
            parts[place] = chr(int(part[2:], 16))
        elif place % 2:
            data = bytes.fromhex(part.replace("\\x", ""))
            parts[place] = data.decode("utf-8", "surrogateescape")
    name = "".join(parts)
    if sys.getfilesystemencoding() == "utf-8":
        return name
    return re.sub(r"[^\x00-\x7f\ud800-\udfff]+", lambda run: os.fsdecode(run[0].encode()), name)


_FORMULA = "'*[=+\\-@\t\r\n\uff0b\uff0d\uff1d\uff20]"
"""Start of a cell that a spreadsheet may compute, or of one that :func:`csv_text` has marked."""


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV that a spreadsheet shows as it is, and computes nothing from.

    A text that begins with ``=``, ``+``, ``-``, ``@`` (or their full-width forms), a tab or a line
    break gets an apostrophe before it, also if there are apostrophes before that character.
    Numbers stay numbers. :func:`csv_records` takes the apostrophe away again.

    Args:
        columns: names of the columns.
        rows: cells of each row, texts or numbers.
    """
    return csv_rows((columns, *rows))


def csv_rows(rows: Iterable[Iterable[object]]) -> str:
    """Return rows of a table as :func:`csv_text` writes them, to be added to it."""
    import csv
    import io

    def written(cell: object) -> object:
        if not isinstance(cell, str):
            return cell
        return encodable(f"'{cell}" if re.match(_FORMULA, cell) else cell)

    buffer = io.StringIO()
    # With "\n" as the end of a line, it would not quote a "\r" in a cell.
    writer = csv.writer(buffer, lineterminator="\r\n")
    lines = []
    for row in rows:
        writer.writerow(map(written, row))
        lines.append(buffer.getvalue().removesuffix("\r\n"))
        buffer.seek(0)
        buffer.truncate()
    return "\n".join([*lines, ""])


def csv_records(text: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that :func:`csv_text` has written, by the names of the columns.

    A row that is too short has no entry for its last columns.

    Raises:
        csv.Error: a field is too long, or a quote is in a wrong place.
    """
    import csv
    import io

    reader = csv.reader(io.StringIO(text, newline=""))
    columns = next(reader, [])
    for row in filter(None, reader):
        cells = (cell[1:] if cell[:1] == "'" and re.match(_FORMULA, cell) else cell for cell in row)
        yield dict(zip(columns, cells, strict=False))


def first_line(error: object) -> str:
    """Return the first line of an error's text; later lines of libraries' errors are internals."""
    return line(str(error).strip().partition("\n")[0])


def finite(value: float) -> float | None:
    """Return a number for JSON: None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def json_text(value: object, **how: Any) -> str:
    """Return a value as JSON that every file and terminal can take.

    NaN and infinity, which JSON does not have, become null. What a terminal would obey has JSON's
    own escapes. Unpaired surrogates, which are no text, are written as :func:`escaped` writes them.

    Args:
        value: plain values.
        how: options of ``json.dumps``.
    """
    import json  # for results only: most processes never need it

    return re.sub(_UNSAFE, _escaped, json.dumps(_for_json(value), allow_nan=False, **how))


def _escaped(found: re.Match[str]) -> str:
    import json

    return found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1]


def _for_json(value: object) -> object:
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {_for_json(key): _for_json(one) for key, one in value.items()}
    return [*map(_for_json, value)] if isinstance(value, list | tuple) else value


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

"""An MNN file that was exported here: a flatbuffer, and the seal behind it."""

import struct
from pathlib import Path

from mobilenetv2.errors import ArtifactError
from mobilenetv2.model import seal
from mobilenetv2.runtime.artifact import config_inside, contents
from mobilenetv2.runtime.engine import Artifact


def read(path: Path) -> Artifact:
    """The graph and the config inside it.

    Raises:
        ArtifactError: not an MNN file, somebody else's, damaged, or changed.
    """
    data = contents(path)
    try:
        note = first_string(data)
    except (struct.error, UnicodeDecodeError):
        raise ArtifactError(f"{path}: not an MNN file, or damaged") from None
    # Others write a word there, or nothing.
    config = config_inside(note if note.startswith("{") else None, path)
    seal.check(data, str(path))
    return Artifact(config, "mnn", data, str(path))


def first_string(data: bytes) -> str:
    """A flatbuffer's first field, where it is a string; '' where it is left out.

    In MNN's that is ``bizCode``, a note to whoever runs the network.

    Raises:
        struct.error, UnicodeDecodeError: no flatbuffer.
    """

    def number(kind: str, at: int) -> int:
        if at < 0:
            raise struct.error("before the file")
        found: int = struct.unpack_from(kind, data, at)[0]
        return found

    table = number("<I", 0)
    fields = table - number("<i", table)  # where the table says what it has
    size = number("<H", fields)
    offset = number("<H", fields + 4) if size > 4 else 0
    if offset == 0:
        return ""
    at = table + offset
    at += number("<I", at)
    (text,) = struct.unpack_from(f"{number('<I', at)}s", data, at + 4)
    return bytes(text).decode("utf-8")

"""Exported files close with the SHA-256 of all before it: what was changed since is not run.

A file of ours says in its metadata what it takes and what its outputs mean. The seal ties the two
together: a flipped bit, another network's metadata, a graph that a tool has rewritten.
"""

import hashlib

from mobilenetv2.errors import ArtifactError

KEY = "mobilenetv2.sha256"
DIGITS = 64


def digest(body: bytes, *beside: bytes) -> str:
    """What a file whose seal comes after ``body`` closes with, in hexadecimal.

    Args:
        body: the file up to its seal.
        beside: other files that belong to it.
    """
    found = hashlib.sha256(body)
    for content in beside:
        found.update(len(content).to_bytes(8, "little"))
        found.update(content)
    return found.hexdigest()


def check(data: bytes, where: str, *beside: bytes, end: bytes = b"") -> None:
    """Raise unless the file is as it was written.

    Args:
        data: the whole file.
        where: what it is called in an error.
        beside: as in :func:`digest`.
        end: what follows the seal's digits in this format.

    Raises:
        ArtifactError: it was changed, or cut off.
    """
    stop = len(data) - len(end)
    start = stop - DIGITS
    if (
        start < 0
        or data[stop:] != end
        or data[start:stop] != digest(data[:start], *beside).encode()
    ):
        raise ArtifactError(
            f"{where}: it was changed or damaged since it was written (its checksum does not fit); "
            "export it again"
        )

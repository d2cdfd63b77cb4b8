"""Seal of exported files: a SHA-256 at the end, so that a changed file is not run.

An exported file says in its metadata what its input and outputs mean. The seal ties the metadata to
the network. It detects a flipped bit, another network's metadata, and a graph that a tool has
rewritten.
"""

import hashlib

from mobilenetv2.errors import ArtifactError

KEY = "mobilenetv2.sha256"
DIGITS = 64


def digest(body: bytes, *beside: bytes) -> str:
    """Return the SHA-256, in hexadecimal, that follows ``body`` in a sealed file.

    Args:
        body: the file up to its seal.
        beside: contents of other files that belong to it.
    """
    found = hashlib.sha256(body)
    for content in beside:
        found.update(len(content).to_bytes(8, "little"))
        found.update(content)
    return found.hexdigest()


def check(data: bytes, where: str, *beside: bytes, end: bytes = b"") -> None:
    """Raise unless the file is unchanged since it was written.

    Args:
        data: the whole file.
        where: name of the file for an error message.
        beside: contents of other files that belong to it.
        end: bytes that follow the seal's digits in this format.

    Raises:
        ArtifactError: the file was changed, or is truncated.
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

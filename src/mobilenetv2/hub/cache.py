"""The user's cache of published checkpoints, and what was first seen of those without a checksum.

The folder is the platform's place for a user's caches, or ``MOBILENETV2_CACHE``. In it::

    timm-100/mobilenetv2_100.ra_in1k.safetensors    a file as it was published
    first-seen/keras-1.0-224.json                   SHA-256 of the first download

Where no whole checksum is published, the first download records what it saw, outside the
checkpoint's folder, so that deleting a file does not delete what is known about it; a later
download that differs is an error. Repositories of the Hugging Face hub lie in the hub's own
cache, which other programs share.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mobilenetv2.errors import WeightsError
from mobilenetv2.files import write_atomically
from mobilenetv2.hub import huggingface
from mobilenetv2.hub.catalogue import HUB, Checkpoint, find
from mobilenetv2.hub.download import Checksum, download

VARIABLE = "MOBILENETV2_CACHE"
FIRST_SEEN = "first-seen"

Verified = Literal["published", "prefix", "hub", "first seen", "recorded", "nothing"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checkpoint on this machine."""

    name: str
    path: Path
    """The file, or the folder of a hub's repository."""
    file: Path
    """The weights file itself."""
    sha256: str
    verified: Verified
    """What its SHA-256 was compared with: the published one, its published digits, the hub's, or
    that of the first download; 'recorded': this was the first."""
    cached: bool
    """Whether it was here already: no network was touched."""


def cache_folder() -> Path:
    """Return the cache folder; it need not exist yet."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("mobilenetv2", appauthor=False)


def fetch(name: str) -> Fetched:
    """Fetch what a catalogue name or ``hf://OWNER/NAME`` stands for, unless it is here; verify it.

    Raises:
        WeightsError: an unknown name, or it cannot be had, or is not what was published.
        MissingExtra: ``hf://`` without huggingface_hub.
        OSError: the cache cannot be written.
    """
    if name.startswith(HUB):
        return _from_hub(name, name, None, None)
    checkpoint = find(name)
    if checkpoint.where.startswith(HUB):
        return _from_hub(name, checkpoint.where, checkpoint.file, checkpoint.sha256)
    return _from_web(checkpoint)


def is_cached(checkpoint: Checkpoint) -> bool:
    """Return whether it is on this machine (nothing is read but the folder)."""
    if checkpoint.where.startswith(HUB):
        return huggingface.cached(checkpoint.where, checkpoint.file) is not None
    return _place(checkpoint).is_file()


def _place(checkpoint: Checkpoint) -> Path:
    assert checkpoint.file is not None, checkpoint
    return cache_folder() / checkpoint.name / checkpoint.file


def _from_web(checkpoint: Checkpoint) -> Fetched:
    place = _place(checkpoint)
    record = cache_folder() / FIRST_SEEN / f"{checkpoint.name}.json"
    seen = None if checkpoint.sha256 else _first_seen(record)
    was_there = place.is_file()
    checksum = Checksum(
        checkpoint.sha256 or seen, checkpoint.sha256_prefix,
        f"at the first download ({record}) it" if seen else "the published one",
    )  # fmt: skip
    digest = download(checkpoint.where, place, checksum)
    if not checkpoint.sha256 and seen is None:
        record.parent.mkdir(parents=True, exist_ok=True)
        entry = {"sha256": digest, "bytes": place.stat().st_size, "where": checkpoint.where}
        write_atomically(record, json.dumps(entry, indent=2) + "\n")
    verified: Verified = "first seen" if seen else "recorded"
    if checkpoint.verified:
        verified = "published" if checkpoint.sha256 else "prefix"
    return Fetched(checkpoint.name, place, place, digest, verified, was_there)


def _first_seen(record: Path) -> str | None:
    """Return the SHA-256 of the first download, or None where there was none yet."""
    try:
        seen = json.loads(record.read_text("utf-8"))["sha256"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        seen = ""
    if not isinstance(seen, str) or len(seen) != 64:
        raise WeightsError(f"{record}: damaged, it has no SHA-256; delete it to begin anew")
    return seen


def _from_hub(name: str, address: str, file: str | None, sha256: str | None) -> Fetched:
    found = huggingface.cached(address, file)
    place = found or huggingface.snapshot(address, file)
    weights = huggingface.weights_file(place, file)
    published = sha256 or huggingface.published_sha256(weights)
    source = "the published one" if sha256 else "the hub's"
    digest = Checksum(published, source=source).require(weights)
    verified: Verified = "published" if sha256 else "hub" if published else "nothing"
    return Fetched(name, place, weights, digest, verified, found is not None)

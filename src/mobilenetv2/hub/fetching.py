"""Published checkpoints: fetched, verified and imported, in the user's cache.

The cache is the platform's cache folder, or the folder that ``MOBILENETV2_CACHE`` names. It holds::

    timm-100/mobilenetv2_100.ra_in1k.safetensors    a file as it was published
    first-seen/keras-1.0-224.json                   SHA-256 of the first download
    models/timm-100-46b8a2a1a5f0-1.0.0-3            the model folder that was imported from it

If no whole checksum is published, the first download records its SHA-256 outside the checkpoint's
folder, so that it is kept when the file is deleted. A later download that differs is an error.
Repositories of the Hugging Face hub are in the hub's own cache, which other programs share. The
name of an imported model folder consists of the model's name, the first digits of its SHA-256 (and
of the SHA-256 of a repository's configs), this package's version, and the revision of the import's
rules.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mobilenetv2 import __version__
from mobilenetv2.checkpoints.description import IMPORT_REVISION, ImportOptions
from mobilenetv2.documents import LARGEST_RECORD, read_table
from mobilenetv2.errors import WeightsError
from mobilenetv2.files import sha256_of_file, write_atomically
from mobilenetv2.formats import GRAPHS
from mobilenetv2.hub import huggingface
from mobilenetv2.hub.cache import cache_folder
from mobilenetv2.hub.catalogue import HUB, Checkpoint, catalogue, find
from mobilenetv2.hub.download import Checksum, download
from mobilenetv2.hub.names import weights_of
from mobilenetv2.model import store
from mobilenetv2.progress import say
from mobilenetv2.spec.aliases import aliases

MODELS = "models"
FIRST_SEEN = "first-seen"

Verified = Literal["published", "prefix", "hub", "first seen", "recorded", "nothing"]
CHECKED: dict[Verified, str] = {
    "published": "the same as published",
    "prefix": "begins as published",
    "hub": "the same as the hub's",
    "first seen": "unverified: none is published; the same as at the first download",
    "recorded": "unverified: none is published; recorded to compare the next download with",
    "nothing": "unverified: the hub has none",
}
"""Result of a check -> its meaning in words."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checkpoint on this machine."""

    name: str
    path: Path
    """Path of the file, or of the folder of a hub's repository."""
    file: Path
    """Path of the weights file."""
    sha256: str
    verified: Verified
    """Source of the SHA-256 that was compared.

    'published': the published one; 'prefix': its published first digits; 'hub': the hub's; 'first
    seen': that of the first download; 'recorded': this was the first download; 'nothing': none.
    """
    cached: bool
    """True if the checkpoint was already here and no network access was needed."""

    @property
    def checked(self) -> str:
        """Result of the check of the SHA-256, in words."""
        return CHECKED[self.verified]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "name": self.name, "path": str(self.path), "file": str(self.file),
            "sha256": self.sha256, "verified": self.verified, "cached": self.cached,
        }  # fmt: skip


def fetch(name: str) -> Fetched:
    """Fetch and verify a named checkpoint or ``hf://OWNER/NAME``, unless it is in the cache.

    Raises:
        WeightsError: the name is unknown, or the checkpoint cannot be fetched or differs from the
            published one.
        MissingExtra: ``hf://`` needs huggingface_hub, which is not installed.
        OSError: the cache cannot be written.
    """
    if name.startswith(HUB):
        return _from_hub(name, name, None, None)
    checkpoint = find(weights_of(name) if name in aliases() else name)
    if checkpoint.where.startswith(HUB):
        return _from_hub(checkpoint.name, checkpoint.where, checkpoint.file, checkpoint.sha256)
    return _from_web(checkpoint)


def is_cached(checkpoint: Checkpoint) -> bool:
    """Return True if a checkpoint is on this machine; its bytes are not read."""
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
    """Return the SHA-256 of the first download, or None if there was none yet."""
    try:
        seen = read_table(record, WeightsError, LARGEST_RECORD).get("sha256")
    except FileNotFoundError:
        return None
    except WeightsError:
        seen = ""
    if not isinstance(seen, str) or len(seen) != 64:
        raise WeightsError(f"{record}: damaged, it has no SHA-256; delete it to begin anew")
    return seen


def _from_hub(name: str, address: str, file: str | None, sha256: str | None) -> Fetched:
    cached = huggingface.cached(address, file)
    place = cached or huggingface.snapshot(address, file)
    weights = huggingface.weights_file(place, file)
    published = sha256 or huggingface.published_sha256(weights)
    source = "the published one" if sha256 else "the hub's"
    digest = Checksum(published, source=source).require(weights)
    verified: Verified = "published" if sha256 else "hub" if published else "nothing"
    return Fetched(name, place, weights, digest, verified, cached is not None)


def imported(name: str) -> Path:
    """Return the model folder of a published checkpoint in the cache, importing it if needed."""
    fetched = fetch(name)
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", fetched.name.removeprefix(HUB))
    key = f"{slug}-{_digits(fetched)}-{__version__}-{IMPORT_REVISION}"
    target = cache_folder() / MODELS / key
    if not (target / store.CONFIG).is_file():
        # Every dialect comes in with it, which a model folder does not need.
        from mobilenetv2.checkpoints.importer import import_network

        say(f"importing {name} into {target}")
        store.save(target, *import_network(fetched.path, _import_options(fetched)))
    return target


def _digits(fetched: "Fetched") -> str:
    """Return digits that identify the weights, and a repository's configs."""
    if not fetched.path.is_dir():
        return fetched.sha256[:12]
    configs = hashlib.sha256()
    for name in huggingface.CONFIGS:
        file = fetched.path / name
        configs.update(f"{name} {sha256_of_file(file) if file.is_file() else 'none'}\n".encode())
    return f"{fetched.sha256[:12]}-{configs.hexdigest()[:8]}"


def _import_options(fetched: "Fetched") -> ImportOptions:
    """Return the options that the catalogue knows and the file does not contain."""
    entry = catalogue().get(fetched.name)
    if entry is None:
        return ImportOptions()
    graph = entry.dialect in GRAPHS
    return ImportOptions(
        dialect=entry.dialect, size=None if graph else (entry.size, entry.size),
        licence=entry.licence,
        preprocessing=None if graph or fetched.path.is_dir() else entry.published_preprocessing(),
        preprocessing_from=f"its publisher measured {entry.name} so",
    )  # fmt: skip

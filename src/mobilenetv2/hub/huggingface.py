"""Repositories of the Hugging Face hub, ``hf://OWNER/NAME[@REVISION]``, through huggingface_hub.

Only the files that a network needs are fetched: two configs and one weights file. They are kept in
the hub's own cache (``HF_HOME``), which other programs share. As everywhere, ``HF_ENDPOINT`` names
a mirror, and ``HF_HUB_OFFLINE=1`` forbids network access.
"""

import contextlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

from mobilenetv2.checkpoints.description import HUB_WEIGHTS as WEIGHTS
from mobilenetv2.errors import WeightsError, require
from mobilenetv2.hub.download import LARGEST, WAY_OUT
from mobilenetv2.progress import terminal

CONFIGS = ("config.json", "preprocessor_config.json")

ADDRESS = re.compile(r"hf://(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
REASONS = {
    "GatedRepoError": "its owner must give you access; ask on its page, then log in: hf auth login",
    "RepositoryNotFoundError": "no such repository on the hub, or a private one (to log in: "
    "hf auth login)",
    "RevisionNotFoundError": "no such revision of this repository",
}
"""Message for each error class of huggingface_hub, special classes before general ones."""


def parse_address(address: str) -> tuple[str, str]:
    """Return (repository id, revision) of ``hf://OWNER/NAME[@REVISION]``.

    Raises:
        WeightsError: the address has another form.
    """
    match = ADDRESS.fullmatch(address)
    if match is None or ".." in address:
        raise WeightsError(f"{address!r} is not of the form hf://OWNER/NAME or ...@REVISION")
    return match["id"], match["revision"] or "main"


def cached(address: str, file: str | None = None, cache_dir: Path | None = None) -> Path | None:
    """Return the folder of a cached repository, or None, without network access.

    Other programs fetch parts of a repository. So it counts as cached only if all of
    :data:`CONFIGS` are there too, or if the cache records that the hub has no such file.

    Raises:
        WeightsError: the address has another form.
    """
    repository, revision = parse_address(address)
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    def there(name: str) -> Any:
        """Return a path, None if unknown, or the cache's mark for a file that does not exist."""
        return try_to_load_from_cache(repository, name, cache_dir, revision)

    if not isinstance(there(CONFIGS[0]), str) or there(CONFIGS[1]) is None:
        return None
    for name in (file,) if file else WEIGHTS:
        if isinstance(found := there(name), str):
            return Path(found).parent
    return None


def snapshot(address: str, file: str | None = None, cache_dir: Path | None = None) -> Path:
    """Fetch a repository's configs and weights file.

    Args:
        file: name of the weights file; None prefers safetensors.
        cache_dir: cache folder to use instead of the hub's own.

    Returns:
        The folder with the files.

    Raises:
        WeightsError: no such repository, gated, offline, or nothing in it that can be read.
        MissingExtra: huggingface_hub is not installed.
        OSError: the disk is full, or the cache cannot be written.
    """
    repository, revision = parse_address(address)
    require("huggingface_hub")
    import huggingface_hub
    from huggingface_hub import errors
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

    if not terminal(sys.stderr) and not are_progress_bars_disabled():
        disable_progress_bars()  # in a log every update would be a new line
    endpoint = os.environ.get("HF_ENDPOINT") or None
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        raise WeightsError(
            f"{address}: not completely in the cache, and HF_HUB_OFFLINE forbids network access"
        )
    try:
        interface = huggingface_hub.HfApi(endpoint=endpoint)
        details = interface.model_info(repository, revision=revision, files_metadata=True)
        sizes = {entry.rfilename: entry.size or 0 for entry in details.siblings or ()}
        chosen = _chosen(address, sizes, file)
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=chosen, cache_dir=cache_dir,
            endpoint=endpoint,
        )  # fmt: skip
        if CONFIGS[1] not in sizes:
            # This request makes the cache record that the file does not exist, as `cached` needs.
            with contextlib.suppress(errors.EntryNotFoundError, errors.HfHubHTTPError):
                huggingface_hub.hf_hub_download(
                    repository, CONFIGS[1], revision=Path(folder).name, cache_dir=cache_dir,
                    endpoint=endpoint,
                )  # fmt: skip
    except WeightsError:
        raise
    except Exception as error:  # the client's errors have no stable common base class
        if isinstance(error, OSError) and error.filename:
            raise  # an error of the disk
        raise WeightsError(f"{address}: {_reason(error)}") from None
    # A mirror may list files that it has not copied yet.
    for name in chosen:
        if not (Path(folder) / name).is_file():
            raise WeightsError(f"{address}: {name} is listed but was not sent; try again")
    return Path(folder)


def weights_file(folder: Path, file: str | None = None) -> Path:
    """Return the weights file in a folder that :func:`snapshot` returned."""
    names = (file,) if file else WEIGHTS
    return folder / next((name for name in names if (folder / name).is_file()), names[0])


def published_sha256(path: Path) -> str | None:
    """Return the SHA-256 that the hub publishes for a large file, or None.

    The hub's cache names files by the hub's identifiers; for large files these are checksums.
    """
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return blob.name
    return None


def _chosen(address: str, sizes: dict[str, int], file: str | None) -> list[str]:
    """Return the names of the files to fetch, given names and sizes in bytes of all files."""
    names = (file,) if file else WEIGHTS
    for wanted in (names, CONFIGS[:1]):
        if not any(name in sizes for name in wanted):
            raise WeightsError(f"{address}: it has no {' or '.join(wanted)}")
    chosen = [name for name in (*CONFIGS, next(n for n in names if n in sizes)) if name in sizes]
    for name in chosen:
        if sizes[name] > LARGEST:
            raise WeightsError(
                f"{address}: {name} has {sizes[name]:,} bytes, the limit is {LARGEST:,}"
            )
    return chosen


def _reason(error: Exception) -> str:
    from huggingface_hub import errors

    for name, words in REASONS.items():
        if isinstance(error, getattr(errors, name)):
            return words
    if isinstance(error, errors.HfHubHTTPError):
        return f"the hub answers {error.response.status_code}; try again later, or {WAY_OUT}"
    line = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, errors.HFValidationError):
        return line
    return f"no internet connection, or the hub does not answer ({line}); {WAY_OUT}"

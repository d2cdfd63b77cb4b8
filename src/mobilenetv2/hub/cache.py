"""The user's cache folder."""

import os
from pathlib import Path

VARIABLE = "MOBILENETV2_CACHE"
"""Variable of the environment that names another folder."""
SWITCH = "MOBILENETV2_KEEP"
"""Variable of the environment: with '0', nothing but downloads is kept in the folder."""


def cache_folder() -> Path:
    """Return the cache folder, the platform's by default, which may not exist yet."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("mobilenetv2", appauthor=False)


def keeps() -> bool:
    """Return False if the user wants no graphs and no results of trials in the cache folder."""
    return os.environ.get(SWITCH) != "0"

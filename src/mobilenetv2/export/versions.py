"""Which versions of other packages made and ran a file: a difference may lie in them."""

import platform
from collections.abc import Iterable
from importlib import metadata

from mobilenetv2.version import __version__


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Name -> version: ours, Python's, NumPy's, and those of packages by their import names."""
    found = {"mobilenetv2": __version__, "python": platform.python_version()}
    distributions = metadata.packages_distributions()
    for package in ("numpy", *packages):
        for distribution in distributions.get(package, ())[:1]:
            found[package] = metadata.version(distribution)
    return found

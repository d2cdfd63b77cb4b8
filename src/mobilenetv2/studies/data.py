"""Public data that studies read, in the folder that a person names, or that `make data` fills."""

import os
from pathlib import Path

from mobilenetv2.errors import DataError, argument
from mobilenetv2.studies.study import Options

VARIABLE = "MOBILENETV2_DATA"
"""Environment variable that names the folder, as for tests and benchmarks."""
CHECKOUT = Path(__file__).resolve().parents[3]
"""Checkout of the project, where the package runs from one."""


def places(options: Options) -> list[Path]:
    """Return the folders in which datasets are looked for, the first choice first."""
    if options.data is not None:
        return [options.data]
    if chosen := os.environ.get(VARIABLE):
        return [Path(chosen)]
    roots = dict.fromkeys([Path.cwd(), CHECKOUT])
    return [root / place for root in roots for place in ("data", Path("..", "shared", "data"))]


def folder(options: Options, name: str, *entries: str) -> Path:
    """Return the folder of a dataset.

    Args:
        options: names the folder of all datasets.
        name: folder of the dataset in it, such as 'cifar10'.
        entries: files that it must have.

    Raises:
        DataError: the dataset is not there; the message names the ways to get it.
    """
    for place in places(options):
        if all((place / name / entry).exists() for entry in ("", *entries)):
            return place / name
    raise DataError(
        f"the dataset {name!r} ({', '.join(entries) or 'a folder'}) is not in "
        f"{' or '.join(map(str, places(options)))}: `make data` fetches it in a checkout of the "
        f"project; give {argument('data', 'DIR')} for a folder that has it as {name}/"
    )

"""``mobilenetv2 weights``: list, fetch, import, export; a module for each."""

import argparse
import importlib


def run(arguments: argparse.Namespace) -> int:
    """Run the action; its exit status."""
    module = importlib.import_module(f"mobilenetv2.cli.weights_{arguments.action}")
    status: int = module.run(arguments)
    return status

"""``mobilenetv2 weights fetch``: a published checkpoint into the cache."""

import argparse
import json
import sys

from mobilenetv2.hub import cache

VERIFIED = {
    "published": "the same as published",
    "prefix": "begins as published",
    "hub": "the same as the hub's",
    "first seen": "unverified: none is published; the same as at the first download",
    "recorded": "unverified: none is published; recorded to compare the next download with",
    "nothing": "unverified: the hub has none",
}
"""What is said of the SHA-256."""


def run(arguments: argparse.Namespace) -> int:
    """Fetch one, unless it is there; 0."""
    fetched = cache.fetch(arguments.name)
    if arguments.json:
        facts = {
            "name": fetched.name, "path": str(fetched.path), "file": str(fetched.file),
            "sha256": fetched.sha256, "verified": fetched.verified, "cached": fetched.cached,
        }  # fmt: skip
        print(json.dumps(facts))
        return 0
    print(f"{'path':8} {fetched.path}")
    print(f"{'sha-256':8} {fetched.sha256}")
    print(f"{'checked':8} {VERIFIED[fetched.verified]}")
    if fetched.cached:
        print("it was in the cache already", file=sys.stderr)
    return 0

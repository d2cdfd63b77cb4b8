"""Measure ``mobilenetv2 serve``: each subcommand prints a section of serving.md.

    python benchmarks/serve.py compare --peers PEERS
    python benchmarks/serve.py overload
    python benchmarks/serve.py kills
    python benchmarks/serve.py damaged
    python benchmarks/serve.py start
    python benchmarks/serve.py conform --schemathesis FILE

The network is Google's of ImageNet (``--model`` takes the folder of another one), the photos are
those of the clothing dataset. PEERS is a virtual environment outside of the repository with
fastapi 0.165.0, uvicorn[standard] 0.55.0, litserve 0.2.19, python-multipart 0.0.34, onnxruntime
1.32.0 and pillow 13.0.0; ``compare --every`` adds slower variants, one of which needs torch 2.13.0.
FILE is the command of schemathesis 4.32.5, in an environment of its own. ``--small``
tries a subcommand in less than a minute.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from machine import machine
from serving.inputs import imagenet

NAMES = "compare", "overload", "kills", "damaged", "start", "conform"


def main() -> None:
    """Run a subcommand."""
    parser = argparse.ArgumentParser(description="Measure the server.")
    verbs = parser.add_subparsers(dest="name", required=True)
    for name in NAMES:
        verb = verbs.add_parser(name)
        verb.add_argument("--model", type=Path, help="model folder")
        verb.add_argument("--small", action="store_true", help="try it with small numbers")
        import_module(f"serving.{name}").add_options(verb)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options.model = options.model or imagenet(folder / "imagenet")
        before, day = os.getloadavg()[0], time.strftime("%d %B %Y").lstrip("0")
        lines = import_module(f"serving.{options.name}").run(options, folder)
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    packages = "numpy", "pillow", "onnxruntime", "starlette", "uvicorn"
    print(f"`python benchmarks/serve.py {shlex.join(words)}`, {day}, {machine(*packages)};")
    print(f"load average {before:.2f} before it and {os.getloadavg()[0]:.2f} at its end.\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

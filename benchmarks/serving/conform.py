"""Conformity: schemathesis against ``/openapi.json``, and NVIDIA's client against ``/v2``.

Schemathesis makes requests of the description and damaged ones, with real photos and the names of
the model and of classes (:mod:`serving.peers.schemathesis_hooks`). All its checks are on but
'positive_data_acceptance': no schema can say which bytes are a photo, or that a tensor's numbers
are as many as its shape says.
"""

import argparse
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import mobilenetv2 as mn
from mobilenetv2.images.photo import network_picture
from mobilenetv2.model import store
from serving.inputs import photo_files
from serving.servers import Running, ours, serving, state

HOOKS = Path(__file__).parent / "peers" / "schemathesis_hooks.py"
CONFIG = """[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "5xx"]
"""
"""Configuration of schemathesis: its own statuses of refused requests, and 413."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this measurement's options."""
    parser.add_argument("--schemathesis", type=Path, help="its command")
    parser.add_argument("--examples", type=int, default=200, help="requests of each operation")
    parser.add_argument("--photos", type=int, default=100, help="photos for NVIDIA's client")


def run(options: argparse.Namespace, folder: Path) -> list[str]:
    """Return the lines of the section."""
    examples, photos = (20, 10) if options.small else (options.examples, options.photos)
    lines = []
    with serving(ours(options.model, "--body-seconds", "2")) as one:
        if options.schemathesis:
            lines += _schemathesis(options.schemathesis, one, examples, folder)
        lines += ["", *_triton(one, options.model, photos)]
        found = state(one)
        died = sum(process["restarts"] for process in found["processes"])
        lines += [
            "",
            f"Processes that died: {died}; tracebacks: {one.written().count('Traceback')}.",
        ]
    return lines


def _schemathesis(command: Path, one: Running, examples: int, folder: Path) -> list[str]:
    photos = folder / "photos"
    photos.mkdir()
    for number, file in enumerate(photo_files(5)):
        (photos / f"{number}.jpg").symlink_to(file)
    text = f"hooks = {json.dumps(str(HOOKS))}\n{CONFIG}"
    (folder / "schemathesis.toml").write_text(text, "utf-8")
    about = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
    words = [
        str(command), "run", f"http://127.0.0.1:{one.port}/openapi.json", "--checks", "all",
        "--exclude-checks", "positive_data_acceptance", "--max-examples", str(examples),
        "--seed", "0", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    environment = {**os.environ, "PEER_PHOTOS": str(photos), "PEER_MODEL": model_name(one)}
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment)
    text = done.stdout
    if done.returncode:
        print("\n".join(line[:300] for line in text.splitlines()[-100:]), file=sys.stderr)
    summary = [line.strip() for line in text[text.rfind("SUMMARY") :].splitlines()[1:]]
    return [
        f"### {about.strip()}, {examples} examples of each operation", "",
        f"Status {done.returncode}.", "", "```text", *(line for line in summary if line.strip("=")),
        "```",
    ]  # fmt: skip


def _triton(one: Running, model: Path, count: int) -> list[str]:
    """Return the lines on NVIDIA's client, whose answers are compared with ``mn.predict``."""
    from tritonclient import http  # type: ignore[import-untyped]

    client: Any = http.InferenceServerClient(f"127.0.0.1:{one.port}")
    name = model_name(one)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name)
    files = photo_files(count)
    expected = np.stack([answer.probabilities for answer in mn.predict(files, model)])
    record = store.load(model)[0].preprocessing
    off: dict[str, float] = {}
    calls = 0
    for binary in (True, False):
        for at in range(0, count, 4):
            some = files[at : at + 4]
            pictures = np.stack([network_picture(file.read_bytes(), record) for file in some])
            tensor = http.InferInput("pictures", list(pictures.shape), "UINT8")
            tensor.set_data_from_numpy(pictures, binary_data=binary)
            inputs = [(f"pictures, {'binary' if binary else 'JSON'}", tensor)]
            if binary:
                data = np.array([file.read_bytes() for file in some], np.object_)
                tensor = http.InferInput("image", list(data.shape), "BYTES")
                tensor.set_data_from_numpy(data, binary_data=True)
                inputs.append(("image, files of photos", tensor))
            for kind, one_input in inputs:
                wanted = http.InferRequestedOutput("probabilities", binary_data=binary)
                answer = client.infer(name, [one_input], outputs=[wanted])
                given = answer.as_numpy("probabilities")
                worst = float(np.abs(given - expected[at : at + 4]).max())
                off[kind] = max(off.get(kind, 0.0), worst)
                calls += 1
    about = client.get_model_metadata(name)
    return [
        f"### tritonclient {version('tritonclient')}", "",
        f"{calls} calls of `infer` with {count} photos, beside the calls for health and metadata "
        f"({', '.join(one['name'] for one in about['inputs'] + about['outputs'])}).", "",
        "| tensor | largest difference from `mn.predict` |", "|---|---|",
        *(f"| {kind} | {worst:.1e} |" for kind, worst in off.items()),
    ]  # fmt: skip


def model_name(one: Running) -> str:
    """Return the name of the server's model."""
    found = json.loads(one.get("/page.json")[1])
    return str(found["models"][0]["name"])

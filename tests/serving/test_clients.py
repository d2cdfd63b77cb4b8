"""Clients of the server: curl, httpx and fetch as docs/serve.md shows them, and NVIDIA's."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.images.photo import network_picture

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"
ADDRESS = "http://127.0.0.1:8000"
"""Address of a server on the page."""
PHOTOS = ("new.jpg", "other.jpg")
Jpeg = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path, jpeg: Jpeg) -> Path:
    """A folder with the photos that the page names."""
    for number, name in enumerate(PHOTOS):
        (tmp_path / name).write_bytes(jpeg(number))
    return tmp_path


@pytest.fixture
def expected(folder: Path) -> list[list[tuple[str, float]]]:
    """Labels and probabilities of three classes of each photo, the most probable one first."""
    classify = mn.Classifier("embedded")
    guesses = [classify(folder / name).top(3) for name in PHOTOS]
    return [[(each.label, each.probability) for each in one] for one in guesses]


def block(language: str) -> str:
    """Text of the page's block of a language."""
    text = PAGE.read_text("utf-8")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return str(found)


def printed(line: list[str], folder: Path) -> str:
    """Run a command there, and return its output."""
    run = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def near(
    found: list[tuple[str, float]], expected: list[tuple[str, float]], share: float = 1e-6
) -> bool:
    """True if labels are the same, and probabilities to that share of them."""
    labels, values = zip(*found, strict=True)
    right, numbers = zip(*expected, strict=True)
    return bool(labels == right and values == pytest.approx(numbers, rel=share))


def test_curl(client: httpx.Client, folder: Path, expected: list[list[tuple[str, float]]]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: apt-get install curl")
    lines = re.findall(r"^\$ (curl .+)", block("console"), re.MULTILINE)
    assert len(lines) == 3
    one, several, heat = (
        printed(shlex.split(line.replace(ADDRESS, str(client.base_url).rstrip("/"))), folder)
        for line in lines
    )
    for said, count in ((one, 1), (several, 2)):
        answers = json.loads(said)["answers"]
        assert len(answers) == count
        for answer, right in zip(answers, expected, strict=False):
            found = [(each["label"], each["probability"]) for each in answer["predictions"]]
            assert near(found[:3], right)
    assert heat == ""
    with Image.open(folder / "heat.png") as picture:
        assert picture.format == "PNG"


def test_httpx(client: httpx.Client, folder: Path, expected: list[list[tuple[str, float]]]) -> None:
    program = block("py").replace(ADDRESS, str(client.base_url).rstrip("/"))
    rows = [
        line.rsplit(" ", 2)
        for line in printed([sys.executable, "-c", program], folder).splitlines()
    ]
    assert [name for name, _, _ in rows] == list(PHOTOS)
    assert near([(label, float(value)) for _, label, value in rows], [one[0] for one in expected])


def test_fetch(client: httpx.Client, folder: Path, expected: list[list[tuple[str, float]]]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: apt-get install nodejs")
    program = block("js").replace(ADDRESS, str(client.base_url).rstrip("/"))
    (folder / "program.mjs").write_text(program, "utf-8")
    rows = [line.rsplit(" ", 1) for line in printed([node, "program.mjs"], folder).splitlines()]
    assert near([(label, float(value)) for label, value in rows], expected[0])
    (folder / "new.jpg").write_bytes(b"no photo")
    run = subprocess.run([node, "program.mjs"], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 1 and "Error: " in run.stderr and "new.jpg" not in run.stderr


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient(
    binary: bool, client: httpx.Client, folder: Path, expected: list[list[tuple[str, float]]]
) -> None:
    http: Any = pytest.importorskip(
        "tritonclient.http", reason="tritonclient is not installed: the extra 'clients' has it"
    )
    utils: Any = pytest.importorskip("tritonclient.utils")
    with http.InferenceServerClient(client.base_url.netloc.decode()) as asked:
        assert asked.is_server_live() and asked.is_server_ready() and asked.is_model_ready("small")
        assert asked.get_server_metadata()["name"] == "mobilenetv2"
        about = asked.get_model_metadata("small")
        outputs = {one["name"]: one for one in about["outputs"]}
        files = np.array([(folder / name).read_bytes() for name in PHOTOS], np.object_)
        config = mn.load("embedded", edition="numpy").config
        pictures = np.stack(
            [network_picture(folder / name, config.preprocessing) for name in PHOTOS]
        )
        tensors = [("pictures", "UINT8", pictures)]
        tensors += [("image", "BYTES", files)] if binary else []  # JSON has no place for bytes
        for name, kind, values in tensors:
            assert (name, kind) in {(one["name"], one["datatype"]) for one in about["inputs"]}
            given = http.InferInput(name, list(values.shape), kind)
            given.set_data_from_numpy(values, binary_data=binary)
            wanted = [http.InferRequestedOutput(one, binary_data=binary) for one in outputs]
            answer = asked.infer("small", [given], outputs=wanted, request_id="7")
            assert answer.get_response()["id"] == "7"
            found = answer.as_numpy("probabilities")
            assert answer.as_numpy("logits").shape == (2, outputs["logits"]["shape"][1])
            for row, right in zip(found, expected, strict=True):
                best = np.argsort(-row)[:3]
                rows = [(config.labels.names[at], float(row[at])) for at in best]
                assert near(rows, right, 1e-5)
        with pytest.raises(utils.InferenceServerException, match="nobody"):
            asked.get_model_metadata("nobody")

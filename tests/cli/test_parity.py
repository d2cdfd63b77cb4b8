"""``parity`` as a command: its table, its verdict and status, and how it fails."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from heads import BLOCKS

from mobilenetv2.cli.main import main
from mobilenetv2.errors import installing
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.names import intermediate_names
from mobilenetv2.spec.network import PAPER_STAGES, NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(
    width=0.1, size=(40, 32), classes=5, head_channels=24, numerics=Numerics("same", 1e-3),
    stages=PAPER_STAGES[:4],
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store.save(tmp_path / "model", ModelConfig.default(SPEC), random_arrays(SPEC))
    return tmp_path / "model"


@pytest.fixture
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Python that every child process runs before anything else."""

    def prepare(code: str) -> None:
        place = tmp_path / "site"
        place.mkdir()
        (place / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(place), prepend=os.pathsep)
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # tests count the files in the folder

    return prepare


DEFECT = """
import sys
if "torch" in sys.orig_argv:
    from mobilenetv2.editions.torch.network import ConvBN
    make = ConvBN.__init__
    def wrong(self, layer, numerics):
        make(self, layer, numerics)
        if layer.name == "blocks.3.depthwise":
            assert self.pad_same  # the commonest bug in ports: symmetric instead
            self.pad_same, self.conv.padding = False, (1, 1)
    ConvBN.__init__ = wrong
"""


def test_a_defect_in_one_edition_is_named_and_the_status_is_1(
    folder: Path, children: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    children(DEFECT)
    assert main(["parity", str(folder), "--editions", "torch,numpy"]) == 1
    out = capsys.readouterr().out
    assert "torch: differs first at blocks.3.depthwise (tolerance 0.0001 x" in out
    assert "numpy: the same at every tensor" in out and "torch - numpy" in out


def test_json_other_sizes_and_photos(
    folder: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["parity", str(folder), "--editions", "torch", "--size", "65x33", "--json"]
    assert main([*command, "--photos", str(photos / "ball")]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["passed"] and found["size"] == [65, 33] and found["pictures"] == 12
    assert [row["name"] for row in found["editions"]["torch"]] == list(intermediate_names(SPEC))
    assert found["first_departure"] == {"torch": None}
    assert found["logits_deviation"] > 0.5 and "note: these pictures" not in err


def test_logits_that_hardly_differ_are_noted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = random_arrays(SPEC)
    arrays["classifier.weight"] *= 0.01  # as training begins
    store.save(folder, ModelConfig.default(SPEC), arrays)
    assert main(["parity", str(folder), "--editions", "numpy", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["logits_deviation"] < 0.5
    assert "note: the comparison is not informative: the logits have a standard" in err


@pytest.mark.slow
def test_grey_networks_are_compared(tmp_path: Path, photos: Path) -> None:
    spec = SPEC.replace(input_channels=1)
    store.save(tmp_path / "grey", ModelConfig.default(spec), random_arrays(spec))
    command = ["parity", str(tmp_path / "grey"), "--photos", str(photos / "box" / "00.png")]
    assert main([*command, "--editions", "torch"]) == 0


def test_without_editions_it_takes_those_that_have_the_blocks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Any
) -> None:
    pytest.importorskip("flax", reason="flax is not installed (extra: jax)")
    spec = BLOCKS["mobilenet-v1"]
    store.save(tmp_path / "v1", ModelConfig.default(spec), random_arrays(spec))
    assert main(["parity", str(tmp_path / "v1"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)["editions"]) == {"torch", "numpy"}
    for name in ("keras", "jax"):
        assert f"note: the {name} edition is skipped" in err
    message = refused("parity", tmp_path / "v1", "--editions", "numpy,jax")
    assert message.startswith("jax edition: the jax edition does not have separable blocks")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--size=-5"], "size -5x-5: size -5 must be a whole number from 32 to 8,192"),
        (["--size", "200000"], "size 200000x200000: size 200000 must be a whole number"),
        (["--size", "64x16"], "size 64x16: size 16 must be"),
        (["--tolerance", "inf"], "tolerance inf must be a finite number above 0"),
        (["--tolerance", "0"], "tolerance 0 must be a finite number above 0"),
        (["--editions", "troch"], "edition 'troch' is unknown; did you mean 'torch'?"),
    ],
)
def test_an_option_that_cannot_be(
    option: list[str], message: str, folder: Path, refused: Any
) -> None:
    assert refused("parity", folder, "--editions", "numpy", *option).startswith(message)


def test_a_missing_framework_is_named_with_its_extra(
    folder: Path, children: Any, refused: Any
) -> None:
    children("import sys\nsys.modules['torch'] = None\n")
    message = refused("parity", folder, "--editions", "torch")
    assert message.startswith("torch is not installed") and installing(["torch"]) in message


def test_an_edition_that_crashes_is_named(folder: Path, children: Any, refused: Any) -> None:
    children(
        "import os, sys\n"
        "if 'numpy' in sys.orig_argv:\n"
        "    print('the ship sinks', file=sys.stderr, flush=True); os._exit(7)\n"
    )
    message = refused("parity", folder, "--editions", "numpy")
    assert message == f"numpy edition on {folder}: failed with exit status 7 (the ship sinks)"


def test_an_error_of_ours_in_a_child_names_the_edition(tmp_path: Path, refused: Any) -> None:
    pytest.importorskip("flax", reason="flax is not installed (extra: jax)")
    spec = SPEC.replace(stages=SPEC.stages[:1], head="none")
    store.save(tmp_path / "headless", ModelConfig.default(spec), random_arrays(spec))
    message = refused("parity", tmp_path / "headless", "--editions", "jax")
    assert message.startswith("jax edition: the jax edition does not have a network")

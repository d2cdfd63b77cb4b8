"""What people really give: every mistake is one line that says what and where, and status 2.

Nothing is left behind: no output, no temporary file. The command runs in this process, where a
traceback would be an exception and fail the test all the same.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Refused = Callable[..., str]


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict"])
def test_an_empty_folder(
    verb: str, model: Path, quick: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    options = ["--output", tmp_path / "run", *quick] if verb == "train" else ["--model", model]
    assert refused(verb, empty, *options).startswith(f"{empty}: no photos")


def test_a_folder_that_is_not_there(model: Path, tmp_path: Path, refused: Refused) -> None:
    missing = tmp_path / "photso"
    for verb in ("predict", "evaluate"):
        assert refused(verb, missing, "--model", model).startswith(f"{missing}: no such ")


def test_a_single_class(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(photos / "ball", tmp_path / "data" / "ball")
    message = refused("train", tmp_path / "data", "--output", tmp_path / "run", *quick)
    assert "'ball'" in message and "at least two" in message


def test_class_lists_that_differ_between_splits(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    for name in ("train", "validation"):
        shutil.copytree(photos, tmp_path / "data" / name)
    shutil.rmtree(tmp_path / "data" / "train" / "box")
    message = refused("train", tmp_path / "data", "--output", tmp_path / "run", *quick)
    assert "'box' in train (validation has some)" in message
    shutil.copytree(photos / "box", tmp_path / "data" / "train" / "box")
    message = refused("train", tmp_path / "data", "--output", tmp_path / "run", *quick)
    assert "'ball', 'box', 'triangle' in train" in message  # all are copies
    assert "left out of train: 36 pictures also in a held-out split" in message


# ---------------------------------------------------------------- options and models


@pytest.mark.parametrize(
    "options, parts",
    [
        (["--set", "epoch=3"], ["changed", "'epoch'", "did you mean 'epochs'"]),
        (["--set", "epochs=many"], ["epochs", "whole number", "'many'"]),
        (["--seed", "-1"], ["seed -1", "at least 0"]),
        (["--recipe", "scrach"], ["scrach", "did you mean 'scratch'"]),
        (["--device", "cuda:99"], ["--device cuda:99", "PyTorch"]),
        (["--device", "gpu"], ["--device gpu", "PyTorch"]),
        (["--set", "network=smal"], ["network 'smal'", "did you mean 'small'"]),
        (["--weights", "{folder}"], ["{folder}: ", "no config.json"]),
        (["--weights", "{folder}/nothing"], ["{folder}/nothing: no such"]),
        (["--resume"], ["{folder}/run: ", "no such folder"]),
    ],
)
def test_an_option_that_cannot_be(
    options: list[str], parts: list[str], photos: Path, quick: tuple[str, ...], tmp_path: Path,
    refused: Refused,
) -> None:  # fmt: skip
    filled = [option.format(folder=tmp_path) for option in options]
    message = refused("train", str(photos), "--output", tmp_path / "run", *quick, *filled)
    assert all(part.format(folder=tmp_path) in message for part in parts), message


def test_options_that_would_change_a_run_to_go_on_with_are_named(
    photos: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text("")
    command = ["train", str(photos), "--output", tmp_path / "run", "--resume"]
    message = refused(*command, "--seed", "1", "--set", "epochs=3")
    assert message.endswith("leave out --set, --seed")
    (tmp_path / "run" / "summary.md").write_text("")
    assert f"its model is {tmp_path / 'run' / 'best'}" in refused(*command, "--seed", "1")


def test_an_unknown_device_to_evaluate_or_predict_on(
    photos: Path, model: Path, refused: Refused
) -> None:
    for verb in ("evaluate", "predict"):
        assert refused(verb, photos, "--model", model, "--device", "tpu").startswith("--device tpu")


@pytest.mark.parametrize("damage", ["missing", "reshaped", "unexpected"])
def test_a_model_whose_tensors_do_not_fit(
    damage: str, model: Path, photos: Path, tmp_path: Path, refused: Refused
) -> None:
    from safetensors.numpy import load_file, save_file

    folder = Path(shutil.copytree(model, tmp_path / "model"))
    arrays = load_file(folder / "model.safetensors")
    if damage == "missing":
        del arrays["blocks.3.project.bn.scale"]
        parts = ["1 missing", "blocks.3.project.bn.scale"]
    elif damage == "reshaped":
        arrays["classifier.weight"] = np.zeros((4, 1280), np.float32)
        parts = ["1 of another shape", "classifier.weight", "[3, 1280]", "[4, 1280]"]
    else:
        arrays["extra"] = np.zeros(1, np.float32)
        parts = ["1 unexpected", "extra"]
    save_file(arrays, folder / "model.safetensors")
    for command in (
        ["predict", photos, "--model", folder],
        ["evaluate", photos, "--model", folder],
        ["train", photos, "--weights", folder, "--output", tmp_path / "run"],
    ):
        message = refused(*command)
        assert message.startswith(f"{folder / 'model.safetensors'}: ")
        assert all(part in message for part in parts), message


def test_an_output_that_exists(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.doc").write_text("years of work")
    command = ["train", photos, "--output", tmp_path / "run", *quick]
    message = refused(*command)
    assert f"{tmp_path / 'run'}: exists already; choose another --output" in message
    assert "not a run folder" in refused(*command, "--overwrite")
    assert "no run to resume" in refused("train", photos, "--output", tmp_path / "run", "--resume")

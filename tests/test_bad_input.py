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
    assert refused("predict", missing, "--model", model) == f"{missing}: no such photo or folder"
    assert "no such folder or archive" in refused("evaluate", missing, "--model", model)


def test_a_single_class(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(photos / "ball", tmp_path / "data" / "ball")
    message = refused("train", tmp_path / "data", "--output", tmp_path / "run", *quick)
    assert "only one class ('ball'); a classifier needs at least two" in message


def test_class_lists_that_differ_between_splits(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    for name in ("train", "validation"):
        shutil.copytree(photos, tmp_path / "data" / name)
    shutil.rmtree(tmp_path / "data" / "validation" / "box")
    message = refused("train", tmp_path / "data", "--output", tmp_path / "run", *quick)
    assert "no readable photos of class 'box' in validation (train has some)" in message


# ---------------------------------------------------------------- options and models


@pytest.mark.parametrize(
    "options, message",
    [
        (["--set", "epoch=3"], "recipe scratch with --set: unknown key 'epoch'; did you mean 'ep"),
        (["--set", "epochs=many"], "epochs: expected a whole number, found 'many'"),
        (["--seed", "-1"], "seed -1 must be at least 0"),
        (["--recipe", "scrach"], "neither a file nor known; did you mean 'scratch'?"),
        (["--device", "cuda:99"], "--device cuda:99: PyTorch cannot use it here ("),
        (["--device", "gpu"], "--device gpu: PyTorch cannot use it here ("),
        (["--set", "network=smal"], "network 'smal' is unknown; did you mean 'small'?"),
        (["--weights", "{folder}"], "not a model folder, it has no config.json"),
        (["--weights", "{folder}/nothing"], "nothing: no such model folder"),
        (["--resume"], "run: no run to resume, there is no such folder"),
    ],
)
def test_an_option_that_cannot_be(
    options: list[str], message: str, photos: Path, quick: tuple[str, ...], tmp_path: Path,
    refused: Refused,
) -> None:  # fmt: skip
    filled = [option.format(folder=tmp_path) for option in options]
    command = ["train", str(photos), "--output", tmp_path / "run", *quick, *filled]
    assert message in refused(*command)


def test_options_that_would_change_a_run_to_go_on_with_are_named(
    photos: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text("")
    command = ["train", str(photos), "--output", tmp_path / "run", "--resume"]
    message = refused(*command, "--seed", "1", "--set", "epochs=3")
    assert message.endswith("weights and edition; leave out --set, --seed")
    (tmp_path / "run" / "summary.md").write_text("")
    assert "this run is finished; its model is" in refused(*command, "--seed", "1")


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
        expected = "1 missing (first: blocks.3.project.bn.scale)"
    elif damage == "reshaped":
        arrays["classifier.weight"] = np.zeros((4, 1280), np.float32)
        expected = (
            "1 of another shape (first: classifier.weight, expected [3, 1280], found [4, 1280])"
        )
    else:
        arrays["extra"] = np.zeros(1, np.float32)
        expected = "1 unexpected (first: extra)"
    save_file(arrays, folder / "model.safetensors")
    for command in (
        ["predict", photos, "--model", folder],
        ["evaluate", photos, "--model", folder],
        ["train", photos, "--weights", folder, "--output", tmp_path / "run"],
    ):
        message = refused(*command)
        file = folder / "model.safetensors"
        assert message == f"{file}: the tensors do not fit the network: {expected}"


def test_an_output_that_exists(
    photos: Path, quick: tuple[str, ...], tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.doc").write_text("years of work")
    command = ["train", photos, "--output", tmp_path / "run", *quick]
    assert f"{tmp_path / 'run'} exists; choose another --output" in refused(*command)
    assert "not a run folder" in refused(*command, "--overwrite")
    assert "no run to resume" in refused("train", photos, "--output", tmp_path / "run", "--resume")

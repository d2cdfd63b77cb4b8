"""The head on cached features, held against scikit-learn itself."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mobilenetv2.data.dataset import open_dataset
from mobilenetv2.errors import RecipeError
from mobilenetv2.evaluation.calibration import measure_tempered
from mobilenetv2.model import store
from mobilenetv2.model.outputs import softmax
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec
from mobilenetv2.training import initial_model
from mobilenetv2.training.initial_model import (
    INVERSE_PENALTIES,
    MOST_ITERATIONS,
    fit_logistic,
    predict_linear,
)
from mobilenetv2.training.job import Run
from mobilenetv2.training.recipe import Recipe

NAMES = ("ant", "bee", "cat", "dog")
Part = tuple[NDArray, NDArray]


def parts(classes: int, seed: int = 0) -> tuple[Part, Part]:
    """Overlapping clouds, the features of very different scales and far from zero."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 1, (classes, 12))
    scales, offset = 10.0 ** random.uniform(-2, 2, 12), random.normal(0, 50, 12)
    made = []
    for count in (120, 60):
        labels = np.arange(count) % classes
        features = (centres[labels] + random.normal(0, 1.2, (count, 12))) * scales + offset
        made.append((features.astype(np.float32), labels))
    return made[0], made[1]


def theirs(train: Part, penalty: float) -> Pipeline:
    model = LogisticRegression(C=penalty, max_iter=MOST_ITERATIONS)
    return make_pipeline(StandardScaler(), model).fit(train[0].astype(np.float64), train[1])


def logits_of(head: initial_model.Head, features: NDArray) -> NDArray:
    weight, bias = head.arrays["classifier.weight"], head.arrays["classifier.bias"]
    return np.asarray(features.astype(np.float64) @ weight.T.astype(np.float64) + bias)


@pytest.mark.parametrize("classes, penalty", [(3, 0.1), (4, 0.3)])
def test_the_folded_head_gives_the_standardised_models_decision_function(
    classes: int, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initial_model, "INVERSE_PENALTIES", (penalty,))
    train, selection = parts(classes)
    fitted = fit_logistic(train, selection, NAMES[:classes])
    expected = theirs(train, penalty).decision_function(selection[0])
    logits = logits_of(fitted, selection[0])
    weight, bias = fitted.arrays["classifier.weight"], fitted.arrays["classifier.bias"]
    assert weight.shape == (classes, 12) and bias.shape == (classes,)
    assert weight.dtype == bias.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-3)
    assert expected.std() > 0.5


def test_two_classes_get_two_outputs_with_the_models_probabilities() -> None:
    train, selection = parts(2)
    fitted = fit_logistic(train, selection, NAMES[:2])
    model = theirs(train, fitted.inverse_penalty)
    logits = logits_of(fitted, selection[0])
    assert logits.shape == (60, 2)
    difference = logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(difference, model.decision_function(selection[0]), atol=1e-3)
    np.testing.assert_allclose(softmax(logits), model.predict_proba(selection[0]), atol=3e-4)


def test_any_of_n_classes_is_one_problem_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial_model, "INVERSE_PENALTIES", (0.1,))
    train, selection = parts(3)
    head = ClassifierSpec(outputs="sigmoid")
    fitted = fit_logistic(train, selection, NAMES[:3], head)
    found = predict_linear(fitted.arrays, selection, NAMES[:3], "sigmoid").logits
    for index in range(3):
        model = theirs((train[0], train[1] == index), 0.1)
        np.testing.assert_allclose(
            found[:, index], model.decision_function(selection[0]), atol=1e-3
        )


@pytest.mark.parametrize("bias", [True, False])
def test_one_logit_is_the_log_odds_of_the_second_class(bias: bool) -> None:
    train, selection = parts(2)
    if not bias:  # a plane through zero needs clouds on either side of it
        middle = train[0].mean(0)
        train, selection = ((part[0] - middle, part[1]) for part in (train, selection))
    head = ClassifierSpec(bias=bias, outputs="logit")
    fitted = fit_logistic(train, selection, NAMES[:2], head)
    logits = predict_linear(fitted.arrays, selection, NAMES[:2], "logit").logits
    assert logits.shape == (60, 1) and ("classifier.bias" in fitted.arrays) == bias
    model = LogisticRegression(
        C=fitted.inverse_penalty, max_iter=MOST_ITERATIONS, fit_intercept=bias
    )
    scale = train[0].std(0)
    centre = train[0].mean(0) if bias else 0
    model.fit((train[0] - centre) / scale, train[1])
    expected = model.decision_function((selection[0] - centre) / scale)
    np.testing.assert_allclose(logits[:, 0], expected, atol=1e-3)


SMALL = Recipe().changed(network="small", width=0.1, size=32)


@pytest.mark.parametrize(
    ("changes", "width"),
    [
        ({"network.name": "mobilenetv2_140"}, 1.4),
        ({"network.name": "timm-110d"}, 1.1),
        ({"network.name": "timm-110d", "network.width": 0.5}, 0.5),
        ({}, 1.0),
    ],
)
def test_a_network_has_the_width_of_its_name_unless_another_is_set(
    changes: dict[str, Any], width: float
) -> None:
    config, _ = initial_model.initial_model(None, Recipe().changed(changes), ("hat", "shoes"))
    assert config.spec.width == width


def test_a_recipe_says_what_the_classifier_is_and_the_weights_say_the_rest(tmp_path: Path) -> None:
    hidden = (HiddenSpec(6, bias=False), HiddenSpec(4, "none", dropout=0.2))
    changes = {"classifier.hidden": hidden, "classifier.pooling": "max"}
    config, arrays = initial_model.initial_model(None, SMALL.changed(changes), NAMES[:3])
    assert config.spec.classifier == ClassifierSpec("max", hidden)
    assert arrays["hidden.0.weight"].shape[0] == 6 and "hidden.0.bias" not in arrays
    store.save(tmp_path / "m", config, arrays)
    again, kept = initial_model.initial_model(
        tmp_path / "m", Recipe().changed({"classifier.outputs": "sigmoid", "seed": 1}), NAMES
    )
    assert again.spec.classifier == ClassifierSpec("max", hidden, outputs="sigmoid")
    hidden_names = {name for name in arrays if name.startswith("hidden.")}
    assert len(hidden_names) == 3
    assert all(np.array_equal(kept[name], arrays[name]) for name in hidden_names)
    other = Recipe().changed({"classifier.hidden": (), "classifier.bias": False})
    plain, weights = initial_model.initial_model(tmp_path / "m", other, NAMES[:2])
    assert plain.spec.classifier == ClassifierSpec("max", bias=False)
    assert not hidden_names & weights.keys() and "classifier.bias" not in weights


@pytest.mark.parametrize(
    ("changes", "classes", "message"),
    [
        ({"classifier.outputs": "logit"}, 3, r"'logit' needs two classes, and the data has 3; set"),
        (
            {},
            1,
            r"'softmax' needs .* only one; add a class folder .*outputs=logit",
        ),
        (
            {"trained": "head", "classifier.hidden": (HiddenSpec(8),)},
            2,
            r"give changes={.trained.: .all.}",
        ),
    ],
)
def test_a_classifier_that_cannot_be_is_refused(
    changes: dict[str, Any], classes: int, message: str, model: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        initial_model.initial_model(model, Recipe().changed(changes), NAMES[:classes])


@pytest.mark.parametrize(
    "changes",
    [
        {"classifier.hidden": (HiddenSpec(16, bias=False),)},
        {"classifier.pooling": "max", "classifier.outputs": "sigmoid"},
        {"classifier.outputs": "logit", "classifier.hidden": (HiddenSpec(9, "relu6"),)},
    ],
)
def test_a_fitted_last_layer_gives_the_figures_that_are_told(
    changes: dict[str, Any], begun: Callable[..., Run], photos: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe = SMALL.changed({"precision": "float32", **changes})
    split = open_dataset(photos).splits["all"]
    if "classifier.outputs" in changes and recipe.classifier.outputs == "logit":
        pair = tuple(photo for photo in split.photos if photo.label < 2)
        split = dataclasses.replace(split, classes=split.classes[:2], photos=pair)
    config, _ = initial_model.initial_model(None, recipe, split.classes)
    run = begun(tmp_path, split, recipe, config.spec)
    before = run.trainer.dump()
    initial_model.fit_head(run)
    after = run.trainer.dump()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    told = "hidden layers are not changed" in capsys.readouterr().err
    assert told == bool(config.spec.classifier.hidden)
    found = measure_tempered(run.predict(split, "again"))
    assert run.fitted is not None
    assert run.fitted["selection_loss"] == pytest.approx(found.loss, rel=1e-4)
    assert run.fitted["selection_top1"] == pytest.approx(found.top1)


@pytest.mark.parametrize("seed", range(3))
def test_the_penalty_with_the_lowest_loss_on_the_selection_photos_is_kept(seed: int) -> None:
    train, selection = parts(3, seed)
    ranks = {}
    for penalty in INVERSE_PENALTIES:
        model = theirs(train, penalty)
        loss = log_loss(selection[1], model.predict_proba(selection[0]))
        ranks[penalty] = (-loss, model.score(*selection))
    fitted = fit_logistic(train, selection, NAMES[:3])
    assert fitted.inverse_penalty == max(ranks, key=ranks.__getitem__)
    loss, top1 = ranks[fitted.inverse_penalty]
    assert fitted.selection.top1 == top1
    assert fitted.selection.loss == pytest.approx(-loss, rel=1e-3)
    assert fitted.train.images == 120


def test_a_feature_that_never_changes_is_harmless() -> None:
    train, selection = parts(3)
    for features, _ in (train, selection):
        features[:, 4] = 6.0  # what ReLU6 gives where it saturates
    fitted = fit_logistic(train, selection, NAMES[:3])
    assert (
        np.isfinite(fitted.arrays["classifier.weight"]).all()
        and np.isfinite(fitted.arrays["classifier.bias"]).all()
    )
    assert np.abs(fitted.arrays["classifier.weight"][:, 4]).max() == 0
    assert fitted.selection.top1 > 0.5


def test_a_solver_that_has_not_converged_is_taken_as_it_is_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(initial_model, "MOST_ITERATIONS", 1)
    train, selection = parts(3)
    assert fit_logistic(train, selection, NAMES[:3]).selection.top1 > 1 / 3


def test_what_is_given_is_left_unchanged() -> None:
    train, selection = parts(3)
    before = [array.copy() for part in (train, selection) for array in part]
    fit_logistic(train, selection, NAMES[:3])
    for array, copy in zip([*train, *selection], before, strict=True):
        np.testing.assert_array_equal(array, copy)

"""The head on cached features, held against scikit-learn itself."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mobilenetv2.model.outputs import softmax
from mobilenetv2.train import head
from mobilenetv2.train.head import INVERSE_PENALTIES, MOST_ITERATIONS, fit

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


@pytest.mark.parametrize("classes, penalty", [(3, 0.1), (4, 0.3)])
def test_the_folded_head_gives_the_standardised_models_decision_function(
    classes: int, penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "INVERSE_PENALTIES", (penalty,))
    train, selection = parts(classes)
    fitted = fit(train, selection, NAMES[:classes])
    expected = theirs(train, penalty).decision_function(selection[0])
    logits = selection[0].astype(np.float64) @ fitted.weight.T.astype(np.float64) + fitted.bias
    assert fitted.weight.shape == (classes, 12) and fitted.bias.shape == (classes,)
    assert fitted.weight.dtype == fitted.bias.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-3)
    assert expected.std() > 0.5


def test_two_classes_get_two_outputs_with_the_models_probabilities() -> None:
    train, selection = parts(2)
    fitted = fit(train, selection, NAMES[:2])
    model = theirs(train, fitted.inverse_penalty)
    logits = selection[0].astype(np.float64) @ fitted.weight.T.astype(np.float64) + fitted.bias
    assert logits.shape == (60, 2)
    difference = logits[:, 1] - logits[:, 0]
    np.testing.assert_allclose(difference, model.decision_function(selection[0]), atol=1e-3)
    np.testing.assert_allclose(softmax(logits), model.predict_proba(selection[0]), atol=3e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_penalty_with_the_lowest_loss_on_the_selection_photos_is_kept(seed: int) -> None:
    train, selection = parts(3, seed)
    ranks = {}
    for penalty in INVERSE_PENALTIES:
        model = theirs(train, penalty)
        loss = log_loss(selection[1], model.predict_proba(selection[0]))
        ranks[penalty] = (-loss, model.score(*selection))
    fitted = fit(train, selection, NAMES[:3])
    assert fitted.inverse_penalty == max(ranks, key=ranks.__getitem__)
    loss, top1 = ranks[fitted.inverse_penalty]
    assert fitted.selection.top1 == top1
    assert fitted.selection.loss == pytest.approx(-loss, rel=1e-3)
    assert fitted.train.images == 120


def test_a_feature_that_never_changes_is_harmless() -> None:
    train, selection = parts(3)
    for features, _ in (train, selection):
        features[:, 4] = 6.0  # what ReLU6 gives where it saturates
    fitted = fit(train, selection, NAMES[:3])
    assert np.isfinite(fitted.weight).all() and np.isfinite(fitted.bias).all()
    assert np.abs(fitted.weight[:, 4]).max() == 0
    assert fitted.selection.top1 > 0.5


def test_a_solver_that_has_not_converged_is_taken_as_it_is_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head, "MOST_ITERATIONS", 1)
    train, selection = parts(3)
    assert fit(train, selection, NAMES[:3]).selection.top1 > 1 / 3


def test_what_is_given_is_left_unchanged() -> None:
    train, selection = parts(3)
    before = [array.copy() for part in (train, selection) for array in part]
    fit(train, selection, NAMES[:3])
    for array, copy in zip([*train, *selection], before, strict=True):
        np.testing.assert_array_equal(array, copy)

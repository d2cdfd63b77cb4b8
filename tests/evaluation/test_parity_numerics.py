"""What ignored numerics cost, counted on two networks with the same weights."""

import dataclasses

import numpy as np

from mobilenetv2.editions import torch as edition
from mobilenetv2.evaluation.parity import numerics_effect
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec, Numerics
from mobilenetv2.spec.records import ModelConfig

SPEC = NetworkSpec(width=0.1, size=(48, 64), classes=5, head_channels=24)


def test_it_is_what_the_two_networks_answer() -> None:
    before = ModelConfig.default(SPEC)
    after = dataclasses.replace(before, spec=SPEC.replace(numerics=Numerics("same", 1e-3)))
    arrays = random_arrays(SPEC)
    pictures = np.random.default_rng(0).integers(0, 256, (11, 48, 64, 3), np.uint8)
    found = numerics_effect(before, after, arrays, pictures)
    logits = []
    for config in (before, after):
        network = edition.build(config)
        edition.load(network, arrays)
        logits.append(edition.predictor(network)(pictures))
    assert found.pictures == 11
    assert found.agreements == (logits[0].argmax(1) == logits[1].argmax(1)).sum()
    assert found.difference == np.abs(logits[0] - logits[1]).max() > 0
    assert found.scale == np.abs(logits[0]).max()
    assert str(found).startswith(f"{found.agreements} of 11 photos keep their best class; logits")
    same = numerics_effect(before, before, arrays, pictures)
    assert (same.agreements, same.difference) == (11, 0)


def test_the_best_class_of_one_logit_is_its_sign() -> None:
    spec = SPEC.replace(classes=2, classifier=ClassifierSpec(outputs="logit"))
    before = ModelConfig.default(spec)
    after = dataclasses.replace(before, spec=spec.replace(numerics=Numerics("same", 1e-3)))
    arrays = random_arrays(spec)
    pictures = np.random.default_rng(0).integers(0, 256, (11, 48, 64, 3), np.uint8)
    network = edition.build(before)
    edition.load(network, arrays)
    # A bias between the logits, so that some pictures are on either side of 0.
    arrays["classifier.bias"] = arrays["classifier.bias"] - np.median(
        edition.predictor(network)(pictures)
    )
    found = numerics_effect(before, after, arrays, pictures)
    signs = []
    for config in (before, after):
        network = edition.build(config)
        edition.load(network, arrays)
        signs.append(edition.predictor(network)(pictures)[:, 0] > 0)
    assert 0 < signs[0].sum() < 11
    assert found.agreements == (signs[0] == signs[1]).sum()

"""MobileNetV2 (Sandler et al., arXiv 1801.04381): one network as data, in every framework.

    import mobilenetv2 as mn

    spec = mn.NetworkSpec(width=0.5, classes=10, size=160)
    net = mn.build(spec)                     # a torch.nn.Module
    net = mn.load("runs/shoes/best", edition="keras")  # a model folder as a keras.Model
    net = mn.convert(net, "jax")             # the same network in another framework
    mn.save(net, "shoes")
    classify = mn.Classifier("shoes")        # without a training framework
    classify("photo.jpg").top(5)

Importing this loads no framework.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mobilenetv2.errors import MobileNetV2Error as MobileNetV2Error

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mobilenetv2.networks import build as build
    from mobilenetv2.networks import convert as convert
    from mobilenetv2.networks import load as load
    from mobilenetv2.networks import save as save
    from mobilenetv2.runtime.classifier import Classifier as Classifier
    from mobilenetv2.spec.network import NetworkSpec as NetworkSpec
    from mobilenetv2.spec.network import Numerics as Numerics
    from mobilenetv2.spec.network import StageSpec as StageSpec
    from mobilenetv2.spec.published import published as published
    from mobilenetv2.spec.records import Labels as Labels
    from mobilenetv2.spec.records import ModelConfig as ModelConfig
    from mobilenetv2.spec.records import Preprocessing as Preprocessing

HOMES = {
    "auditing.audit": ("Audit", "audit"),
    "benchmarking.job": ("Benchmark", "benchmark"),
    "checkpoints.exporter": ("export_checkpoint",),
    "checkpoints.importer": ("import_checkpoint",),
    "evaluation.evaluation": ("Evaluation", "evaluate"),
    "evaluation.explanation": ("Explanation", "explain"),
    "evaluation.parity": ("Parity", "parity"),
    "exporting.job": ("export",),
    "networks": ("build", "convert", "create_model", "describe", "list_models", "load", "save"),
    "quantization.job": ("quantize",),
    "runtime.classifier": ("Answer", "Classifier", "Unreadable"),
    "runtime.prediction": ("predict",),
    "spec.network": ("NetworkSpec", "Numerics", "StageSpec"),
    "spec.published": ("published",),
    "spec.records": ("Labels", "ModelConfig", "Preprocessing"),
    "training.job": ("Run",),
    "training.recipe": ("Recipe",),
    "training.run": ("train",),
}
"""Module -> public names that are imported from it once they are used: the command line's help
needs none of them."""
_HOME = {name: f"mobilenetv2.{home}" for home, names in HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mobilenetv2' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

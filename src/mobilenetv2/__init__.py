"""MobileNetV2 (Sandler et al., arXiv 1801.04381) in PyTorch, Keras, JAX and NumPy.

    import mobilenetv2 as mn

    run = mn.train("photos/", output="runs/shoes")      # a folder of photos becomes a classifier
    for answer in mn.predict("holiday/", model=run.best):
        print(answer.photo, answer.label)
    mn.export(run.best, "shoes.onnx")

    net = mn.create_model("mobilenetv2_100", pretrained=True, num_classes=5)  # a torch.nn.Module
    net = mn.load("runs/shoes/best", edition="keras")   # a model folder as a keras.Model
    net = mn.convert(net, "jax")                        # the same network in another framework

docs/python.md shows every function. Importing this package loads no framework.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from mobilenetv2.errors import MobileNetV2Error as MobileNetV2Error
from mobilenetv2.errors import Stopped as Stopped

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mobilenetv2.auditing.audit import Audit as Audit
    from mobilenetv2.auditing.audit import audit as audit
    from mobilenetv2.benchmarking.benchmark import Benchmark as Benchmark
    from mobilenetv2.benchmarking.benchmark import benchmark as benchmark
    from mobilenetv2.data.shards.info import DataInfo as DataInfo
    from mobilenetv2.data.shards.info import data_info as data_info
    from mobilenetv2.data.shards.shard import shard as shard
    from mobilenetv2.diagrams.diagram import Diagram as Diagram
    from mobilenetv2.diagrams.diagram import diagram as diagram
    from mobilenetv2.evaluation.evaluation import Evaluation as Evaluation
    from mobilenetv2.evaluation.evaluation import evaluate as evaluate
    from mobilenetv2.evaluation.explanation import Explanation as Explanation
    from mobilenetv2.evaluation.explanation import explain as explain
    from mobilenetv2.evaluation.parity import Parity as Parity
    from mobilenetv2.evaluation.parity import parity as parity
    from mobilenetv2.exporting.export import export as export
    from mobilenetv2.networks.building import build as build
    from mobilenetv2.networks.building import convert as convert
    from mobilenetv2.networks.creation import create_model as create_model
    from mobilenetv2.networks.creation import list_models as list_models
    from mobilenetv2.networks.description import Description as Description
    from mobilenetv2.networks.description import describe as describe
    from mobilenetv2.networks.folders import load as load
    from mobilenetv2.networks.folders import save as save
    from mobilenetv2.quantization.quantize import quantize as quantize
    from mobilenetv2.runtime.answers import Answer as Answer
    from mobilenetv2.runtime.answers import Features as Features
    from mobilenetv2.runtime.answers import Unreadable as Unreadable
    from mobilenetv2.runtime.classifier import Classifier as Classifier
    from mobilenetv2.runtime.prediction import predict as predict
    from mobilenetv2.runtime.stream import Answers as Answers
    from mobilenetv2.serving.serve import app as app
    from mobilenetv2.serving.serve import serve as serve
    from mobilenetv2.spec.network import NetworkSpec as NetworkSpec
    from mobilenetv2.spec.network import Numerics as Numerics
    from mobilenetv2.spec.network import StageSpec as StageSpec
    from mobilenetv2.spec.published import published as published
    from mobilenetv2.spec.records import Labels as Labels
    from mobilenetv2.spec.records import ModelConfig as ModelConfig
    from mobilenetv2.spec.records import Preprocessing as Preprocessing
    from mobilenetv2.studies.harness.results import StudyResult as StudyResult
    from mobilenetv2.studies.harness.run import study as study
    from mobilenetv2.training.job import Run as Run
    from mobilenetv2.training.recipe import Recipe as Recipe
    from mobilenetv2.training.run import train as train
    from mobilenetv2.weights import export_checkpoint as export_checkpoint
    from mobilenetv2.weights import import_checkpoint as import_checkpoint

__all__ = [
    "Answer", "Answers", "Audit", "Benchmark", "Classifier", "DataInfo", "Description", "Diagram",
    "Evaluation",
    "Explanation", "Features", "Labels", "MobileNetV2Error", "ModelConfig", "NetworkSpec",
    "Numerics", "Parity", "Preprocessing", "Recipe", "Run", "StageSpec", "Stopped", "StudyResult",
    "Unreadable",
    "__version__",
    "app", "audit", "benchmark", "build", "convert", "create_model", "data_info", "describe",
    "diagram", "evaluate", "explain", "export", "export_checkpoint", "import_checkpoint",
    "list_models", "load", "parity", "predict", "published", "quantize", "save", "serve", "shard",
    "study", "train",
]  # fmt: skip

HOMES = {
    "auditing.audit": ("Audit", "audit"),
    "benchmarking.benchmark": ("Benchmark", "benchmark"),
    "data.shards.info": ("DataInfo", "data_info"),
    "data.shards.shard": ("shard",),
    "diagrams.diagram": ("Diagram", "diagram"),
    "evaluation.evaluation": ("Evaluation", "evaluate"),
    "evaluation.explanation": ("Explanation", "explain"),
    "evaluation.parity": ("Parity", "parity"),
    "exporting.export": ("export",),
    "networks.building": ("build", "convert"),
    "networks.creation": ("create_model", "list_models"),
    "networks.description": ("Description", "describe"),
    "networks.folders": ("load", "save"),
    "quantization.quantize": ("quantize",),
    "runtime.answers": ("Answer", "Features", "Unreadable"),
    "runtime.classifier": ("Classifier",),
    "runtime.prediction": ("predict",),
    "runtime.stream": ("Answers",),
    "serving.serve": ("app", "serve"),
    "spec.network": ("NetworkSpec", "Numerics", "StageSpec"),
    "spec.published": ("published",),
    "spec.records": ("Labels", "ModelConfig", "Preprocessing"),
    "studies.harness.results": ("StudyResult",),
    "studies.harness.run": ("study",),
    "training.job": ("Run",),
    "training.recipe": ("Recipe",),
    "training.run": ("train",),
    "weights": ("export_checkpoint", "import_checkpoint"),
}
"""Public names by their home module. They are imported at their first use, since the help of the
command line needs none of them."""
_HOME = {name: f"mobilenetv2.{home}" for home, names in HOMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            message = f"module 'mobilenetv2' has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules[__name__])
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})

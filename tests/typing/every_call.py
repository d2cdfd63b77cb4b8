"""Every public call as a user's type checker sees it; nothing here is run.

``make check`` reads this with mypy, ``test_public_types.py`` with pyright, too.
"""

from pathlib import Path
from typing import assert_type

import torch
from numpy.typing import NDArray

import mobilenetv2 as mn
from mobilenetv2.editions.numpy.network import MobileNetV2 as InNumPy
from mobilenetv2.editions.torch.network import MobileNetV2 as InTorch


def networks() -> None:
    """Networks by name, spec, folder and edition."""
    assert_type(mn.list_models("*100*"), list[str])
    spec = mn.published("timm", width=0.5, classes=10)
    assert_type(spec, mn.NetworkSpec)
    assert_type(mn.build(spec), InTorch)
    assert_type(mn.build(spec, edition="numpy"), InNumPy)
    assert_type(mn.create_model("mobilenetv2_100", num_classes=10), InTorch)
    assert_type(mn.create_model("MobileNetV2", width=0.35, size=96, edition="numpy"), InNumPy)
    net = mn.load("runs/shoes/best", classes=["hat", "shoes"])
    assert_type(net, InTorch)
    assert_type(net(torch.zeros(1, 3, 224, 224)), torch.Tensor)
    assert_type(net.config, mn.ModelConfig)
    assert_type(mn.convert(net, "numpy"), InNumPy)
    mn.save(net, Path("shoes"))
    described = mn.describe(net)
    assert_type(described, mn.Description)
    assert_type(described.parameters, int)
    assert_type(described.to_dict(), dict[str, object])
    drawn = mn.diagram(net, block=3, file="block.svg")
    assert_type(drawn, mn.Diagram)
    assert_type(drawn.svg, str)


def files() -> None:
    """Foreign files in and out."""
    config, arrays = mn.import_checkpoint("keras_model.h5", labels="labels.txt")
    assert_type(config, mn.ModelConfig)
    assert_type(arrays["classifier.weight"], NDArray)
    mn.export_checkpoint("shoes", "shoes.pth", dialect="torchvision")


def photos() -> None:
    """Training, evaluation and prediction."""
    try:
        run = mn.train("photos/", output="runs/shoes", recipe="finetune", epochs=8)
    except mn.Stopped as stopped:
        run = mn.train("photos/", output=stopped.folder, resume=True)
    assert_type(run, mn.Run)
    assert_type(run.best, Path)
    result = mn.evaluate(run.best, "photos/", split="test")
    assert_type(result, mn.Evaluation)
    assert_type(result.top1, float)
    assert_type(result.interval, tuple[float, float])
    answers = mn.predict(["a.jpg", "holiday/"], model=run.best)
    assert_type(answers, mn.Answers[mn.Answer])
    for answer in answers:
        if answer.error:
            assert_type(answer, mn.Unreadable)
        else:
            assert_type(answer, mn.Answer)
            assert_type(answer.label, str)
    for row in mn.predict("holiday/", features=True):
        if row.error is None:
            assert_type(row, mn.Features)
            assert_type(row.features, NDArray)
    assert_type(mn.Classifier(run).labels, tuple[str, ...])
    classify = mn.Classifier(mn.load(run.best))
    assert_type(classify(b"..."), mn.Answer)
    assert_type(classify(["a.jpg", "b.jpg"]), list[mn.Answer | mn.Unreadable])
    assert_type(mn.explain("a.jpg", model=run.best), mn.Explanation)
    assert_type(mn.audit("photos/"), mn.Audit)
    assert_type(mn.shard("photos/", "shards", megabytes=256, resume=True), mn.DataInfo)
    assert_type(mn.data_info("shards", check=True).splits["all"].counts, dict[str, int])
    assert_type(mn.parity(run.best), mn.Parity)


def artifacts() -> None:
    """Files for other runtimes."""
    for outcome in mn.export("runs/shoes/best", "shoes.onnx"):
        assert_type(outcome.path, Path)
    mn.quantize("runs/shoes/best", "int8/", data="photos/")
    assert_type(mn.benchmark("runs/shoes/best"), mn.Benchmark)


def serving() -> None:
    """Photos answered over HTTP."""
    application = mn.app({"shoes": "runs/shoes/best"}, workers=2)
    assert_type(application.settings.port, int)
    mn.serve(["runs/shoes/best", "embedded"], port=9000, tokens="tokens.txt")


def studies() -> None:
    """Experiments."""
    found = mn.study("memory", "studies/memory", quick=True, seeds=2)
    assert_type(found, mn.StudyResult)
    for finding in found.findings:
        assert_type(finding.interval, tuple[float, float])
    assert_type(found.table.where(width=0.5).by_seed("top1"), dict[int, float])

"""The model card says in words what config.json says in data."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mobilenetv2.model import store
from mobilenetv2.model.card import card, title
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.names import parameter_shapes
from mobilenetv2.spec.network import ClassifierSpec, HiddenSpec, NetworkSpec, StageSpec
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Origin, Preprocessing

CONFIG = ModelConfig(
    published("tf-slim"), Preprocessing(mean=(127.5,) * 3, std=(128.0,) * 3),
    Labels.imagenet("first"),
)  # fmt: skip
SMALL = ModelConfig.default(published("small", width=0.35, classes=3, size=32))
ARRAYS = initialise(parameter_shapes(SMALL.spec), "torchvision", 0)


def test_the_header_is_what_model_hubs_read() -> None:
    lines = card(replace(CONFIG, origin=Origin("a.tflite", licence="Apache-2.0")), "x").splitlines()
    assert lines[0] == lines[4] == "---"
    assert lines[1:4] == [
        "library_name: mobilenetv2",
        "pipeline_tag: image-classification",
        "license: apache-2.0",
    ]


@pytest.mark.parametrize("origin", [None, Origin("trained here")])
def test_without_a_known_licence_the_header_says_other(origin: Origin | None) -> None:
    text = card(replace(CONFIG, origin=origin), "x")
    assert "\nlicense: other\n" in text
    assert ("Licence: unknown" in text) == (origin is not None)


def test_the_network_is_described_with_its_exact_costs() -> None:
    config = ModelConfig.default(NetworkSpec(width=0.35))
    assert (
        "A MobileNetV2 of width 0.35 for 224 x 224 pixels and 1000 classes: "
        "1,677,128 parameters, 59,285,808 multiply-adds."
    ) in card(config, "x")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (published("small"), "A MobileNetV2"),
        (published("mobilenet-v1"), "A MobileNetV1"),
        (published("resnet-bottleneck"), "A network of ResNet's bottlenecks"),
        (
            NetworkSpec(stages=(StageSpec(1, 16, 1, 1, "separable"), StageSpec(6, 24, 1, 2))),
            "A network of separable and inverted blocks",
        ),
        (NetworkSpec(projection="relu6"), "A MobileNetV2 with ReLU6 after its projections"),
        (published("mobilenet-v1", projection="relu"), "A MobileNetV1"),
        (
            NetworkSpec(stages=(StageSpec(6, 16, 1, 2, "wide"),), projection="relu"),
            "A MobileNetV2 with shortcuts between expansions and ReLU after its projections",
        ),
    ],
)
def test_the_network_is_called_by_its_blocks(spec: NetworkSpec, name: str) -> None:
    assert f"\n{name} of width 1 for " in card(ModelConfig.default(spec), "x")


def test_a_head_that_is_not_the_default_is_named() -> None:
    def shown(classes: int, head: ClassifierSpec) -> str:
        return card(ModelConfig.default(NetworkSpec(classes=classes, classifier=head)), "x")

    assert "Its head" not in shown(3, ClassifierSpec())
    hidden = (HiddenSpec(100), HiddenSpec(50, "relu6", bias=False, dropout=0.5))
    text = shown(3, ClassifierSpec("max", hidden, bias=False, outputs="sigmoid"))
    assert (
        "multiply-adds.\nIts head: max pooling, dropout 0.2, hidden 100 (relu), hidden 50 without "
        "bias (relu6), dropout 0.5, linear 3 without bias; sigmoid: any number of n classes.\n"
    ) in text
    assert "Logits of 3 classes: class 0, class 1, class 2." in text
    text = shown(2, ClassifierSpec(outputs="logit"))
    assert "Its head: average pooling, dropout 0.2, linear 1; one logit: the second" in text
    assert "One logit for 2 classes: class 0, class 1." in text


def test_everything_that_decides_the_input_is_named() -> None:
    text = card(CONFIG, "x")
    assert "resized to cover 256 x 256 (bilinear, antialiased)" in text
    assert "its centre cropped to 224 x 224" in text
    assert "mean [127.5, 127.5, 127.5] and std [128.0, 128.0, 128.0]" in text
    assert "Padding is 'same', BatchNorm's epsilon 0.001." in text
    slim = Preprocessing(resize=(224, 224), fit="stretch", central_fraction=0.875)
    text = card(replace(CONFIG, preprocessing=slim), "x")
    assert "its central 87.5% of each side stretched to 224 x 224" in text
    assert "cropped to" not in text
    text = card(replace(CONFIG, preprocessing=slim.unresized()), "x")
    assert "not resized, its centre cropped to 224 x 224" in text


def test_a_chosen_preprocessing_is_told_with_its_reason() -> None:
    origin = Origin("m.tflite", preprocessing="Pixels as 0..1: the input was calibrated so.")
    assert f"The import chose so: {origin.preprocessing}" in card(
        replace(CONFIG, origin=origin), "x"
    )
    assert "The import chose so" not in card(replace(CONFIG, origin=Origin("m.pth")), "x")


def test_long_label_lists_are_cut_and_the_background_is_named() -> None:
    text = card(CONFIG, "x")
    assert "Logits of 1001 classes: background, tench, goldfish" in text
    assert "and 981 more." in text
    assert "Class 0 is background." in text
    few = ModelConfig(NetworkSpec(classes=2), Preprocessing(), Labels(("cat", "dog")))
    assert "Logits of 2 classes: cat, dog.\n" in card(few, "x")
    assert "background" not in card(few, "x")


def test_measured_figures_are_a_table_and_absent_where_nothing_was_measured() -> None:
    assert "Measured" not in card(CONFIG, "x")
    text = card(replace(CONFIG, metrics={"validation.top1": 0.71878, "loss": 1}), "x")
    assert "## Measured\n\n| figure | value |\n|---|---|\n" in text
    assert "| validation.top1 | 0.7188 |\n| loss | 1.0000 |\n" in text


def test_the_origin_is_told_as_far_as_it_is_known() -> None:
    origin = Origin("net.tflite", "ab" * 32, "litert", "MIT", folded=True, note="Dequantised.")
    text = card(replace(CONFIG, origin=origin), "x")
    for line in ("Source: net.tflite", f"SHA-256 of the source: {'ab' * 32}", "Dialect: litert"):
        assert f"\n{line}\n" in text
    assert "\nLicence: MIT\nDequantised.\n" in text
    bare = card(replace(CONFIG, origin=Origin("trained here")), "x")
    assert "SHA-256" not in bare and "Dialect" not in bare
    assert "Where it comes from" not in card(CONFIG, "x")


def test_the_card_bears_the_models_name_and_how_to_use_it() -> None:
    text = card(CONFIG, "shoes")
    assert "\n# shoes\n" in text
    assert text.endswith("\n    mobilenetv2 predict PHOTO --model THIS_FOLDER\n")


def test_a_model_of_a_run_is_called_after_the_run(tmp_path: Path) -> None:
    run = tmp_path / "shoes"
    for place in ("best", "last", "."):
        assert title(run / place) == ("shoes" if place == "." else place)
    run.mkdir()
    (run / "recipe.toml").touch()
    for place in ("best", "last", ".", "best/.."):
        assert title(run / place) == "shoes"
    assert title(run / "other") == "other"
    store.save(run / "best", SMALL, ARRAYS)
    assert "\n# shoes\n" in (run / "best" / "README.md").read_text("utf-8")


def test_of_five_classes_no_top_5_is_stated() -> None:
    measured = replace(SMALL, metrics={"test.top1": 0.5, "test.top5": 1.0})
    assert "top5" not in card(measured, "x") and "| test.top1 | 0.5000 |" in card(measured, "x")
    assert "| test.top5 | 1.0000 |" in card(replace(CONFIG, metrics=measured.metrics), "x")


def test_photos_are_counted_in_whole_numbers() -> None:
    measured = replace(CONFIG, metrics={"test.images": 5000.0, "test.top1": 1.0})
    text = card(measured, "x")
    assert "| test.images | 5,000 |\n| test.top1 | 1.0000 |" in text


EVIL = (
    "<script>x</script>", "<img src=x onerror=y>", "[a](https://evil.example)", "![a](x.png)",
    "```\ncode", "a\n---\nlicense: mit\n---\n# Forged", "| a | b |", "www.evil.example a@b.example",
    "\x1b[31m\x07\x9b2J\u202e\u2028", "*a* _b_ ~~c~~ `d` \\", "\udcff\ud83d", "# a", "1. a", "- a",
)  # fmt: skip


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_names_from_files_are_text_and_nothing_else(evil: str) -> None:
    origin = Origin(evil, evil, evil, evil, note=evil, preprocessing=evil, history=(evil, evil))
    config = replace(SMALL, labels=Labels((evil, "b", evil)), origin=origin, metrics={evil: 1.0})
    plain = replace(SMALL, labels=Labels(("a", "b", "a")), metrics={"a": 1.0}, origin=Origin(
        "a", "a", "a", "a", note="a", preprocessing="a", history=("a", "a"),
    ))  # fmt: skip
    text, usual = card(config, evil), card(plain, "a")
    text.encode("utf-8")
    assert not re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]|<(?!!-- -->)", text)
    assert text.count("\n") == usual.count("\n")  # no line of its own
    assert text.split("---\n")[1] == usual.split("---\n")[1].replace("license: a", "license: other")
    tokens = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"linkify": False})

    def kinds(one: str) -> list[str]:
        blocks = tokens.parse(one.split("---\n", 2)[2])
        parts = [part for block in blocks for part in (block, *(block.children or ()))]
        return [p.type for p in parts if p.type not in ("text", "text_special", "html_inline")]

    assert kinds(text) == kinds(usual)


@pytest.mark.parametrize(
    ("licence", "shown"),
    [("Apache-2.0", "apache-2.0"), ("a: b", "other"), ("no", "other"), ("x" * 99, "other"),
     ("1.0", "other"), ("mit\n", "other"), ("cc-by-4.0", "cc-by-4.0")],
)  # fmt: skip
def test_the_header_stays_a_table_of_texts(licence: str, shown: str) -> None:
    header = card(replace(SMALL, origin=Origin("x", licence=licence)), "x").split("---\n")[1]
    rows = dict(line.split(": ") for line in header.splitlines())
    assert rows.keys() == {"library_name", "pipeline_tag", "license"} and rows["license"] == shown
    assert pytest.importorskip("yaml").safe_load(header) == rows


def test_the_steps_that_made_the_weights_are_listed() -> None:
    origin = Origin("x.pth", "ab", note="About x.").followed_by(
        "Fine-tuned from x.pth on 2 photos."
    )
    text = card(replace(SMALL, origin=origin.followed_by("Quantized.")), "x")
    assert "\n- Quantized.\n- Fine-tuned from x.pth on 2 photos.\n" in text
    assert "About x" not in text and "Source: trained here" in text and "SHA-256" not in text

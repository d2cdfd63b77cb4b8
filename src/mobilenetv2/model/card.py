"""Model card: ``config.json`` in words, for people and for model hubs."""

import html
import re
from pathlib import Path

from mobilenetv2.spec.count import multiply_adds, parameters
from mobilenetv2.spec.network import ClassifierSpec, NetworkSpec
from mobilenetv2.spec.records import ModelConfig, Preprocessing
from mobilenetv2.text import line

KINDS = {
    "inverted": "MobileNetV2",
    "separable": "MobileNetV1",
    "bottleneck": "network of ResNet's bottlenecks",
    "wide": "MobileNetV2 with shortcuts between expansions",
}
PROJECTIONS = {"relu": "ReLU after its projections", "relu6": "ReLU6 after its projections"}

OUTPUTS = {
    "softmax": "softmax: one class of n",
    "sigmoid": "sigmoid: any number of n classes",
    "logit": "one logit: the second of two classes",
}
PROBABILITIES = {
    "softmax": "One logit for each class; softmax gives probabilities",
    "sigmoid": "One logit for each class; sigmoid gives each class its own probability",
    "logit": "One logit for two classes; sigmoid gives the probability of the second",
}
"""Meaning of the outputs, for the metadata of exported files."""
COUNT = ".images"
"""End of the names of metrics that count photos."""
TOP5 = ".top5"
RECIPE = "recipe.toml"
"""Name of a file that only a run folder has."""
OF_A_RUN = ("best", "last")
"""Names of the model folders in a run folder; the run folder has the user's name for the model."""


LICENCE = re.compile(r"(?!(?:y|yes|n|no|on|off|true|false|null)$)[a-z][a-z0-9.+-]{0,63}")
"""Name of a licence that a hub's header can hold, and that YAML reads as a text."""
_MARKUP = re.compile(r"([\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])|^[#+=-])|^(\d+)(?=[.)])")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp)(?=://)|\b(www)(?=\.)|(?<=\S)(?=@)")


def markdown(text: str) -> str:
    """Return text from a file as Markdown that shows it as it is: one line, nothing to click.

    Characters that Markdown or HTML would read as markup are escaped, and addresses of the web are
    taken apart by an empty comment, so that no site makes links of them.
    """
    shown = _MARKUP.sub(
        lambda found: f"{found[2]}\\" if found[2] else f"\\{found[1]}", line(text).strip()
    )
    shown = html.escape(shown, quote=False)
    return _ADDRESS.sub(lambda found: f"{found[0]}<!-- -->", shown)


def title(folder: Path) -> str:
    """Return the name of the model in a folder: the folder's, or that of the run it belongs to."""
    folder = folder.resolve()
    if folder.name in OF_A_RUN and (folder.parent / RECIPE).is_file():
        folder = folder.parent
    return folder.name or "model"


def kind(spec: NetworkSpec) -> str:
    """Return the name of a kind of network; it depends on its blocks and their projections."""
    found = list(dict.fromkeys(stage.kind for stage in spec.stages))
    name = KINDS[found[0]] if len(found) == 1 else f"network of {' and '.join(found)} blocks"
    if spec.projection == "linear" or {"inverted", "wide"}.isdisjoint(found):
        return name
    return f"{name} {'and' if ' with ' in name else 'with'} {PROJECTIONS[spec.projection]}"


def classifier_words(spec: NetworkSpec) -> str:
    """Return the head in words: pooling, hidden layers, dropout, bias, meaning of the outputs."""
    head = spec.classifier
    parts = [f"{head.pooling} pooling", *([f"dropout {spec.dropout:g}"] if spec.dropout else [])]
    for hidden in head.hidden:
        bias = "" if hidden.bias else " without bias"
        parts.append(f"hidden {hidden.units}{bias} ({hidden.activation})")
        parts += [f"dropout {hidden.dropout:g}"] if hidden.dropout else []
    parts.append(f"linear {spec.logits}{'' if head.bias else ' without bias'}")
    return f"{', '.join(parts)}; {OUTPUTS[head.outputs]}"


def card(config: ModelConfig, name: str) -> str:
    """Return a README in Markdown with the header that model hubs read.

    Args:
        name: name of the model.
    """
    spec, preprocessing, origin = config.spec, config.preprocessing, config.origin
    licence = (origin.licence if origin else None) or "unknown"
    known = licence != "unknown" and LICENCE.fullmatch(licence.lower())
    features = origin is not None and origin.untrained_classifier
    lines = [
        "---",
        "library_name: mobilenetv2",
        f"pipeline_tag: image-{'feature-extraction' if features else 'classification'}",
        f"license: {licence.lower() if known else 'other'}",
        "---",
        "",
        f"# {markdown(name)}",
        "",
        f"A {kind(spec)} of width {spec.width:g} for {spec.size[0]} x {spec.size[1]} pixels and "
        f"{spec.classes} classes: {parameters(spec):,} parameters, "
        f"{multiply_adds(spec):,} multiply-adds.",
        *([f"Its head: {classifier_words(spec)}."] if spec.classifier != ClassifierSpec() else []),
        "",
        "## What it takes",
        "",
        f"A picture, {resizing(preprocessing)}, then `(value - mean) / std` on 0 to 255 with mean "
        f"{list(preprocessing.mean)} and std {list(preprocessing.std)}. "
        f"Padding is '{spec.numerics.padding}', BatchNorm's epsilon {spec.numerics.epsilon:g}.",
        "",
        *(
            [f"The import chose so: {markdown(origin.preprocessing)}", ""]
            if origin and origin.preprocessing
            else []
        ),
        "## What it gives",
        "",
        _answers(config),
        "",
    ]
    if config.metrics:
        lines += ["## Measured", "", "| figure | value |", "|---|---|"]
        lines += [
            f"| {markdown(key)} | {_figure(key, value)} |"
            for key, value in config.metrics.items()
            if spec.classes > 5 or not key.endswith(TOP5)  # five of five are always enough
        ]
        lines.append("")
    if origin:
        lines += ["## Where it comes from", "", f"Source: {markdown(origin.source)}"]
        lines += [f"SHA-256 of the source: {markdown(origin.sha256)}"] if origin.sha256 else []
        lines += [f"Dialect: {markdown(origin.dialect)}"] if origin.dialect else []
        lines += [f"Licence: {markdown(licence)}"]
        lines += [*([markdown(origin.note)] if origin.note else []), ""]
        if origin.history:
            lines += ["How its weights came about, the latest step first:", ""]
            lines += [*(f"- {markdown(step)}" for step in origin.history), ""]
    option = " --features" if features else ""
    lines += ["## Use", "", f"    mobilenetv2 predict PHOTO --model THIS_FOLDER{option}", ""]
    return "\n".join(lines)


def _figure(key: str, value: float) -> str:
    return f"{value:,.0f}" if key.endswith(COUNT) else f"{value:.4f}"


def resizing(record: Preprocessing) -> str:
    """Return in words how a picture gets the network's size."""
    height, width = record.resize
    if record.fit == "none":
        return f"not resized, its centre cropped to {record.size[0]} x {record.size[1]}"
    how = "stretched to" if record.fit == "stretch" else "resized to cover"
    text = f"{how} {height} x {width} ({record.interpolation}, antialiased)"
    if record.central_fraction < 1:
        text = f"its central {record.central_fraction:.1%} of each side {text}"
    if record.resize != record.size:
        text += f", its centre cropped to {record.size[0]} x {record.size[1]}"
    return text


def _answers(config: ModelConfig) -> str:
    if config.origin and config.origin.untrained_classifier:
        return (
            "Features, not classes: the file had no trained classifier, and the one here is random "
            "until it is trained on photos with `mobilenetv2 train PHOTOS --weights THIS_FOLDER`."
        )
    names = config.labels.names
    shown = ", ".join(map(markdown, names[:20])) + (
        f" and {len(names) - 20} more" if len(names) > 20 else ""
    )
    given = "One logit for" if config.spec.logits < len(names) else "Logits of"
    text = f"{given} {len(names)} classes: {shown}."
    if config.labels.background is not None:
        text += f" Class {config.labels.background} is background."
    return text

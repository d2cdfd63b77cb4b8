"""Inference of a spec and canonical arrays from a chain of convolutions.

ONNX and LiteRT files are dialects of their own (:class:`GraphDialect`). Their names come from a
converter, but the graph has the strides, paddings and activations that bare tensors lack.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilenetv2.checkpoints.description import (
    Description,
    ImportOptions,
    published_preprocessing,
)
from mobilenetv2.checkpoints.dialects.tensors import HEADLESS, WIDTHS, TensorDialect
from mobilenetv2.checkpoints.graphs.chain import NOT_OURS, Linear, Step, in_order
from mobilenetv2.checkpoints.graphs.head import Head
from mobilenetv2.errors import DialectError, SpecError
from mobilenetv2.files import write_atomically
from mobilenetv2.model.arrays import Arrays, identity_batch_norm
from mobilenetv2.model.initialisation import initialise
from mobilenetv2.spec.blocks import Convolution, resolve
from mobilenetv2.spec.names import BATCH_NORM
from mobilenetv2.spec.network import Activation, NetworkSpec, Numerics, Size, StageSpec
from mobilenetv2.spec.published import PUBLISHED
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing
from mobilenetv2.spec.rounding import scale

NO_BLOCKS = f"{NOT_OURS}: its convolutions are not a chain of inverted residual blocks"


@dataclass(frozen=True, slots=True)
class GraphDialect:
    """A format whose files contain a graph and our config, for any MobileNetV2."""

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], Any]
    """Function that reads a file as a graph."""
    open: Callable[[Any, Path, ImportOptions], "GraphCheckpoint"]
    """Function that follows the graph of a file."""
    render: Callable[[ModelConfig, Arrays], bytes]
    """Function that returns the bytes of a file."""
    numerics: Mapping[str, Numerics]
    """Numerics by padding rule, for values that the graph does not have."""
    folder: frozenset[str] = frozenset()
    says_all: bool = True

    def preprocessing(self, spec: NetworkSpec) -> Preprocessing:
        """Return the usual preprocessing of networks with this padding; no crop is invented."""
        owner = "keras" if spec.numerics.padding == "same" else "torchvision"
        record = published_preprocessing(owner, spec)
        mean, std = (tuple(round(one, 6) for one in values) for values in (record.mean, record.std))
        return dataclasses.replace(record, mean=mean, std=std).stretched()

    def places(self, out: Path) -> list[Path]:
        """Return the paths that an export to ``out`` writes."""
        return [out]

    def write(self, config: ModelConfig, arrays: Arrays, out: Path) -> None:
        """Write a file, which contains the whole config."""
        write_atomically(out, self.render(config, arrays))


@dataclass(frozen=True, slots=True, eq=False)
class GraphCheckpoint:
    """A graph that was followed successfully."""

    dialect: GraphDialect | TensorDialect
    steps: Sequence[Step]
    """Convolutions from the stem to the head."""
    head: Head
    size: Size
    channels: int
    unsure: str
    """Padding rule to use if both rules agree at this size."""
    inside: Description
    note: str = ""

    def completed(self, labels: Labels | None) -> "GraphCheckpoint":
        """Return the checkpoint with a classifier: a new one if it has none, or is to have none.

        Args:
            labels: those of the new classifier; None means as many outputs as the file has, or
                else 1,000.
        """
        if self.head.linears:
            return self
        classes = len(labels) if labels else self.head.outputs or 1000
        shape = (classes, self.steps[-1].weight.shape[0])
        made = initialise({"classifier.weight": shape}, "torchvision", seed=0)
        linear = Linear(made["classifier.weight"], np.zeros(classes, np.float32))
        head = dataclasses.replace(self.head, linears=(linear,))
        inside = dataclasses.replace(self.inside, headless=True)
        note = f"{self.note} {HEADLESS}".lstrip()
        return dataclasses.replace(self, head=head, inside=inside, note=note)

    def infer(self, said: Description, _: ImportOptions) -> NetworkSpec:
        """Return the described network after a check against the graph, or else the graph's.

        Args:
            said: description in or beside the file.

        Raises:
            DialectError: the description contradicts the graph, or the graph is another network.
        """
        spec = said.spec
        if spec is None:
            base = NetworkSpec(
                size=self.size, classes=self.head.classes or 1, input_channels=self.channels,
                classifier=self.head.classifier,
            )  # fmt: skip
            assert isinstance(self.dialect, GraphDialect)
            return infer(self.steps, base, self.dialect.numerics, self.unsure)
        if self.inside.headless:
            classes, classifier = self.head.classes or 1, self.head.classifier
            spec = spec.replace(classes=classes, classifier=classifier, background=None)
        try:
            if sum(stage.repeats for stage in spec.stages) > len(self.steps):
                raise DialectError("more blocks than the graph has convolutions")
            require_fit(spec, self.steps)
            self.require_classifier(spec)
            if (spec.size, spec.input_channels) != (self.size, self.channels):
                raise DialectError(
                    f"it takes {spec.size[0]} x {spec.size[1]} pixels of {spec.input_channels} "
                    f"channels, the graph {self.size[0]} x {self.size[1]} of {self.channels}"
                )
        except (DialectError, SpecError) as error:
            raise DialectError(f"the config inside it describes another network: {error}") from None
        return spec

    def require_classifier(self, spec: NetworkSpec) -> None:
        """Raise unless the graph's pooling and linear layers are those of ``spec``."""
        layers = resolve(spec).linears
        expected = spec.classifier.pooling, [(x.weight_shape, x.activation or "") for x in layers]
        pooling, linears = self.head.classifier.pooling, self.head.linears
        found = pooling, [(x.weight.shape, x.activation) for x in linears]
        if expected != found:
            told, got = (
                f"{pooling} pooling and linear layers "
                + ", ".join(f"{list(shape)} {activation}".strip() for shape, activation in linears)
                for pooling, linears in (expected, found)
            )
            raise DialectError(f"{told}, the graph has {got}")
        for layer, linear in zip(layers, linears, strict=True):
            if not layer.bias and linear.bias.any():
                raise DialectError(f"a {layer.name} without bias, the graph's has one")

    def decode(self, spec: NetworkSpec) -> Arrays:
        """Return canonical float32 arrays."""
        return arrays_of(spec, self.steps, self.head.linears)


def with_bias(head: Head) -> Head:
    """Return a head of one linear layer with a bias, which is of zeros if the graph has none.

    Converters drop a bias of zeros. Every dialect has one.
    """
    if len(head.linears) != 1 or head.classifier.bias:
        return head
    return dataclasses.replace(head, classifier=dataclasses.replace(head.classifier, bias=True))


# ---------------------------------------------------------------- a chain held against a spec


def require_fit(spec: NetworkSpec, steps: Sequence[Step]) -> None:
    """Raise unless the graph computes ``spec``; the error names the first difference."""
    network = resolve(spec)
    layers, ordered = [*network.convolutions], [*in_order(steps)]
    if len(layers) != len(ordered):
        raise DialectError(f"{len(ordered)} convolutions where the network has {len(layers)}")
    for layer, step in zip(layers, ordered, strict=True):
        expected, got = _facts(spec, layer, step)
        if expected != got:
            raise DialectError(f"{layer.name} is {got} where the network has {expected}")
    residual = {block.steps[-1].name for block in network.blocks if block.residual}
    for layer, step in zip(layers, ordered, strict=True):
        if (step.added is not None) != (layer.name in residual):
            raise DialectError("its shortcuts are not where the network has them")


def _facts(spec: NetworkSpec, layer: Convolution, step: Step) -> tuple[str, str]:
    """Return a convolution of the spec and of the graph in the same words."""
    numerics = spec.numerics
    rule = numerics.padding if step.padding in ("same", "symmetric") else step.padding
    facts = (
        (layer.role == "depthwise", layer.weight_shape, layer.stride, rule,
         layer.activation or "", numerics.epsilon),
        (step.depthwise, step.weight.shape, step.stride, step.padding, step.activation,
         step.batch_norm.epsilon if step.batch_norm else numerics.epsilon),
    )  # fmt: skip
    expected, actual = (
        f"{'depthwise' if depthwise else 'convolution'} {list(shape)} of stride {stride}, padding "
        f"{padding or 'usual'}, activation {activation or 'none'}, epsilon {epsilon:g}"
        for depthwise, shape, stride, padding, activation, epsilon in facts
    )
    return expected, actual


def arrays_of(spec: NetworkSpec, steps: Sequence[Step], linears: Sequence[Linear]) -> Arrays:
    """Return canonical arrays; a folded BatchNorm becomes an identity that carries the bias."""
    arrays: Arrays = {}
    for layer, step in zip(resolve(spec).convolutions, in_order(steps), strict=True):
        given = np.zeros(step.weight.shape[0], np.float32) if step.bias is None else step.bias
        norm, name = step.batch_norm, layer.name
        arrays[f"{name}.conv.weight"] = step.weight
        if layer.bias:
            arrays[f"{name}.conv.bias"] = given if norm else 0 * given
        if norm is None:
            arrays |= identity_batch_norm(name, given, spec.numerics.epsilon)
            continue
        for part in BATCH_NORM:
            arrays[f"{name}.bn.{part}"] = getattr(norm, part)
    return arrays | linear_arrays(spec, linears)


def linear_arrays(spec: NetworkSpec, linears: Sequence[Linear]) -> Arrays:
    """Return the canonical arrays of the classifier."""
    arrays: Arrays = {}
    for layer, linear in zip(resolve(spec).linears, linears, strict=True):
        arrays[f"{layer.name}.weight"] = linear.weight
        if layer.bias:
            arrays[f"{layer.name}.bias"] = linear.bias
    return arrays


def is_folded(steps: Sequence[Step]) -> bool:
    """Return True if any BatchNorm was folded."""
    return any(step.batch_norm is None for step in in_order(steps))


# ---------------------------------------------------------------- which network a chain is


@dataclass(frozen=True, slots=True)
class Row:
    """One block found in the graph."""

    expansion: int
    channels: int
    stride: int
    steps: tuple[Step, ...]
    in_channels: int


def infer(
    steps: Sequence[Step], base: NetworkSpec, usual: Mapping[str, Numerics], unsure: str,
    families: Sequence[str] = (),
) -> NetworkSpec:  # fmt: skip
    """Return the published network with these tensors, or else a spec with the stages as found.

    Args:
        base: a spec with size, classes and channels.
        usual: numerics by padding rule, for values that the graph does not have.
        unsure: padding rule to use if both rules agree at this size.
        families: published families that are tried before the others.

    Raises:
        DialectError: the convolutions are not a MobileNetV2.
    """
    if len(steps) < 4:
        raise DialectError(NO_BLOCKS)
    base = base.replace(numerics=_numerics(steps, usual, unsure))
    rows = [*_rows(steps)]
    base = base.replace(**_deviations(rows, steps))
    shapes = [step.weight.shape for step in in_order(steps)]
    for spec in _possible(base, rows, steps, families):
        if [layer.weight_shape for layer in resolve(spec).convolutions] == shapes:
            require_fit(spec, steps)
            return spec
    raise DialectError(NO_BLOCKS)


def by_padding(numerics: Numerics) -> dict[str, Numerics]:
    """Return the numerics of an implementation that has both padding rules, by the rule."""
    return {
        "same": dataclasses.replace(numerics, padding="same"),
        "symmetric": dataclasses.replace(numerics, padding="symmetric"),
    }


def _numerics(steps: Sequence[Step], usual: Mapping[str, Numerics], unsure: str) -> Numerics:
    paddings = {step.padding for step in in_order(steps)} - {"", "either"}
    if len(paddings) > 1:
        raise DialectError("its stride-2 convolutions are padded in different ways")
    activations = {step.activation for step in in_order(steps)} - {""}
    if len(activations) != 1 or not activations <= {"relu6", "relu"}:
        words = sorted(activations) or ["none"]
        raise DialectError(f"activations {words}; MobileNetV2 has ReLU6 throughout")
    norms = [step.batch_norm for step in in_order(steps) if step.batch_norm]
    if len({norm.epsilon for norm in norms}) > 1:
        raise DialectError("its BatchNorms have different epsilons")
    known = bool(paddings)
    padding = paddings.pop() if known else unsure
    numerics = usual[padding]
    if norms:
        # Epsilon distinguishes PyTorch's networks from TensorFlow's better than the padding.
        epsilon, momentum = norms[0].epsilon, norms[0].momentum
        owner = min(usual, key=lambda rule: (abs(usual[rule].epsilon - epsilon), rule != unsure))
        padding = padding if known else owner
        numerics = dataclasses.replace(usual[owner], epsilon=epsilon)
        if momentum is not None and 0 <= momentum <= 1:
            new = numerics.momentum_of == "new"
            momentum = round(1 - momentum, 7) if new else momentum
            numerics = dataclasses.replace(numerics, momentum=momentum)
    activation: Activation = "relu6" if "relu6" in activations else "relu"
    return dataclasses.replace(numerics, padding=usual[padding].padding, activation=activation)


def _rows(steps: Sequence[Step]) -> Iterator[Row]:
    """Yield the blocks between stem and head."""
    channels, place = steps[0].weight.shape[0], 1
    while place < len(steps) - 1:
        length = 2 if steps[place].depthwise else 3
        block = steps[place : min(place + length, len(steps) - 1)]
        kinds = [step.depthwise for step in block]
        linear = [not step.activation for step in block]
        if kinds != [False, True, False][-length:] or linear != [False, False, True][-length:]:
            raise DialectError(f"{NO_BLOCKS}, from convolution {place + 1} on")
        out_channels, inner = block[-1].weight.shape[:2]
        expansion, rest = divmod(inner, channels)
        if rest or not expansion:
            raise DialectError("an expansion that is not a multiple of the block's input channels")
        yield Row(expansion, out_channels, block[-2].stride, tuple(block), channels)
        channels, place = out_channels, place + length


def _deviations(rows: Sequence[Row], steps: Sequence[Step]) -> dict[str, object]:
    """Return the changes to a spec for the graph's shortcuts, expansions and biases."""
    changes: dict[str, object] = {}
    if any(row.steps[-1].projection for row in rows):
        changes["shortcut"] = "projection"
    elif not any(row.steps[-1].added for row in rows):
        same = any(row.stride == 1 and row.channels == row.in_channels for row in rows)
        changes |= {"shortcut": "none"} if same else {}
    if any(row.expansion == 1 and len(row.steps) == 3 for row in rows):
        changes["expand"] = "always"
    if any(step.batch_norm and step.bias is not None and step.bias.any() for step in steps):
        changes["conv_bias"] = True
    return changes


def _possible(
    base: NetworkSpec, rows: Sequence[Row], steps: Sequence[Step], families: Sequence[str]
) -> Iterator[NetworkSpec]:
    """Yield the published networks that have these blocks, then the one with these as found."""
    yield from _published(base, rows, steps, families)
    yield _as_found(base, rows, steps)


def _published(
    base: NetworkSpec, rows: Sequence[Row], steps: Sequence[Step], families: Sequence[str]
) -> Iterator[NetworkSpec]:
    """Yield every published network, at every width, that has these blocks.

    All widths of the families in ``families`` come before other families, which may round to the
    same channels at another width.
    """
    triples = [(row.expansion, row.channels, row.stride) for row in rows]
    stem, head = steps[0].weight.shape[0], steps[-1].weight.shape[0]
    own = [_variants(triples, [family], finer=False) for family in families]
    for variants in (*own, _variants(triples, PUBLISHED)):
        for width, change in itertools.product(WIDTHS, variants):
            channels = base.stem_channels
            if not change["stem_fixed"]:
                rounding, divisor = change["rounding"], change["divisor"]
                channels = scale(rounding, channels, width, divisor, "stem")
            if channels != stem:
                continue  # skip the slower construction of a spec
            spec = base.replace(**change, width=width, stem_stride=steps[0].stride)
            blocks = [
                (stage.expansion, spec.stage_channels(stage), stage.stride if i == 0 else 1)
                for stage in spec.stages
                for i in range(stage.repeats)
            ]
            if blocks == triples and spec.channels("head") == head:
                yield spec


def _variants(
    triples: Sequence[tuple[int, int, int]], families: Iterable[str], finer: bool = True
) -> list[dict[str, Any]]:
    """Return changes to a spec: depths and roundings of families with the blocks' expansions.

    With ``finer`` channels may be multiples of four. Strides are those found, since networks for
    small images differ from the paper only in them.
    """
    fields = "head stem_fixed first_stage_fixed rounding divisor".split()
    variants: list[dict[str, Any]] = []
    for family in families:
        spec = PUBLISHED[family].spec
        expansions = [stage.expansion for stage in spec.stages for _ in range(stage.repeats)]
        if spec.head == "none" or expansions != [expansion for expansion, _, _ in triples]:
            continue
        stages, first = [], 0
        for stage in spec.stages:
            stages.append(dataclasses.replace(stage, stride=triples[first][2]))
            first += stage.repeats
        change = {name: getattr(spec, name) for name in fields} | {"stages": tuple(stages)}
        variants += [change, change | {"head": "scaled"}]
        variants += [change | {"divisor": 4}] if finer else []
    return [change for i, change in enumerate(variants) if change not in variants[:i]]


def _as_found(base: NetworkSpec, rows: Sequence[Row], steps: Sequence[Step]) -> NetworkSpec:
    """Return a spec with the stages that the blocks form."""
    stages: list[StageSpec] = []
    for row in rows:
        last = stages[-1] if stages else None
        alike = last and (row.expansion, row.channels) == (last.expansion, last.channels)
        if last and alike and row.stride == 1:
            stages[-1] = dataclasses.replace(last, repeats=last.repeats + 1)
        else:
            stages.append(StageSpec(row.expansion, row.channels, 1, row.stride))
    try:
        return base.replace(
            stages=tuple(stages), stem_channels=steps[0].weight.shape[0],
            stem_stride=steps[0].stride, head_channels=steps[-1].weight.shape[0], divisor=1,
        )  # fmt: skip
    except SpecError as error:
        raise DialectError(f"{NOT_OURS}: {error}") from None

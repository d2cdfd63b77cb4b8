"""Classifier of the PyTorch edition, and modules that a user assigned in its place."""

from collections.abc import Iterable, Iterator

from torch import nn

from mobilenetv2.editions.heads import (
    ActivationPart,
    DropoutPart,
    LinearPart,
    OtherPart,
    Part,
)
from mobilenetv2.editions.torch.layers import HiddenLayer
from mobilenetv2.spec.blocks import Linear


class Classifier(nn.Linear):
    """Last linear layer, from (batch, in_features) to logits (batch, out_features).

    It can be indexed like torchvision's classifier: ``[0]`` is the network's dropout, ``[1]`` is
    this layer. ``classifier[1] = nn.Linear(...)`` takes over the new layer's parameters.
    """

    def __init__(self, layer: Linear, dropout: nn.Dropout) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias)
        self._dropout = (dropout,)  # in a tuple, since the network registers it
        self.replaced = False
        """True if its parameters are those of another layer, whose labels are unknown."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> nn.Module:
        return (*self._dropout, self)[index]

    def __setitem__(self, index: int, module: nn.Module) -> None:
        place = range(2)[index]
        if place == 0 and isinstance(module, nn.Dropout):
            self._dropout[0].p = module.p
        elif place == 1 and isinstance(module, nn.Linear):
            self.weight, self.bias = module.weight, module.bias
            self.in_features, self.out_features = module.in_features, module.out_features
            self.replaced = True
        else:
            kind = ("nn.Dropout", "nn.Linear")[place]
            raise TypeError(
                f"classifier[{index}] must be an {kind}, not a {type(module).__name__}; any other "
                "module can be set as the whole classifier: network.classifier = module"
            )


def list_parts(modules: Iterable[nn.Module]) -> Iterator[Part[nn.Linear]]:
    """Yield the layers behind the pooled features as parts of :mod:`mobilenetv2.editions.heads`."""
    for module in modules:
        if isinstance(module, HiddenLayer):
            yield _linear(module)
            yield from list_parts([module.activation, module.dropout])
        elif isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
            yield _linear(module)
        elif isinstance(module, nn.Sequential | nn.ModuleList):
            yield from list_parts(module)
        elif isinstance(module, nn.Dropout):
            yield DropoutPart(module.p)
        elif isinstance(module, nn.ReLU):
            yield ActivationPart("relu")
        elif isinstance(module, nn.ReLU6):
            yield ActivationPart("relu6")
        elif not isinstance(module, nn.Identity | nn.Flatten):  # these change nothing here
            yield OtherPart(type(module).__name__)


def _linear(layer: nn.Linear) -> LinearPart[nn.Linear]:
    return LinearPart(layer.in_features, layer.out_features, layer.bias is not None, layer)

"""The classifier of the PyTorch edition, and one that a user put in its place."""

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
    """The last linear layer: (batch, in_features) -> (batch, logits).

    It can be indexed as torchvision's classifier: ``[0]`` is the network's dropout, ``[1]`` is this
    layer. ``classifier[1] = nn.Linear(...)`` takes that layer's parameters.
    """

    def __init__(self, layer: Linear, dropout: nn.Dropout) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias)
        self._dropout = (dropout,)  # in a tuple: it is the network's, and is registered there
        self.replaced = False
        """Its parameters were taken from another layer: its labels are not known."""

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
    """Yield what runs behind the pooled features, as :mod:`mobilenetv2.editions.heads` has it."""
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
        elif not isinstance(module, nn.Identity | nn.Flatten):  # those change nothing here
            yield OtherPart(type(module).__name__)


def _linear(layer: nn.Linear) -> LinearPart[nn.Linear]:
    return LinearPart(layer.in_features, layer.out_features, layer.bias is not None, layer)

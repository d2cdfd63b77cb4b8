"""What PyTorch's trainer decides: what decays, and in which precision it computes."""

from mobilenetv2.editions.torch import MobileNetV2
from mobilenetv2.spec.published import published
from mobilenetv2.train.recipe import Recipe
from mobilenetv2.train.steps.torch_optimizers import make_optimizer


def test_weights_decay_but_batchnorm_and_biases_do_not() -> None:
    network = MobileNetV2(published("article-torch", width=0.35, classes=3, size=32))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for kind in ("sgd", "adamw"):
        recipe = Recipe().changed(optimizer=kind, weight_decay=0.5)
        found = {
            names[id(parameter)]: group["weight_decay"]
            for group in make_optimizer(network, recipe).param_groups
            for parameter in group["params"]
        }
        decays = {name for name in found if name.endswith(("conv.weight", "classifier.weight"))}
        assert found == {name: 0.5 if name in decays else 0.0 for name in names.values()}
        assert len(decays) == sum(parameter.ndim > 1 for parameter in network.parameters())

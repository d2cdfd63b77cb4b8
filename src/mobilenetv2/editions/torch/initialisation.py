"""How the weights start, by the name of who does it so.

* 'torchvision': convolutions normal with variance 2 / fan-out (He et al., arXiv 1502.01852),
  classifier normal with standard deviation 0.01.
* 'paper': the published TF-slim code: everything normal with standard deviation 0.09, cut off at
  two standard deviations.

In both BatchNorm starts as the identity and biases at 0.
"""

from typing import Literal, get_args

from torch import nn

from mobilenetv2.errors import SpecError

Initialisation = Literal["torchvision", "paper"]
SLIM_DEVIATION = 0.09


def initialise(module: nn.Module, name: Initialisation) -> None:
    """Initialise every convolution, BatchNorm and linear layer inside ``module`` (or itself).

    Raises:
        SpecError: the name is unknown.
    """
    if name not in get_args(Initialisation):
        known = ", ".join(get_args(Initialisation))
        raise SpecError(f"initialisation {name!r} is unknown; known are: {known}")
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            if name == "paper":
                nn.init.trunc_normal_(
                    layer.weight, std=SLIM_DEVIATION, a=-2 * SLIM_DEVIATION, b=2 * SLIM_DEVIATION
                )
            elif isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            else:
                nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

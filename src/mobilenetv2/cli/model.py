"""``--model`` left out: the embedded model answers, and a person is told what that knows."""

import argparse

from mobilenetv2.hub.catalogue import DEFAULT, EMBEDDED
from mobilenetv2.hub.models import embedded_folder
from mobilenetv2.model import store
from mobilenetv2.progress import say


def settle(arguments: argparse.Namespace) -> None:
    """Set ``arguments.model`` where nobody did.

    Raises:
        WeightsError: the package was installed without its model.
    """
    if arguments.model is not None:
        return
    arguments.model = EMBEDDED
    config = store.load_config(embedded_folder())
    names, (height, width) = config.labels.names, config.spec.size
    say(
        f"no --model: the embedded one answers; it sees {height} x {width} pixels and knows "
        f"{', '.join(names[:-1])} and {names[-1]} only. For ImageNet's 1,000 classes add "
        f"--model {DEFAULT}, for your own train one"
    )

"""How far a layer is from the classifier: for rates by depth and for unfreezing from the top.

Early layers know edges and colours, which any photo needs; late ones know the classes that they
were trained for. So the early ones may move less (discriminative rates) or later (gradual
unfreezing): Howard & Ruder, arXiv 1801.06146.
"""

from mobilenetv2.errors import RecipeError
from mobilenetv2.spec.network import NetworkSpec


def depth(name: str, spec: NetworkSpec) -> int:
    """0 for the classifier, 1 for the head, then the blocks from the last, the stem at the end.

    Args:
        name: of a parameter or module, canonical: 'blocks.3.expand.conv.weight'.
    """
    part, _, rest = name.partition(".")
    blocks = sum(stage.repeats for stage in spec.stages)
    if part == "blocks":
        return 1 + blocks - int(rest.partition(".")[0])
    return {"classifier": 0, "head": 1, "stem": 2 + blocks}[part]


def deepest(spec: NetworkSpec) -> int:
    """The stem's depth."""
    return depth("stem", spec)


def scale(layer_decay: float, name: str, spec: NetworkSpec) -> float:
    """The share of the learning rate that a layer gets."""
    return float(layer_decay ** depth(name, spec))


def trained(frozen_blocks: int, spec: NetworkSpec) -> int:
    """The greatest depth that ever trains.

    Args:
        frozen_blocks: so many blocks, and the stem, never do; 0: all of the network does.

    Raises:
        RecipeError: the network has fewer blocks.
    """
    blocks = sum(stage.repeats for stage in spec.stages)
    if frozen_blocks > blocks:
        raise RecipeError(f"frozen_blocks {frozen_blocks}: the network has {blocks} blocks")
    return depth(f"blocks.{frozen_blocks}", spec) if frozen_blocks else deepest(spec)


def thawed(epoch: float, unfreeze_epochs: float, frozen_blocks: int, spec: NetworkSpec) -> int:
    """The greatest depth that is trained: the classifier first, all after ``unfreeze_epochs``.

    Args:
        epoch: since the start, with fractions.
        frozen_blocks: see :func:`trained`.
    """
    limit = trained(frozen_blocks, spec)
    if epoch >= unfreeze_epochs:
        return limit
    return min(limit, int(epoch / unfreeze_epochs * (deepest(spec) + 1)))

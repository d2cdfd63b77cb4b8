"""Tables of names turned into one foreign name a tensor."""

from mobilenetv2.checkpoints.dialects.registry import D_LI14, TONYLINS, TORCHVISION
from mobilenetv2.checkpoints.dialects.tables import keys
from mobilenetv2.checkpoints.dialects.timm import TIMM
from mobilenetv2.spec.published import published


def test_a_part_that_an_implementation_lacks_has_a_name_that_no_file_has() -> None:
    spec = published("article-torch", width=0.35)
    missing = [k for k in TORCHVISION.keys(spec) if k.foreign.startswith("no ")]
    assert {key.canonical.split(".")[2] for key in missing} == {"expand", "shortcut"}


def test_deeper_networks_are_counted_on() -> None:
    spec = published("timm-120d")
    last = {key.canonical: key.foreign for key in keys(TORCHVISION.table, TORCHVISION.words, spec)}
    assert last["head.conv.weight"] == "features.27.0.weight"
    places = {key.canonical: key.foreign for key in TIMM.keys(spec)}
    assert places["blocks.25.project.conv.weight"] == "blocks.6.0.conv_pwl.weight"


def test_tonylins_and_d_li14_differ_in_the_head_alone() -> None:
    spec = TONYLINS.bases[0]
    pairs = zip(TONYLINS.keys(spec), D_LI14.keys(spec), strict=True)
    assert {one.canonical.split(".")[0] for one, two in pairs if one.foreign != two.foreign} == {
        "head"
    }

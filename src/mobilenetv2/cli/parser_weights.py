"""``weights list``, ``fetch``, ``import`` and ``export``. Standard library only."""

from mobilenetv2.cli.options import DIALECTS, MODEL_HELP, Verbs, add_json, make_verb, size
from mobilenetv2.formats import FORMATS, GRAPHS


def add_weights(verbs: Verbs) -> None:
    """``weights`` and its actions."""
    verb = make_verb(
        verbs, "weights", "bring published weights in, and take weights out",
        "  mobilenetv2 weights list --dialect timm\n"
        "  mobilenetv2 weights fetch timm-100\n"
        "  mobilenetv2 weights import mobilenet_v2-7ebf99e0.pth imagenet\n"
        "  mobilenetv2 weights export imagenet mobilenetv2.safetensors --dialect timm\n",
    )  # fmt: skip
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    _weights_list(actions)
    _weights_fetch(actions)
    _weights_import(actions)
    _weights_export(actions)


def _weights_list(actions: Verbs) -> None:
    action = make_verb(
        actions, "list", "show what is published, by name",
        "  mobilenetv2 weights list\n"
        "  mobilenetv2 weights list --width 0.5 --sort top1\n",
    )  # fmt: skip
    action.add_argument("--dialect", metavar="NAME", help="only this publisher's")
    action.add_argument("--width", type=float, help="only this width multiplier")
    action.add_argument(
        "--sort", choices=("name", "width", "size", "top1", "file_size"),
        help="the column to sort by (default: publisher by publisher)",
    )  # fmt: skip
    add_json(action)


def _weights_fetch(actions: Verbs) -> None:
    action = make_verb(
        actions, "fetch", "download a published checkpoint into the cache, verified",
        "  mobilenetv2 weights fetch torchvision-v2\n"
        "  mobilenetv2 weights fetch hf://google/mobilenet_v2_1.0_224\n",
    )  # fmt: skip
    action.add_argument("name", metavar="NAME", help="of 'weights list', or hf://OWNER/NAME")
    add_json(action)


def _weights_import(actions: Verbs) -> None:
    action = make_verb(
        actions, "import", "turn a published checkpoint into a model folder",
        "  mobilenetv2 weights import mobilenet_v2_1.0_224_quant.tflite imagenet\n"
        "  mobilenetv2 weights import mobilenet_v2-7ebf99e0.pth imagenet\n"
        "  mobilenetv2 weights import mobilenet_v2_1.0_224.tgz imagenet\n"
        "  mobilenetv2 weights import birds.tflite birds --labels birds.txt\n",
    )  # fmt: skip
    action.add_argument(
        "file", metavar="FILE",
        help="a .pth, .safetensors, .h5, .keras, "
        f"{' or '.join(FORMATS[name].suffix for name in GRAPHS)} file; a TensorFlow checkpoint's "
        "prefix, folder or .tgz; or a folder from the Hugging Face hub",
    )  # fmt: skip
    action.add_argument("out", metavar="OUT", help="the model folder, made new")
    action.add_argument(
        "--dialect", choices=("auto", *DIALECTS), default="auto", help="of the file (default: auto)"
    )
    action.add_argument(
        "--labels", metavar="FILE", help="names of the outputs, one a line, if not in the file"
    )
    action.add_argument("--width", type=float, help="the width that it must have")
    action.add_argument("--size", type=size, help="input size, if the file does not say it")
    action.add_argument(
        "--spec", metavar="NAME|FILE",
        help="the whole network, where it is none that was published: a JSON file or model folder",
    )  # fmt: skip
    action.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    add_json(action)


def _weights_export(actions: Verbs) -> None:
    action = make_verb(
        actions, "export", "write a model folder as another project's checkpoint",
        "  mobilenetv2 weights export runs/photos/best photos.pth --dialect torchvision\n"
        "  mobilenetv2 weights export imagenet photos.weights.h5 --dialect keras\n"
        "  mobilenetv2 weights export imagenet hub/ --dialect huggingface\n",
    )  # fmt: skip
    action.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    action.add_argument(
        "out", metavar="OUT",
        help="the file, whose ending chooses its kind (.pth, .safetensors; .h5, .weights.h5, "
        ".keras; .ckpt; .onnx; .tflite), or a folder for huggingface",
    )  # fmt: skip
    action.add_argument("--dialect", choices=DIALECTS, required=True, help="whose names")
    action.add_argument(
        "--ignore-numerics", action="store_true",
        help="write them although the other project computes otherwise; says what that changes",
    )  # fmt: skip
    action.add_argument(
        "--photos", nargs="+", default=[], metavar="IMAGE|FOLDER",
        help="with --ignore-numerics: photos to see the change on (default: two built in)",
    )  # fmt: skip
    action.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add_json(action)

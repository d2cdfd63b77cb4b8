"""Verbs, options and examples. Imports only the standard library, so that --help is quick."""

import argparse

from mobilenetv2.version import __version__

DATA_HELP = (
    "a folder with train/, validation/ (or val/) and test/, each with a folder of photos for every "
    "class; or a folder of class folders; a .zip or .tar of either; or 'digits', built in"
)
MODEL_HELP = "a model folder, such as RUN/best, or a name of 'weights list' or hf://OWNER/NAME"
DIALECTS = (
    "torchvision", "timm", "keras", "tf-slim", "huggingface", "tonylins", "d-li14", "article",
    "onnx", "litert",
)  # fmt: skip
"""As in ``weights.dialects.registry``, which would have to be imported for it."""

EXAMPLES = """\
examples:
  mobilenetv2 train digits --output runs/digits          try it: built-in data, a minute or two
  mobilenetv2 weights import model.tflite imagenet       published weights become a model folder
  mobilenetv2 train photos/ --weights imagenet --output runs/photos
  mobilenetv2 evaluate photos/ --model runs/photos/best
  mobilenetv2 predict new.jpg --model runs/photos/best
  mobilenetv2 parity runs/photos/best                    the same in every framework?
"""


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="mobilenetv2",
        description="MobileNetV2 on your own photos: train, evaluate, predict, convert weights.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mobilenetv2 {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _describe(verbs)
    _train(verbs)
    _evaluate(verbs)
    _predict(verbs)
    _weights(verbs)
    _parity(verbs)
    return parser


class _Parser(argparse.ArgumentParser):
    """argparse with errors like ours: one sentence, then exit status 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"mobilenetv2: error: {message}; see '{self.prog} --help'\n")


def _verb(verbs, name: str, help_: str, examples: str) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=help_, description=help_[0].upper() + help_[1:] + ".",
        epilog=f"examples:\n{examples}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    return verb


def _json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def _device(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps (default: cpu)")


def _runtime(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--runtime", choices=("onnxruntime", "torch"),
        help="what computes (default: onnxruntime; torch for another --device than the cpu)",
    )  # fmt: skip
    verb.add_argument("--threads", type=int, metavar="N", help="of the runtime (default: its own)")


def _describe(verbs) -> None:  # type: ignore[no-untyped-def]
    verb = _verb(
        verbs, "describe", "show a network layer by layer, and what it costs",
        "  mobilenetv2 describe --width 0.5 --size 160 --classes 10\n"
        "  mobilenetv2 describe --spec tonylins\n"
        "  mobilenetv2 describe --spec runs/photos/best --json\n",
    )  # fmt: skip
    verb.add_argument("--width", type=float, help="width multiplier (default: 1.0)")
    verb.add_argument("--size", type=_size, help="input size: 224, or 192x256 (height x width)")
    verb.add_argument("--classes", type=int, help="outputs of the classifier (default: 1000)")
    verb.add_argument(
        "--spec", metavar="NAME|FILE", default="torchvision",
        help="a published network by name, a model folder, or a JSON file (default: torchvision)",
    )  # fmt: skip
    _json(verb)


def _train(verbs) -> None:  # type: ignore[no-untyped-def]
    verb = _verb(
        verbs, "train", "train a classifier on a folder of photos",
        "  mobilenetv2 train digits --output runs/digits\n"
        "  mobilenetv2 train photos/ --weights imagenet --output runs/photos\n"
        "  mobilenetv2 train photos/ --weights imagenet --recipe head-only --output runs/quick\n"
        "  mobilenetv2 train text/ --weights imagenet --set augmentation.flip=false"
        " --output runs/text\n"
        "  mobilenetv2 train photos/ --output runs/photos --resume\n",
    )  # fmt: skip
    verb.add_argument("data", metavar="DATA", help=DATA_HELP)
    verb.add_argument("--output", required=True, metavar="RUN", help="the run folder, made new")
    verb.add_argument(
        "--weights", metavar="MODEL|none",
        help=f"{MODEL_HELP}; 'none' trains from scratch (digits: the default)",
    )  # fmt: skip
    verb.add_argument(
        "--recipe", metavar="NAME|FILE",
        help="finetune, head-only, scratch, digits, or a TOML file (default: finetune where there "
        "are weights, else scratch)",
    )  # fmt: skip
    verb.add_argument(
        "--edition",
        choices=("torch", "keras", "jax"),
        help="the framework that trains (default: torch); KERAS_BACKEND chooses Keras's",
    )
    verb.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe's key"
    )
    verb.add_argument("--epochs", type=int, help="the same as --set epochs=N")
    verb.add_argument("--seed", type=int, help="the same as --set seed=N")
    _device(verb)
    again = verb.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    again.add_argument("--overwrite", action="store_true", help="replace an existing run")
    _json(verb)


def _evaluate(verbs) -> None:  # type: ignore[no-untyped-def]
    verb = _verb(
        verbs, "evaluate", "measure a model on labelled photos",
        "  mobilenetv2 evaluate photos/ --model runs/photos/best\n"
        "  mobilenetv2 evaluate photos/ --model runs/photos/best --split validation --report out\n",
    )  # fmt: skip
    verb.add_argument("data", metavar="DATA", help=DATA_HELP)
    verb.add_argument("--model", required=True, metavar="MODEL", help=MODEL_HELP)
    verb.add_argument(
        "--split", metavar="NAME",
        help="train, validation or test (default: test, else validation, else all)",
    )  # fmt: skip
    verb.add_argument(
        "--report", metavar="DIR", help="write the figures as JSON and pictures into a folder"
    )
    _runtime(verb)
    _device(verb)
    _json(verb)


def _predict(verbs) -> None:  # type: ignore[no-untyped-def]
    verb = _verb(
        verbs, "predict", "name what is on photos",
        "  mobilenetv2 predict cat.jpg --model imagenet\n"
        "  mobilenetv2 predict holiday/ --model runs/photos/best --top 3 --csv holiday.csv\n"
        "  mobilenetv2 predict *.jpg --model runs/photos/best --json\n",
    )  # fmt: skip
    verb.add_argument(
        "images", nargs="+", metavar="IMAGE|FOLDER", help="photos, or folders of photos"
    )
    verb.add_argument("--model", required=True, metavar="MODEL", help=MODEL_HELP)
    verb.add_argument("--top", type=int, default=5, metavar="N", help="answers (default: 5)")
    verb.add_argument(
        "--features", action="store_true", help="give the pooled features instead of classes"
    )
    _runtime(verb)
    _device(verb)
    out = verb.add_mutually_exclusive_group()
    out.add_argument("--json", action="store_true", help="print one JSON object a line")
    out.add_argument("--csv", metavar="FILE", help="write a table")


def _weights(verbs) -> None:  # type: ignore[no-untyped-def]
    verb = _verb(
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


def _weights_list(actions) -> None:  # type: ignore[no-untyped-def]
    action = _verb(
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
    _json(action)


def _weights_fetch(actions) -> None:  # type: ignore[no-untyped-def]
    action = _verb(
        actions, "fetch", "download a published checkpoint into the cache, verified",
        "  mobilenetv2 weights fetch torchvision-v2\n"
        "  mobilenetv2 weights fetch hf://google/mobilenet_v2_1.0_224\n",
    )  # fmt: skip
    action.add_argument("name", metavar="NAME", help="of 'weights list', or hf://OWNER/NAME")
    _json(action)


def _weights_import(actions) -> None:  # type: ignore[no-untyped-def]
    action = _verb(
        actions, "import", "turn a published checkpoint into a model folder",
        "  mobilenetv2 weights import mobilenet_v2_1.0_224_quant.tflite imagenet\n"
        "  mobilenetv2 weights import mobilenet_v2-7ebf99e0.pth imagenet\n"
        "  mobilenetv2 weights import mobilenet_v2_1.0_224.tgz imagenet\n"
        "  mobilenetv2 weights import birds.tflite birds --labels birds.txt\n",
    )  # fmt: skip
    action.add_argument(
        "file", metavar="FILE",
        help="a .pth, .safetensors, .h5, .keras, .onnx or .tflite file; a TensorFlow checkpoint's "
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
    action.add_argument("--size", type=_size, help="input size, if the file does not say it")
    action.add_argument(
        "--spec", metavar="NAME|FILE",
        help="the whole network, where it is none that was published: a JSON file or model folder",
    )  # fmt: skip
    action.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    _json(action)


def _weights_export(actions) -> None:  # type: ignore[no-untyped-def]
    action = _verb(
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
    _json(action)


def _parity(verbs) -> None:  # type: ignore[no-untyped-def]
    verb = _verb(
        verbs, "parity", "prove that every framework's edition computes the same, layer by layer",
        "  mobilenetv2 parity runs/photos/best\n"
        "  mobilenetv2 parity imagenet --editions torch,keras:jax --size 225x193\n"
        "  mobilenetv2 parity imagenet --photos holiday/ --json\n",
    )  # fmt: skip
    verb.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    verb.add_argument(
        "--editions", metavar="NAMES",
        help="of torch, keras, jax, numpy; keras:tensorflow, keras:jax and keras:torch choose its "
        "backend (default: those that are installed)",
    )  # fmt: skip
    verb.add_argument("--size", type=_size, help="input size, if not the model's own")
    verb.add_argument(
        "--photos", nargs="+", default=[], metavar="IMAGE|FOLDER",
        help="compare on these (default: two pictures of noise)",
    )  # fmt: skip
    verb.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="X",
        help="largest difference as a share of max(1, the reference's largest value) "
        "(default: 1e-4)",
    )  # fmt: skip
    _json(verb)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    try:
        return int(height), int(width or height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 224 or 192x256") from None

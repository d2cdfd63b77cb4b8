"""``export``, ``quantize`` and ``benchmark``. Standard library only."""

import argparse
from collections.abc import Callable, Collection

from mobilenetv2.cli.options import (
    DATA_HELP,
    MODEL_HELP,
    RUN_HELP,
    Verbs,
    add_json,
    make_verb,
)
from mobilenetv2.formats import ALIASES, FORMATS, INT8, OF_INT8, PRECISIONS, RUNTIMES


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """A parser of 'A,B' and of 'all'."""

    def parse(text: str) -> list[str]:
        words = list(known) if text == "all" else [word.strip() for word in text.split(",")]
        found = [ALIASES.get(word, word) for word in words]
        for name in found:
            if name == INT8 and name not in known:
                raise argparse.ArgumentTypeError("int8 is made by 'mobilenetv2 quantize'")
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"{name!r} is unknown; choose from {', '.join(known)}"
                )
        return list(dict.fromkeys(found))

    return parse


def add_deployment(verbs: Verbs) -> None:
    """The three verbs."""
    _export(verbs)
    _quantize(verbs)
    _benchmark(verbs)


def _export(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "export", "write a model for other runtimes, verified before it is there",
        "  mobilenetv2 export runs/photos/best photos.onnx\n"
        "  mobilenetv2 export runs/photos/best app/ --format litert,coreml --precision float16\n"
        "  mobilenetv2 export runs/photos/best photos.onnx --pictures --batch 1\n"
        "  mobilenetv2 export runs/photos/best all/ --format all --photos holiday/\n"
        "  mobilenetv2 export --list\n",
    )  # fmt: skip
    verb.add_argument("model", metavar="MODEL", nargs="?", help=MODEL_HELP)
    verb.add_argument(
        "out", metavar="OUT", nargs="?",
        help="a file, whose ending says the format, or a folder for several",
    )  # fmt: skip
    verb.add_argument(
        "--format", type=names(FORMATS), default=[], metavar="A,B",
        help=f"of {', '.join(FORMATS)}; or all that are installed",
    )  # fmt: skip
    verb.add_argument(
        "--precision", type=names(PRECISIONS), default=["float32"], metavar="A,B",
        help=f"of {', '.join(PRECISIONS)} (default: float32); int8 is made by 'quantize'",
    )  # fmt: skip
    verb.add_argument(
        "--pictures", action="store_true",
        help="normalisation inside: the file takes uint8 pictures at the network's size",
    )  # fmt: skip
    verb.add_argument("--batch", type=int, metavar="N", help="a fixed batch (default: any)")
    verb.add_argument(
        "--any-size", action="store_true", help="any height and width, where the padding allows it"
    )
    verb.add_argument("--opset", type=int, metavar="N", help="of ONNX, 13 to 22 (default: 17)")
    verb.add_argument(
        "--photos", nargs="+", default=[], metavar="IMAGE|FOLDER",
        help="compare on these (default: four pictures made here)",
    )  # fmt: skip
    verb.add_argument("--overwrite", action="store_true", help="replace existing files")
    verb.add_argument(
        "--list", action="store_true", help="what is installed, what each format is for, and stop"
    )
    add_json(verb)


def _quantize(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "quantize", "make a model int8, measured against its float self on held-out photos",
        "  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --format onnx,litert\n"
        "  mobilenetv2 quantize imagenet int8.onnx --data imagenet-val/ --calibration holiday/\n"
        "  mobilenetv2 quantize runs/photos/best int8/ --data photos/ --train --sensitivity\n",
    )  # fmt: skip
    verb.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    verb.add_argument(
        "out", metavar="OUT", help="a file, whose ending says the format, or a folder for several"
    )
    verb.add_argument(
        "--data", required=True, metavar="DATA",
        help=f"labelled photos to measure on (test, else validation): {DATA_HELP}",
    )  # fmt: skip
    verb.add_argument("--split", metavar="NAME", help="of DATA: what is measured on")
    verb.add_argument(
        "--calibration", metavar="FOLDER",
        help="photos to calibrate on (default: DATA's training split; of a folder without splits, "
        "a part that is then not measured on)",
    )  # fmt: skip
    verb.add_argument(
        "--calibration-photos", type=int, default=200, metavar="N", help="how many (default: 200)"
    )
    verb.add_argument(
        "--format",
        type=names(OF_INT8),
        default=[],
        metavar="A,B",
        help=f"of {', '.join(OF_INT8)}, or all",
    )
    verb.add_argument(
        "--method", choices=("min-max", "percentile", "mse", "entropy", "nncf"),
        help="how ranges are found (default: mse; nncf: all of it by Intel's NNCF, OpenVINO only)",
    )  # fmt: skip
    verb.add_argument(
        "--no-equalise", action="store_true", help="leave out cross-layer equalisation"
    )
    verb.add_argument("--no-bias-correction", action="store_true", help="leave out bias correction")
    verb.add_argument("--per-tensor", action="store_true", help="one weight scale a layer")
    verb.add_argument(
        "--weight-bits", type=int, choices=(7, 8), default=8,
        help="7 for x86 processors without VNNI, whose products of 8 bits saturate (default: 8)",
    )  # fmt: skip
    verb.add_argument(
        "--train", action="store_true",
        help="train the integers on DATA's training split, where calibration is not enough",
    )  # fmt: skip
    verb.add_argument("--epochs", type=int, metavar="N", help="with --train (default: 2)")
    verb.add_argument(
        "--sensitivity", action="store_true",
        help="which layers suffer: quantise each alone, and draw it (a minute or two)",
    )  # fmt: skip
    verb.add_argument(
        "--force", action="store_true", help="keep what loses more than 2.0 points, too"
    )
    verb.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_json(verb)


def _benchmark(verbs: Verbs) -> None:
    verb = make_verb(
        verbs, "benchmark", "compare runtimes and precisions: speed, accuracy, size, memory",
        "  mobilenetv2 benchmark runs/photos/best --data photos/\n"
        "  mobilenetv2 benchmark imagenet --runtime onnxruntime,openvino --batch 1,32\n"
        "  mobilenetv2 benchmark imagenet --threads 1 --output bench/ --json\n",
    )  # fmt: skip
    verb.add_argument("model", metavar="MODEL", help=RUN_HELP)
    verb.add_argument(
        "--runtime", type=names(RUNTIMES),
        metavar="A,B", help=f"of {', '.join(RUNTIMES)} "
        "(default: all that are installed)",
    )  # fmt: skip
    verb.add_argument(
        "--precision", type=names((*PRECISIONS, INT8)), metavar="A,B",
        help=f"of {', '.join(PRECISIONS)}, {INT8} (default: float32, and int8 where photos to "
        "calibrate on are given)",
    )  # fmt: skip
    verb.add_argument("--data", metavar="DATA", help=f"labelled photos, for accuracy: {DATA_HELP}")
    verb.add_argument("--split", metavar="NAME", help="of DATA: what is measured on")
    verb.add_argument(
        "--calibration", metavar="FOLDER",
        help="photos to calibrate int8 on (default: DATA's training split)",
    )  # fmt: skip
    verb.add_argument("--artifacts", metavar="DIR", help="exported files to measure, too")
    verb.add_argument("--threads", type=int, metavar="N", help="of each runtime (default: cores)")
    verb.add_argument(
        "--batch", type=_batches, default=(1, 32), metavar="N,M", help="(default: 1,32)"
    )
    verb.add_argument(
        "--seconds", type=float, default=3.0, metavar="S",
        help="of measuring for each row and batch (default: 3)",
    )  # fmt: skip
    verb.add_argument("--output", metavar="DIR", help="write benchmark.json and a picture")
    add_json(verb)


def _batches(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 1,32") from None
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a batch is at least 1")
    return found

"""ImageNet's whole path on a miniature: archives, shards, both recipes, evaluation.

    python benchmarks/imagenet.py --data ../shared/data --train 4 --validation 1 \\
        --output benchmarks/imagenet.md

The archives are laid out as the official ones, with all 1,000 classes. Photos are the 100 of
``imagenet-samples``, as validation photos of their own classes, and CIFAR-10's pictures elsewhere.
The accuracy of what is trained means nothing: a class of CIFAR-10 stands for a hundred of
ImageNet's. What is checked is the path, and the labels: a published network knows the 100 photos
only if they have the classes of published networks.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.io
from machine import machine
from PIL import Image

from mobilenetv2.files import write_atomically
from mobilenetv2.progress import say
from mobilenetv2.spec.records import imagenet_classes

KNOWN = {
    1: "n02119789", 2: "n02100735", 3: "n02110185", 4: "n02096294", 5: "n02102040",
    490: "n01751748", 361: "n09193705", 171: "n02105855", 822: "n04263257",
}  # fmt: skip
"""WordNet ids of some ILSVRC2012_IDs, as they are in the official devkit."""
FIRST = (490, 361, 171, 822)
"""ILSVRC2012_IDs of the first official validation photos; 490 is class 65 of published networks."""
ODD_PNG = "n02105855_2933.JPEG"
"""An official training photo that is a PNG."""
ODD_CMYK = "n01739381_1309.JPEG"
"""An official training photo that is a CMYK JPEG."""
NODES = 1860
FIELDS = (
    "ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height",
    "num_train_images",
)  # fmt: skip
SCRIPT = Path(__file__).parents[1] / "examples" / "imagenet.py"
COMMAND = (sys.executable, "-m", "mobilenetv2")
PUBLISHED = "tf2_mobilenet_v2_1.0_224_ptq.tflite"
SMALL = ("network.width=0.35", "network.size=32", "epochs=2", "data.selection=0.1")
"""Changes by which a recipe runs in minutes on two cores."""

Photos = Callable[[str, str, int], bytes]
"""Function of split ('train' or 'validation'), WordNet id and number to the bytes of a photo."""


def ids(seed: int = 0) -> dict[int, str]:
    """Return a WordNet id for each ILSVRC2012_ID: the official one where it is known here."""
    others = sorted({*imagenet_classes()[1]} - {*KNOWN.values()})
    order = iter(np.random.default_rng(seed).permutation(others).tolist())
    return {number: KNOWN.get(number) or next(order) for number in range(1, 1001)}


def meta(ids: dict[int, str], train: int) -> bytes:
    """Return a ``meta.mat`` in the structure of the official one."""
    names = dict(zip(imagenet_classes()[1], imagenet_classes()[0], strict=True))
    nodes = np.zeros((NODES, 1), [(field, object) for field in FIELDS])
    for row in range(NODES):
        number = row + 1
        leaf = number <= len(ids)
        wordnet = ids[number] if leaf else f"n9{number:07}"
        children = np.zeros((1, 0)) if leaf else np.array([[row % 1000 + 1, row % 999 + 1]])
        nodes[row, 0] = (
            float(number), wordnet, names.get(wordnet, "a node above"), "a gloss",
            float(children.size), children, 0.0 if leaf else 1.0, float(train if leaf else 0),
        )  # fmt: skip
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": nodes}, do_compression=True)
    return file.getvalue()


def archive(files: Sequence[tuple[str, bytes]], packed: str = "") -> bytes:
    """Return a .tar of files, or a .tar.gz."""
    buffer = io.BytesIO()
    mode = "w:gz" if packed else "w"
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def odd(data: bytes, kind: str) -> bytes:
    """Return a photo as another kind of file: 'PNG', or 'CMYK' for a JPEG of four channels."""
    image, buffer = Image.open(io.BytesIO(data)).convert("RGB"), io.BytesIO()
    if kind == "PNG":
        image.save(buffer, "PNG")
    else:
        image.convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def write_archives(folder: Path, photos: Photos, train: int, validation: int) -> list[str]:
    """Write archives in the official layout; return the WordNet id of each validation photo.

    Args:
        folder: an existing folder.
        photos: the photos.
        train: photos of each class.
        validation: validation photos of each class, in a mixed order that begins as the official
            one does.
    """
    by_id = ids()
    inner = []
    for wordnet in sorted(by_id.values()):
        names = [f"{wordnet}_{10 + 7 * number}.JPEG" for number in range(train)]
        data = [photos("train", wordnet, number) for number in range(train)]
        for name, kind in ((ODD_PNG, "PNG"), (ODD_CMYK, "CMYK")):
            if name.startswith(wordnet):
                names[0], data[0] = name, odd(data[0], kind)
        inner.append((f"{wordnet}.tar", archive([*zip(names, data, strict=True)])))
    (folder / "ILSVRC2012_img_train.tar").write_bytes(archive(inner))
    order = np.repeat(np.arange(1, 1001), validation)
    order = np.random.default_rng(1).permutation(order)
    for place, id_ in enumerate(FIRST):
        other = place + int(np.flatnonzero(order[place:] == id_)[0])
        order[[place, other]] = order[[other, place]]
    seen = dict.fromkeys(by_id, 0)
    flat = []
    for number, id_ in enumerate(order.tolist(), 1):
        data = photos("validation", by_id[id_], seen[id_])
        seen[id_] += 1
        flat.append((f"ILSVRC2012_val_{number:08}.JPEG", data))
    (folder / "ILSVRC2012_img_val.tar").write_bytes(archive(flat))
    root = "ILSVRC2012_devkit_t12"
    truth = "".join(f"{id_}\n" for id_ in order.tolist())
    devkit = archive(
        [
            (f"{root}/data/ILSVRC2012_validation_ground_truth.txt", truth.encode()),
            (f"{root}/data/meta.mat", meta(by_id, train)),
            (f"{root}/readme.txt", b"Development kit\n"),
        ],
        packed="gz",
    )
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(devkit)
    return [by_id[id_] for id_ in order.tolist()]


def public_photos(data: Path) -> Photos:
    """Return photos of ``imagenet-samples`` and CIFAR-10, each used once where there are enough."""
    samples = {path.parent.name: path for path in data.glob("imagenet-samples/*/*")}
    wordnet = imagenet_classes()[1]
    opened = {name: zipfile.ZipFile(data / "cifar10" / f"{name}.zip") for name in ("train", "test")}
    listed: dict[str, list[list[str]]] = {}
    for name, file in opened.items():
        names = sorted(one for one in file.namelist() if one.endswith(".jpg"))
        classes = sorted({one.split("/")[-2] for one in names})
        listed[name] = [[one for one in names if one.split("/")[-2] == c] for c in classes]

    def photo(split: str, id_: str, number: int) -> bytes:
        if number == 0 and split == "validation" and id_ in samples:
            return samples[id_].read_bytes()
        name = "train" if split == "train" else "test"
        index = wordnet.index(id_)
        have = listed[name][index % 10]
        each = len(have) // 100
        return opened[name].read(have[(index // 10 * each + number) % len(have)])

    return photo


def run(*words: str, threads: str = "") -> tuple[str, float]:
    """Run a command and return what it printed, and its seconds."""
    say(f"$ {' '.join(words)}")
    began = time.monotonic()
    environment = {**os.environ, **({"OMP_NUM_THREADS": threads} if threads else {})}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Run ImageNet's whole path on a miniature.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=4, help="training photos of each class")
    parser.add_argument("--validation", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archives = folder / "archives"
        archives.mkdir()
        began = time.monotonic()
        write_archives(archives, public_photos(options.data), options.train, options.validation)
        rows.append(("write the archives", time.monotonic() - began, ""))
        changes = [word for change in SMALL for word in ("--set", change)]
        for recipe, processes in (("imagenet-paper", 1), ("imagenet-modern", 2)):
            out = folder / recipe
            words = [sys.executable, str(SCRIPT), str(archives), str(out), "--recipe", recipe]
            words += ["--processes", str(processes), *changes]
            _, seconds = run(*words, threads="1")
            found = json.loads((out / "evaluation.json").read_text("utf-8"))
            text = f"{found['images']:,} validation photos, top-1 {found['top1']:.1%}"
            shares = "1 process" if processes == 1 else f"{processes} processes under torchrun"
            rows.append((f"{recipe}: shards, 2 epochs, evaluation; {shares}", seconds, text))
        model, published = str(folder / "model"), str(options.data / "published" / PUBLISHED)
        run(*COMMAND, "weights", "import", published, model)
        words = ["evaluate", str(folder / "imagenet-paper" / "shards"), "--model", model, "--json"]
        text, seconds = run(*COMMAND, *words)
        samples = {path.name for path in (options.data / "imagenet-samples").iterdir()}
        classes = [one for one in json.loads(text)["classes"] if one["photos"]]  # no background
        right = [
            one["recall"]
            for id_, one in zip(imagenet_classes()[1], classes, strict=True)
            if id_ in samples
        ]
        text = f"{round(sum(right))} of {len(right)} real photos right"
        rows.append(("evaluation of Google's published network", seconds, text))
    lines = ["| step | seconds | result |", "|---|---|---|"]
    lines += [f"| {step} | {seconds:.1f} | {text} |" for step, seconds, text in rows]
    print("\n".join(lines))
    if options.output:
        words = " ".join(["python", *sys.argv])
        head = f"`{words}`, {machine('numpy', 'pillow', 'torch', 'scipy')}."
        write_atomically(options.output, "\n".join([head, "", *lines, ""]))


if __name__ == "__main__":
    main()

"""Train on ImageNet from its official archives: shards, a recipe, the 50,000 validation photos.

    python examples/imagenet.py archives/ out/ --recipe imagenet-modern --processes 8 --device cuda

It types the commands of docs/imagenet.md. What is done already is not done again, so that the same
line goes on after a stop. ``--md5`` reads the archives once more and compares their checksums.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

OFFICIAL = {
    "ILSVRC2012_img_train.tar": (147_897_477_120, "1d675b47d978889d74fa0da5fadfb00e"),
    "ILSVRC2012_img_val.tar": (6_744_924_160, "29b22e2961454d5413ddabcf34fc5622"),
    "ILSVRC2012_devkit_t12.tar.gz": (None, "fa75699e90414af021442c21a62c3abf"),
}
"""Bytes and MD5 of the official archives."""


def run(*words: str) -> str:
    print(f"\n$ {' '.join(words)}", file=sys.stderr, flush=True)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:  # the command has said why
        sys.exit(done.returncode)
    return done.stdout


def check_md5(archives: Path) -> None:
    """Compare the archives with the official checksums; end with a sentence if one differs."""
    for name, (size, md5) in OFFICIAL.items():
        path = archives / name
        if size not in (None, path.stat().st_size):
            sys.exit(f"{path}: has {path.stat().st_size:,} bytes, the official one {size:,}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "md5").hexdigest() != md5:
                sys.exit(f"{path}: is not the official archive (its MD5 is another one)")
        print(f"{name}: as published", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archives", type=Path, help="folder of the three official archives")
    parser.add_argument("out", type=Path, help="folder for the shards, the run and the figures")
    parser.add_argument("--recipe", default="imagenet-modern")
    parser.add_argument("--processes", type=int, default=1, help="one for each GPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--megabytes", default="256", help="size of a shard")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--md5", action="store_true", help="compare the archives' checksums first")
    options = parser.parse_args()
    command = [sys.executable, "-m", "mobilenetv2"]
    shards, trained = options.out / "shards", options.out / "run"
    if options.md5:
        check_md5(options.archives)
    options.out.mkdir(parents=True, exist_ok=True)
    if not (shards / "index.json").is_file():
        again = ["--resume"] if (shards / "unfinished.jsonl").is_file() else []
        words = ["data", "shard", str(options.archives), str(shards)]
        run(*command, *words, "--megabytes", options.megabytes, *again)
    if not (trained / "summary.md").is_file():
        launcher = command
        if options.processes > 1:
            each = str(options.processes)
            launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", each]
            launcher += ["-m", "mobilenetv2"]
        words = ["train", str(shards), "--output", str(trained)]
        if (trained / "checkpoint.safetensors").is_file():
            words += ["--resume"]
        else:
            words += ["--weights", "none", "--recipe", options.recipe, "--device", options.device]
            words += [word for change in options.set for word in ("--set", change)]
        run(*launcher, *words)
    model = str(trained / "best")
    words = ["evaluate", str(shards), "--model", model, "--split", "validation", "--json"]
    found = run(*command, *words)
    (options.out / "evaluation.json").write_text(found, "utf-8")
    figures = json.loads(found)
    low, high = figures["top1_interval"]
    print(
        f"top-1 {figures['top1']:.1%} (95% interval {low:.1%} to {high:.1%}), "
        f"top-5 {figures['top5']:.1%}, n = {figures['images']:,}"
    )


if __name__ == "__main__":
    main()

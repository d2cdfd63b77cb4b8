"""100,000 photos in shards: photos a second and memory of an epoch, beside webdataset, and from S3.

    python benchmarks/shards.py --photos ../shared/data/cifar10/train.zip \\
        --count 100000 --runs 3 --output benchmarks/shards.md

The photos are those given, and copies of them that are enlarged to 96 pixels and saved as JPEG
files. Every figure is that of a process of its own; ours and webdataset's take turns. webdataset
reads shards from front to back, shuffles them and then photos in a buffer of 1,000. The server of
S3's protocol is moto's, in a process of its own on the same cores.
"""

import argparse
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from PIL import Image

import mobilenetv2 as mn
from mobilenetv2.data.batches import AHEAD, GROUP, epoch_order, in_parallel
from mobilenetv2.data.dataset import Split, open_dataset
from mobilenetv2.data.remote.transports import FsspecTransport, Part
from mobilenetv2.files import write_atomically
from mobilenetv2.machine import PEAK, read_fields

SIDE = 96
"""Side of the copies, in pixels."""
KEYS = {
    "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}  # fmt: skip
TRAINING = [
    "network.name=small", "network.width=0.25", "network.size=32", "batch_size=64", "epochs=2",
    "data.shrink=0", "augmentation.crop=resized", "trained=all",
]  # fmt: skip


def make_photos(archive: Path, count: int, folder: Path) -> None:
    """Write photos of an archive, and copies of another size, into class folders."""
    (split,) = open_dataset(archive).splits.values()
    picked = split.photos[:: max(1, len(split) * 2 // count)][: count // 2]

    def write(number: int) -> None:
        photo = picked[number]
        place = folder / split.classes[photo.label]
        data = split.source.read(photo.name)
        (place / Path(photo.name).name).write_bytes(data)
        with Image.open(io.BytesIO(data)) as image:
            copy = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        copy.save(place / f"copy-{number:06}.jpg", quality=90)

    for name in split.classes:
        (folder / name).mkdir(parents=True)
    for _ in in_parallel(write, range(len(picked))):
        pass


# ------------------------------------------------------------------- what a process of its own does


def order_of(split: Split, order: str) -> np.ndarray:
    """Return an epoch's order."""
    names = [photo.name for photo in split.photos]
    if order == "stored":
        return split.source.stored(names)
    if order == "runs":
        found = split.source.buffered(names, 0, 0)
        assert found is not None
        return found
    return epoch_order(np.array([photo.label for photo in split.photos]), 0, 0)


def ours(place: str, order: str, decoded: bool) -> Iterator[int]:
    """Yield the size of each photo of an epoch, in bytes or pixels."""
    (split,) = open_dataset(place).splits.values()
    photos = [split.photos[index] for index in order_of(split, order)]
    with split.source.ahead([photo.name for photo in photos]):
        if decoded:
            parts = [photos[at : at + GROUP] for at in range(0, len(photos), GROUP)]
            for sizes in in_parallel(
                lambda part: [np.asarray(split.image(photo)).size for photo in part], parts,
                ahead=AHEAD // GROUP,
            ):  # fmt: skip
                yield from sizes
        elif "://" in place:
            yield from in_parallel(lambda photo: len(split.source.read(photo.name)), photos)
        else:
            for photo in photos:
                yield len(split.source.read(photo.name))


def theirs(place: str, decoded: bool, workers: int) -> Iterator[int]:
    """Yield the same by webdataset, in this process or in others that send lists of 64 photos."""
    import webdataset

    urls = sorted(map(str, Path(place).glob("*.tar")))
    data: Any = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000)
    if not decoded:
        for sample in data:
            yield len(sample.get("jpg") or sample.get("png"))
        return
    data = data.decode("rgb8").to_tuple("jpg;png", "cls")
    if not workers:
        for picture, _ in data:
            yield int(picture.size)
        return
    data = data.batched(64, collation_fn=None)
    for batch in webdataset.WebLoader(data, batch_size=None, num_workers=workers):
        for picture, _ in batch:
            yield int(np.asarray(picture).size)


def counted_requests() -> list[Part]:
    """Return a list that grows with each part that is asked of a server."""
    asked: list[Part] = []
    parts = FsspecTransport.parts

    def counting(transport: FsspecTransport, wanted: Sequence[Part]) -> list[bytes | Exception]:
        asked.extend(wanted)
        return parts(transport, wanted)

    FsspecTransport.parts = counting  # type: ignore[method-assign]
    return asked


def resident(field: str) -> int:
    """Return a field of this process's memory, in bytes."""
    return int(read_fields(Path("/proc/self/status").read_text())[field].partition(" ")[0]) * 1024


def epoch(place: str, reader: str, decoded: bool) -> dict[str, float]:
    """Read an epoch, and return its photos, seconds and memory."""
    began, count, first = time.monotonic(), 0, 0
    requests = counted_requests()
    if reader.startswith("webdataset"):
        found = theirs(place, decoded, int(reader.partition("-")[2] or 0))
    else:
        found = ours(place, reader, decoded)
    ready = 0.0
    for _ in found:
        if not count:
            ready = time.monotonic() - began
            first = resident("VmRSS")
        count += 1
    seconds = time.monotonic() - began
    return {
        "photos": count, "seconds": seconds, "ready": ready, "first": first,
        "last": resident("VmRSS"), "peak": resident(PEAK),
        "requests": len(requests),
    }  # fmt: skip


# ------------------------------------------------------------------------------------ measurements


def alone(*words: str, environment: dict[str, str] | None = None) -> dict[str, float]:
    """Run this script in a process of its own, and return what it prints."""
    command = [sys.executable, __file__, "--epoch", *words]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env=os.environ | (environment or {})
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def rates(shards: Path, runs: int) -> list[str]:
    """Return rows of photos a second of each reader, in turns."""
    rows = []
    for decoded in ("bytes", "pixels"):
        readers = ["runs", "whole", "webdataset"]
        readers += ["webdataset-2"] if decoded == "pixels" else []
        found: dict[str, list[float]] = {reader: [] for reader in readers}
        for _ in range(runs):
            for reader in readers:
                one = alone(str(shards), reader, decoded)
                found[reader].append(one["photos"] / (one["seconds"] - one["ready"]))
        best = max(statistics.median(found[one]) for one in readers[2:])
        for reader, values in found.items():
            rate = statistics.median(values)
            spread = f"{min(values):,.0f} to {max(values):,.0f}"
            rows.append(f"| {decoded} | {reader} | {rate:,.0f} | {spread} | {rate / best:.2f} |")
    return rows


def memory(shards: dict[int, Path]) -> list[str]:
    """Return rows of the memory of an epoch of few and of many photos."""
    rows = []
    for reader in ("runs", "whole"):
        for count, place in shards.items():
            one = alone(str(place), reader, "pixels")
            first, last, peak = (one[key] / 2**20 for key in ("first", "last", "peak"))
            rows.append(
                f"| {reader} | {count:,} | {first:.0f} MiB | {last:.0f} MiB | {peak:.0f} MiB |"
            )
    return rows


def serve(port: str) -> None:
    """Serve S3's protocol until the process is ended; print the address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", int(port), verbose=False)
    server.start()
    host, found = server.get_host_and_port()
    print(f"http://{host}:{found}", flush=True)
    threading.Event().wait()


def upload(folder: Path, address: str) -> str:
    """Copy a folder to the server, and return its address there."""
    import boto3

    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket="photos")
    for path in folder.iterdir():
        client.upload_file(str(path), "photos", f"set/{path.name}")
    return "s3://photos/set"


def train(place: str, output: Path, *words: str, kill: float = 0) -> float:
    """Train in a process of its own, which is killed after a time if one is given."""
    command = [sys.executable, "-m", "mobilenetv2", "train", place, "--output", str(output), *words]
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        if kill:
            time.sleep(kill)
            process.send_signal(signal.SIGINT if kill < 0 else signal.SIGKILL)
        process.wait()
    if not kill and process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - began


def from_server(photos: Path, shards: Path, work: Path) -> list[str]:
    """Return rows on shards of a server: rates, and runs that are stopped and killed."""
    command = [sys.executable, __file__, "--serve", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            os.environ |= {**KEYS, "AWS_ENDPOINT_URL": address}
            place = upload(shards, address)
            rows = []
            for reader in ("runs", "whole"):
                one = alone(place, reader, "bytes")
                rate = one["photos"] / (one["seconds"] - one["ready"])
                peak = one["peak"] / 2**20
                rows.append(
                    f"| an epoch of bytes, {reader} | {rate:,.0f} photos/s, {peak:.0f} MiB |"
                )
            changes = [word for change in TRAINING for word in ("--set", change)]
            options = ["--weights", "none", "--deterministic", *changes]
            seconds = train(str(photos), work / "folder", *options)
            train(place, work / "server", *options)
            rows.append(
                f"| a run on the server's shards is that on the folder | {same(work, 'server')} |"
            )
            train(place, work / "killed", *options, kill=0.6 * seconds)
            train(place, work / "killed", "--resume")
            rows.append(f"| the same, killed (SIGKILL) and resumed | {same(work, 'killed')} |")
            return rows
        finally:
            server.terminate()


def same(work: Path, name: str) -> str:
    """Return whether two runs have the same figures and weights, in words."""
    files = ("best/model.safetensors", "last/model.safetensors", "split.csv")
    equal = all(
        (work / "folder" / file).read_bytes() == (work / name / file).read_bytes() for file in files
    )
    metrics = [
        json.loads((work / run / "best" / "config.json").read_text())["metrics"]
        for run in ("folder", name)
    ]
    top1 = metrics[0].get("validation.top1", float("nan"))
    return f"{'yes' if equal and metrics[0] == metrics[1] else 'NO'} (top-1 {top1:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=16.0)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--epoch", nargs=3)
    parser.add_argument("--serve")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    if arguments.epoch:
        place, reader, kind = arguments.epoch
        print(json.dumps(epoch(place, reader, kind == "pixels")))
        return
    count = arguments.count
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        shards: dict[int, Path] = {}
        lines = []
        for number in (count // 10, count):
            make_photos(arguments.photos, number, work / f"photos-{number}")
            shards[number] = work / f"shards-{number}"
            began = time.monotonic()
            mn.shard(work / f"photos-{number}", shards[number], megabytes=arguments.megabytes)
            seconds = time.monotonic() - began
            size = sum(path.stat().st_size for path in shards[number].glob("*.tar"))
            index = (shards[number] / "index.json").stat().st_size
            files = len([*shards[number].glob("*.tar")])
            lines.append(
                f"- {number:,} photos: {seconds:.0f} s for `data shard`, {size / 1e6:,.0f} MB in "
                f"{files} shards; the index has {index / number:.0f} bytes a photo."
            )
        rows = rates(shards[count], arguments.runs)
        held = memory(shards)
        few = work / f"photos-{count // 10}"
        server = from_server(few, shards[count // 10], work)
    text = "\n".join(
        [
            "# Photos in shards", "",
            f"`python benchmarks/shards.py --photos {arguments.photos} --count {count} --runs "
            f"{arguments.runs}`, {machine('numpy', 'pillow', 'webdataset', 's3fs', 'moto')}.", "",
            *lines, "",
            "## Photos a second of an epoch", "",
            "Medians of processes that take turns; `pixels` are decoded in two threads by ours, in "
            "one by `webdataset`, in two processes by `webdataset-2`. The time to the first photo "
            "is not counted.", "",
            "| what | reader | photos/s | least to most | of webdataset's best |",
            "|---|---|---|---|---|", *rows, "",
            "## Memory of an epoch", "",
            "Resident memory at the first photo, at the end, and its peak.", "",
            "| order | photos | at the first | at the end | peak |", "|---|---|---|---|---|", *held,
            "", "## From a server of S3's protocol", "", "| what | |", "|---|---|", *server, "",
        ]
    )  # fmt: skip
    if arguments.output:
        write_atomically(arguments.output, text)
    else:
        print(text)


if __name__ == "__main__":
    main()

"""From the command to the first answer: one photo, the whole process, against bare scripts.

    python benchmarks/cold_start.py --model imagenet --photo photos/cat_1080p.jpg \\
        --core CORE --before BEFORE --peer PEER --runs 20 --output benchmarks/cold-start.md

CORE is a virtual environment with this project's core install (``pip install .``) and nothing else;
a bare script of ONNX Runtime runs there, too. BEFORE is one with another version's core install,
PEER one with PyTorch, NumPy and Pillow; with torchvision in it, its own model and transforms are
timed, too. The commands run in turns; file caches, and the cache of graphs, are warm after a first
run that is not counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from machine import processor
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from public_data import resolve

from mobilenetv2.files import write_atomically
from mobilenetv2.hub.models import locate
from mobilenetv2.machine import workers
from mobilenetv2.model import store
from mobilenetv2.progress import say

SCRIPT = Path(__file__).with_name("cold_start_torch.py")
BARE = Path(__file__).with_name("cold_start_onnx.py")
PEER = ("torch", "numpy", "pillow")
SHOWN = ("mobilenetv2", "numpy", "pillow", "onnxruntime", "torch", "torchvision")


@dataclass(slots=True)
class Command:
    name: str
    words: list[str]
    environment: Path
    packages: tuple[str, ...]
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    memory: int = 0
    answer: str = ""

    def run(self, count: bool) -> None:
        """Once; the wall clock from before the process to after its end."""
        began = time.perf_counter()
        child = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stdout is not None and child.stderr is not None
        output, errors = child.stdout.read(), child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        took = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stdout.close()
        child.stderr.close()
        if child.returncode:
            sys.exit(f"{' '.join(self.words)}: {errors.decode()}")
        self.answer = output.decode()
        if count:
            self.seconds.append(took)
            self.processor_seconds.append(used.ru_utime + used.ru_stime)
            # This script is small, so what a child inherits of its peak does not count.
            self.memory = max(self.memory, used.ru_maxrss * 1024)


def commands(options: argparse.Namespace, folder: Path) -> list[Command]:
    model = locate(options.model)
    config, _ = store.load(model)
    record, labels = config.preprocessing, config.labels.names
    facts = {
        "resize": record.resize, "size": record.size, "cover": record.fit == "cover",
        "mean": record.mean, "std": record.std, "labels": labels, "width": config.spec.width,
        "epsilon": config.spec.numerics.epsilon, "same": config.spec.numerics.padding == "same",
    }  # fmt: skip
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
    weights = folder / "weights.pth"
    # PyTorch's own loader is quickest with its own file; the numerics are in the facts.
    subprocess.run(
        [sys.executable, "-m", "mobilenetv2", "weights", "export", str(model), str(weights),
         "--dialect", "torchvision", "--ignore-numerics"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    photo, graph = options.photo, folder / "network.onnx"
    subprocess.run(
        [sys.executable, "-m", "mobilenetv2", "export", str(model), str(graph)],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ours(environment: Path) -> list[str]:
        return [
            str(environment / "bin" / "mobilenetv2"), "predict", str(photo), "--model", str(model)
        ]  # fmt: skip

    bare = [str(options.core / "bin" / "python"), str(BARE), str(photo), str(graph),
            str(folder / "facts.json")]  # fmt: skip
    found = [
        Command("bare ONNX Runtime, a script", bare, options.core,
                ("numpy", "pillow", "onnxruntime")),
        Command("`mobilenetv2 predict`, core install", ours(options.core), options.core,
                ("mobilenetv2",)),
    ]  # fmt: skip
    if options.before:
        name = "`mobilenetv2 predict` of the version before"
        found.append(Command(name, ours(options.before), options.before, ("mobilenetv2",)))
    if not options.peer:
        return found
    python = str(options.peer / "bin" / "python")
    theirs = [python, str(SCRIPT), photo, str(weights), str(folder / "facts.json")]
    found.append(Command("eager PyTorch, plain modules", theirs, options.peer, PEER))
    if not subprocess.run([python, "-c", "import torchvision"], capture_output=True).returncode:
        name = "eager PyTorch, torchvision's model and transforms"
        found.append(
            Command(name, [*theirs, "--torchvision"], options.peer, (*PEER, "torchvision"))
        )
    return found


def site_packages(environment: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(
        subprocess.run(
            [environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
    )


def size(place: Path) -> int:
    """Bytes on the disk, as ``du`` counts them."""
    return sum(512 * file.lstat().st_blocks for file in place.rglob("*") if not file.is_dir())


def needed(place: Path, roots: Sequence[str]) -> int:
    """Bytes of distributions and all that they require, whatever else is installed there."""
    known = {
        canonicalize_name(found.metadata["Name"]): found
        for found in metadata.distributions(path=[str(place)])
    }
    wanted, kept = [canonicalize_name(root) for root in roots], set[NormalizedName]()
    while wanted:
        name = wanted.pop()
        if name in kept or name not in known:
            continue
        kept.add(name)
        for text in known[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(canonicalize_name(requirement.name))
    files = {file.locate() for name in kept for file in known[name].files or ()}
    return sum(512 * Path(str(f)).lstat().st_blocks for f in files if Path(str(f)).is_file())


def versions(environment: Path) -> str:
    code = (
        "from importlib.metadata import version, PackageNotFoundError\n"
        f"for name in {SHOWN!r}:\n"
        "    try: print(name, version(name))\n"
        "    except PackageNotFoundError: pass\n"
    )
    found = subprocess.run(
        [environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    )
    return ", ".join(found.stdout.splitlines())


def row(command: Command, first: Command) -> str:
    seconds = statistics.median(command.seconds)
    used = statistics.median(command.processor_seconds)
    ratio = seconds / statistics.median(first.seconds)
    place = site_packages(command.environment)
    cells = [
        command.name, f"{seconds:.2f} s",
        f"{min(command.seconds):.2f} to {max(command.seconds):.2f} s", f"{ratio:.2f}",
        f"{used:.2f} s", f"{command.memory / 1e6:.0f} MB",
        f"{needed(place, command.packages) / 1e6:.0f} MB", f"{size(place) / 1e6:.0f} MB",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def shown(answer: str, photo: str | Path) -> str:
    """Return an answer in one line: without the table's rule, and with the photo's name only."""
    words = answer.replace(str(photo), Path(photo).name).split()
    return " ".join(word for word in words if word.strip("-\u2500"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--photo", type=resolve, required=True)
    parser.add_argument("--core", type=Path, required=True)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        timed = commands(options, Path(folder))
        for command in timed:
            say(f"once, not counted: {command.name}")
            command.run(count=False)
        for index in range(options.runs):
            say(f"{index + 1} of {options.runs}")
            for command in timed[index % len(timed) :] + timed[: index % len(timed)]:
                command.run(count=True)
    lines = [
        "# Cold start: from the command to the first answer", "",
        f"`python benchmarks/cold_start.py`, {processor()}, {workers()} cores. One photo "
        f"({Path(options.photo).name}), the whole process from its start to its end, in turns, n = "
        f"{options.runs} each, files in the system's cache. All load the weights, resize, crop and "
        "normalise, and print the five likeliest classes.", "",
        "| | median | from, to | ratio | processor time | most memory | packages that it needs "
        "| whole environment |",
        "|---|---|---|---|---|---|---|---|",
        *(row(command, timed[0]) for command in timed), "",
        f"Core install: {versions(options.core)}."
        + (f" PyTorch: {versions(options.peer)}." if options.peer else ""), "",
        "What they answered:", "",
        *(f"- {command.name}: {shown(command.answer, options.photo)}" for command in timed), "",
    ]  # fmt: skip
    text = "\n".join(lines)
    print(text)
    if options.output:
        write_atomically(options.output, text)


if __name__ == "__main__":
    main()

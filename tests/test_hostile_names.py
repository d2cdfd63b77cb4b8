"""No byte of a foreign name reaches a terminal raw, whatever file it comes from.

Names with what a terminal obeys are put into every place that has names. The verbs run in one
process on a pseudo-terminal, where bars and tables are drawn, and in one with two pipes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from mobilenetv2.spec.records import Labels, Origin
from mobilenetv2.text import LONGEST_LINE, escaped

pytestmark = pytest.mark.skipif(os.name == "nt", reason="its names cannot have such characters")

FORGED = "mobilenetv2: error: forged"
EVIL = (
    "\x1b]0;own\x07\x1b[5;7m\b\r\x9b2J\x85\u202e\u2066\u200b\u2028\u2029\ufeff"
    f"\n{FORGED}[red]:skull:<b>|"
)
FILE = "=" + EVIL.replace("/", "") + os.fsdecode(b"\xff\xc3")
"""Name of a file: a formula for a spreadsheet, too, and no UTF-8."""
LONG = EVIL + "x" * 10**6
DRAWN = re.compile(r"\x1b\[(?:[0-9]*[AK]|\?25[lh]|[0-9;]*m)")
"""What rich writes for its bars and colours."""
CHILD = """
import json, sys
from mobilenetv2.cli.main import main
for words in json.loads(open(sys.argv[1]).read()):
    sys.stderr.write(f"$ {ascii(words)[:300]}\\n")
    try:
        status = main(words)
    except SystemExit as left:
        status = left.code
    sys.stderr.write(f"= {status}\\n")
"""
Commands = Sequence[Sequence[object]]


def piped(commands: Commands, tmp_path: Path) -> str:
    """Both outputs of commands in a process with pipes, as text."""
    script = tmp_path / "commands.json"
    script.write_text(json.dumps([[str(word) for word in words] for words in commands]))
    child = [sys.executable, "-c", CHILD, str(script)]
    done = subprocess.run(child, capture_output=True, check=False, cwd=tmp_path)
    return (done.stdout + done.stderr).decode("utf-8")


def on_terminal(commands: Commands, tmp_path: Path) -> str:
    """All that commands write on a pseudo-terminal, without what rich draws."""
    script = tmp_path / "commands.json"
    script.write_text(json.dumps([[str(word) for word in words] for words in commands]))
    master, slave = os.openpty()
    found: list[bytes] = []

    def collect() -> None:
        try:
            while data := os.read(master, 65536):
                found.append(data)
        except OSError:  # the other end is closed
            return

    reader = threading.Thread(target=collect)
    reader.start()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
    child = [sys.executable, "-c", CHILD, str(script)]
    subprocess.run(
        child, stdin=slave, stdout=slave, stderr=slave, check=False, cwd=tmp_path, env=environment
    )
    os.close(slave)
    reader.join()
    os.close(master)
    shown = b"".join(found).decode("utf-8")
    assert "\x1b[5;7m" not in shown
    return DRAWN.sub("", shown).replace("\r\n", "\n").replace("\r", "\n")


def require_clean(shown: str) -> None:
    """Fail unless text has visible characters only, no forged line, and no endless one."""
    raw = {c for c in shown if c != "\n" and not (c.isprintable() or c == "\ufffd")}
    assert not raw, (raw, [line for line in shown.split("\n") if raw & set(line)][:3])
    for line in shown.split("\n"):
        assert not line.strip().startswith(FORGED), line
        assert len(line) <= LONGEST_LINE + 100, len(line)
    assert "Traceback" not in shown, shown[-3000:]


@pytest.fixture(params=[piped, on_terminal], ids=["pipes", "terminal"])
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Commands], str]:
    """Runs commands and returns all that they have written, after checking that it is clean."""

    def run(commands: Commands) -> str:
        found: str = request.param(commands, tmp_path)
        require_clean(found)
        assert found.count("\n= ") == len(commands)
        return found

    return run


def renamed(model: Path, to: Path) -> Path:
    """A copy of a model folder with evil names of classes (those of folders), origin, figures."""
    from dataclasses import replace

    from mobilenetv2.model import store

    config, arrays = store.load(model)
    labels = Labels(tuple(escaped(FILE) + shape for shape in ("triangle", "ball", "box")))
    origin = Origin(EVIL, EVIL, EVIL, EVIL, note=EVIL, preprocessing=EVIL, history=(EVIL,))
    store.save(to, replace(config, labels=labels, origin=origin, metrics={EVIL: 0.5}), arrays)
    return to


def evil_photos(photos: Path, to: Path) -> Path:
    """A copy of class folders with evil names of classes and photos, two of them the same."""
    for place in sorted(photos.iterdir()):
        below = to / (FILE + place.name)
        below.mkdir(parents=True)
        for photo in sorted(place.iterdir()):
            shutil.copy(photo, below / (FILE + photo.name))
    shutil.copy(photo, below / (FILE + "copy.png"))
    return to


@pytest.mark.slow
def test_answers_about_evil_photos_by_an_evil_model(
    model: Path, photos: Path, tmp_path: Path, shown: Callable[[Commands], str]
) -> None:
    named = renamed(model, tmp_path / FILE)
    folder = evil_photos(photos, tmp_path / ("d" + FILE))
    one = next(p for p in folder.rglob("*00.png"))
    damaged, given = tmp_path / (FILE + "damaged.png"), ["--model", named]
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 99)
    found = shown([
        ["predict", folder, damaged, *given],
        ["predict", one, *given, "--json"],
        ["predict", one, *given, "--features"],
        ["predict", folder, damaged, *given, "--csv", tmp_path / (FILE + ".csv")],
        ["explain", one, *given, "--output", tmp_path / "heat"],
        ["explain", one, *given, "--output", tmp_path / "heat", "--json", "--overwrite"],
        ["explain", one, "--class", EVIL, *given],
        ["audit", folder, *given, "--output", tmp_path / ("audit" + FILE)],
        ["evaluate", folder, *given, "--report", tmp_path / ("report" + FILE)],
        ["evaluate", folder, *given, "--json"],
        ["describe", named],
        ["export", named, tmp_path / (FILE + ".onnx")],
        ["export", named, tmp_path / (FILE + "2.onnx"), "--json"],
        ["predict", one, "--model", tmp_path / (FILE + ".onnx")],
        ["weights", "import", tmp_path / (FILE + ".onnx"), tmp_path / (FILE + "back")],
        ["predict", one, "--model", tmp_path / (FILE + "back")],
        ["parity", named, "--editions", EVIL],
    ])  # fmt: skip
    assert [found.count(f"\n= {status}") for status in range(3)] == [13, 2, 2], found


@pytest.mark.slow
def test_mistakes_with_evil_names(
    model: Path, photos: Path, tmp_path: Path, shown: Callable[[Commands], str]
) -> None:
    import onnx
    from safetensors.numpy import save_file

    one = next(photos.rglob("*.png"))
    save_file({LONG: np.zeros(3, np.float32)}, tmp_path / "t.safetensors")
    save_file(
        {"features.0.0.weight": np.zeros((32, 3, 3, 3), np.float32), LONG: np.zeros(3, np.float32)},
        tmp_path / "u.safetensors",
    )
    node = onnx.helper.make_node(LONG, ["x"], ["y"], name=LONG, domain=LONG)
    value = [onnx.helper.make_tensor_value_info(n, 1, [1, 3, 8, 8]) for n in "xy"]
    graph = onnx.helper.make_graph([node], LONG, value[:1], value[1:])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(LONG, 1)])
    (tmp_path / "op.onnx").write_bytes(made.SerializeToString())
    node = onnx.helper.make_node("Conv", [LONG, "w" + LONG], ["y"], name=LONG)
    graph = onnx.helper.make_graph([node], LONG, value[:1], value[1:])
    made = onnx.helper.make_model(graph)
    (tmp_path / "name.onnx").write_bytes(made.SerializeToString())
    keys = ("spec", "origin", "labels")
    for key in keys:
        shutil.copytree(model, tmp_path / key)
        config = json.loads((tmp_path / key / "config.json").read_text())
        config[key] = (config[key] or {}) | {LONG: LONG}
        (tmp_path / key / "config.json").write_text(json.dumps(config))
    shutil.copytree(model, tmp_path / "kind")
    config = json.loads((tmp_path / "kind" / "config.json").read_text())
    config["spec"]["rounding"] = LONG
    (tmp_path / "kind" / "config.json").write_text(json.dumps(config))
    (tmp_path / "recipe.toml").write_text(f"{json.dumps(EVIL)} = 1\n", "utf-8")
    (tmp_path / "value.toml").write_text(f"network = {json.dumps(EVIL)}\n", "utf-8")
    (tmp_path / "labels.txt").write_text(f"{EVIL}\n{EVIL}\n", "utf-8")
    (tmp_path / "table.csv").write_text(f'"{EVIL}","b{EVIL}"\n"{EVIL}","{EVIL}"\n', "utf-8")
    (tmp_path / "cells.csv").write_text(f'photo,label\n"{EVIL}.jpg","{EVIL}"\n', "utf-8")
    (tmp_path / "list.txt").write_text(f"{EVIL}.jpg\n", "utf-8")
    (tmp_path / "fed.json").write_text(json.dumps({LONG: 1, "mean": LONG}))
    (tmp_path / "x.weights.h5").write_bytes(EVIL.encode())
    weights = ["--weights", "none", "--output", tmp_path / "run"]
    shown([
        *(["predict", one, "--model", tmp_path / key] for key in (*keys, "kind")),
        *(
            ["weights", "import", tmp_path / name, tmp_path / "out"]
            for name in ("t.safetensors", "u.safetensors", "op.onnx", "name.onnx", "x.weights.h5")
        ),
        *(["predict", one, "--model", tmp_path / name] for name in ("op.onnx", "name.onnx")),
        ["predict", one, "--model", tmp_path / EVIL],
        ["predict", tmp_path / EVIL],
        ["predict", f"@{tmp_path / 'list.txt'}"],
        ["predict", one, "--labels", tmp_path / "labels.txt", "--model", tmp_path / "op.onnx"],
        ["predict", one, "--preprocessing", tmp_path / "fed.json", "--model", tmp_path / "op.onnx"],
        ["predict", one, "--runtime", EVIL],
        ["predict", one, f"--{EVIL}"],
        [EVIL],
        ["train", tmp_path / "table.csv", *weights],
        ["train", tmp_path / "cells.csv", *weights],
        ["train", photos, *weights, "--set", f"{EVIL}=1"],
        ["train", photos, *weights, "--set", f"network={EVIL}"],
        ["train", photos, *weights, "--recipe", tmp_path / "recipe.toml"],
        ["train", photos, *weights, "--recipe", tmp_path / "value.toml"],
        ["train", photos, *weights, "--recipe", EVIL],
        ["evaluate", photos, "--split", EVIL, "--model", model],
        ["describe", EVIL],
        ["weights", "fetch", EVIL],
        ["weights", "fetch", f"hf://{EVIL}/x"],
        ["export", model, tmp_path / f"x.{EVIL}"],
        ["export", model, tmp_path / "many", "--format", EVIL],
        ["quantize", model, tmp_path / "q.onnx", "--data", tmp_path / EVIL],
    ])  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_evil_members_of_archives(
    kind: str, pack: Callable[..., Path], png: Callable[[int], bytes], tmp_path: Path, model: Path
) -> None:
    files = {f"{EVIL}{shape}/{EVIL}{n}.png": png(n) for shape in "ab" for n in range(3)}
    files |= {f"{EVIL}a/{EVIL}x.png": b"no picture", f"../{EVIL}": b"", f"{EVIL}.txt": b""}
    place = pack(kind, files)
    require_clean(
        piped(
            [["audit", place], ["evaluate", place, "--model", model],
             ["train", place, "--weights", "none", "--output", "run", "--set", "size=8"]],
            tmp_path,
        )
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_on_evil_photos_is_clean_and_goes_on(
    photos: Path, tmp_path: Path, quick: tuple[str, ...], shown: Callable[[Commands], str]
) -> None:
    place, run = evil_photos(photos, tmp_path / ("d" + FILE)), tmp_path / ("run" + FILE)
    again = [place, "--output", run]
    found = shown([
        ["train", *again, "--epochs", "1", *quick, "--set", "data.most_unreadable=0.1"],
        ["evaluate", place, "--model", run / "best", "--report", tmp_path / "report"],
        ["export", run / "best", tmp_path / (FILE + ".onnx")],
        ["quantize", run / "best", tmp_path / (FILE + "8.onnx"), "--data", place, "--force"],
        ["benchmark", run / "best", "--data", place, "--seconds", "0.1",
         "--runtime", "onnxruntime"],
        ["train", place, "--weights", run / "best", "--output", run / "second", "--epochs", "1",
         "--set", "batch_size=4", "--set", "data.most_unreadable=0.1"],
    ])  # fmt: skip
    assert found.count("\n= 0") >= 5, found
    (run / "summary.md").unlink()
    assert shown([["train", *again, "--resume"]]).endswith("\n= 0\n")
    for path in run.rglob("*"):
        if path.suffix in (".csv", ".json", ".html", ".md", ".toml"):
            text = path.read_text("utf-8")
            assert "\x1b" not in text or path.suffix == ".csv", path
            text = re.sub(r"(`+).*?\1", "", text)  # code is shown as it is
            assert path.suffix != ".md" or ("<b>" not in text and f"\n{FORGED}" not in text), path

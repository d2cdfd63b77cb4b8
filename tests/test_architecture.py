"""The room table of ARCHITECTURE.md, held against what the source really imports."""

import ast
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import mobilenetv2
from mobilenetv2.spec.records import ModelConfig

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mobilenetv2"
LEAVES = {"errors", "formats", "installation", "text", "__version__"}


def table() -> dict[str, tuple[set[str], set[str]]]:
    """Room -> (rooms, packages) that it may import, read out of ARCHITECTURE.md."""
    rows = {}
    for line in (ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`") and line.startswith("| `"):
            rooms, packages = (
                {word.strip(" `") for word in cell.split(",") if word.strip(" `-")}
                for cell in cells[1:]
            )
            for room in cells[0].split(","):
                rows[room.strip(" `")] = (rooms, packages)
    return rows


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "mobilenetv2"


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All nodes of a file, which is parsed once for all tests."""
    return [*ast.walk(ast.parse(path.read_text("utf-8")))]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "mobilenetv2":
                for alias in node.names:
                    yield f"mobilenetv2.{alias.name}", node.lineno
            else:
                yield node.module, node.lineno
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "require"
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value), node.lineno


def test_every_room_imports_only_what_the_table_allows() -> None:
    allowed = table()
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        room = parts[0] if parts[0] != "__init__" else "mobilenetv2"
        if room in LEAVES or room == "__main__":
            rooms, packages = LEAVES | {"cli"} if room == "__main__" else LEAVES, set[str]()
        else:
            assert room in allowed, f"{room} is not in ARCHITECTURE.md's table"
            rooms, packages = allowed[room]
        for name, line in imports(path):
            if name.split(".")[0] == "mobilenetv2":
                target = room_of(name)
                if target not in rooms | LEAVES | {room} and "every room" not in rooms:
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
            elif name.split(".")[0] not in sys.stdlib_module_names | packages:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_the_table_allows_no_room_that_is_not_used() -> None:
    used: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).with_suffix("").parts[0]
        names = (name for name, _ in imports(path) if name.split(".")[0] == "mobilenetv2")
        used.setdefault(room, set()).update(map(room_of, names))
    rooms = {room: allowed for room, (allowed, _) in table().items() if room in used}
    spare = {room: allowed - used[room] - {"every room"} for room, allowed in rooms.items()}
    assert not {room: names for room, names in spare.items() if names}


def test_the_table_names_no_room_that_is_gone() -> None:
    have = {path.stem for path in SOURCE.iterdir()} | {"mobilenetv2"}
    assert table().keys() <= have, table().keys() - have


def test_an_edition_never_imports_another() -> None:
    editions = SOURCE / "editions"
    names = {path.name for path in editions.iterdir() if path.is_dir()}
    for name in names:
        for path in (editions / name).rglob("*.py"):
            for module, line in imports(path):
                parts = module.split(".")
                if parts[:2] == ["mobilenetv2", "editions"] and parts[2] in names:
                    assert parts[2] == name, f"{path}:{line} imports {module}"


FRAMEWORKS = "torch keras tensorflow jax numpy PIL sklearn matplotlib rich safetensors tflite"


@pytest.mark.parametrize(
    "code",
    [
        "import mobilenetv2",
        "import mobilenetv2.cli.main as m\ntry: m.main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_import_and_help_load_no_framework(code: str) -> None:
    check = (
        f"{code}\nimport sys\nprint('LOADED', *(set('{FRAMEWORKS}'.split()) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1].strip() == "LOADED"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edition", "bare"),
    [
        ("torch", "import torch"),
        ("numpy", "import numpy"),
        ("jax", "import jax; from flax import nnx"),
        ("keras", "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'; import keras"),
    ],
)
def test_an_edition_imports_its_own_framework_and_no_other(edition: str, bare: str) -> None:
    """Keras and TensorFlow import JAX by themselves where it is installed: that is theirs."""
    frameworks = "torch keras tensorflow jax flax optax PIL sklearn matplotlib transformers".split()
    if edition not in ("torch", "numpy"):
        pytest.importorskip(edition, reason=f"{edition} is not installed (extra: {edition})")
    build = (
        "import mobilenetv2 as mn; spec = mn.NetworkSpec(width=0.1, classes=3, size=32)\n"
        f"mn.build(spec, edition='{edition}')"
    )
    loaded = []
    for code in (bare, build):
        check = f"{code}\nimport sys\nprint('LOADED', *(set({frameworks}) & set(sys.modules)))"
        run = subprocess.run(
            [sys.executable, "-c", check], capture_output=True, text=True, check=True
        )
        loaded.append(set(run.stdout.splitlines()[-1].split()[1:]))
    assert loaded[1] <= loaded[0], loaded
    assert edition in loaded[1] | {"numpy"}


def test_the_config_shown_is_one_that_is_read() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    shown = json.loads(text.split("```json\n")[1].split("```")[0])
    config = ModelConfig.from_mapping(shown, "ARCHITECTURE.md")
    assert json.loads(config.to_json()) == shown  # complete: no key is left to a default


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, packages by their own name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def module_graph() -> dict[str, set[str]]:
    """Module -> the modules of this package that it imports anywhere, annotations included."""
    files = modules()
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        graph[name] = set()
        for node in nodes(path):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & files.keys()
            elif isinstance(node, ast.ImportFrom) and node.module in files:
                named = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= (named & files.keys()) or {str(node.module)}
        graph[name] -= {name}
    return graph


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """The names along one circle, the first of them again at the end; empty where there is none."""
    done: set[str] = set()

    def follow(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if circle := follow(other, [*path, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := follow(name, []))), [])


def test_a_circle_is_found_where_there_is_one() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    # The package's own names are imported when they are used, from modules that do not need it.
    graph = {name: others for name, others in module_graph().items() if name != "mobilenetv2"}
    assert circle_in(graph) == []


def test_rooms_import_downwards_only() -> None:
    rooms: dict[str, set[str]] = {}
    for name, others in module_graph().items():
        if name != "mobilenetv2":
            rooms.setdefault(room_of(name), set()).update(map(room_of, others))
    graph = {room: others - {room, "mobilenetv2"} for room, others in rooms.items()}
    assert circle_in(graph) == []


WITHOUT_TWIN = {
    "__main__": "calls the command, which tests/cli run",
    "training/job": "the records that tests/training/test_run.py and test_loop.py are made of",
    "training/steps/keras": "the contract of all steps, tests/training/steps/test_steps.py",
}
"""Module -> why it has no test file of its own."""


def test_every_module_has_a_twin_among_the_tests() -> None:
    """That of src/mobilenetv2/a/b.py is tests/a/test_b.py; a part may be in test_b_PART.py."""
    modules = {path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.py")}
    lacking = {
        str(module)
        for module in modules
        if module.name != "__init__"
        and not (ROOT / "tests" / module.parent / f"test_{module.name}.py").is_file()
    }
    assert lacking == WITHOUT_TWIN.keys(), sorted(lacking ^ WITHOUT_TWIN.keys())


def test_a_room_has_few_modules_and_each_holds_a_whole_idea() -> None:
    """More than 18 modules are a room inside; a median below 120 lines is ideas in pieces."""
    rooms = {path.parent for path in SOURCE.rglob("*.py")} - {SOURCE}
    sizes = {room: len([*room.glob("*.py")]) for room in rooms}
    assert not {room.name: count for room, count in sizes.items() if count > 18}
    lines = [len(path.read_text("utf-8").splitlines()) for path in SOURCE.rglob("*.py")]
    assert statistics.median(lines) >= 120


def test_no_file_is_longer_than_500_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 500
    }
    assert not long


# --------------------------------------------------------- what documents and docstrings refer to


@cache
def defined_in(path: Path) -> frozenset[str]:
    """Names that a file binds anywhere, as functions, classes, variables, fields or imports."""
    names = set()
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return frozenset(names)


def is_there(reference: str, path: Path) -> bool:
    """Whether a dotted name, in full or from the package on, or of the file itself, is defined."""
    files = modules()
    parts = reference.lstrip("~").removeprefix("mobilenetv2.").split(".")
    if reference == f"mobilenetv2.{parts[0]}" and parts[0] in mobilenetv2.__all__:
        return True
    for count in range(len(parts), 0, -1):
        if file := files.get(".".join(["mobilenetv2", *parts[:count]])):
            return set(parts[count:]) <= defined_in(file)
    return set(parts) <= defined_in(path)


MODULES = "|".join(sorted(path.stem for path in (SOURCE / "model").iterdir()))
ROOMS = "|".join(sorted(path.stem for path in SOURCE.iterdir() if path.stem != "model"))
DOCUMENTS = ("ARCHITECTURE.md", "CONTRIBUTING.md")
OURS = re.compile(
    rf"(?:{ROOMS}|model\.(?:{MODULES}))(?:\.\w+)+(?<!\.json|\.ckpt)(?<!\.index)(?<!\.safetensors)"
)
"""A dotted name that begins with a room, and is not a file's. ``model`` alone is a network, too."""
STAND_INS = ("photos", "runs", "holiday", "imagenet", "demo")
"""Folders of the reader's on the pages."""


def test_what_docstrings_refer_to_is_there() -> None:
    dead = [
        f"{path.relative_to(ROOT)}: {reference}"
        for path in SOURCE.rglob("*.py")
        for role, reference in re.findall(r"(:[a-z]+:)?`{1,2}([\w.~]+)`", path.read_text("utf-8"))
        if (role or OURS.fullmatch(reference)) and not is_there(reference, path)
    ]
    assert not dead, "\n".join(dead)


def test_what_documents_refer_to_is_there() -> None:
    dead = []
    for document in (*map(ROOT.joinpath, DOCUMENTS), *(ROOT / "docs").rglob("*.md")):
        text = document.read_text("utf-8")
        places = (ROOT, SOURCE, *(room for room in SOURCE.iterdir() if room.is_dir()))
        for path in re.findall(r"`([a-z_]+/[a-z][\w./*]*)`", text):
            if path.partition("/")[0] in STAND_INS:
                continue
            if not any([*place.glob(path), *place.glob(f"{path}.py")] for place in places):
                dead.append(f"{document.name}: {path}")
        dead += [
            f"{document.name}: {name}"
            for name in re.findall(r"`([\w.]+\.\w+)`", text)
            if OURS.fullmatch(name) and not is_there(name, SOURCE / "__init__.py")
        ]
    assert not dead, "\n".join(dead)


READERS = {
    "files.py", "machine.py", "benchmarking/process.py", "checkpoints/rebasing.py",
    "checkpoints/containers/reader.py", "training/recipe_file.py",
    "checkpoints/dialects/keras.py", "checkpoints/dialects/registry.py",
    "editions/keras_backend.py", "evaluation/report/facts.py", "evaluation/report/html.py",
    "exporting/converted.py", "exporting/coreml.py", "exporting/job.py", "exporting/keras.py",
    "exporting/openvino.py", "graph/litert.py", "installation.py", "runtime/output/file.py",
    "spec/aliases.py",
    "spec/catalogue.py", "spec/records.py", "training/job.py", "training/steps/torch.py",
    "worker.py",
}  # fmt: skip
"""Modules that read otherwise: the package's own data, what this process wrote, the system's."""


def opens(path: Path) -> Iterator[int]:
    """Lines where a module opens a path itself, which may be a pipe or may have no end."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            mode = ast.literal_eval(node.args[0]) if node.args and is_text(node.args[0]) else ""
            bare = isinstance(node.func, ast.Name) or not node.args or mode.startswith("r")
            if name in ("read_text", "read_bytes", "ZipFile") or (name == "open" and bare):
                yield node.lineno


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_only_files_and_zips_open_what_somebody_gave() -> None:
    """``files`` opens regular files, up to a bound; ``zips`` bounds archives."""
    found = {
        path.relative_to(SOURCE).as_posix(): list(opens(path)) for path in SOURCE.rglob("*.py")
    }
    assert not {name: lines for name, lines in found.items() if lines and name not in READERS}

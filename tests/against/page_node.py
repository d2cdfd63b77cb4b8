"""The page's scripts, run by Node."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mobilenetv2.serving

PAGE = Path(mobilenetv2.serving.__file__).parent / "page"
NODE = shutil.which("node")
LACKING = "" if NODE else "node is not installed; install it with: apt-get install nodejs"
Run = Callable[..., Any]


def scripts_in(folder: Path) -> Run:
    """Return what runs a script beside the page's, in a folder, and returns the JSON it prints.

    Its arguments lie in ``given`` and its arrays, one after another, in ``bytes``.
    """
    for path in PAGE.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(script: str, given: Any = None, data: bytes = b"") -> Any:
        (folder / "given.json").write_text(json.dumps(given))
        (folder / "data").write_bytes(data)
        (folder / "run.js").write_text(
            'import fs from "node:fs";\n'
            'const given = JSON.parse(fs.readFileSync("given.json", "utf8"));\n'
            'const file = fs.readFileSync("data");\n'
            "const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.length);\n"
            "const say = (key, values) => `${key} ${JSON.stringify(values ?? {})}`;\n"
            "const message = (work) => { try { work(); return ''; } "
            "catch (error) { return error.message; } };\n" + script
        )
        done = subprocess.run(
            [NODE or "", "run.js"], cwd=folder, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run

"""The page as a static folder: what is in it, verified, and never over anything else."""

import gzip
import json
from pathlib import Path

import pytest

import mobilenetv2 as mn
from mobilenetv2 import formats
from mobilenetv2.cli.main import main
from mobilenetv2.errors import ArtifactError, MissingExtra, MobileNetV2Error
from mobilenetv2.exporting import web
from mobilenetv2.exporting.job import Options, reload
from mobilenetv2.exporting.verify import Reference
from mobilenetv2.formats import WEB
from mobilenetv2.images.drawn import sample_pictures
from mobilenetv2.model import store
from mobilenetv2.model.arrays import random_arrays
from mobilenetv2.serving import page_files
from mobilenetv2.serving.device_files import NAMES
from mobilenetv2.spec.published import published
from mobilenetv2.spec.records import Labels, ModelConfig, Preprocessing

SPEC = published("small", width=0.1, classes=3)
CONFIG = ModelConfig(SPEC, Preprocessing.default(SPEC), Labels(("hat", "shoes", "t-shirt")))
WASM = b"\0asm" + bytes(1000)
PARTS = {
    "page/index.html": b"<title>Photos</title>", "page/main.js": b"export {};\n",
    "vendor/litert/engine.wasm.gz": gzip.compress(WASM), "vendor/fflate.js": b"export {};\n",
}  # fmt: skip


@pytest.fixture(autouse=True)
def page(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page, small and complete; the real one lacks its vendors' files where npm did not run."""
    if missing := WEB.missing():
        pytest.skip(f"web needs {', '.join(missing)}: the extra 'litert' has it")
    place = tmp_path_factory.mktemp("serving")
    for path, data in PARTS.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
    monkeypatch.setattr(page_files, "HERE", place)
    return place


@pytest.fixture
def shoes(tmp_path: Path) -> Path:
    store.save(tmp_path / "shoes", CONFIG, random_arrays(SPEC))
    return tmp_path / "shoes"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_is_the_page_with_the_model(shoes: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (made,) = mn.export(shoes, site, format="web")
    found = contents(site)
    assert found.keys() == {
        "index.html", "page/main.js", "vendor/litert/engine.wasm", "vendor/fflate.js", "page.json",
        "README.txt", *(f"device/shoes/{name}" for name in NAMES),
    }  # fmt: skip
    assert found["vendor/litert/engine.wasm"] == WASM
    assert {path.split("/")[0] for path in found} == set(WEB.entries)
    assert b"python -m http.server" in found["README.txt"] and found["README.txt"].count(b"\n") == 1
    facts = json.loads(found["page.json"])
    (model,) = facts["models"]
    assert (facts["server"], facts["limits"]) == (False, None)
    assert model["labels"] == ["hat", "shoes", "t-shirt"]
    for key in ("model", "head", "config", "weights"):
        assert model["device"][key] in found
    assert model["device"]["bytes"] == len(found["device/shoes/model.tflite"])
    assert store.load(site / "device" / "shoes")[0] == CONFIG
    assert made.path == site and made.size == sum(map(len, found.values()))
    record = json.loads((tmp_path / "site.comparison.json").read_text("utf-8"))
    assert record["passed"] and record["outputs"] == "probabilities" and record["same_top1"] == 4
    assert record["tolerance"] == WEB.tolerance and 0 < record["max_abs_difference"] < 0.1


def test_another_network_is_found_out(tmp_path: Path) -> None:
    web.write_web(CONFIG, random_arrays(SPEC, seed=1), tmp_path / "site", Options(name="m"))
    shown = sample_pictures(CONFIG.preprocessing)
    engine = reload(WEB, tmp_path / "site")
    for seed, passed in ((1, True), (0, False)):
        reference = Reference(CONFIG, random_arrays(SPEC, seed=seed), shown)
        assert reference.compare(engine, "float32", WEB.tolerance).passed == passed


def test_a_damaged_or_exchanged_model_is_refused(tmp_path: Path) -> None:
    web.write_web(CONFIG, random_arrays(SPEC), tmp_path / "site", Options(name="m"))
    graph = tmp_path / "site" / "device" / "m" / "model.tflite"
    whole = graph.read_bytes()
    graph.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MobileNetV2Error, match=r"model\.tflite"):
        reload(WEB, tmp_path / "site")
    graph.write_bytes(whole)
    other = ModelConfig(SPEC, CONFIG.preprocessing, Labels(("a", "b", "c")))
    (graph.parent / "config.json").write_text(other.to_json(), "utf-8")
    with pytest.raises(ArtifactError, match="another network than that of"):
        reload(WEB, tmp_path / "site")


def test_without_its_vendors_files_it_names_what_makes_them(
    shoes: Path, page: Path, tmp_path: Path
) -> None:
    (page / "vendor" / "fflate.js").unlink()
    with pytest.raises(MobileNetV2Error, match=r"lacks vendor/fflate\.js.*'make web'"):
        mn.export(shoes, tmp_path / "site", format="web")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shoes"]


def test_only_a_former_page_is_replaced(shoes: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    with pytest.raises(ArtifactError, match="site: exists already"):
        mn.export(shoes, site, format="web")
    (site / "thesis.doc").write_text("all of it")
    with pytest.raises(ArtifactError, match=r"thesis\.doc: would be lost"):
        mn.export(shoes, site, format="web", overwrite=True)
    assert contents(site) == {"thesis.doc": b"all of it"}
    (site / "thesis.doc").unlink()
    for _ in range(2):
        mn.export(shoes, site, format="web", overwrite=True)
    for word in (".", "..", "/"):
        with pytest.raises(ArtifactError, match="needs a name of its own, such as web"):
            mn.export(shoes, word, format="web", overwrite=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pictures": True}, "format web has no option pictures"),
        ({"batch": 2}, "format web has no option batch"),
        ({"precision": "float16"}, "format web has no float16; it has float32"),
    ],
)
def test_it_has_no_options(
    options: dict[str, object], message: str, shoes: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=message):
        mn.export(shoes, tmp_path / "site", format="web", **options)  # type: ignore[arg-type]


def test_a_missing_package_is_named_first(
    shoes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "is_installed", lambda name: False)
    with pytest.raises(MissingExtra, match="web needs ai_edge_litert"):
        mn.export(shoes, tmp_path / "site", format="web")


def test_the_command_line_writes_it_and_all_leaves_it_out(
    shoes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["export", str(shoes), str(tmp_path / "site"), "--format", "web"]) == 0
    shown = capsys.readouterr().out
    assert "probabilities" in shown and "4 of 4" in shown
    assert main(["export", str(shoes), str(tmp_path / "two"), "--format", "onnx,web"]) == 0
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        "model.onnx", "model.onnx.comparison.json", "web", "web.comparison.json",
    }  # fmt: skip
    monkeypatch.setattr(formats, "is_installed", lambda name: name == "onnxruntime")
    assert main(["export", str(shoes), str(tmp_path / "all"), "--format", "all"]) == 0
    assert {path.name for path in (tmp_path / "all").iterdir() if path.is_dir()} == {"triton"}

"""``weights fetch``: what is printed; fetching itself is tested in its own room."""

import argparse
import dataclasses
import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mobilenetv2.cli import weights_fetch
from mobilenetv2.errors import WeightsError
from mobilenetv2.hub import cache, catalogue
from mobilenetv2.hub.catalogue import find


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where 'one' of a catalogue on loopback comes to lie."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "weights.h5").write_bytes(b"weights")
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    where = f"http://127.0.0.1:{server.server_port}/weights.h5"
    entry = dataclasses.replace(find("keras-1.0-224"), name="one", where=where, file="weights.h5")
    monkeypatch.setattr(catalogue, "catalogue", lambda: {"one": entry})
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    yield tmp_path / "cache" / "one" / "weights.h5"
    server.shutdown()
    thread.join()
    server.server_close()


def run(name: str, as_json: bool = False) -> None:
    assert weights_fetch.run(argparse.Namespace(name=name, json=as_json)) == 0


def test_in_words(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    run("one")
    out, err = capsys.readouterr()
    assert out == (
        f"path     {place}\nsha-256  {digest}\nchecked  unverified: none is published; recorded "
        "to compare the next download with\n"
    )
    assert err == ""
    run("one")
    out, err = capsys.readouterr()
    assert out.endswith(
        "checked  unverified: none is published; the same as at the first download\n"
    )
    assert err == "it was in the cache already\n"


def test_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for was_there in (False, True):
        run("one", as_json=True)
        out, err = capsys.readouterr()
        assert err == "" and out.count("\n") == 1
        assert json.loads(out) == {
            "name": "one", "path": str(place), "file": str(place),
            "sha256": hashlib.sha256(b"weights").hexdigest(),
            "verified": "first seen" if was_there else "recorded", "cached": was_there,
        }  # fmt: skip


@pytest.mark.parametrize("verified", sorted(weights_fetch.VERIFIED))
def test_every_way_of_checking_has_its_words(
    verified: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched = cache.Fetched("a", Path("f"), Path("f"), "0" * 64, verified, False)  # type: ignore[arg-type]
    monkeypatch.setattr(cache, "fetch", lambda name: fetched)
    run("a")
    words = capsys.readouterr().out.splitlines()[2]
    assert ("unverified" in words) == (verified in ("first seen", "recorded", "nothing"))


def test_an_unknown_name(place: Path) -> None:
    with pytest.raises(WeightsError, match="'two' is not in the catalogue"):
        run("two")
    assert not place.exists()

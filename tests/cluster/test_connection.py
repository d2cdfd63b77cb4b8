"""The connection to Ray: what names one, and what is said where there is none."""

import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mobilenetv2.cluster import connection
from mobilenetv2.cluster.connection import ADDRESS, Where, connected, parse
from mobilenetv2.errors import MissingExtra, MobileNetV2Error


def test_ray_is_this_machine_unless_the_environment_names_a_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    assert parse("ray") == Where() and not parse("ray").client
    monkeypatch.setenv(ADDRESS, "10.0.0.1:6379")
    assert parse("ray") == Where("10.0.0.1:6379") and not parse("ray").client
    monkeypatch.setenv(ADDRESS, "ray://head")
    assert parse("ray") == Where("ray://head:10001")


@pytest.mark.parametrize(
    ("on", "address"),
    [
        ("ray://head", "ray://head:10001"),
        ("ray://head:7", "ray://head:7"),
        ("ray://[::1]:7", "ray://[::1]:7"),
        ("ray://[::1]", "ray://[::1]:10001"),
    ],
)
def test_an_address_is_a_host_and_a_port(on: str, address: str) -> None:
    assert parse(on).address == address and parse(on).client


@pytest.mark.parametrize(
    "on", ["", "Ray", "ray:", "ray://", "ray://:7", "ray://h:x", "ray://h:0", "ray://h:99999",
           "dask", "http://h:7"],
)  # fmt: skip
def test_anything_else_is_an_error_that_says_what_is_right(on: str) -> None:
    with pytest.raises(MobileNetV2Error, match=r"must be 'ray'.*'ray://HOST:PORT'"):
        parse(on)


def test_without_the_package_the_error_has_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match="ray is not installed"), connected("ray"):
        pass


def test_an_address_where_nobody_answers_is_refused_at_once(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = taken.getsockname()[1]
        with (
            pytest.raises(MobileNetV2Error, match=f"127.0.0.1:{port}: no Ray answers there"),
            connected(f"ray://127.0.0.1:{port}"),
        ):
            pass


def test_processes_that_start_at_once_share_one_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "home" / "auth_token"
    monkeypatch.setattr(connection, "TOKEN", place)

    def make(_: int) -> str:
        connection._make_token()
        return place.read_text()

    with ThreadPoolExecutor(8) as threads:
        found = {*threads.map(make, range(50))}
    assert len(found) == 1 and len(found.pop()) == 64
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [*place.parent.iterdir()] == [place]


ONE_AFTER_ANOTHER = """
import pathlib, ray
from mobilenetv2.cluster.connection import connected
from mobilenetv2.errors import MobileNetV2Error
place = pathlib.Path.home() / ".ray" / "auth_token"
place.parent.mkdir()
place.write_text("ab" * 32)  # another process makes it, after Ray was imported here
try:
    with connected("ray://127.0.0.1:9"):
        pass
except MobileNetV2Error:
    with connected("ray") as ray:
        print(ray.get(ray.put("connected")))
"""


@pytest.mark.slow
def test_a_ray_of_this_machine_starts_after_an_address_that_failed(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    home = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    home["HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_ANOTHER],
        env=home, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["connected"], done.stderr

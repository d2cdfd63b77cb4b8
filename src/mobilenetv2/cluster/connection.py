"""Connection to Ray: one of this machine that lives as long as the work, or a cluster.

Ray is imported here only, with its usage statistics off.
"""

import importlib
import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from mobilenetv2 import __version__
from mobilenetv2.errors import MobileNetV2Error, argument, require
from mobilenetv2.machine import workers
from mobilenetv2.process import suppress_greetings

HERE = "ray"
"""Value of ``on`` for the Ray of this machine, or that of the variable RAY_ADDRESS."""
SCHEME = "ray://"
ADDRESS = "RAY_ADDRESS"
PORT = 10001
"""Port of Ray Client where an address names none; Ray's own default."""
TOKEN = Path("~/.ray/auth_token")
"""File of the user's token, where no variable names another."""
STORE = 512 * 1024**2
"""Bytes of the object store of a Ray of this machine, which holds what is on its way."""
PATIENCE = 5.0
"""Seconds that a cluster's machine may take to answer its port."""
ANSWER = 60.0
"""Seconds that a cluster may take to start a worker."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TQDM": "0",
}
"""Environment of Ray: no statistics for its maker, no exported metrics, no warning of GPUs."""


class Where(NamedTuple):
    """The Ray that ``on`` names."""

    address: str | None = None
    """Address of a cluster; None for a Ray of this machine."""

    @property
    def client(self) -> bool:
        """True for Ray Client: this machine is not part of the cluster."""
        return self.address is not None and self.address.startswith(SCHEME)


def parse(on: str) -> Where:
    """Return the Ray that a text names.

    Args:
        on: 'ray' for a Ray of this machine, or for the cluster that the environment's RAY_ADDRESS
            names; 'ray://HOST:PORT' for a cluster.

    Raises:
        MobileNetV2Error: it is neither.

    Example:
        >>> from mobilenetv2.cluster.connection import parse
        >>> parse("ray://head.example").address
        'ray://head.example:10001'
    """
    if on == HERE:
        named = os.environ.get(ADDRESS, "")
        if named in ("", "local"):
            return Where()
        return parse(named) if named.startswith(SCHEME) else Where(named)
    host, port = _place(on.removeprefix(SCHEME))
    if not on.startswith(SCHEME) or not host or not 0 < port < 65536:
        raise MobileNetV2Error(
            f"{argument('on')} {on!r} must be 'ray', for this machine, or 'ray://HOST:PORT', for "
            "the head of a cluster"
        )
    return Where(f"{SCHEME}{host}:{port}")


def _place(address: str) -> tuple[str, int]:
    """Return the host and the port of an address; port 0 if it is no number."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):  # an IPv6 address alone
        return address, PORT
    return host, int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else 0


def package() -> Any:
    """Import Ray with its statistics off, and return the package.

    Raises:
        MissingExtra: Ray is not installed.

    Example:
        >>> from mobilenetv2.cluster.connection import package
        >>> package().__name__  # doctest: +SKIP
        'ray'
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with suppress_greetings():
        return require("ray")


@contextmanager
def connected(on: str) -> Iterator[Any]:
    """Connect to Ray for the block of a ``with`` statement, and yield the package ``ray``.

    A Ray of this machine is started, and stopped at the end. One that the program itself has
    connected to is taken as it is, and stays.

    Args:
        on: 'ray' or 'ray://HOST:PORT', as :func:`parse` takes it.

    Raises:
        MissingExtra: Ray is not installed.
        MobileNetV2Error: ``on`` is neither, nobody answers there, or the cluster has other versions
            of Python, Ray or this package.

    Example:
        >>> from mobilenetv2.cluster.connection import connected
        >>> with connected("ray") as ray:  # doctest: +SKIP
        ...     ray.get(ray.put(1))
        1
    """
    where = parse(on)
    ray = package()
    if ray.is_initialized():
        yield ray
        return
    quiet = logging.getLogger("ray")
    before = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        _use_token(make=where.address is None)
        if where.address is None:
            _start_here(ray)
        else:
            _connect(ray, where)
        with _without_prints():
            yield ray
    finally:
        with suppress_greetings():
            ray.shutdown()
        quiet.setLevel(before)


@contextmanager
def _without_prints() -> Iterator[None]:
    """Keep Ray from printing the deaths of workers on stdout, which no setting of it does."""
    worker = sys.modules.get("ray._private.worker")
    printing = getattr(worker, "print_to_stdstream", None)
    if printing is None:
        yield
        return
    setattr(worker, printing.__name__, lambda *_, **__: None)
    try:
        yield
    finally:
        setattr(worker, printing.__name__, printing)


def _use_token(make: bool) -> None:
    """Make Ray show the user's token, if there is one, to any cluster and not only to its own.

    Args:
        make: True to write a token first if there is none. Two Rays of this machine that start at
            once would each write its own, and the processes of one would be refused.
    """
    if make and not _has_token():
        _make_token()
    name = "ray._private.authentication.authentication_token_setup"
    with suppress(ImportError):  # an older Ray, which asks for no token
        setup = importlib.import_module(name)
        setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _has_token() -> bool:
    """Return whether the user has a token for Ray's clusters, which they ask for by default."""
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or TOKEN.expanduser().is_file()


def _make_token() -> None:
    """Write the file of the user's token, whole and once."""
    place = TOKEN.expanduser()
    with suppress(OSError):  # Ray says what is wrong with the place
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent)  # a file that only the user can read
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32))
            os.link(name, place)  # it fails where another process was first
        finally:
            Path(name).unlink()


def _start_here(ray: Any) -> None:
    with suppress_greetings():
        ray.init(
            address="local", num_cpus=workers(), include_dashboard=False,
            object_store_memory=STORE, **_QUIET,
        )  # fmt: skip


_QUIET: dict[str, Any] = {
    "log_to_driver": False, "configure_logging": False, "logging_level": logging.CRITICAL,
}  # fmt: skip
"""Arguments of ``ray.init`` by which the log of its processes does not come to the terminal."""


def _connect(ray: Any, where: Where) -> None:
    address = str(where.address)
    _require_answer(address)
    try:
        with suppress_greetings():
            ray.init(address=address, **({"log_to_driver": False} if where.client else _QUIET))
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        advice = "is a Ray there, and is this user's RAY_AUTH_TOKEN the cluster's?"
        if "ersion" in said:
            advice = f"install there what is here: {_versions()}"
        raise MobileNetV2Error(f"{address}: Ray cannot connect ({said}); {advice}") from None
    require_same(ray, address)


def _require_answer(address: str) -> None:
    """Raise an error if nobody answers at the port of an address, which Ray would try for long."""
    host, port = _place(address.removeprefix(SCHEME))
    if address == "auto" or not port:
        return  # Ray finds it, or says why not
    try:
        socket.create_connection((host.strip("[]"), port), PATIENCE).close()
    except OSError as error:
        raise MobileNetV2Error(
            f"{address}: no Ray answers there ({error.strerror or error}); start one with 'ray "
            "start --head --ray-client-server-port 10001', or correct the address"
        ) from None


def _versions() -> str:
    try:
        ray = version("ray")
    except PackageNotFoundError:  # it was built from source, in place
        ray = "?"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"Python {python}, Ray {ray}, mobilenetv2 {__version__}"


def require_same(ray: Any, address: str) -> None:
    """Raise an error if a cluster's workers have another version of this package, or none.

    Args:
        ray: the package, connected.
        address: the cluster's address, for messages.

    Raises:
        MobileNetV2Error: they have, or no worker starts within a minute.

    Example:
        >>> from mobilenetv2.cluster.connection import connected, require_same
        >>> with connected("ray") as ray:  # doctest: +SKIP
        ...     require_same(ray, "ray")
    """

    def look() -> str | None:  # by value: it must run where this package is not
        try:
            return str(importlib.import_module("mobilenetv2").__version__)
        except ImportError:
            return None

    try:
        found = ray.get(ray.remote(num_cpus=0)(look).remote(), timeout=ANSWER)
    except ray.exceptions.GetTimeoutError:
        raise MobileNetV2Error(
            f"{address}: the cluster has started no worker within {ANSWER:.0f} s; "
            "'ray status' there says what it lacks"
        ) from None
    if found != __version__:
        have = "none" if found is None else found
        raise MobileNetV2Error(
            f"{address}: the workers need mobilenetv2 {__version__} and have {have}; install there "
            f"what is here: {_versions()}"
        )

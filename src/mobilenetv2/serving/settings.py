"""Settings of a server, from arguments and from environment variables, checked before it starts."""

import dataclasses
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from mobilenetv2.errors import MobileNetV2Error, argument, disk_sentence
from mobilenetv2.files import read_file
from mobilenetv2.spec.mapping import suggestion

PREFIX = "MOBILENETV2_SERVE_"
"""Start of the names of the environment variables; the rest is the setting in upper case."""
MODELS = "MODEL"
"""Name, behind the prefix, of the variable with the models, written as on the command line."""
_OF_OTHERS = re.compile(r"SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_\w+")
"""Names that Kubernetes sets for a service that is called mobilenetv2-serve."""
MOST_TOKEN_BYTES = 2**16
MB = 2**20


BOUNDS: Mapping[str, tuple[float, float]] = {
    "port": (0, 65535), "workers": (1, 1024), "batch": (1, 1024), "delay_ms": (0, 10_000),
    "queue": (1, 100_000), "queue_mb": (1, 10**6), "deadline": (0.05, 3600),
    "body_seconds": (0.05, 3600), "max_mb": (0.001, 1024), "photos": (1, 10_000),
}  # fmt: skip
"""Least and largest value of settings that are numbers."""
TRUTHS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a server.

    Raises:
        MobileNetV2Error: a value is impossible.
    """

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of this machine."""
    port: int = 8000
    """Port to listen on; 0 for any free one."""
    workers: int | None = None
    """Number of processes that decode and compute; None for one for each core."""
    batch: int = 4
    """Most photos that are computed together."""
    delay_ms: float = 0.0
    """Milliseconds that a photo may wait for others while all processes are busy."""
    queue: int = 128
    """Most photos that wait or are computed; more get a 429."""
    queue_mb: int = 256
    """Most megabytes of requests in memory; more get a 429."""
    deadline: float = 30.0
    """Seconds until a waiting request gets a 504."""
    body_seconds: float = 20.0
    """Seconds for the arrival of a request."""
    max_mb: float = 32.0
    """Most megabytes of a request; more get a 413."""
    photos: int = 64
    """Most photos in a request."""
    tokens: Path | None = None
    """File with a bearer token on each line, one of which every caller must give."""
    origins: tuple[str, ...] = ()
    """Origins whose pages may call this server, such as https://shop.example; '*' for all."""
    hosts: tuple[str, ...] = ()
    """Names by which callers may address this server.

    Without any, every name; on a loopback address, localhost and the loopback addresses.
    """
    page: bool = True
    """True to serve the files for browsers."""
    access_log: bool = True
    """True to write a line of JSON on stderr for each request."""

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:  # also true for NaN
                raise MobileNetV2Error(
                    f"{argument(name)} {value:g} must be from {least:g} to {most:g}"
                )
        if self.queue < self.photos:
            object.__setattr__(self, "photos", self.queue)
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise MobileNetV2Error(
                    f"{argument('origins')} {origin!r}: an origin is a scheme and a host, such as "
                    "https://shop.example, without a path; '*' allows all"
                )
        object.__setattr__(self, "hosts", tuple(host.lower() for host in self.hosts))

    @property
    def max_bytes(self) -> int:
        """Most bytes of a request."""
        return int(self.max_mb * MB)

    @property
    def queue_bytes(self) -> int:
        """Most bytes of requests in memory, at least those of one request."""
        return max(int(self.queue_mb * MB), self.max_bytes)

    @property
    def is_loopback(self) -> bool:
        """True if only this machine reaches the server."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


NAMES = tuple(one.name for one in dataclasses.fields(Settings))


def settings_of(given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of arguments, and of environment variables where none is given.

    Args:
        given: settings by name; None for one that is not given.
        environment: environment variables. Default: those of this process.

    Raises:
        MobileNetV2Error: a setting is unknown, or its value impossible.
    """
    for name in given:
        if name not in NAMES:
            raise MobileNetV2Error(
                f"setting {argument(name)} is unknown; {suggestion(name, NAMES)}"
            )
    values = _of_environment(os.environ if environment is None else environment)
    values |= {
        name: _typed(name, value, argument(name))
        for name, value in given.items()
        if value is not None
    }
    return Settings(**values)


def models_of_environment(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the models that the environment names, as words of a command line."""
    found = (os.environ if environment is None else environment).get(PREFIX + MODELS, "")
    try:
        return shlex.split(found)
    except ValueError as error:
        raise MobileNetV2Error(f"{PREFIX}{MODELS}: {error}; quote paths with spaces") from None


def tokens_of(settings: Settings) -> tuple[bytes, ...]:
    """Return the bearer tokens in the settings' file; none without a file.

    Raises:
        MobileNetV2Error: the file cannot be read, holds no token, or one that a header cannot
            carry.
    """
    if settings.tokens is None:
        return ()
    try:
        text = read_file(settings.tokens, MOST_TOKEN_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise MobileNetV2Error(
            f"{argument('tokens')}: {disk_sentence(error)}; it is a file with a token of 8 "
            "characters or more on each line"
        ) from None
    found = [line.strip() for line in text.splitlines()]
    tokens = [token for token in found if token and not token.startswith("#")]
    if not tokens:
        raise MobileNetV2Error(f"{settings.tokens}: no token in it; write one on each line")
    for number, token in enumerate(tokens, 1):
        if not re.fullmatch(r"[\x21-\x7e]{8,512}", token):
            raise MobileNetV2Error(
                f"{settings.tokens}: token {number} must have 8 to 512 ASCII characters without "
                "spaces"
            )
    return tuple(token.encode() for token in tokens)


def _of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in environment.items():
        name = key.removeprefix(PREFIX)
        if name in (key, MODELS) or _OF_OTHERS.fullmatch(name):
            continue
        if name == "PORT" and "://" in value:  # Kubernetes, too
            continue
        if name.lower() not in NAMES:
            near = suggestion(key, [PREFIX + one.upper() for one in NAMES])
            raise MobileNetV2Error(f"environment variable {key} is unknown; {near}")
        values[name.lower()] = _typed(name.lower(), value, f"environment variable {key}")
    return values


def _typed(name: str, value: Any, where: str) -> Any:
    """Return a value as the type of its setting; texts of the environment are converted.

    Args:
        name: name of the setting.
        value: what was given.
        where: where it was given, for the error.
    """
    hint = get_type_hints(Settings)[name]
    kind = next((one for one in get_args(hint) if one is not type(None)), hint)
    try:
        if name in ("origins", "hosts"):
            words = value.replace(",", " ").split() if isinstance(value, str) else value
            return tuple(str(word) for word in words)
        if kind is bool and isinstance(value, str):
            return TRUTHS[value.lower()]
        if kind in (int, float) and isinstance(value, bool):
            raise ValueError
        if kind is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        if value == "":
            raise ValueError
        return kind(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        meant = {
            int: "a whole number", float: "a number", bool: "true or false", Path: "a file",
        }  # fmt: skip
        raise MobileNetV2Error(f"{where} {value!r} is not {meant.get(kind, 'a text')}") from None

"""Verb ``serve``: answer photos over HTTP."""

from __future__ import annotations

import argparse

from mobilenetv2.cli.parser import RUN_HELP, Parser
from mobilenetv2.errors import MobileNetV2Error
from mobilenetv2.text import line

EXAMPLES = """\
  mobilenetv2 serve --model runs/photos/best
  mobilenetv2 serve --model photos=runs/photos/best other=runs/other/best --port 9000 --workers 2
  mobilenetv2 serve --model runs/photos/best --host 0.0.0.0 --tokens tokens.txt

then, from another terminal:
  curl --data-binary @cat.jpg http://127.0.0.1:8000/predict
"""
OPTIONS = {
    "host": ("ADDRESS", str), "port": ("N", int), "workers": ("N", int), "batch": ("N", int),
    "delay_ms": ("MS", float), "queue": ("N", int), "queue_mb": ("MB", int),
    "deadline": ("SECONDS", float), "body_seconds": ("SECONDS", float), "max_mb": ("MB", float),
    "photos": ("N", int), "tokens": ("FILE", str),
}  # fmt: skip
"""Settings with one value: its name in the help, and its type."""
HELP = {
    "host": "address to listen on, 0.0.0.0 for all of this machine (default: 127.0.0.1)",
    "port": "port to listen on, 0 for any free one (default: 8000)",
    "workers": "processes that decode and compute (default: one for each core)",
    "batch": "most photos that are computed together (default: 4)",
    "delay_ms": "milliseconds that a photo may wait for others while all processes are busy "
    "(default: 0)",
    "queue": "most photos that wait or are computed; more get a 429 (default: 128)",
    "queue_mb": "most megabytes of requests in memory; more get a 429 (default: 256)",
    "deadline": "seconds until a waiting request gets a 504 (default: 30)",
    "body_seconds": "seconds for the arrival of a request (default: 20)",
    "max_mb": "most megabytes of a request; more get a 413 (default: 32)",
    "photos": "most photos in a request (default: 64)",
    "tokens": "file with a bearer token on each line, one of which every caller must give",
}


def add_options(parser: Parser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "--model", nargs="+", action="extend", default=[], metavar="[NAME=]MODEL",
        help=f"models, the first of which answers where a request names none: {RUN_HELP}",
    )  # fmt: skip
    parser.add_argument("others", nargs="*", help=argparse.SUPPRESS)  # for a message that helps
    for name, (metavar, kind) in OPTIONS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=HELP[name]
        )
    parser.add_argument(
        "--origin", action="append", metavar="ORIGIN", dest="origins",
        help="origin whose pages may call this server, such as https://shop.example, or '*'; can "
        "be repeated (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--host-name", action="append", metavar="NAME", dest="hosts",
        help="name by which callers may address this server; can be repeated (default: any; on "
        "loopback, localhost and the loopback addresses)",
    )  # fmt: skip
    parser.add_flag("--no-page", "leave out the files for browsers")
    parser.add_flag("--no-access-log", "write no line of JSON on stderr for each request")
    parser.add_shared("--runtime", "--fast-decode", "--labels", "--preprocessing", "--resize")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; return 0."""
    from mobilenetv2.serving.serve import serve
    from mobilenetv2.serving.settings import models_of_environment

    if arguments.others:
        raise MobileNetV2Error(
            f"{line(arguments.others[0])}: serve takes its models behind --model, such as "
            "'mobilenetv2 serve --model runs/photos/best'"
        )
    models = arguments.model or models_of_environment()
    if not models:
        raise MobileNetV2Error(
            "serve needs --model MODEL: a model folder such as runs/photos/best, an exported file, "
            "or 'embedded' to try it"
        )
    settings = {name: getattr(arguments, name) for name in (*OPTIONS, "origins", "hosts")}
    settings |= {"page": False} if arguments.no_page else {}
    settings |= {"access_log": False} if arguments.no_access_log else {}
    serve(
        models, runtime=arguments.runtime, fast_decode=arguments.fast_decode,
        labels=arguments.labels, preprocessing=arguments.preprocessing, resize=arguments.resize,
        **settings,
    )  # fmt: skip
    return 0

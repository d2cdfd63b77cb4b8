"""Entry point of the command and of ``python -m mobilenetv2``: the process, from start to end."""

import signal
import sys
import threading

AGAIN = 0.02
"""Seconds until Ctrl-C is raised again that came while Python ran a callback of its own."""


def command() -> None:
    """Run the command line as this process, and end it."""
    sys.unraisablehook = raise_again
    try:
        from mobilenetv2.cli.main import main  # Ctrl-C may come in here, too

        status = main()
    except KeyboardInterrupt:
        status = 130
    # All is done: from here on Ctrl-C ends Python at once instead of printing tracebacks.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


def raise_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise Ctrl-C again, a moment later, where Python could not raise it; report other errors.

    Python runs the callbacks of weak references (every import ends with one) and ``__del__``
    methods from places that cannot pass on an error. A ``KeyboardInterrupt`` in them would be
    printed as a traceback, and the command would go on.
    """
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    later = threading.Timer(AGAIN, _interrupt)
    later.daemon = True
    later.start()


def _interrupt() -> None:
    """Send Ctrl-C to the main thread, also while it waits in a call to the system."""
    main = threading.main_thread().ident
    if main is None or not hasattr(signal, "pthread_kill"):  # Windows
        signal.raise_signal(signal.SIGINT)
    else:
        signal.pthread_kill(main, signal.SIGINT)


if __name__ == "__main__":
    command()

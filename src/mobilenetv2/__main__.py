"""Entry point of the command and of ``python -m mobilenetv2``: the process, from start to end."""

import signal
import sys


def command() -> None:
    """Run the command line as this process, and end it."""
    try:
        from mobilenetv2.cli.main import main  # Ctrl-C may come in here, too

        status = main()
    except KeyboardInterrupt:
        status = 130
    # All is done: from here on Ctrl-C ends Python at once instead of printing tracebacks.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


if __name__ == "__main__":
    command()

"""Entry point of ``python -m mobilenetv2``, the same as the command."""

import sys

from mobilenetv2.cli.main import main

sys.exit(main())

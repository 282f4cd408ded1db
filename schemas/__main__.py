"""Entry point of `python -m schemas`, the same as the command `dataset`."""

import sys

from schemas.cli import main

if __name__ == "__main__":
    sys.exit(main())

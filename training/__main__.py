"""Run `python -m training`, which is the same as `train`."""

import sys

from training.cli import main

if __name__ == "__main__":
    sys.exit(main())

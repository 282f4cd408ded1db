"""`train` that knows the toy task, for tests that start real processes."""

import sys
from pathlib import Path

import schemas.tasks
import training.tasks
from training.cli import main

for package, room in ((schemas.tasks, "schemas"), (training.tasks, "training")):
    package.__path__.append(str(Path(__file__).parent / "toy" / room / "tasks"))

if __name__ == "__main__":
    sys.exit(main())

"""Run the commands as modules: `python -m inference infer ...` and `python -m inference evaluate ...`."""

import sys

from inference.cli import evaluate, infer
from schemas.runtime.terminal import say

COMMANDS = {"infer": infer, "evaluate": evaluate}

if __name__ == "__main__":
    name, *argv = sys.argv[1:] or [""]
    if name not in COMMANDS:
        say(f"give a command: {' or '.join(COMMANDS)}", error=True)
        sys.exit(2)
    sys.exit(COMMANDS[name](argv))

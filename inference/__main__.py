"""Run the commands as modules: `python -m inference infer ...` and `python -m inference evaluate ...`."""

import sys

from inference.cli import evaluate, infer

COMMANDS = {"infer": infer, "evaluate": evaluate}

if __name__ == "__main__":
    name, *argv = sys.argv[1:] or [""]
    if name not in COMMANDS:
        print(f"give a command: {' or '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(COMMANDS[name](argv))

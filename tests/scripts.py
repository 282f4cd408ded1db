"""Run the script of a workflow in a real shell. Its commands are carried out by this process, not by new ones."""

import json
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from generators import cli as generators_cli
from inference import cli as inference_cli
from inference import command as inference_command
from inference.methods import tuning
from inference.report import expectations
from inference.task_modules import find_method
from schemas.task import find_task
from tests.conftest import done, launch
from training import cli as training_cli
from training import command as training_command

MAINS = {
    "generate": generators_cli.main,
    "train": training_cli.main,
    "infer": inference_cli.infer,
    "evaluate": inference_cli.evaluate,
}
ASK = f"""#!{sys.executable} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect(os.path.join(os.path.dirname(__file__), "socket"))
    asked.sendall(json.dumps([os.path.basename(__file__), *sys.argv[1:]]).encode() + b"\\n")
    sys.exit(int(asked.makefile().readline() or 1))
"""


def run(answer: Callable[[str, list[str]], None], script: Path, *args: str) -> None:
    """Run a script, which must succeed.

    Args:
        answer: carries out a command, given its name and arguments.
        script: the script.
        args: its arguments.
    """
    with tempfile.TemporaryDirectory(prefix="asked-") as folder, socket.socket(socket.AF_UNIX) as asked:
        for name in MAINS:
            command = Path(folder, name)
            command.write_text(ASK)
            command.chmod(stat.S_IRWXU)
        asked.bind(f"{folder}/socket")
        asked.listen()
        asked.settimeout(0.05)
        process = launch([script, *args], {"PATH": f"{folder}:{os.environ['PATH']}"})
        while process.poll() is None:
            try:
                connection, _ = asked.accept()
            except TimeoutError:
                continue
            with connection, connection.makefile("rw") as question:
                name, *given = json.loads(question.readline())
                answer(name, given)
                question.write("0\n")
        assert process.returncode == 0, process.communicate()[0]


def carry_out(name: str, args: list[str]) -> None:
    """Run a command in this process."""
    done(MAINS[name], *args)


class AsAUserFirst:
    """Runs each command from its console script when it first occurs, as a process of its own, and afterwards here."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, name: str, args: list[str]) -> None:
        """Run a command."""
        if name in self.seen:
            return carry_out(name, args)
        self.seen.add(name)
        process = launch([Path(sys.executable).with_name(name), *args])
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return None


class Rehearsal:
    """Checks commands without carrying them out: each must find the files that those before it would have made."""

    def __init__(self) -> None:
        self.tasks: dict[Path, str] = {}  # task of each dataset
        self.commands = 0

    def __call__(self, name: str, args: list[str]) -> None:
        """Check the options and settings of a command."""
        self.commands += 1
        getattr(self, name)(args)

    def generate(self, args: list[str]) -> None:
        done(generators_cli.main, *args, "--describe")
        given = generators_cli._parser().parse_args(args)
        self.tasks[given.out] = given.task
        given.out.mkdir(parents=True)

    def train(self, args: list[str]) -> None:
        given = training_cli._parser().parse_args(args)
        training_command.choose_recipe(training_cli.options(given), find_task(self.tasks[given.data]))
        given.out.mkdir(parents=True)

    def infer(self, args: list[str]) -> None:
        given = inference_cli._infer_parser().parse_args(args)
        if given.method:
            tuning.parse(given.method, find_method(self.tasks[given.data], given.method).settings, given.set)
        else:
            assert given.model.is_dir()
        if not given.activations:
            options = inference_cli.options(inference_command.InferOptions, given)
            sources: Any = [SimpleNamespace(split=split, path=given.data, half=None) for split in given.split]
            for source in sources:
                inference_command._out_path(options, "", source, sources).mkdir(parents=True)
        if given.stitch:
            place = given.stitch.with_name(f"{given.stitch.stem}-resolution.json")
            place.write_text(json.dumps({"scans": [{"mean": 1.0, "rms": 1.0}]}))

    def evaluate(self, args: list[str]) -> None:
        given = inference_cli._evaluate_parser().parse_args(args)
        assert given.data in self.tasks
        assert all(path.is_dir() for _, path in given.predictions)
        assert not given.expect or expectations.load(given.expect)
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "metrics.json").write_text(json.dumps({"methods": {"any": {"method": "any", "scans": []}}}))

"""Commands as real processes that `tests.chaos` starts, watches and ends."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil


class Run(subprocess.Popen[bytes]):
    """A command in its own session, with its output in a file."""

    def __init__(self, name: str, line: list[str], folder: Path, environment: Mapping[str, str], said: Path) -> None:
        self.name, self.said = name, said
        with said.open("wb") as file:
            super().__init__(
                line, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    def ended(self, seconds: float) -> bool:
        """Return False if the command still runs after so many seconds."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def outcome(self) -> str:
        """Return the exit code and the last line that was printed, or all lines if there is a traceback or warning."""
        text = self.said.read_text().strip()
        last = f"UNCLEAN {text}" if "Traceback" in text or "Warning" in text else text.rpartition("\n")[2][:110]
        return f"{self.name}: {self.returncode} {last}"

    def processes(self) -> list[psutil.Process]:
        """Return the client and its workers, which are forked from a server that is a child of the client."""
        try:
            client = psutil.Process(self.pid)
            return [client, *(worker for server in client.children() for worker in server.children())]
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """Kill what is left of the processes of the command."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.wait()

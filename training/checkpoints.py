"""Checkpoints of a run, written by orbax: the latest two, the best, and every N-th step if asked.

A checkpoint holds the whole state and the memory of the run (best loss, history). One that cannot be read completely is
moved aside, and the one before is used.
"""

import json
import logging
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from pydantic import BaseModel, ConfigDict

from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.publish import entries, keys, move, refuse_irregular
from schemas.runtime.terminal import say
from training.devices import all_processes_agree, is_first_process, replicated
from training.steps import State

PREDICTION_PARTS = ("parameters", "rest", "average")  # parts of a state that predictions need
logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs every step; failures are raised as well


class Place(BaseModel):
    """The hardware, packages and arithmetic with which a run continued from a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    hardware: str
    packages: dict[str, str]
    arithmetic: str = ""  # settings and instruction set that change rounding; older versions did not write it


class Memory(BaseModel):
    """The values that a run remembers besides its state."""

    model_config = ConfigDict(extra="forbid")

    best_step: int = 0
    best_loss: float | None = None
    worse: int = 0  # number of evaluations since the best one
    history: list[dict[str, float | int]] = []  # scores, one row per evaluation
    seconds: float = 0.0  # time spent in learning, with compilation, without evaluations
    places: list[Place] = []  # one entry each time the run continues on other hardware, or with other versions


class Checkpoints:
    """The checkpoints of a run in a folder."""

    def __init__(self, folder: Path, run: str, keep_every: int | None = None) -> None:
        """Args:
        folder: folder of the checkpoints.
        run: sha256 of the run's identity.
        keep_every: also keep the checkpoints of multiples of this step.

        Raises:
            UserError: something in the folder is a pipe or a device, which may never end.
        """
        self._folder, self._run = folder.absolute(), run
        _refuse_irregular_files(folder)
        self._policy = _KeepPolicy(keep_every)
        options = ocp.CheckpointManagerOptions(preservation_policy=self._policy, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, state: State, memory: Memory) -> None:
        """Start to write a checkpoint. The state may change as soon as this returns.

        Args:
            step: step of the run.
            state: state after the step.
            memory: memory of the run.

        Raises:
            Interrupted: a checkpoint cannot be written.
        """
        if step in self._manager.all_steps():
            return
        self._policy.best = memory.best_step
        known: dict[str, Any] = {
            "memory": memory.model_dump(mode="json"),
            "checksums": _checksums(state),
            "run": self._run,
        }
        known["seal"] = _seal_checksum(known)
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), known=ocp.args.JsonSave(known))
        with self._resumable():
            self._manager.save(step, args=args)

    def restore(self, like: State, mesh: Mesh) -> tuple[State, Memory] | None:
        """Return the latest checkpoint that every process can read completely, or None if there are none.

        All processes continue from the same one. The hardware may differ from the one on which it was written. Damaged
        checkpoints are moved aside.

        Args:
            like: a state of the same structure.
            mesh: the devices on which the state is put.

        Raises:
            UserError: there are checkpoints, but none can be read, or they belong to another run.
            Interrupted: the machine cannot read them now.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            found = self.read(step, like, mesh)
            if all_processes_agree(found is not None):
                return found
            self._move_aside(step)
        if steps:
            raise UserError(f"{self._folder}: no checkpoint can be read; give --overwrite to start again")
        return None

    def read(self, step: int, like: State, mesh: Mesh) -> tuple[State, Memory] | None:
        """Return the checkpoint of a step, or None if there is none or it is damaged.

        Args:
            step: step of the run.
            like: a state of the same structure.
            mesh: the devices on which the state is put.

        Raises:
            UserError: the checkpoint belongs to another run.
            Interrupted: the machine cannot read it now.
        """
        if step not in self._manager.all_steps():
            return None
        try:
            return self._read(step, like, mesh)
        except UserError:
            raise
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
            raise Interrupted(
                f"{self._folder}/{step}: cannot be read now ({error}); the same command resumes"
            ) from None
        except Exception:  # orbax and its store raise exceptions of any kind for a damaged file
            return None

    def _read(self, step: int, like: State, mesh: Mesh) -> tuple[State, Memory]:
        """Read a checkpoint and compare its checksums."""
        known = self._manager.restore(step, args=ocp.args.Composite(known=ocp.args.JsonRestore()))["known"]
        if known.get("seal") != _seal_checksum(known):
            raise ValueError("not what was written")
        if known["run"] != self._run or known["checksums"].keys() != _arrays_by_name(like).keys():
            raise UserError(
                f"{self._folder}/{step}: written by another run, or by another version of this program or its "
                "libraries; continue with that version, or give --overwrite to start again"
            )
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), like)
        state = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))["state"]
        if _checksums(state) != known["checksums"]:
            raise ValueError("not the numbers that were written")
        return state, Memory.model_validate(known["memory"])

    def _move_aside(self, step: int) -> None:
        """Move a checkpoint out of the way. It is never deleted. One process does this for all."""
        if is_first_process():
            say(f"checkpoint {step} cannot be read: moved to damaged/, continuing from the one before")
            aside = self._folder.with_name("damaged") / f"{step}-{time.time_ns()}"
            move(self._folder / str(step), aside)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"put aside {step}")
        self._manager.reload()

    def wait(self) -> None:
        """Wait until all saved checkpoints are on disk.

        Raises:
            Interrupted: a checkpoint cannot be written.
        """
        with self._resumable():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and stop the writer."""
        with suppress(Exception):  # failures to write have been reported
            self._manager.close()

    @contextmanager
    def _resumable(self) -> Iterator[None]:
        """Raise Interrupted for anything that orbax raises when it cannot write.

        The failure may belong to the previous save, because orbax writes in threads.
        """
        try:
            yield
        except Exception as error:
            reason = "no space left" if "o space left" in str(error) else f"{type(error).__name__}: {error}"[:200]
            raise Interrupted(
                f"{self._folder}: cannot write a checkpoint ({reason}); make room, then the same command resumes"
            ) from None


def read_checkpoint(folder: Path, step: int, run: str) -> tuple[State, Memory]:
    """Read the state at a step of a run as arrays of the host.

    Args:
        folder: folder of the checkpoints.
        step: step of the run.
        run: sha256 of the run's identity.

    Returns:
        The state and the memory of the run.

    Raises:
        UserError: the checkpoint is missing, damaged, or belongs to another run.
    """
    _refuse_irregular_files(folder)
    steps = sorted(int(path.name) for path in entries(folder) if path.name.isdigit())
    if step not in steps:
        raise UserError(f"{folder}: no checkpoint {step}; there are: {', '.join(map(str, steps)) or 'none'}")
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            args = ocp.args.Composite(state=ocp.args.StandardRestore(), known=ocp.args.JsonRestore())
            found = reader.restore(folder.absolute() / str(step), args=args)
        state, known = jax.tree.map(np.asarray, found["state"]), found["known"]
        memory = Memory.model_validate(known["memory"])
        sums = _checksums({name: state[name] for name in PREDICTION_PARTS})
        intact = known["seal"] == _seal_checksum(known) and sums.items() <= known["checksums"].items()
    except Exception:  # orbax and its store raise exceptions of any kind for a damaged file
        intact = False
    if not intact:
        raise UserError(f"{folder}/{step}: damaged; take another checkpoint of {', '.join(map(str, steps))}")
    if known["run"] != run:
        raise UserError(f"{folder}/{step}: belongs to another run than the model beside it; copy the whole run again")
    return state, memory


def _refuse_irregular_files(folder: Path) -> None:
    for key in keys(folder):
        refuse_irregular(folder / key)


@dataclass
class _KeepPolicy:
    """The rule by which orbax keeps checkpoints: the latest two, the best, and multiples of `every`."""

    every: int | None
    best: int = 0

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return whether each checkpoint is kept."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*sorted(steps)[-2:], self.best}
        return [step in kept or (self.every is not None and step % self.every == 0) for step in steps]


def _checksums(state: State) -> dict[str, int]:
    """CRC-32 of each array, because the store under orbax does not notice a flipped bit."""
    return {name: zlib.crc32(np.asarray(value).tobytes()) for name, value in _arrays_by_name(state).items()}


def _seal_checksum(known: Mapping[str, Any]) -> int:
    """CRC-32 of everything that is written beside the arrays."""
    rest = {name: value for name, value in known.items() if name != "seal"}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def _arrays_by_name(state: State) -> dict[str, Any]:
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): value for path, value in paths}

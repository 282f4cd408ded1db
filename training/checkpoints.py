"""Checkpoints of a run, by orbax: the latest two, the best, and every so-manieth if asked.

A checkpoint holds the whole state and the run's memory (best loss, history). One that cannot be read back whole is put
aside, and the one before is taken.
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
from schemas.runtime.publish import entries, move
from training.devices import everybody, first, replicated
from training.steps import State

READ = ("parameters", "rest", "average")  # of a state, by those who predict
logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax tells its whole life; what fails is raised, too


class Place(BaseModel):
    """Where a run went on from a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    hardware: str
    packages: dict[str, str]


class Memory(BaseModel):
    """What a run remembers beside its state."""

    model_config = ConfigDict(extra="forbid")

    best_step: int = 0
    best_loss: float | None = None
    worse: int = 0  # evaluations since the best
    history: list[dict[str, float | int]] = []  # a row per evaluation
    seconds: float = 0.0  # spent in learning, compilation included, evaluations not
    places: list[Place] = []  # one more whenever it was resumed on other hardware, or with other versions


class Checkpoints:
    """The checkpoints of a run in a folder. run: sha256 of its identity."""

    def __init__(self, folder: Path, run: str, keep_every: int | None = None) -> None:
        self._folder, self._run = folder.absolute(), run
        self._kept = _Kept(keep_every)
        options = ocp.CheckpointManagerOptions(preservation_policy=self._kept, cleanup_tmp_directories=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, state: State, memory: Memory) -> None:
        """Begin to write; returns when the state may change again."""
        if step in self._manager.all_steps():
            return
        self._kept.best = memory.best_step
        known: dict[str, Any] = {
            "memory": memory.model_dump(mode="json"),
            "checksums": _checksums(state),
            "run": self._run,
        }
        known["seal"] = _seal(known)
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), known=ocp.args.JsonSave(known))
        with self._resumable():
            self._manager.save(step, args=args)

    def restore(self, like: State, mesh: Mesh) -> tuple[State, Memory] | None:
        """The latest that is whole, on the devices of the mesh, whatever it was written on; None if there is none.

        Whole for every process: all go on from the same one.
        Those that are damaged are put aside. UserError if there are some and none is whole.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            found = self.read(step, like, mesh)
            if everybody(found is not None):
                return found
            self._put_aside(step)
        if steps:
            raise UserError(f"{self._folder}: no checkpoint can be read; give --overwrite to begin anew")
        return None

    def read(self, step: int, like: State, mesh: Mesh) -> tuple[State, Memory] | None:
        """The checkpoint of a step; None if there is none, or a damaged one. Interrupted if the machine is at fault."""
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
        except Exception:  # whatever a damaged file makes orbax and its store raise
            return None

    def _read(self, step: int, like: State, mesh: Mesh) -> tuple[State, Memory]:
        known = self._manager.restore(step, args=ocp.args.Composite(known=ocp.args.JsonRestore()))["known"]
        if known.get("seal") != _seal(known):
            raise ValueError("not what was written")
        if known["run"] != self._run or known["checksums"].keys() != _names(like).keys():
            raise UserError(
                f"{self._folder}/{step}: written by another run, or version of this program or its libraries; "
                "go on with that one, or give --overwrite to begin anew"
            )
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), like)
        state = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))["state"]
        if _checksums(state) != known["checksums"]:
            raise ValueError("not the numbers that were written")
        return state, Memory.model_validate(known["memory"])

    def _put_aside(self, step: int) -> None:
        """Out of the way, never deleted; by one process for all."""
        if first():
            print(f"checkpoint {step} cannot be read: put aside, going on from the one before", flush=True)
            aside = self._folder.with_name("damaged") / f"{step}-{time.time_ns()}"
            move(self._folder / str(step), aside)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"put aside {step}")
        self._manager.reload()

    def wait(self) -> None:
        """Until all that was saved is on disk."""
        with self._resumable():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and stop the writer."""
        with suppress(Exception):  # what could not be written has been said
            self._manager.close()

    @contextmanager
    def _resumable(self) -> Iterator[None]:
        """Whatever orbax raises when it cannot write, of this save or, from its threads, of the one before."""
        try:
            yield
        except Exception as error:
            reason = "no space left" if "o space left" in str(error) else f"{type(error).__name__}: {error}"[:200]
            raise Interrupted(
                f"{self._folder}: cannot write a checkpoint ({reason}); make room, the same command resumes"
            ) from None


def at(folder: Path, step: int, run: str) -> tuple[State, Memory]:
    """The state at a step of a run, as arrays of the host; UserError: not there, damaged, or of another run."""
    steps = sorted(int(path.name) for path in entries(folder) if path.name.isdigit())
    if step not in steps:
        raise UserError(f"{folder}: no checkpoint {step}; there are: {', '.join(map(str, steps)) or 'none'}")
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            args = ocp.args.Composite(state=ocp.args.StandardRestore(), known=ocp.args.JsonRestore())
            found = reader.restore(folder.absolute() / str(step), args=args)
        state, known = jax.tree.map(np.asarray, found["state"]), found["known"]
        memory = Memory.model_validate(known["memory"])
        sums = _checksums({name: state[name] for name in READ})
        whole = known["seal"] == _seal(known) and sums.items() <= known["checksums"].items()
    except Exception:  # whatever a damaged file makes orbax and its store raise
        whole = False
    if not whole:
        raise UserError(f"{folder}/{step}: damaged; take another checkpoint: {', '.join(map(str, steps))}")
    if known["run"] != run:
        raise UserError(f"{folder}/{step}: of another run than the model beside it")
    return state, memory


@dataclass
class _Kept:
    """Which checkpoints orbax keeps: the latest two, the best, and multiples of `every`."""

    every: int | None
    best: int = 0

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """For each checkpoint."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*sorted(steps)[-2:], self.best}
        return [step in kept or (self.every is not None and step % self.every == 0) for step in steps]


def _checksums(state: State) -> dict[str, int]:
    """CRC-32 of each array: the store under orbax does not notice a flipped bit."""
    return {name: zlib.crc32(np.asarray(value).tobytes()) for name, value in _names(state).items()}


def _seal(known: Mapping[str, Any]) -> int:
    """CRC-32 of all else that is written beside the arrays."""
    rest = {name: value for name, value in known.items() if name != "seal"}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def _names(state: State) -> dict[str, Any]:
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): value for path, value in paths}

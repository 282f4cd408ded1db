"""Checkpoints of a run, by orbax: the latest two, the best, and every so-manieth if asked.

A checkpoint holds the whole state and the run's memory (best loss, history). One that cannot be read back whole is put
aside, and the one before is taken.
"""

import logging
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers as policies
from pydantic import BaseModel, ConfigDict

from schemas.errors import Interrupted
from training.devices import replicated
from training.steps import State

logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax tells its whole life; what fails is raised, too


class Memory(BaseModel):
    """What a run remembers beside its state."""

    model_config = ConfigDict(extra="forbid")

    best_step: int = 0
    best_loss: float | None = None
    worse: int = 0  # evaluations since the best
    history: list[dict[str, float | int]] = []  # a row per evaluation
    seconds: float = 0.0  # spent in learning


class Checkpoints:
    """The checkpoints in a folder."""

    def __init__(self, folder: Path, keep_every: int | None = None) -> None:
        self._folder = folder.absolute()
        kept: list[Any] = [policies.LatestN(2), _best()]
        if keep_every:
            kept.append(policies.EveryNSteps(keep_every))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(kept), cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, state: State, memory: Memory, loss: float | None = None) -> None:
        """Begin to write; returns when the state may change again. loss: that of an evaluation at this step."""
        if step in self._manager.all_steps():
            return
        known = {"memory": memory.model_dump(mode="json"), "checksums": _checksums(state)}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), known=ocp.args.JsonSave(known))
        with self._resumable():
            self._manager.save(step, args=args, metrics=None if loss is None else {"loss": loss})

    def restore(self, like: State, mesh: Mesh, step: int | None = None) -> tuple[State, Memory] | None:
        """The latest that is whole, or that of a step; on the devices of the mesh, whatever it was written on."""
        for found in [step] if step is not None else sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._read(found, like, mesh)
            except Exception as error:  # whatever a damaged file makes orbax raise
                if step is not None:
                    return None
                self._put_aside(found, error)
        return None

    def _read(self, step: int, like: State, mesh: Mesh) -> tuple[State, Memory]:
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), like)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target), known=ocp.args.JsonRestore())
        found = self._manager.restore(step, args=args)
        if _checksums(found["state"]) != found["known"]["checksums"]:
            raise ValueError("not the numbers that were written")
        return found["state"], Memory.model_validate(found["known"]["memory"])

    def _put_aside(self, step: int, error: Exception) -> None:
        print(f"checkpoint {step} cannot be read ({type(error).__name__}): put aside, going on from the one before")
        aside = self._folder.with_name("damaged") / str(step)
        aside.parent.mkdir(exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
        (self._folder / str(step)).rename(aside)
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


def _checksums(state: State) -> dict[str, int]:
    """CRC-32 of each array: the store under orbax does not notice a flipped bit."""
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): zlib.crc32(np.asarray(value).tobytes()) for path, value in paths}


def _best() -> Any:
    """Keep the least loss; a loss that is not a number is the worst."""

    def loss(metrics: Any) -> float:
        value = float(metrics["loss"])
        return value if value == value else float("inf")

    return policies.BestN(get_metric_fn=loss, reverse=True, n=1, keep_checkpoints_without_metrics=False)

"""The training loop: restore, learn step by step, evaluate, save.

A run that is killed anywhere and started again ends with the same bits. The order at an evaluation is: evaluate,
remember, write the journal, save the checkpoint, export the best model. The metrics of a step are read while the next
step runs.
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.locks import resumable
from schemas.runtime.machine import versions
from schemas.runtime.terminal import count_text, one_line, say
from training import batches, contract, devices, losses, model_building, optimizers, pretrained, steps
from training.batch_sources import open_sources
from training.batches import BatchSource
from training.checkpoints import Checkpoints, Memory, Place
from training.export import store as models
from training.export.card import ModelCard
from training.memory_need import refuse_too_large
from training.metrics_log import Journal, Row
from training.nan_watch import Watch
from training.network import Network
from training.progress import Progress, show_progress
from training.run import Run, arithmetic, begin, claim, hardware, refuse_if_changed
from training.stop_signals import requested_stop

PACKAGES = ("drybeam", "flax", "jax", "jaxlib", "numpy", "optax", "zarr")  # packages on which a model depends


@dataclass
class Machinery:
    """All parts of a run that do not change while it learns."""

    run: Run
    mesh: Mesh
    network: Network
    training: BatchSource
    validation: BatchSource | None
    learn: Callable[[steps.State, batches.Batch], tuple[steps.State, steps.Metrics]]
    measure: Callable[..., steps.Metrics]
    rate: Callable[[int], Any]
    rule: Any
    checkpoints: Checkpoints
    per_epoch: int  # number of steps in an epoch

    @property
    def total(self) -> int:
        """Number of steps in the run."""
        return self.run.recipe.epochs * self.per_epoch


def train(run: Run, *, overwrite: bool = False) -> Memory:
    """Train to the end, or continue a run of the same identity where it stopped.

    Args:
        run: the run, as returned by `training.run.prepare`.
        overwrite: whether to remove the run that is in the folder.

    Returns:
        The memory of the finished run.

    Raises:
        UserError: the run does not suit the folder, the devices, the memory or the data.
        Interrupted: the run was asked to stop, or the disk is full; the same command resumes.
    """
    if not devices.all_processes_have(f"{json.dumps(run.identity)} {run.mode} {run.keep_every} {overwrite}"):
        raise UserError("the processes were started with different commands; only --process may differ")
    mesh = devices.mesh(run.recipe.batch_size)
    network = model_building.build_network(run.recipe, run.features)
    refuse_too_large(network, run.recipe, run.features)
    if run.start:
        pretrained.initial_arrays(run.start, network)  # refuse a misfit before a run is overwritten
    with _claim_for_all(run, overwrite=overwrite):
        # refuse samples that cannot be read before an old run is removed
        sources = devices.in_all_processes(lambda: open_sources(run, mesh))
        devices.in_first_process(lambda: begin(run, overwrite=overwrite))
        machinery = _compile(run, mesh, network, *sources)
        if devices.is_first_process():
            say(_summary(machinery))
        try:
            with resumable(run.out, "checkpoints"):
                return _run_to_end(machinery)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            reason = str(error).partition("\n")[0][:200]
            raise UserError(f"not enough memory ({reason}); lower --batch-size or the network's width") from None
        finally:
            machinery.checkpoints.close()


@contextmanager
def _claim_for_all(run: Run, *, overwrite: bool) -> Iterator[None]:
    """Let the first process claim the folder of the run for all."""
    with ExitStack() as stack:
        devices.in_first_process(lambda: stack.enter_context(claim(run, overwrite=overwrite)))
        yield


def _summary(m: Machinery) -> str:
    origin = f", started from {m.run.start.card.name}" if m.run.start else ""
    size = f"{count_text(m.network.parameters, 'parameter')}; {count_text(_count_samples(m), 'sample')}"
    course = f"{count_text(m.run.recipe.epochs, 'epoch')} of {count_text(m.per_epoch, 'step')}"
    return f"{m.run.recipe.network}{origin}: {size}, {course}, {m.training.order.batch} per step; {hardware()}"


def _count_samples(m: Machinery) -> int:
    """Return the number of training samples."""
    return m.training.order.n // m.training.order.parts


def _compile(
    run: Run, mesh: Mesh, network: Network, training: BatchSource, validation: BatchSource | None
) -> Machinery:
    """Return the parts of a run, with compiled steps."""
    recipe, features = run.recipe, run.features
    per_epoch = recipe.steps_per_epoch or training.order.steps
    count = recipe.epochs * per_epoch
    rule = optimizers.build_optimizer(recipe, count)
    return Machinery(
        run,
        mesh,
        network,
        training,
        validation,
        steps.learning_step(network, features, rule, recipe, mesh),
        steps.evaluation_step(network, features, recipe, mesh),
        optimizers.schedule(recipe.schedule, recipe.optimizer.learning_rate, count),
        rule,
        Checkpoints(run.out / "checkpoints", run.digest, run.keep_every),
        per_epoch,
    )


def _run_to_end(m: Machinery) -> Memory:
    """Restore the last checkpoint, learn to the end, and make sure that the best model is written."""
    given = pretrained.initial_arrays(m.run.start, m.network) if m.run.start else None
    fresh = steps.initial_state(m.network, m.rule, m.run.recipe, m.mesh, given)
    state, memory = m.checkpoints.restore(fresh, m.mesh) or (fresh, Memory())
    del fresh
    first = int(state["step"])
    _remember_place(memory, first)
    journal = Journal(m.run.out, first) if devices.is_first_process() else None
    try:
        with show_progress(m.total, m.training.order) as progress, requested_stop() as stop:
            if not _is_finished(m, memory, first):
                state = _learn_steps(m, state, memory, journal, progress, stop)
        m.checkpoints.wait()
        _ensure_best(m, state, memory)
    finally:
        if journal:
            journal.close()
    return memory


def _remember_place(memory: Memory, step: int) -> None:
    """Record where the run continues, and tell if that is not the same as before."""
    here = Place(step=step, hardware=hardware(), packages=versions(PACKAGES), arithmetic=arithmetic())
    before = memory.places[-1].model_copy(update={"step": step}) if memory.places else None
    if before == here:
        return
    memory.places.append(here)
    if before and before.arithmetic not in ("", here.arithmetic) and devices.is_first_process():
        changed = f"{before.arithmetic}, now {here.arithmetic}"
        say(f"warning: this run was computed with {changed}: from step {step:,} on, weights differ by rounding")


def _is_finished(m: Machinery, memory: Memory, step: int) -> bool:
    patience = m.run.recipe.patience
    return step >= m.total or (patience is not None and memory.worse >= patience)


def _learn_steps(
    m: Machinery,
    state: steps.State,
    memory: Memory,
    journal: Journal | None,
    progress: Progress,
    stop: Callable[[], bool],
) -> steps.State:
    """Learn until the end, and save on the way.

    Raises:
        Interrupted: the run was asked to stop; a checkpoint was saved before.
    """
    recipe, first = m.run.recipe, int(state["step"])
    watch, saved = Watch(f"{m.run.data}/train", m.training.order, m.per_epoch, m.rate), first
    for step, batch in enumerate(m.training.batches(first, m.total), first + 1):
        state, metrics = m.learn(state, batch)
        watch.follow(step, metrics)
        within = step % m.per_epoch
        if within and within % recipe.log_every and within % recipe.save_every and not _is_kept(m, step):
            continue
        row = watch.report(float(state["rate"]))
        memory.seconds += row["seconds"]
        _write_row(journal, row)
        progress(step, row)
        if within == 0 and (step // m.per_epoch % recipe.evaluate_every == 0 or step == m.total):
            state, saved = _evaluate(m, state, memory, journal, row), step
            watch.restart_clock()
            if _is_finished(m, memory, step):
                break
        elif step - saved >= recipe.save_every or _is_kept(m, step):
            m.checkpoints.save(step, state, memory)
            saved = step
        if stop():
            m.checkpoints.save(step, state, memory)
            m.checkpoints.wait()
            raise Interrupted(
                f"interrupted at step {step:,} of {m.total:,}, saved; the same command resumes from there"
            )
    return state


def _is_kept(m: Machinery, step: int) -> bool:
    return m.run.keep_every is not None and step % m.run.keep_every == 0


def _evaluate(m: Machinery, state: steps.State, memory: Memory, journal: Journal | None, learned: Row) -> steps.State:
    """Score the validation samples, update the memory, save, and export the best model.

    learned: the last line of the journal about training.
    """
    step = int(learned["step"])
    row: Row = {"step": step, "epoch": step // m.per_epoch}
    if m.validation:
        scores = validate(m, state, m.validation)
        row |= {f"validation/{name}": value for name, value in scores.items()}
        cost = losses.cost(m.run.recipe.best, scores)
        better = memory.best_loss is None or cost < memory.best_loss
        memory.worse = 0 if better else memory.worse + 1
        memory.best_loss = cost if better else memory.best_loss
        _write_row(journal, row)
        state = _lower_rate_on_plateau(m, state, memory)
    else:  # without validation samples the last network is kept
        better = True
    memory.best_step = step if better else memory.best_step
    memory.history.append({**row, "train/loss": learned["train/loss"]})
    m.checkpoints.save(step, state, memory)
    if better:
        _export_best(m, state, memory)
    return state


def _lower_rate_on_plateau(m: Machinery, state: steps.State, memory: Memory) -> steps.State:
    """Lower the learning rate if the loss has not fallen for a while."""
    settings = m.run.recipe.schedule
    if settings.name != "plateau" or not memory.worse or memory.worse % settings.patience:
        return state
    return {**state, "rate": state["rate"] * settings.factor}


def validate(m: Machinery, state: steps.State, source: BatchSource) -> dict[str, float]:
    """Return the mean scores over all samples of a split, or over its first batches if the recipe limits them.

    Over all samples, they do not depend on the batch size.

    Scores are left out for samples where they are undefined, such as a relative error of a sample that is zero
    everywhere.

    Args:
        m: the parts of the run.
        state: state of the run.
        source: source of the samples.

    Raises:
        UserError: the loss of a sample is not finite.
    """
    found: dict[str, list[np.ndarray]] = {}
    parameters = steps.best_parameters(state)
    count = min(m.run.recipe.validation_steps or source.order.steps, source.order.steps)
    for step, batch in enumerate(source.batches(0, count)):
        _, weight = source.order.ids(step)
        for name, values in m.measure(parameters, state["rest"], batch).items():
            found.setdefault(name, []).append(np.asarray(values, np.float64)[weight > 0])
    each = {name: np.concatenate(values) for name, values in found.items()}
    if (bad := np.unique(np.flatnonzero(~np.isfinite(each["loss"])) // source.order.parts)).size:
        raise UserError(
            f"{m.run.data}/validation samples {', '.join(map(str, bad[:8]))}: their loss is not finite; "
            "check them with `dataset validate`, or lower optimizer.learning_rate"
        )
    finite = {name: values[np.isfinite(values)] for name, values in each.items()}
    return {name: math.fsum(values) / len(values) for name, values in finite.items() if len(values)}


def _export_best(m: Machinery, state: steps.State, memory: Memory) -> None:
    if devices.is_first_process():
        refuse_if_changed(m.run)
        models.save(m.run.out / "best", _make_card(m, memory), steps.best_parameters(state), state["rest"])


def _make_card(m: Machinery, memory: Memory) -> ModelCard:
    """Return the card of the best model."""
    run, step = m.run, memory.best_step
    row = next(row for row in memory.history if row["step"] == step)
    return ModelCard(
        name=one_line(run.out.name),
        task=run.manifest.task,
        sizes=dict(run.features.sizes),
        recipe=run.recipe.model_dump(mode="json"),
        moments=dict(run.features.moments),
        ranges=dict(run.ranges),
        run=run.digest,
        dataset_digest=run.manifest.root_digest or "",
        dataset_family=run.manifest.family,
        dataset_recipe=run.manifest.recipe,
        samples=_count_samples(m),
        parameters=m.network.parameters,
        step=step,
        epoch=step // m.per_epoch,
        scores={name: float(value) for name, value in row.items() if "/" in name},
        history=memory.history,
        seconds=round(memory.seconds, 1),
        places=memory.places,
        versions=contract.versions(run.manifest.task.name, run.recipe.network),
        ancestors=run.start.card.lineage if run.start else [],
    )


def _ensure_best(m: Machinery, state: steps.State, memory: Memory) -> None:
    """Make sure that `best` holds the model of the best step with the whole history.

    It may hold an older model if the process was killed between two writes.
    """
    if _best_is_exported(m, memory):
        return
    if memory.best_step != int(state["step"]):
        found = m.checkpoints.read(memory.best_step, state, m.mesh)
        if found is None:
            raise UserError(
                f"{m.run.out}: the best model, of step {memory.best_step}, is lost: its checkpoint is missing or "
                "damaged; give --overwrite to start again"
            )
        state = found[0]
    _export_best(m, state, memory)


def _best_is_exported(m: Machinery, memory: Memory) -> bool:
    """Return whether `best` holds the model of the best step with the whole history."""
    try:
        card, _ = models.load_card_and_weights(m.run.out / "best")
    except UserError:
        return False
    known = (card.run, card.step, len(card.history))
    return known == (m.run.digest, memory.best_step, len(memory.history))


def _write_row(journal: Journal | None, row: Row) -> None:
    if journal:
        journal.write(row)

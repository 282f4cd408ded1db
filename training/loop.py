"""The loop: restore, learn step by step, evaluate, save. Killed anywhere and started again, it ends with the same bits.

Order at an evaluation: evaluate, remember, write the journal, save the checkpoint, export the best. A step's metrics
are looked at while the next one runs.
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from schemas import slices
from schemas.runtime.errors import Interrupted, UserError
from schemas.runtime.machine import versions
from schemas.runtime.publish import resumable
from training import assembly, batches, contract, devices, losses, optimizers, pretrained, steps
from training.augmentation import refuse_changed
from training.batches import BatchSource, Resident, Split, Stream
from training.checkpoints import Checkpoints, Memory, Place
from training.contract import Symmetry
from training.export import store as models
from training.export.card import ModelCard
from training.metrics_log import Journal, Row
from training.nan_watch import Watch
from training.network import Network
from training.progress import Progress, follow
from training.run import Run, begin, claim, hardware
from training.sample_order import Order, block_length
from training.signals import requested_stop

PACKAGES = ("drybeam", "flax", "jax", "jaxlib", "numpy", "optax", "zarr")  # that a model depends on


@dataclass
class Machinery:
    """All that a run needs and that does not change."""

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

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.training.order.steps

    @property
    def total(self) -> int:
        """Steps of the run."""
        return self.run.recipe.epochs * self.per_epoch


def train(run: Run, *, overwrite: bool = False) -> Memory:
    """Run to the end, or go on from where a run of the same identity stopped."""
    if not devices.agree(f"{json.dumps(run.identity)} {run.mode} {run.keep_every} {overwrite}"):
        raise UserError("the processes were not given the same command: only --process may differ")
    mesh = devices.mesh(run.recipe.batch_size)
    network = assembly.assemble(run.recipe, run.features)
    if run.start:
        pretrained.arrays(run.start, network)  # refused before a run is overwritten
    with _claimed(run, overwrite=overwrite):
        # samples that cannot be read are refused before an old run is removed
        sources = devices.together(lambda: _sources(run, mesh))
        devices.by_the_first(lambda: begin(run, overwrite=overwrite))
        machinery = _build(run, mesh, network, *sources)
        if devices.first():
            print(_told(machinery), flush=True)
        try:
            with resumable(run.out, "checkpoints"):
                return _train(machinery)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            reason = str(error).partition("\n")[0][:200]
            raise UserError(f"not enough memory ({reason}); lower --batch-size, or the network's width") from None
        finally:
            machinery.checkpoints.close()


@contextmanager
def _claimed(run: Run, *, overwrite: bool) -> Iterator[None]:
    """Let the first process claim the run's folder for all."""
    with ExitStack() as stack:
        devices.by_the_first(lambda: stack.enter_context(claim(run, overwrite=overwrite)))
        yield


def _told(m: Machinery) -> str:
    origin = f", started from {m.run.start.card.name}" if m.run.start else ""
    return (
        f"{m.run.recipe.network}{origin}: {m.network.parameters:,} parameters; {_samples(m):,} samples, "
        f"{m.per_epoch:,} steps of {m.training.order.batch} an epoch, {m.run.recipe.epochs:,} epochs; {hardware()}"
    )


def _samples(m: Machinery) -> int:
    """Return the number of samples that are learned from."""
    return m.training.order.n // m.training.order.parts


def _sources(run: Run, mesh: Mesh) -> tuple[BatchSource, BatchSource | None]:
    """Return where training and validation samples come from."""
    training = _source(run, mesh, "train", run.recipe.seed)
    return training, _source(run, mesh, "validation", None) if run.manifest.samples.get("validation") else None


def _build(run: Run, mesh: Mesh, network: Network, training: BatchSource, validation: BatchSource | None) -> Machinery:
    recipe, features = run.recipe, run.features
    count = recipe.epochs * training.order.steps
    rule = optimizers.build(recipe, count)
    return Machinery(
        run,
        mesh,
        network,
        training,
        validation,
        steps.learn(network, features, rule, recipe, mesh),
        steps.evaluate(network, features, recipe, mesh),
        optimizers.schedule(recipe.schedule, recipe.optimizer.learning_rate, count),
        rule,
        Checkpoints(run.out / "checkpoints", run.digest, run.keep_every),
    )


def _source(run: Run, mesh: Mesh, split: str, seed: int | None) -> BatchSource:
    data, order, nbytes = samples_of(run, split, seed)
    if run.recipe.augment and seed is not None:
        refuse_changed(run.features, {k: v for k, v in data.read_constants().items() if not data.cuts(k)})
    whole = nbytes * (order.n // order.parts)
    resident = run.mode == "resident" or (run.mode == "auto" and devices.fits(whole))
    if resident:
        return Resident(data, order, mesh)
    data.read(batches.rows_of(data, order, order.blocks(0)[0]))  # UserError if it is damaged
    return Stream(data, order, mesh)


def samples_of(run: Run, split: str, seed: int | None) -> tuple[Split, Order, int]:
    """What a run reads of a split, in which order, and bytes of a sample. seed: None keeps the stored order."""
    task, sizes = run.crop.task if run.crop else run.features.task, run.manifest.sizes
    crop = replace(run.crop, seed=seed) if run.crop else None
    moved = [name for one in run.features.learn.symmetries if isinstance(one, Symmetry) for name in one.fields]
    targets = [target.name for target in run.features.targets]
    names = dict.fromkeys([*run.features.reads, *targets, *(moved if run.recipe.augment else [])])
    per_row = [task[name] for name in names if task[name].per_sample]
    constants = tuple(name for name in names if not task[name].per_sample)
    of_sample = slices.count(run.manifest.task, sizes)
    nbytes, rows = of_sample * sum(field.nbytes(sizes) for field in per_row), of_sample * (crop.parts if crop else 1)
    count = run.manifest.samples[split]
    used = run.recipe.chosen(count) if split == "train" else range(count)
    whole = (rows * len(used), run.recipe.batch_size, seed, rows * block_length(nbytes), rows * used.start, nbytes)
    order = Order(*whole, rows)
    fields = tuple(field.name for field in per_row)
    return Split(run.data, split, fields, constants, run.manifest.task, of_sample, crop), order, nbytes


def _train(m: Machinery) -> Memory:
    given = pretrained.arrays(m.run.start, m.network) if m.run.start else None
    fresh = steps.start(m.network, m.rule, m.run.recipe, m.mesh, given)
    state, memory = m.checkpoints.restore(fresh, m.mesh) or (fresh, Memory())
    del fresh
    first = int(state["step"])
    _remember_place(memory, first)
    journal = Journal(m.run.out, first) if devices.first() else None
    try:
        with follow(m.total, m.training.order) as progress, requested_stop() as stop:
            if not _finished(m, memory, first):
                state = _steps(m, state, memory, journal, progress, stop)
        m.checkpoints.wait()
        _ensure_best(m, state, memory)
    finally:
        if journal:
            journal.close()
    return memory


def _remember_place(memory: Memory, step: int) -> None:
    here = Place(step=step, hardware=hardware(), packages=versions(PACKAGES))
    if not memory.places or memory.places[-1].model_copy(update={"step": step}) != here:
        memory.places.append(here)


def _finished(m: Machinery, memory: Memory, step: int) -> bool:
    patience = m.run.recipe.patience
    return step >= m.total or (patience is not None and memory.worse >= patience)


def _steps(
    m: Machinery,
    state: steps.State,
    memory: Memory,
    journal: Journal | None,
    progress: Progress,
    stop: Callable[[], bool],
) -> steps.State:
    """Learn until the end; saves on the way. Interrupted if somebody asks to stop."""
    recipe, first = m.run.recipe, int(state["step"])
    watch, saved = Watch(f"{m.run.data}/train", m.training.order, m.rate), first
    for step, batch in enumerate(m.training.batches(first, m.total), first + 1):
        state, metrics = m.learn(state, batch)
        watch.follow(step, metrics)
        within = step % m.per_epoch
        if within and within % recipe.log_every and within % recipe.save_every and not _kept(m, step):
            continue
        row = watch.report(float(state["rate"]))
        memory.seconds += row["seconds"]
        _write(journal, row)
        progress(step, row)
        if within == 0 and (step // m.per_epoch % recipe.evaluate_every == 0 or step == m.total):
            state, saved = _evaluate(m, state, memory, journal, row), step
            watch.begin()
            if _finished(m, memory, step):
                break
        elif step - saved >= recipe.save_every or _kept(m, step):
            m.checkpoints.save(step, state, memory)
            saved = step
        if stop():
            m.checkpoints.save(step, state, memory)
            m.checkpoints.wait()
            raise Interrupted(
                f"interrupted at step {step:,} of {m.total:,}, saved; the same command goes on from there"
            )
    return state


def _kept(m: Machinery, step: int) -> bool:
    return m.run.keep_every is not None and step % m.run.keep_every == 0


def _evaluate(m: Machinery, state: steps.State, memory: Memory, journal: Journal | None, learned: Row) -> steps.State:
    """Score the validation samples, remember, save; the best is exported. learned: the last line about training."""
    step = int(learned["step"])
    row: Row = {"step": step, "epoch": step // m.per_epoch}
    if m.validation:
        scores = validate(m, state, m.validation)
        row |= {f"validation/{name}": value for name, value in scores.items()}
        cost = losses.cost(m.run.recipe.best, scores)
        better = memory.best_loss is None or cost < memory.best_loss
        memory.worse = 0 if better else memory.worse + 1
        memory.best_loss = cost if better else memory.best_loss
        _write(journal, row)
        state = _plateau(m, state, memory)
    else:  # nothing to choose by: the last is kept
        better = True
    memory.best_step = step if better else memory.best_step
    memory.history.append({**row, "train/loss": learned["train/loss"]})
    m.checkpoints.save(step, state, memory)
    if better:
        _export(m, state, memory)
    return state


def _plateau(m: Machinery, state: steps.State, memory: Memory) -> steps.State:
    """Lower the learning rate when the loss has not fallen for a while."""
    settings = m.run.recipe.schedule
    if settings.name != "plateau" or not memory.worse or memory.worse % settings.patience:
        return state
    return {**state, "rate": state["rate"] * settings.factor}


def validate(m: Machinery, state: steps.State, source: BatchSource) -> dict[str, float]:
    """Mean scores over all samples of a split; they do not depend on the batch size.

    Scores of a sample that is zero everywhere are left out. UserError if a loss is not finite.
    """
    found: dict[str, list[np.ndarray]] = {}
    parameters = steps.best_parameters(state)
    for step, batch in enumerate(source.batches(0, source.order.steps)):
        _, weight = source.order.ids(step)
        for name, values in m.measure(parameters, state["rest"], batch).items():
            found.setdefault(name, []).append(np.asarray(values, np.float64)[weight > 0])
    each = {name: np.concatenate(values) for name, values in found.items()}
    if (bad := np.unique(np.flatnonzero(~np.isfinite(each["loss"])) // source.order.parts)).size:
        raise UserError(
            f"{m.run.data}/validation samples {', '.join(map(str, bad[:8]))}: their loss is not finite; "
            "look at them with `dataset validate`, or lower optimizer.learning_rate"
        )
    finite = {name: values[np.isfinite(values)] for name, values in each.items()}
    return {name: math.fsum(values) / len(values) for name, values in finite.items() if len(values)}


def _export(m: Machinery, state: steps.State, memory: Memory) -> None:
    if devices.first():
        models.save(m.run.out / "best", _card(m, memory), steps.best_parameters(state), state["rest"])


def _card(m: Machinery, memory: Memory) -> ModelCard:
    run, step = m.run, memory.best_step
    row = next(row for row in memory.history if row["step"] == step)
    return ModelCard(
        name=run.out.name,
        task=run.manifest.task,
        sizes=dict(run.features.sizes),
        recipe=run.recipe.model_dump(mode="json"),
        moments=dict(run.features.moments),
        ranges=dict(run.ranges),
        run=run.digest,
        dataset_digest=run.manifest.root_digest or "",
        dataset_family=run.manifest.family,
        dataset_recipe=run.manifest.recipe,
        samples=_samples(m),
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
    """The folder `best` holds the best step's model with the whole history, also after a kill between two writes."""
    if _exported(m, memory):
        return
    if memory.best_step != int(state["step"]):
        found = m.checkpoints.read(memory.best_step, state, m.mesh)
        if found is None:
            raise UserError(
                f"{m.run.out}: the best model, of step {memory.best_step}, is lost: its checkpoint is missing or "
                "damaged; give --overwrite to begin anew"
            )
        state = found[0]
    _export(m, state, memory)


def _exported(m: Machinery, memory: Memory) -> bool:
    """Whether `best` is that of the best step, with the whole history."""
    try:
        card, _ = models.load_whole(m.run.out / "best")
    except UserError:
        return False
    return card.step == memory.best_step and len(card.history) == len(memory.history)


def _write(journal: Journal | None, row: Row) -> None:
    if journal:
        journal.write(row)

"""Run the command `generate`, from its options to a finished dataset. The command line and `drybeam` both call it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generators.contract import Generator, find_generator
from generators.engine import executors, pipeline, store_creation
from generators.engine.pipeline import Estimate
from generators.engine.plan import Plan
from generators.recipe import Recipe
from schemas.manifest import Manifest, read_manifest
from schemas.runtime.errors import UserError
from schemas.runtime.machine import memory
from schemas.runtime.settings import load_recipe, make_settings, recipe_name, refuse_paths


@dataclass(frozen=True)
class Options:
    """Options of `generate`, as `generate --help` describes them."""

    task: str | None = None
    n: int | None = None
    validation: int | None = None
    test: int | None = None
    seed: int | None = None
    recipe: str | None = None
    set: Sequence[str] = ()
    source: Path | None = None
    inputs: Path | None = None
    out: Path | None = None
    overwrite: bool = False
    workers: int | None = None
    scheduler: str | None = None
    shard_samples: int | None = None


@dataclass(frozen=True)
class Generated:
    """A finished dataset: its place, its manifest, and the number of samples that this call made."""

    out: Path
    manifest: Manifest
    made: int


def generate(options: Options) -> Generated:
    """Make a dataset, or finish or extend one that is there.

    Args:
        options: the options of the command

    Returns:
        the finished dataset

    Raises:
        UserError: an option is missing, or contradicts another option or the dataset that is there
        Interrupted: workers or the disk failed; the same call resumes
    """
    source = _source(options)
    if options.scheduler is None:
        executors.warm_up(f"generators.tasks.{source.task.name if source else options.task}")
    plan, cost, executor = _prepare(options, source)
    pipeline.refuse_what_cannot_fit(plan, cost, memory())
    manifest, made = pipeline.generate(plan, executor, shard_samples=options.shard_samples, overwrite=options.overwrite)
    return Generated(options.out or Path(plan.out.name), manifest, made)


def summary(made: Generated) -> str:
    """Return a line for the user: what there is now, and what was made."""
    counts = " + ".join(f"{n:,}" for n in made.manifest.samples.values())
    digest = str(made.manifest.root_digest)[:16]
    return f"{made.out}: {counts} samples complete, {made.made:,} made now, digest {digest}"


def estimate(options: Options) -> tuple[Plan, Estimate]:
    """Return the plan of `generate` and its cost in time, memory and disk; nothing is written.

    Args:
        options: the options of the command

    Raises:
        UserError: an option is missing, or contradicts another option or the dataset that is there
    """
    plan, cost, _ = _prepare(options, _source(options, writes=False))
    return plan, cost


def chosen(options: Options) -> tuple[str, Recipe]:
    """Return the task and the recipe that the options name; nothing is written.

    Args:
        options: the options of the command

    Raises:
        UserError: the options name no task or no valid recipe
    """
    return _recipe(options, _source(options, writes=False))


def _prepare(options: Options, source: Manifest | None) -> tuple[Plan, Estimate, executors.Executor]:
    """Return the plan of the options, its cost, and the executor that will carry it out. Nothing is written."""
    task, recipe = _recipe(options, source)
    recipe = recipe.bind(options.inputs)
    seed = options.seed if options.seed is not None else (source.seed if source and source.seed else 0)
    plan = pipeline.plan(task, recipe, seed, _samples(options, source), options.out or Path(f"{task}.zarr"))
    plan, per_sample = pipeline.lay_out(plan, options.shard_samples)
    plan = store_creation.prepare(plan, shard_samples=options.shard_samples, overwrite=options.overwrite)
    left = sum(plan.manifest.samples.values()) if options.overwrite else store_creation.unfinished(plan)
    executor, workers = pipeline.executor(options.scheduler, options.workers, plan, per_sample * left)
    return plan, pipeline.estimate(plan, per_sample, left, workers), executor


def _source(options: Options, *, writes: bool = True) -> Manifest | None:
    """Return the manifest of the dataset whose recipe is taken over, if `--from` names one."""
    if options.source is None:
        return None
    source = read_manifest(options.source)
    if source.recipe is None:
        raise UserError(f"--from {options.source}: holds measurements, without a recipe; name a simulated dataset")
    if options.out is None and not writes:
        return source
    if options.out is None or options.source.resolve() in (options.out.resolve(), *options.out.resolve().parents):
        raise UserError(f"--from {options.source}: the new dataset needs a place of its own; give --out")
    return source


def _recipe(options: Options, source: Manifest | None) -> tuple[str, Recipe]:
    """Return the name of the task and the recipe that the options ask for."""
    task = source.task.name if source else options.task
    if task is None:
        raise UserError("--task is missing: name the kind of dataset, for example --task tie")
    if source and options.task not in (None, task):
        raise UserError(f"--task {options.task}: the task of {options.source} is {task}; leave --task out")
    _, generator = find_generator(task)
    if source and source.generator_version != generator.VERSION:
        raise UserError(
            f"--from {options.source}: made by version {source.generator_version} of the generator of {task}; "
            f"installed is version {generator.VERSION}: install the version that made it"
        )
    return task, make_settings(generator.Recipe, _base(options, source, generator), options.set)


def _base(options: Options, source: Manifest | None, generator: Generator) -> dict[str, Any]:
    """Return the values of the recipe before `--set` changes them."""
    if source:
        if options.recipe:
            raise UserError("--recipe and --from exclude each other: leave one of them out")
        assert source.recipe is not None
        refuse_paths(generator.Recipe, source.recipe, f"--from {options.source}")
        return source.recipe
    name = recipe_name(options.recipe or "default", generator.RECIPES)
    if name in generator.RECIPES:
        base: dict[str, Any] = generator.RECIPES[name].model_dump(mode="json")
        return base
    return load_recipe(name, generator.RECIPES)


def _samples(options: Options, source: Manifest | None) -> dict[str, int]:
    """Return the number of samples of each split."""
    if options.n is None and source is None:
        raise UserError("--n is missing: give the number of training samples, for example --n 5000")
    given = {"train": options.n, "validation": options.validation, "test": options.test}
    default = dict.fromkeys(given, (options.n or 0) // 10)
    default |= source.samples if source and options.n is None else {}
    samples = {split: default[split] if n is None else n for split, n in given.items()}
    if not any(samples.values()):
        raise UserError("--n 0: no sample is asked for; give --n, --validation or --test")
    return samples

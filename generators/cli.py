"""Make a dataset of simulated images: `generate --task tie --n 5000`. The same command resumes, or extends."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.output import local
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import Parser, command, show_knobs

if TYPE_CHECKING:
    from generators.engine.pipeline import Estimate
    from generators.engine.plan import Plan
    from generators.recipe import Recipe
    from schemas.manifest import Manifest


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `generate`."""
    return command(_main, argv, "interrupted; the same command resumes")


def _main(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    if args.describe:
        return _describe(args)
    return _generate(args)


def _parser() -> Parser:
    parser = Parser(prog="generate", description=__doc__, allow_abbrev=False)
    what = parser.add_argument_group("what")
    what.add_argument("--task", help="the kind of dataset, for example tie")
    what.add_argument("--n", type=_count_or_none, help="training samples")
    what.add_argument("--validation", type=_count_or_none, metavar="N", help="validation samples (n // 10)")
    what.add_argument("--test", type=_count_or_none, metavar="N", help="test samples (n // 10)")
    what.add_argument("--seed", type=_seed, help="of all random numbers (0)")
    what.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help="default, seed (published), ... (--describe), or a file",
    )
    what.add_argument("--set", nargs="+", action="extend", default=[], metavar="KNOB=VALUE", help="low:high is a range")
    what.add_argument("--from", dest="source", type=local, metavar="STORE", help="the recipe and samples of a dataset")
    what.add_argument("--inputs", type=local, metavar="DIR", help="where files recorded by hash are, for --from")
    where = parser.add_argument_group("where and how")
    where.add_argument("--out", type=local, metavar="STORE", help="the store (<task>.zarr)")
    where.add_argument("--overwrite", action="store_true", help="remove the dataset that is there first")
    where.add_argument("--workers", type=_count, metavar="N", help="local processes (one per core)")
    where.add_argument(
        "--scheduler", metavar="WHERE", help="synchronous (this process), or tls://host:port or tcp://host:port"
    )
    where.add_argument("--unit-samples", type=_unit, metavar="N", help="samples in a stored object")
    show = parser.add_argument_group("only show")
    show.add_argument("--plan", action="store_true", help="print time, memory, disk, files and layout")
    show.add_argument("--describe", action="store_true", help="print every knob with unit, value and meaning")
    show.add_argument("--json", action="store_true", help="for --plan and --describe")
    return parser


def _count(text: str) -> int:
    return _integer(text, 1)


def _count_or_none(text: str) -> int:
    return _integer(text, 0)


def _seed(text: str) -> int:
    return _integer(text, 0)


def _unit(text: str) -> int:
    return _integer(text, 1, 10**7)


def _integer(text: str, least: int, most: int = (1 << 63) - 1) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least {least} and at most {most}")
    return number


def _describe(args: argparse.Namespace) -> int:
    from generators.contract import find_generator
    from schemas.runtime.settings import describe

    task, recipe = _recipe(args, _source(args))
    show_knobs(describe(type(recipe), recipe), args.json)
    if not args.json:
        print(f"recipes: {', '.join(find_generator(task)[1].RECIPES)}")
    return 0


def _generate(args: argparse.Namespace) -> int:
    from generators.engine import creation, executors, pipeline

    source = _source(args)
    if args.scheduler is None and not args.plan:
        executors.warm_up(f"generators.tasks.{source.task.name if source else args.task}")
    task, recipe = _recipe(args, source)
    recipe = recipe.bind(args.inputs)
    out = args.out or Path(f"{task}.zarr")
    seed = args.seed if args.seed is not None else (source.seed if source and source.seed else 0)
    plan = pipeline.plan(task, recipe, seed, _samples(args, source), out)
    plan, per_sample = pipeline.lay_out(plan, args.unit_samples)
    plan = creation.prepare(plan, unit_samples=args.unit_samples, overwrite=args.overwrite)
    left = creation.unfinished(plan) if not args.overwrite else sum(plan.manifest.samples.values())
    work = per_sample * left
    executor, workers = pipeline.executor(args.scheduler, args.workers, plan, work)
    cost = pipeline.estimate(plan, per_sample, left, workers)
    if args.plan:
        return _show(plan, cost, args.json)
    pipeline.refuse_what_cannot_fit(plan, cost, _memory())
    manifest, made = pipeline.generate(plan, executor, unit_samples=args.unit_samples, overwrite=args.overwrite)
    counts = " + ".join(f"{n:,}" for n in manifest.samples.values())
    print(f"{out}: {counts} samples complete, {made:,} made now, digest {str(manifest.root_digest)[:16]}")
    return 0


def _source(args: argparse.Namespace) -> "Manifest | None":
    from schemas.manifest import read_manifest

    if args.source is None:
        return None
    source = read_manifest(args.source)
    if source.recipe is None:
        raise UserError(f"--from {args.source}: holds measurements, there is no recipe to generate from")
    if (args.plan or args.describe) and args.out is None:
        return source
    if args.out is None or args.source.resolve() in (args.out.resolve(), *args.out.resolve().parents):
        raise UserError(f"--from {args.source}: name another place with --out")
    return source


def _recipe(args: argparse.Namespace, source: "Manifest | None") -> "tuple[str, Recipe]":
    from generators.contract import find_generator
    from schemas.runtime.settings import make

    task = source.task.name if source else args.task
    if task is None:
        raise UserError("--task is missing: name the kind of dataset, for example --task tie")
    if source and args.task not in (None, task):
        raise UserError(f"--task {args.task}: {args.source} is of task {task}; leave --task out")
    _, generator = find_generator(task)
    if source and source.generator_version != generator.VERSION:
        raise UserError(
            f"--from {args.source}: made by version {source.generator_version} of the generator of {task}, "
            f"this is version {generator.VERSION}; install the version that made it"
        )
    return task, make(generator.Recipe, _base(args, source, generator), args.set)


def _base(args: argparse.Namespace, source: "Manifest | None", generator: Any) -> dict[str, Any]:
    from schemas.runtime.settings import load, refuse_paths

    if source:
        if args.recipe:
            raise UserError("--recipe and --from exclude one another: leave one out")
        assert source.recipe is not None
        refuse_paths(generator.Recipe, source.recipe, f"--from {args.source}")
        return source.recipe
    name = args.recipe or "default"
    if name in generator.RECIPES:
        base: dict[str, Any] = generator.RECIPES[name].model_dump(mode="json")
        return base
    if not Path(name).exists():
        raise UserError(f"--recipe {name}: no such recipe or file; there are: {', '.join(generator.RECIPES)}")
    return load(Path(name))


def _samples(args: argparse.Namespace, source: "Manifest | None") -> dict[str, int]:
    if args.n is None and source is None:
        raise UserError("--n is missing: say how many training samples, for example --n 5000")
    given = {"train": args.n, "validation": args.validation, "test": args.test}
    default = dict.fromkeys(given, (args.n or 0) // 10) | (source.samples if source and args.n is None else {})
    samples = {split: default[split] if n is None else n for split, n in given.items()}
    if not any(samples.values()):
        raise UserError("--n 0: makes no sample at all; give --n, --validation or --test")
    return samples


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _show(plan: "Plan", cost: "Estimate", as_json: bool) -> int:
    from dataclasses import asdict

    from generators.engine.pipeline import duration, size

    layout = plan.manifest.layout
    if as_json:
        report = {"samples": plan.manifest.samples, **asdict(cost), "layout": layout.model_dump(mode="json")}
        print(json.dumps(report, indent=2))
        return 0
    print(f"{plan.out}: {' + '.join(f'{n:,}' for n in plan.manifest.samples.values())} samples")
    print(f"time    {duration(cost.seconds)} for the {cost.samples_left:,} not made yet", end="")
    print(f" ({cost.seconds_per_sample * 1e3:.2g} ms each on one core, {cost.workers} at once)")
    print(f"memory  {size(cost.memory)}")
    print(f"disk    up to {size(cost.disk)} in {cost.objects:,} objects")
    print(f"layout  units of {layout.unit} samples, chunks {layout.chunks}")
    return 0

"""Make a dataset of simulated images: `generate --task tie --n 5000`. The same command resumes or extends it."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from schemas.runtime.destinations import local_path
from schemas.runtime.terminal import Parser, add_repeatable_option, run_command, say, show_settings, whole_number

if TYPE_CHECKING:
    from generators.command import Options
    from generators.engine.pipeline import Estimate
    from generators.engine.plan import Plan


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console script `generate`.

    Args:
        argv: the arguments of the command line, without the name of the program; None takes those of this process

    Returns:
        the exit code: 0 done, 2 a mistake of the user, 75 interrupted
    """
    return run_command(_main, argv, "interrupted; the same command resumes")


def _main(argv: Sequence[str] | None) -> int:
    args = arguments(argv)
    if args.describe:
        return _describe(args)
    return _generate(args)


def _parser() -> Parser:
    parser = Parser(prog="generate", description=__doc__, allow_abbrev=False)
    dataset = parser.add_argument_group("dataset")
    dataset.add_argument("--task", help="kind of dataset, for example tie")
    dataset.add_argument("--n", type=whole_number(0), help="number of training samples")
    dataset.add_argument(
        "--validation", type=whole_number(0), metavar="N", help="number of validation samples (n // 10)"
    )
    dataset.add_argument("--test", type=whole_number(0), metavar="N", help="number of test samples (n // 10)")
    dataset.add_argument("--seed", type=whole_number(0), help="seed of all random numbers (0)")
    dataset.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help="a named recipe: default, published (the published experiment), others (see --describe); or a JSON file",
    )
    add_repeatable_option(
        dataset, "--set", "SETTING=VALUE", "change settings; low:high draws from a range for each sample"
    )
    dataset.add_argument(
        "--from",
        dest="source",
        type=local_path,
        metavar="STORE",
        help="take recipe, seed and numbers of samples from STORE",
    )
    dataset.add_argument(
        "--inputs", type=local_path, metavar="DIR", help="folder with the input files that a recipe names by hash"
    )
    run = parser.add_argument_group("output and execution")
    run.add_argument("--out", type=local_path, metavar="STORE", help="Zarr store to write (<task>.zarr)")
    run.add_argument("--overwrite", action="store_true", help="first remove the dataset that is there")
    run.add_argument("--workers", type=whole_number(1), metavar="N", help="number of local processes (one per core)")
    run.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler, tls://host:port or tcp://host:port; synchronous: run in this process",
    )
    run.add_argument(
        "--shard-samples",
        "--unit-samples",
        type=whole_number(1, 10**7),
        metavar="N",
        help="samples per shard (automatic)",
    )
    show = parser.add_argument_group("show, and generate nothing")
    show.add_argument("--plan", action="store_true", help="print time, memory, disk, files and layout")
    show.add_argument("--describe", action="store_true", help="print every setting with value, unit and meaning")
    show.add_argument("--json", action="store_true", help="print --plan or --describe as JSON")
    return parser


def _describe(args: argparse.Namespace) -> int:
    """Print every setting of the recipe, and the names of the task's recipes."""
    from generators.command import chosen
    from generators.contract import find_generator
    from schemas.runtime.settings import describe

    task, recipe = chosen(options(args))
    show_settings(describe(type(recipe), recipe), args.json)
    if not args.json:
        say(f"recipes: {', '.join(find_generator(task)[1].RECIPES)}")
    return 0


def _generate(args: argparse.Namespace) -> int:
    from generators.command import estimate, generate, summary

    if args.plan:
        return _print_plan(*estimate(options(args)), args.json)
    generated = generate(options(args))
    say(summary(generated))
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the checked arguments. UserError: an option is wrong."""
    return _parser().parse_args(argv)


def options(args: argparse.Namespace) -> "Options":
    """Return the arguments that are options of the command."""
    from generators.command import Options

    known = {field.name for field in fields(Options)}
    return Options(**{name: value for name, value in vars(args).items() if name in known})


def _print_plan(plan: "Plan", cost: "Estimate", as_json: bool) -> int:
    """Print the cost and layout of a plan, as text or JSON."""
    from generators.engine.pipeline import duration, size
    from schemas.runtime.publish import exists

    layout = plan.manifest.layout
    if as_json:
        report = {"samples": plan.manifest.samples, **asdict(cost), "layout": layout.model_dump(mode="json")}
        say(json.dumps(report, indent=2))
        return 0
    say(f"{plan.out}: {' + '.join(f'{n:,}' for n in plan.manifest.samples.values())} samples")
    if not exists(plan.out.parent):
        say(f"folder  {plan.out.parent} does not exist yet; `generate` creates it")
    per_sample = (
        f"{cost.seconds_per_sample * 1e3:,.3g} ms" if cost.seconds_per_sample < 1 else duration(cost.seconds_per_sample)
    )
    each = f"{per_sample} each on one core, {cost.workers} at once"
    say(f"time    {duration(cost.seconds)} for the {cost.samples_left:,} samples that are not made yet ({each})")
    say("        the first run on a machine also compiles, which takes half a minute")
    say(f"memory  {size(cost.memory)} of {size(_memory())}")
    say(f"disk    up to {size(cost.disk)} in {cost.objects:,} files")
    chunks = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in layout.chunks.items())
    say(f"layout  shards of {layout.shard} samples, chunks: {chunks}")
    return 0


def _memory() -> int:
    """Return the memory that this process may use [bytes]."""
    from schemas.runtime.machine import memory

    return memory()

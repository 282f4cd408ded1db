"""The command `train`: train a network on a dataset. The same command resumes an interrupted run."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.runtime.destinations import local_path
from schemas.runtime.terminal import (
    Parser,
    add_repeatable_option,
    on_huge_pages,
    run_command,
    say,
    show_settings,
    whole_number,
)

if TYPE_CHECKING:
    from schemas.task import Task
    from training.checkpoints import Memory
    from training.command import Options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `train` and return its exit code."""
    if argv is None:
        on_huge_pages()
    return run_command(_main, argv, "interrupted; the same command resumes from the last checkpoint")


def _main(argv: Sequence[str] | None) -> int:
    args = arguments(argv)
    return _describe(args) if args.describe else _train(args)


def _parser() -> Parser:
    parser = Parser(prog="train", description=__doc__, allow_abbrev=False)
    what = parser.add_argument_group("what to train")
    what.add_argument("--data", type=local_path, metavar="STORE", help="dataset to learn from")
    what.add_argument("--model", metavar="NAME", help="network (that of the recipe, else unet; for numbers convnet)")
    what.add_argument("--recipe", metavar="NAME|FILE", help="named recipe (default, published), or a JSON file")
    what.add_argument(
        "--from",
        dest="start",
        type=local_path,
        metavar="RUN",
        help="start from the parameters of this trained run; its network, input, scalars and normalisation are kept",
    )
    what.add_argument("--target", metavar="NAME[,NAME]", help="learn these targets or parameters alone")
    what.add_argument("--input", metavar="NAME", help="which of the task's inputs the network receives (the first)")
    what.add_argument("--samples", metavar="A:B", help="train only on the samples A to B - 1")
    what.add_argument("--epochs", metavar="N", help="number of passes over the training samples")
    what.add_argument("--batch-size", metavar="N", help="samples per step, over all devices together")
    what.add_argument("--optimizer", metavar="NAME", help="adam, sgd, muon, ...; --describe lists its settings")
    what.add_argument("--learning-rate", metavar="X", help="highest learning rate of the schedule")
    what.add_argument("--seed", metavar="N", help="seed of all random numbers of training")
    add_repeatable_option(what, "--set", "SETTING=VALUE", "change any setting that --describe lists")
    where = parser.add_argument_group("where and how to run (the result does not depend on these)")
    where.add_argument(
        "--out", type=local_path, metavar="FOLDER", help="folder of the run (runs/<task>[-<target>]-<model>)"
    )
    where.add_argument("--overwrite", action="store_true", help="first remove the run that is in the folder")
    about = "hold the data in memory (resident), read them in each epoch (stream), or choose by their size (auto)"
    where.add_argument("--mode", choices=["auto", "resident", "stream"], default="auto", help=about)
    where.add_argument(
        "--keep-every", type=whole_number(1), metavar="N", help="also keep the checkpoint of every N-th step"
    )
    where.add_argument("--coordinator", metavar="HOST:PORT", help="with several processes: address of the first one")
    where.add_argument("--processes", type=whole_number(1), metavar="N", help="with several processes: their number")
    where.add_argument(
        "--process", type=whole_number(0), metavar="I", help="with several processes: index of this one from 0"
    )
    show = parser.add_argument_group("show settings instead of training")
    show.add_argument("--describe", action="store_true", help="print every setting with its value, unit and meaning")
    show.add_argument("--json", action="store_true", help="print the output of --describe as JSON")
    return parser


def _describe(args: argparse.Namespace) -> int:
    from schemas.manifest import read_manifest
    from schemas.runtime.settings import describe
    from training.command import choose_recipe

    task = read_manifest(args.data).task if args.data else None
    recipe = choose_recipe(options(args), task)
    show_settings(describe(type(recipe), recipe), args.json)
    if not args.json:
        say("\n".join(_list_choices(task)))
    return 0


def _list_choices(task: "Task | None") -> Iterator[str]:
    """Yield the models, and the inputs, scalars, recipes and crop that this dataset allows."""
    from training.contract import fields_read, find_learn, model_names

    yield f"models: {', '.join(model_names())}"
    if task:
        learn, present = find_learn(task.name), {field.name for field in task.fields}
        for name, parts in learn.inputs.items():
            if present.issuperset(fields_read(parts)):
                yield f"input {name}: {', '.join(part if isinstance(part, str) else part.about for part in parts)}"
        known = [name for name, part in learn.scalar_parts.items() if present.issuperset(fields_read([part]))]
        yield f"scalars of {task.name}: {', '.join(known) or 'none'}"
        yield f"recipes of {task.name}: {', '.join(learn.recipes)}"
        crop = f"parts of {learn.crop} pixels of larger samples that may be cut" if learn.crop else "whole samples"
        yield f"crop of {task.name}, unless it is set: {crop}"


def _train(args: argparse.Namespace) -> int:
    from training.command import train

    found = train(options(args))
    if found.first:
        say(summary(found.out, found.memory))
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the checked arguments. UserError: an option is wrong."""
    return _parser().parse_args(argv)


def options(args: argparse.Namespace) -> "Options":
    """Return the arguments that are options of the command."""
    from training.command import Options

    known = {field.name for field in fields(Options)}
    return Options(**{name: value for name, value in vars(args).items() if name in known})


def summary(out: Path, memory: "Memory") -> str:
    """Return a line for the user: the best model and where it is."""
    best: Mapping[str, float] = next((row for row in memory.history if row["step"] == memory.best_step), {})
    scores = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if "/" in name)
    which = "best" if memory.best_loss is not None else "last (no validation samples to choose the best by)"
    step, seconds = f"{memory.best_step:,}", f"{memory.seconds:,.0f}"
    return f"{out}: the {which} network is from step {step} ({scores}); trained for {seconds} s; use {out}/best"

"""Train a network on a dataset: `train --data tie.zarr --model unet`. The same command resumes."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.runtime.destinations import local
from schemas.runtime.terminal import Parser, command, on_huge_pages, several, show_settings, whole

if TYPE_CHECKING:
    from training.checkpoints import Memory
    from training.command import Options


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `train`."""
    if argv is None:
        on_huge_pages()
    return command(_main, argv, "interrupted; the same command resumes from the last checkpoint")


def _main(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    return _describe(args) if args.describe else _train(args)


def _parser() -> Parser:
    parser = Parser(prog="train", description=__doc__, allow_abbrev=False)
    what = parser.add_argument_group("what")
    what.add_argument("--data", type=local, metavar="STORE", help="the dataset")
    what.add_argument("--model", metavar="NAME", help="the network (unet)")
    what.add_argument("--recipe", metavar="NAME|FILE", help="default, published, or a JSON file")
    what.add_argument(
        "--from",
        dest="start",
        type=local,
        metavar="RUN",
        help="start from the parameters of this trained run: its network, input, scalars and normalisation stay",
    )
    what.add_argument("--target", metavar="NAME", help="learn this parameter, in place of the task's targets")
    what.add_argument("--input", metavar="NAME", help="what the network sees, of the task's inputs")
    what.add_argument("--samples", metavar="A:B", help="train on these alone, A to B - 1")
    what.add_argument("--epochs", metavar="N", help="passes over the training samples")
    what.add_argument("--batch-size", metavar="N", help="samples of a step, on all devices together")
    what.add_argument("--optimizer", metavar="NAME", help="adam, sgd, muon, ...: see --describe")
    what.add_argument("--learning-rate", metavar="X", help="the highest of the schedule")
    what.add_argument("--seed", metavar="N", help="of all that is drawn in training")
    several(what, "--set", "SETTING=VALUE", "any setting")
    where = parser.add_argument_group("where and how (the result does not depend on these)")
    where.add_argument("--out", type=local, metavar="FOLDER", help="the run (runs/<task>[-<target>]-<model>)")
    where.add_argument("--overwrite", action="store_true", help="remove the run that is there first")
    where.add_argument("--mode", choices=["auto", "resident", "stream"], default="auto", help="data in memory, or read")
    where.add_argument("--keep-every", type=whole(1), metavar="N", help="keep the checkpoints of these steps, too")
    where.add_argument("--coordinator", metavar="HOST:PORT", help="of several processes: the first one's address")
    where.add_argument("--processes", type=whole(1), metavar="N", help="of several processes: how many")
    where.add_argument("--process", type=whole(0), metavar="I", help="of several processes: which this is, from 0")
    show = parser.add_argument_group("only show")
    show.add_argument("--describe", action="store_true", help="print every setting with unit, value and meaning")
    show.add_argument("--json", action="store_true", help="for --describe")
    return parser


def _describe(args: argparse.Namespace) -> int:
    from schemas.runtime.settings import describe
    from training.command import chosen, task_of

    task = task_of(_options(args))
    recipe = chosen(_options(args), task)
    show_settings(describe(type(recipe), recipe), args.json)
    if not args.json:
        print("\n".join(_choices(task)))
    return 0


def _choices(task: str | None) -> Iterator[str]:
    """Yield a line for each kind of name that may be given."""
    from training.contract import find_learn, model_names

    yield f"models: {', '.join(model_names())}"
    if task:
        learn = find_learn(task)
        for name, parts in learn.inputs.items():
            yield f"input {name}: {', '.join(part if isinstance(part, str) else part.about for part in parts)}"
        yield f"scalars of {task}: {', '.join(learn.scalars)}"
        yield f"recipes of {task}: {', '.join(learn.recipes)}"
        yield from [f"crop of {task}: {learn.crop}, where samples are larger and may be cut"] if learn.crop else []


def _train(args: argparse.Namespace) -> int:
    from training.command import train

    found = train(_options(args))
    if found.first:
        print(_summary(found.out, found.memory))
    return 0


def _options(args: argparse.Namespace) -> "Options":
    from training.command import Options

    known = {field.name for field in fields(Options)}
    return Options(**{name: value for name, value in vars(args).items() if name in known})


def _summary(out: Path, memory: "Memory") -> str:
    best: Mapping[str, float] = next((row for row in memory.history if row["step"] == memory.best_step), {})
    scores = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if "/" in name)
    which = "best" if memory.best_loss is not None else "no validation samples to choose by: the last,"
    return (
        f"{out}: {which} at step {memory.best_step:,} ({scores}), {memory.seconds:,.0f} s of training; use {out}/best"
    )

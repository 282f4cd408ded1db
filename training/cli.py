"""Train a network on a dataset: `train --data tie.zarr --model unet`. The same command resumes."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.output import local, output
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import Parser, command, on_huge_pages, show_knobs

if TYPE_CHECKING:
    from training.recipe import Recipe

SHORT = {  # options that stand for a knob
    "target": "target",
    "input": "input",
    "samples": "samples",
    "epochs": "epochs",
    "batch_size": "batch_size",
    "optimizer": "optimizer.name",
    "learning_rate": "optimizer.learning_rate",
    "seed": "seed",
}


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `train`."""
    if argv is None:
        on_huge_pages()
    return command(_main, argv, "interrupted; the same command resumes from the last checkpoint")


def _main(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    if args.describe:
        return _describe(args)
    if args.data is None:
        raise UserError("--data is missing: name the dataset, for example --data tie.zarr")
    return _train(args)


def _parser() -> Parser:
    parser = Parser(prog="train", description=__doc__, allow_abbrev=False)
    what = parser.add_argument_group("what")
    what.add_argument("--data", type=local, metavar="STORE", help="the dataset")
    what.add_argument("--model", metavar="NAME", help="the network (unet)")
    what.add_argument("--recipe", metavar="NAME|FILE", help="default, seed (the published network), or a JSON file")
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
    what.add_argument("--set", nargs="+", action="extend", default=[], metavar="KNOB=VALUE", help="any knob")
    where = parser.add_argument_group("where and how (the result does not depend on these)")
    where.add_argument("--out", type=local, metavar="FOLDER", help="the run (runs/<task>-<model>)")
    where.add_argument("--overwrite", action="store_true", help="remove the run that is there first")
    where.add_argument("--mode", choices=["auto", "resident", "stream"], default="auto", help="data in memory, or read")
    where.add_argument("--keep-every", type=int, metavar="N", help="keep the checkpoints of these steps, too")
    where.add_argument("--coordinator", metavar="HOST:PORT", help="of several processes: the first one's address")
    where.add_argument("--processes", type=int, metavar="N", help="of several processes: how many")
    where.add_argument("--process", type=int, metavar="I", help="of several processes: which this is, from 0")
    show = parser.add_argument_group("only show")
    show.add_argument("--describe", action="store_true", help="print every knob with unit, value and meaning")
    show.add_argument("--json", action="store_true", help="for --describe")
    return parser


def _describe(args: argparse.Namespace) -> int:
    from schemas.runtime.settings import describe

    task = _task(args)
    recipe = _recipe(args, task)
    show_knobs(describe(type(recipe), recipe), args.json)
    if not args.json:
        print("\n".join(_choices(task)))
    return 0


def _choices(task: str | None) -> Iterator[str]:
    """What may be named."""
    from training.contract import find_learn, model_names

    yield f"models: {', '.join(model_names())}"
    if task:
        learn = find_learn(task)
        for name, parts in learn.inputs.items():
            yield f"input {name}: {', '.join(part if isinstance(part, str) else part.about for part in parts)}"
        yield f"scalars of {task}: {', '.join(learn.scalars)}"
        yield f"recipes of {task}: {', '.join(learn.recipes)}"


def _task(args: argparse.Namespace) -> str | None:
    """The task of the dataset, whose recipes may be named."""
    from schemas.manifest import read_manifest

    return read_manifest(args.data).task.name if args.data else None


def _train(args: argparse.Namespace) -> int:
    if args.keep_every is not None and args.keep_every < 1:
        raise UserError(f"--keep-every {args.keep_every}: must be at least 1")
    task = _task(args)
    recipe = _recipe(args, task)
    from training import devices

    devices.connect(args.coordinator, args.processes, args.process)
    from training import run as runs
    from training.loop import train
    from training.pretrained import open_start

    name: str = recipe.model.name  # type: ignore[attr-defined]
    out = args.out or Path("runs") / f"{task}-{name}"
    if args.start and out.resolve() in (args.start.resolve(), args.start.resolve().parent):
        raise UserError(f"--from {args.start}: is (in) {out}, where the new run goes; give another --out")
    start = open_start(args.start) if args.start else None
    run = runs.prepare(args.data, output("--out", out), recipe, start, mode=args.mode, keep_every=args.keep_every)
    memory = train(run, overwrite=args.overwrite)
    if devices.first():
        print(_summary(out, memory))
    return 0


def _summary(out: Path, memory: Any) -> str:
    best: Mapping[str, float] = next((row for row in memory.history if row["step"] == memory.best_step), {})
    scores = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if "/" in name)
    which = "best" if memory.best_loss is not None else "no validation samples to choose by: the last,"
    return (
        f"{out}: {which} at step {memory.best_step:,} ({scores}), {memory.seconds:,.0f} s of training; use {out}/best"
    )


def _recipe(args: argparse.Namespace, task: str | None) -> "Recipe":
    """The recipe: a named one or a file, then the short options, then --set."""
    from schemas.runtime.settings import make
    from training.contract import find_learn, find_model
    from training.pretrained import KEPT, adopt, read_recipe
    from training.recipe import recipe_of

    learn = find_learn(task) if task else None
    if args.start and not args.target:
        args.target = read_recipe(args.start).target or None
    base = dict(_base(args, task))
    inner = base.pop("model", {})
    if not isinstance(inner, dict):
        raise UserError(f'recipe: model = {inner!r}: must be an object of knobs, such as {{"name": "unet"}}')
    inner = dict(inner)
    asked = inner.pop("name", None)
    model = args.model or asked
    if inner and model == asked:
        base["model"] = inner
    short = [f"{knob}={getattr(args, name)}" for name, knob in SHORT.items() if getattr(args, name) is not None]
    settings = [*short, *args.set]
    if args.start:
        told = base if args.recipe else {knob: value for knob, value in base.items() if knob not in KEPT}
        return adopt(args.start, model if args.model or args.recipe else None, told, settings, learn)
    model = model or ("convnet" if args.target else "unet")
    return make(recipe_of(model, find_model(model), learn), base, settings)


def _for_target(args: argparse.Namespace, task: str | None, base: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe of the task, with a loss that suits one of its parameters as the target, which it does not tell."""
    from schemas.task import find_task

    known = {field.name: field for field in find_task(task).fields} if task else {}
    field = known.get(args.target)
    term = "cross_entropy" if field and field.classes else "mse"
    told = [name for name in base.get("scalars", ()) if name != args.target]
    return {**base, "loss": {"relative": 0, term: 1}, "scalars": told, "best": "loss"}


def _base(args: argparse.Namespace, task: str | None) -> Mapping[str, Any]:
    from schemas.runtime.settings import load
    from training.contract import find_learn

    name = args.recipe or "default"
    recipes: Mapping[str, Mapping[str, Any]] = find_learn(task).recipes if task else {"default": {}}
    if name in recipes:
        return _for_target(args, task, recipes[name]) if args.target else recipes[name]
    if not Path(name).exists():
        raise UserError(f"--recipe {name}: no such recipe or file; there are: {', '.join(recipes)}")
    return load(Path(name))

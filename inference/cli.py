"""Command lines that invert measurements (`infer`) and score the predictions against the truth (`evaluate`)."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from schemas.runtime.destinations import local_path, output_path
from schemas.runtime.errors import UserError
from schemas.runtime.publish import exists
from schemas.runtime.terminal import Parser, add_repeatable_option, number, run_command, say, share, whole_number

COMPATIBLE = {  # options that only show something, and the other options that may stand beside them
    "describe": {"data", "method", "task", "json"},
    "activations": {"data", "model", "split", "layers"},
}
REQUIRED = {  # options that have an effect only together with another one
    "checkpoint": "model",
    "refine": "model",
    "stitch_set": "stitch",
    "activations": "model",
    "layers": "activations",
    "task": "describe",
    "json": "describe",
}
_count = whole_number(1, 10**9)
_fraction = share("a tile", 0.9, zero=True)
SPLITS_METAVAR = "SPLIT[,SPLIT]"
SPLITS_HELP = "train, validation or test; several are separated by commas"


def infer(argv: Sequence[str] | None = None) -> int:
    """Run the console script `infer` and return its exit code."""
    return run_command(_infer, argv, "interrupted; the same command resumes")


def evaluate(argv: Sequence[str] | None = None) -> int:
    """Run the console script `evaluate` and return its exit code."""
    return run_command(_evaluate, argv, "interrupted; nothing was written")


def infer_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the checked arguments of `infer`. UserError: an option is wrong, or has no effect beside the others."""
    parser = _infer_parser()
    args = parser.parse_args(argv)
    _refuse_ineffective(args, {name for name, value in vars(args).items() if value != parser.get_default(name)})
    return args


def evaluate_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the checked arguments of `evaluate`. UserError: an option is wrong."""
    return _evaluate_parser().parse_args(argv)


def _infer(argv: Sequence[str] | None) -> int:
    args = infer_arguments(argv)
    if args.describe:
        return _describe(args)
    from inference.command import InferOptions, infer

    if args.activations:
        return _draw_activations(args)
    infer(options(InferOptions, args))
    return 0


def options[Options](kind: type[Options], args: argparse.Namespace) -> Options:
    """Return the arguments that are options of a kind."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in vars(args).items() if name in known})


def _evaluate(argv: Sequence[str] | None) -> int:
    args = evaluate_arguments(argv)
    from inference.command import EvaluateOptions, evaluate

    missed = evaluate(options(EvaluateOptions, args))
    for line in missed:
        say(line)
    return int(bool(missed))


def _refuse_ineffective(args: argparse.Namespace, given: set[str]) -> None:
    """Raise UserError for an option that has no effect together with the others that are given."""
    shown = {name: f"{_option(name)}{_value_text(getattr(args, name))}" for name in sorted(given)}
    for name in shown:
        if (needed := REQUIRED.get(name)) and needed not in given:
            raise UserError(f"{shown[name]}: is for {_option(needed)}; give {_option(needed)} as well, or leave it out")
    for mode in (name for name in COMPATIBLE if name in given):
        for name in (name for name in shown if name not in {mode, *COMPATIBLE[mode]}):
            raise UserError(f"{shown[name]}: has no effect with {_option(mode)}; leave one of them out")
    if {"task", "data"} <= given:
        raise UserError(f"--task {args.task}: is for --describe without --data; leave one of them out")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _value_text(value: object) -> str:
    """Return a value as it follows its option on a command line: the first of several; nothing for a switch."""
    value = ",".join(value) if isinstance(value, tuple) else value[0] if isinstance(value, list) else value
    return "" if value is True else f" {value}"


def _draw_activations(args: argparse.Namespace) -> int:
    if len(args.split) > 1:
        raise UserError(f"--split {','.join(args.split)}: --activations draws samples of one split; give only one")
    if args.activations.suffix != ".png":
        raise UserError(f"--activations {args.activations}: the name of the file must end in .png")
    from inference.invert.split_reader import open_source
    from inference.report import activations

    output_path("--activations", args.activations)
    for line in activations.draw_activations(
        args.model, open_source(args.data, args.split[0]), args.layers, args.activations
    ):
        say(line)
    return 0


def _describe(args: argparse.Namespace) -> int:
    from inference.methods import describe

    describe.show(describe.choose_methods(_described_task(args), args.method), args.json)
    return 0


def _described_task(args: argparse.Namespace) -> str | None:
    """Return the task of the dataset if there is one, otherwise the task that `--task` names."""
    from schemas.manifest import read_manifest

    return read_manifest(args.data).task.name if args.data else args.task


def _infer_parser() -> Parser:
    about = "Invert the measurements of a dataset with a network or a classical method. The same command resumes."
    parser = Parser(prog="infer", description=about, allow_abbrev=False)
    add = parser.add_argument
    add("--model", type=local_path, metavar="RUN", help="folder of a trained network: a run, or its best/")
    add("--checkpoint", type=_count, metavar="N", help="take the network as it was after N steps (default: the best)")
    add("--method", metavar="NAME", help="a classical method, for example tie; its settings are tuned on validation")
    add("--data", type=local_path, metavar="STORE", help="the dataset")
    add("--split", type=_splits, default=("test",), metavar=SPLITS_METAVAR, help=f"{SPLITS_HELP} (default: test)")
    where = "where the predictions are stored (default: predictions-<dataset>-<name>.zarr)"
    add(
        "--out", type=local_path, metavar="STORE", help=f"{where}; with several splits, each goes to <out>-<split>.zarr"
    )
    fixed = "fix settings instead of tuning them; with --model: settings of the step that follows the network"
    add_repeatable_option(parser, "--set", "KEY=VALUE", fixed)
    other = (
        "tune a method on the validation samples of another dataset, such as a simulation of the same measurement; or "
        "take its settings from other predictions"
    )
    add("--tune-on", type=local_path, metavar="STORE", help=other)
    add("--tune-by", metavar="SCORE", help="tune a method by another score than that of rank, for example mask.mcc")
    add("--refine", type=_count, metavar="N", help="N iterations that start from the network, for tasks that have them")
    add("--name", metavar="LABEL", help="name in tables and plots (default: the folder of the run, or the method)")
    add("--batch-size", type=_count, metavar="N", help="number of samples that are processed at once (default: 32)")
    trained = "default for networks: tiles of the size of the training images, if images are larger"
    add("--tile", type=_tile, metavar="N|none", help=f"cut images into tiles of N pixels along each axis ({trained})")
    each = "targets with classes: also store the probability of each class"
    add("--probabilities", action="store_true", help=each)
    add(
        "--overlap",
        type=_fraction,
        metavar="F",
        help="share of a tile that its neighbour covers, up to 0.9 (default: 0.5)",
    )
    halves = "divide counts at random into halves, and invert both; evaluate --no-truth scores each by the other"
    add("--halves", action="store_true", help=halves)
    add("--overwrite", action="store_true", help="first remove the predictions that are stored there")
    add(
        "--stitch", type=local_path, metavar="STORE", help="also stitch predicted patches to larger images, stored here"
    )
    swept = "method=iterative alpha=0.1 sweeps=3: sweeps as in the published system"
    add_repeatable_option(parser, "--stitch-set", "KEY=VALUE", f"{swept} (default: least squares over all overlaps)")
    show = parser.add_argument_group("show something instead of inverting").add_argument
    show("--describe", action="store_true", help="print the classical methods with formula, and settings with meaning")
    show("--task", metavar="NAME", help="the task that --describe prints without --data (default: all tasks)")
    show("--json", action="store_true", help="print the output of --describe as JSON")
    layers = "draw the outputs of layers of a network, averaged over channels"
    show("--activations", type=local_path, metavar="PNG", help=layers)
    show("--layers", nargs="+", metavar="NAME", help="layers for --activations (default: twelve, from first to last)")
    return parser


def _splits(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}: must be splits separated by commas, for example train,test")
    return tuple(dict.fromkeys(names))


def _tile(text: str) -> int | str:
    return text if text == "none" else _count(text)


def _positive(text: str) -> float:
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number above 0")
    return value


def _parse_store(text: str) -> tuple[str | None, Path]:
    label, equals, path = text.partition("=")
    if not equals or exists(Path(text)):
        return None, local_path(text)
    from inference.command import checked_label as named

    return named("--predictions", label), local_path(path)


def _evaluate_parser() -> Parser:
    about = "Score predictions against the truth, side by side. Writes metrics.json, metrics.csv and report.html."
    parser = Parser(prog="evaluate", description=about, allow_abbrev=False)
    add = parser.add_argument
    add("--data", type=local_path, required=True, metavar="STORE", help="the dataset")
    stores = "predictions made by infer; the label is their name in tables and plots"
    add_repeatable_option(parser, "--predictions", "[LABEL=]STORE", stores, type=_parse_store, required=True)
    folder = "folder for the three files (default: report)"
    add("--out", type=local_path, default=Path("report"), metavar="FOLDER", help=folder)
    add("--split", type=_splits, metavar=SPLITS_METAVAR, help=f"{SPLITS_HELP} (default: that of the first store)")
    add("--overwrite", action="store_true", help="replace a report of other predictions")
    unbiased = "score predictions that `infer --halves` made, each against the half that it has not seen"
    add("--no-truth", action="store_true", help=unbiased)
    ranges = "range of values in psnr, ssim and upsnr (default: that of each true image; of the inputs for upsnr)"
    add("--data-range", type=_positive, metavar="R", help=ranges)
    add("--expect", metavar="FILE[:CASE]", help="bounds of scores in a JSON file; exit code 1 if one is missed")
    return parser

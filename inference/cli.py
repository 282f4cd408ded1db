"""Invert measurements (`infer`), and score what came out against the truth (`evaluate`)."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.output import local, output, refuse_store
from schemas.publish import exists, sweep
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import Parser, command, several, share, whole

if TYPE_CHECKING:
    from inference.contract import Inverter
    from inference.invert.run import Job
    from inference.invert.source import Source
    from inference.stitching.image import Blend
    from schemas.predictions import Predictions

BATCH = 32
OVERLAP = 0.5
FEW = 16  # samples
HEEDED = {  # options that only show, and those that they heed
    "describe": {"data", "method", "task", "json"},
    "activations": {"data", "model", "split", "layers"},
}
NEEDED = {  # options that mean something beside another one alone
    "checkpoint": "model",
    "refine": "model",
    "stitch_set": "stitch",
    "activations": "model",
    "layers": "activations",
    "task": "describe",
    "json": "describe",
}
_count = whole(1, 10**9)
_fraction = share("a tile", 0.9, zero=True)
SPLITS = "SPLIT[,SPLIT]"
SPLIT = "train, validation or test, or several with commas between them"


def infer(argv: Sequence[str] | None = None) -> int:
    """The console script `infer`."""
    return command(_infer, argv, "interrupted; the same command resumes")


def evaluate(argv: Sequence[str] | None = None) -> int:
    """The console script `evaluate`."""
    return command(_evaluate, argv, "interrupted; nothing was written")


def _infer(argv: Sequence[str] | None) -> int:
    parser = _infer_parser()
    args = parser.parse_args(argv)
    _refuse_idle(args, {name for name, value in vars(args).items() if value != parser.get_default(name)})
    if args.describe:
        return _describe(args)
    if args.data is None:
        raise UserError("--data is missing: name the dataset, for example --data tie.zarr")
    if (args.model is None) == (args.method is None):
        raise UserError("give one of --model RUN (a trained network) and --method NAME (a classical method)")
    if args.refine is not None:
        if any(text.startswith("refine=") for text in args.set):
            raise UserError(f"--refine {args.refine}: is given twice; leave one out")
        args.set.append(f"refine={args.refine}")
    from inference.invert import inverters, run
    from inference.invert.source import open_source

    if args.activations:
        return _activations(args)
    sources = [open_source(args.data, split) for split in args.split]
    stitching = _stitching(args, sources)
    inverter = _inverter(args, sources)
    jobs = [_job(args, source, inverter, _out(args, inverter.name, source, sources)) for source in sources]
    for job in jobs:  # all splits, before anything is written for the first of them
        run.refuse(job, overwrite=args.overwrite)
    beyond = [inverters.beyond(job.source, inverter) for job in jobs]
    with run.alone(jobs):
        for job, lines in zip(jobs, beyond, strict=True):
            for line in lines:
                print(line)
            predictions, made, broken = run.run(job, overwrite=args.overwrite)
            _say(job.out, predictions, made, broken, first=job is jobs[0])
            if stitching is not None:
                from inference.stitching.command import stitch

                for line in stitch(job.source, job.out, args.stitch, stitching):
                    print(line)
    return 0


def _refuse_idle(args: argparse.Namespace, given: set[str]) -> None:
    """Raise UserError for an option that means nothing beside the others that are given."""
    shown = {name: f"{_option(name)}{_words(getattr(args, name))}" for name in sorted(given)}
    for name in shown:
        if (needed := NEEDED.get(name)) and needed not in given:
            raise UserError(f"{shown[name]}: is for {_option(needed)}; leave it out, or give that, too")
    for mode in (name for name in HEEDED if name in given):
        for name in (name for name in shown if name not in {mode, *HEEDED[mode]}):
            raise UserError(f"{shown[name]}: means nothing with {_option(mode)}; leave one out")
    if {"task", "data"} <= given:
        raise UserError(f"--task {args.task}: is for --describe without --data; leave one out")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _words(value: object) -> str:
    """Return what stands behind an option, of several values the first; nothing behind a switch."""
    value = ",".join(value) if isinstance(value, tuple) else value[0] if isinstance(value, list) else value
    return "" if value is True else f" {value}"


def _stitching(args: argparse.Namespace, sources: "Sequence[Source]") -> "Blend | None":
    """How the images of scans are to be stitched, if they are: refused before anything is inferred."""
    if args.stitch is None:
        return None
    if len(sources) > 1:
        raise UserError(f"--stitch {args.stitch}: stitches one split; give --split with one")
    from inference.stitching.command import chosen, refuse_pictures, refuse_unstitched
    from inference.stitching.store import refuse_taken

    how = refuse_unstitched(sources[0])
    args.stitch = output("--stitch", args.stitch)
    if args.out and args.out.resolve() in (args.stitch.resolve(), *args.stitch.resolve().parents):
        raise UserError(f"--stitch {args.stitch}: is (in) --out {args.out}; choose another place")
    refuse_taken(args.stitch, how.target)
    refuse_pictures(args.stitch)
    return chosen(args.stitch_set, how.free)


def _out(args: argparse.Namespace, name: str, source: "Source", sources: "Sequence[Source]") -> Path:
    """Return where the predictions of a split go; the name is that of the dataset, the method and, of several, split.

    A run whose name begins with that of the dataset, as runs do, is not named twice.
    """
    data = source.path.absolute().name.removesuffix(".zarr")
    out: Path = args.out or Path(f"predictions-{'' if name.startswith(f'{data}-') else f'{data}-'}{name}.zarr")
    if len(sources) > 1:
        out = out.parent / f"{out.name.removesuffix('.zarr')}-{source.split}.zarr"
    return out


def _job(args: argparse.Namespace, source: "Source", inverter: "Inverter", out: Path) -> "Job":
    """One split, into a store of its own."""
    from inference.invert import run

    tiles = run.choose_tiles(source, inverter, args.tile, OVERLAP if args.overlap is None else args.overlap)
    if args.overlap is not None and not tiles.lengths:
        raise UserError(
            f"--overlap {args.overlap:g}: is for tiles, and these images are not cut; give --tile N, or leave it out"
        )
    if args.batch_size and inverter.unit == "group":
        raise UserError(
            f"--batch-size {args.batch_size}: is for networks and methods that invert samples one by one; "
            f"{inverter.name} inverts whole groups: leave it out"
        )
    return run.Job(source, inverter, tiles, args.batch_size or BATCH, output("--out", out), args.probabilities)


def _activations(args: argparse.Namespace) -> int:
    if len(args.split) > 1:
        raise UserError(f"--split {','.join(args.split)}: --activations draws samples of one split; give one")
    if args.activations.suffix != ".png":
        raise UserError(f"--activations {args.activations}: must end in .png")
    from inference.invert.source import open_source
    from inference.report import activations

    output("--activations", args.activations)
    for line in activations.draw(args.model, open_source(args.data, args.split[0]), args.layers, args.activations):
        print(line)
    return 0


def _describe(args: argparse.Namespace) -> int:
    from inference.methods import describe

    describe.show(describe.chosen(_task(args), args.method), args.json)
    return 0


def _task(args: argparse.Namespace) -> str | None:
    """That of the dataset, or the one named."""
    from schemas.manifest import read_manifest

    return read_manifest(args.data).task.name if args.data else args.task


def _inverter(args: argparse.Namespace, sources: "Sequence[Source]") -> "Inverter":
    from inference.invert import inverters

    source = sources[0]
    if args.name is not None:
        _label("--name", args.name)
    if args.model:
        return inverters.network(source, args.model, args.set, args.name, args.checkpoint)
    places = [] if args.overwrite else [_out(args, args.name or args.method, one, sources) for one in sources]
    return inverters.classical(source, args.method, args.set, args.name, places)


def _say(out: Path, predictions: "Predictions", made: int, broken: int, *, first: bool) -> None:
    if predictions.tuning and first:
        tuned = predictions.tuning
        settings = " ".join(f"{key}={value}" for key, value in predictions.settings.items())
        print(f"tuned on {tuned.samples} samples of {tuned.split}: {settings}, {tuned.metric} {tuned.nrms:.4f} there")
        if tuned.samples < FEW:
            print(f"beware: {tuned.samples} samples are few to tune on; generate more with --validation N")
        for key in tuned.edges:
            print(f"the best {key} lies at the end of what was tried: --set {key}=... beyond it may be better")
    if predictions.seen:
        print(f"beware: {predictions.seen}; scores of them are no test")
    if broken:
        print(f"beware: {broken:,} of these predictions hold what is no number")
    speed = f"{predictions.seconds_per_sample:.2g} s per sample without the first batch ({predictions.hardware})"
    print(f"{out}: {predictions.samples:,} samples complete, {made:,} made now, {speed}")


def _infer_parser() -> Parser:
    about = "Invert the measurements of a dataset with a network or a classical method. The same command resumes."
    parser = Parser(prog="infer", description=about, allow_abbrev=False)
    parser.add_argument("--model", type=local, metavar="RUN", help="folder of a trained network (a run, or its best/)")
    parser.add_argument("--checkpoint", type=_count, metavar="N", help="of the run, as it was after N steps (its best)")
    parser.add_argument("--method", metavar="NAME", help="a classical method, tuned on validation, for example tie")
    parser.add_argument("--data", type=local, metavar="STORE", help="the dataset")
    parser.add_argument("--split", type=_splits, default=("test",), metavar=SPLITS, help=f"{SPLIT} (test)")
    parser.add_argument(
        "--out",
        type=local,
        metavar="STORE",
        help="where predictions go (predictions-<dataset>-<name>.zarr); of several splits, each to <out>-<split>.zarr",
    )
    several(parser, "--set", "KEY=VALUE", "settings that are not tuned; of networks, what follows them")
    parser.add_argument(
        "--refine", type=_count, metavar="N", help="N iterations started from the network, of tasks that have them"
    )
    parser.add_argument("--name", metavar="LABEL", help="in tables and plots (the run's folder, or the method)")
    parser.add_argument("--batch-size", type=_count, metavar="N", help=f"samples at once ({BATCH})")
    parser.add_argument(
        "--tile",
        type=_tile,
        metavar="N|none",
        help="cut images into tiles of N pixels along each axis (networks: if larger than in training, to that size)",
    )
    parser.add_argument("--probabilities", action="store_true", help="of classes: store the probability of each, too")
    parser.add_argument("--overlap", type=_fraction, metavar="F", help=f"of neighbouring tiles, 0 to 0.9 ({OVERLAP})")
    parser.add_argument("--overwrite", action="store_true", help="remove the predictions that are there first")
    parser.add_argument("--stitch", type=local, metavar="STORE", help="larger images of predicted patches, too")
    several(
        parser,
        "--stitch-set",
        "KEY=VALUE",
        "method=iterative (the seed's sweeps) alpha=0.1 sweeps=3; else least squares over all overlaps",
    )
    show = parser.add_argument_group("only show")
    show.add_argument("--describe", action="store_true", help="print the methods: formula, settings, unit, meaning")
    show.add_argument("--task", metavar="NAME", help="for --describe without --data (all tasks)")
    show.add_argument("--json", action="store_true", help="for --describe")
    show.add_argument(
        "--activations", type=local, metavar="PNG", help="draw what layers of the network give, averaged over channels"
    )
    show.add_argument("--layers", nargs="+", metavar="NAME", help="for --activations (twelve, from first to last)")
    return parser


def _splits(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}: must be splits with commas between them, for example train,test")
    return tuple(dict.fromkeys(names))


def _tile(text: str) -> int | str:
    return text if text == "none" else _count(text)


def _evaluate(argv: Sequence[str] | None) -> int:
    args = _evaluate_parser().parse_args(argv)
    from inference.report import document, expectations, tables
    from inference.report.evaluation import evaluate

    out = output("--out", args.out)
    refuse_store("--out", out)
    expected = expectations.load(args.expect) if args.expect else []
    found = evaluate(args.data, args.predictions, args.split)
    tables.refuse_loss(found, out, overwrite=args.overwrite)
    sweep(out, deep=False)
    tables.write(found, out)
    document.write(found, out)
    tables.show(found)
    print(f"{args.out}: metrics.json, metrics.csv, report.html")
    missed = expectations.missed(expected, tables.metrics(found)["methods"])
    for line in missed:
        print(line)
    return int(bool(missed))


def _store(text: str) -> tuple[str | None, Path]:
    label, equals, path = text.partition("=")
    if not equals or exists(Path(text)):
        return None, local(text)
    return _label("--predictions", label), local(path)


def _label(option: str, text: str) -> str:
    if not (text.strip() and text.isprintable()) or "/" in text:
        raise UserError(f"{option} {text!r}: a name must be printable text without /, since files are named after it")
    return text


def _evaluate_parser() -> Parser:
    about = "Score predictions against the truth, side by side: metrics.json, metrics.csv and report.html."
    parser = Parser(prog="evaluate", description=about, allow_abbrev=False)
    parser.add_argument("--data", type=local, required=True, metavar="STORE", help="the dataset")
    parser.add_argument(
        "--predictions",
        type=_store,
        required=True,
        nargs="+",
        action="extend",
        metavar="[LABEL=]STORE",
        help="made by infer; the label stands in tables and plots",
    )
    parser.add_argument("--out", type=local, default=Path("report"), metavar="FOLDER", help="for all three (report)")
    parser.add_argument("--split", type=_splits, metavar=SPLITS, help=f"{SPLIT} (that of the predictions)")
    parser.add_argument("--overwrite", action="store_true", help="replace a report of other predictions")
    parser.add_argument("--expect", metavar="FILE[:CASE]", help="bounds of scores (JSON); exit 1 if one is missed")
    return parser

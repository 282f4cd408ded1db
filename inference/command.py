"""Run the commands `infer` and `evaluate`, from their options to the files that they write.

Both the command lines and the Python interface `drybeam` call these functions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from inference.contract import Inverter
from inference.invert import inversion, inverters
from inference.invert.split_reader import Source, open_source, open_tuning_source
from inference.stitching.stitched_image import Blend
from schemas.predictions import METADATA, Predictions
from schemas.runtime import terminal
from schemas.runtime.destinations import output_path, refuse_store
from schemas.runtime.errors import UserError
from schemas.runtime.locks import claimed
from schemas.runtime.publish import sweep
from schemas.runtime.terminal import count_text

DEFAULT_BATCH = 32
DEFAULT_OVERLAP = 0.5
MIN_TUNING_SAMPLES = 16  # settings that were tuned on fewer samples cause a warning

type Say = Callable[[str], None]


@dataclass(frozen=True)
class InferOptions:
    """Options of `infer`, as `infer --help` describes them."""

    data: Path | None = None
    model: Path | None = None
    checkpoint: int | None = None
    method: str | None = None
    split: Sequence[str] = ("test",)
    out: Path | None = None
    set: Sequence[str] = ()
    refine: int | None = None
    name: str | None = None
    batch_size: int | None = None
    tile: int | str | None = None
    probabilities: bool = False
    overlap: float | None = None
    overwrite: bool = False
    stitch: Path | None = None
    stitch_set: Sequence[str] = ()
    tune_on: Path | None = None
    tune_by: str | None = None
    halves: bool = False


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `evaluate`, as `evaluate --help` describes them."""

    data: Path
    predictions: Sequence[tuple[str | None, Path]]  # the store, after a label if it differs from the stored name
    out: Path = Path("report")
    split: Sequence[str] | None = None
    overwrite: bool = False
    expect: str | None = None
    no_truth: bool = False
    data_range: float | None = None


def infer(options: InferOptions, say: Say = terminal.say) -> list[Path]:
    """Invert the measurements of a dataset, and return the stores of predictions, one per split.

    Args:
        options: as on the command line.
        say: called with each line that informs or warns the user.

    Raises:
        UserError: an option is missing or does not suit the dataset, the model or the method.
        Interrupted: the disk is full; the same call resumes.
    """
    if options.data is None:
        raise UserError("--data is missing: name the dataset, for example --data tie.zarr")
    if (options.model is None) == (options.method is None):
        raise UserError("give either --model RUN (a trained network) or --method NAME (a classical method)")
    data, options = options.data, _expand_refine(options)
    sources = [open_source(data, split) for split in options.split]
    sources = [half for source in sources for half in _halves(source)] if options.halves else sources
    options, stitching = _check_stitching(options, sources)
    inverter = _open_inverter(options, sources)
    places = [_out_path(options, inverter.name, source, sources) for source in sources]
    jobs = [_make_job(options, source, inverter, path) for source, path in zip(sources, places, strict=True)]
    for job in jobs:  # all splits, before anything is written for the first of them
        inversion.refuse(job, overwrite=options.overwrite)
    beyond = [inverters.outside_warnings(job.source, inverter) for job in jobs]
    with inversion.reserve(jobs):
        for job, lines in zip(jobs, beyond, strict=True):
            for line in lines:
                say(line)
            predictions, made, broken = inversion.run(job, overwrite=options.overwrite)
            for line in _summary_lines(job, predictions, made, broken, first=job is jobs[0]):
                say(line)
            if stitching is not None and options.stitch is not None:
                from inference.stitching.command import stitch

                for line in stitch(job.source, job.out, options.stitch, stitching):
                    say(line)
    if options.halves:
        stores = " ".join(str(job.out) for job in jobs)
        say(f"each store was made at half the dose; to score them: evaluate --no-truth --predictions {stores}")
    return [job.out for job in jobs]


def evaluate(options: EvaluateOptions, say: Say = terminal.say) -> list[str]:
    """Score predictions and write `metrics.json`, `metrics.csv` and `report.html`.

    Args:
        options: as on the command line.
        say: called with each line that informs the user.

    Returns:
        A line for each expectation that was missed.

    Raises:
        UserError: predictions are incomplete, damaged, or not of this dataset, or another report is in the way.
        Interrupted: another `evaluate` has written there meanwhile, or the folder was removed.
    """
    if not options.predictions:
        raise UserError("--predictions is missing: name the stores, for example --predictions predictions-*.zarr")
    if options.no_truth:
        return _evaluate_without_truth(options, say)
    from inference.report import document, expectations, tables
    from inference.report.evaluation import evaluate as score

    out = output_path("--out", options.out)
    expected = expectations.load(options.expect) if options.expect else []
    refuse_store("--out", out)
    evaluation = score(options.data, options.predictions, options.split, options.data_range)
    refuse = partial(tables.refuse_loss, evaluation, out, overwrite=options.overwrite)
    with claimed("--out", out, refuse, by="another `evaluate`"):
        sweep(out, deep=False)
        tables.write(evaluation, document.page(evaluation), out)
    tables.show(evaluation)
    say(f"{options.out}: metrics.json, metrics.csv, report.html")
    return expectations.missed(expected, tables.metrics(evaluation)["methods"])


def _evaluate_without_truth(options: EvaluateOptions, say: Say) -> list[str]:
    """Score predictions of both halves of the counts, each against the other half. Returns missed expectations."""
    from inference.report import expectations, tables
    from inference.without_truth import documents, scoring

    out = output_path("--out", options.out)
    expected = expectations.load(options.expect) if options.expect else []
    refuse_store("--out", out)
    found = scoring.evaluate(options.data, options.predictions, options.split, options.data_range)
    refuse = partial(
        tables.refuse_other_report, out, *documents.scored(found), overwrite=options.overwrite, halves=True
    )
    with claimed("--out", out, refuse, by="another `evaluate`"):
        sweep(out, deep=False)
        metrics = documents.metrics(found)
        tables.write_files(metrics, documents.csv_rows(found), documents.page(found), out)
    documents.show(found)
    say(f"{options.out}: metrics.json, metrics.csv, report.html")
    return expectations.missed(expected, metrics["methods"])


def checked_label(option: str, text: str) -> str:
    """Return a name for tables, plots and files as it was given.

    Args:
        option: the option that gave it, for the message.
        text: the name.

    Raises:
        UserError: the name is empty, not printable, or contains a slash.
    """
    if not (text.strip() and text.isprintable()) or "/" in text:
        raise UserError(f"{option} {text!r}: a name must be printable text without /, since files are named after it")
    return text


def _halves(source: Source) -> tuple[Source, Source]:
    """Return a split with either half of its counts. UserError: it has no counts."""
    assert source.counts  # refuses a dataset without them
    return replace(source, half=0), replace(source, half=1)


def _expand_refine(options: InferOptions) -> InferOptions:
    if options.refine is None:
        return options
    if any(text.startswith("refine=") for text in options.set):
        raise UserError(f"--refine {options.refine}: is given twice, also with --set refine=...; leave one of them out")
    return replace(options, set=[*options.set, f"refine={options.refine}"])


def _check_stitching(options: InferOptions, sources: Sequence[Source]) -> tuple[InferOptions, Blend | None]:
    """Return the options with a checked place for stitched images, and the stitching method; None if not asked for.

    Mistakes are refused here, before anything is inferred.
    """
    if options.stitch is None:
        return options, None
    if options.halves:
        raise UserError(f"--stitch {options.stitch}: has no effect with --halves; leave one of them out")
    if len(sources) > 1:
        raise UserError(f"--stitch {options.stitch}: can stitch one split only; give one with --split")
    from inference.stitching.command import choose_method, refuse_pictures, required_stitch
    from inference.stitching.store import refuse_taken

    how = required_stitch(sources[0])
    path = output_path("--stitch", options.stitch)
    if options.out and options.out.resolve() in (path.resolve(), *path.resolve().parents):
        raise UserError(f"--stitch {options.stitch}: lies at or inside --out {options.out}; choose another place")
    refuse_taken(path, how.target)
    refuse_pictures(path)
    return replace(options, stitch=path), choose_method(options.stitch_set, how.free)


def _out_path(options: InferOptions, name: str, source: Source, sources: Sequence[Source]) -> Path:
    """Return the place of the predictions of a split, named after the dataset and the method.

    If there are several splits, the name of the split is appended; if halves are inverted, the number of the half.

    Names of runs usually begin with the name of their dataset. It is then not repeated.
    """
    data = source.path.absolute().name.removesuffix(".zarr")
    if options.out is None:
        checked_label("--name", name)
    out: Path = options.out or Path(f"predictions-{'' if name.startswith(f'{data}-') else f'{data}-'}{name}.zarr")
    several = len({other.split for other in sources}) > 1
    parts = [source.split] * several + ([] if source.half is None else [f"half-{source.half}"])
    return out.parent / f"{'-'.join([out.name.removesuffix('.zarr'), *parts])}.zarr" if parts else out


def _make_job(options: InferOptions, source: Source, inverter: Inverter, out: Path) -> inversion.Inversion:
    """Return the inversion of one split into its own store."""
    tiles = inversion.choose_tiles(
        source, inverter, options.tile, DEFAULT_OVERLAP if options.overlap is None else options.overlap
    )
    if options.overlap is not None and not tiles.lengths:
        raise UserError(
            f"--overlap {options.overlap:g}: is for tiles, but these images are not cut; give --tile N, or leave it out"
        )
    if options.batch_size and inverter.scope == "group":
        raise UserError(
            f"--batch-size {options.batch_size}: is for networks and methods that invert samples one by one; "
            f"{inverter.name} inverts whole groups: leave it out"
        )
    return inversion.Inversion(
        source, inverter, tiles, options.batch_size or DEFAULT_BATCH, output_path("--out", out), options.probabilities
    )


def _open_inverter(options: InferOptions, sources: Sequence[Source]) -> Inverter:
    source = sources[0]
    if options.name is not None:
        checked_label("--name", options.name)
    if options.model is not None:
        for option, given in (("--tune-on", options.tune_on), ("--tune-by", options.tune_by)):
            if given:
                raise UserError(f"{option} {given}: is for classical methods; leave it out with --model")
        return inverters.network(source, options.model, options.set, options.name, options.checkpoint)
    assert options.method is not None
    name = options.name or options.method
    places = [] if options.overwrite else [_out_path(options, name, inverter, sources) for inverter in sources]
    other = _open_tuning(options)
    return inverters.classical(source, options.method, options.set, options.name, places, other, options.tune_by)


def _open_tuning(options: InferOptions) -> Source | Path | None:
    """Return the dataset on which a method is tuned, or the place of predictions whose settings it takes."""
    if options.tune_on is None or not METADATA.stands_at(options.tune_on):
        other = open_tuning_source(options.tune_on) if options.tune_on else None
        return _halves(other)[0] if other and options.halves else other
    if options.tune_by:
        raise UserError(
            f"--tune-by {options.tune_by}: the settings of {options.tune_on} are taken as they are; omit it"
        )
    return options.tune_on


def _summary_lines(
    job: inversion.Inversion, predictions: Predictions, made: int, broken: int, *, first: bool
) -> Iterator[str]:
    """Yield the lines that inform the user about new predictions."""
    if predictions.tuning and first:
        tuned = predictions.tuning
        settings = " ".join(f"{key}={value}" for key, value in predictions.settings.items())
        samples = count_text(tuned.samples, "sample")
        place = " of the other dataset" if tuned.dataset else ""
        yield f"tuned on {samples} of {tuned.split}{place}: {settings}, {tuned.metric} {tuned.nrms:.4f} there"
        if tuned.samples < MIN_TUNING_SAMPLES:
            yield f"warning: tuned on only {samples}; with more {tuned.split} samples the choice would be safer"
        for key in tuned.edges:
            beyond = "is the smallest or largest value tried, so a value beyond it may be better"
            yield f"the best {key} {beyond}: --set {key}=..."
    if predictions.seen:
        yield f"warning: {predictions.seen}; scores of these samples are not an independent test"
    if broken:
        yield f"warning: {count_text(broken, 'prediction')} with NaN or infinite values"
    timed = " without the first batch" if job.first_batch_untimed else ""
    speed = f"{predictions.seconds_per_sample:.2g} s per sample{timed} ({predictions.hardware})"
    yield f"{job.out}: {count_text(predictions.samples, 'sample')} complete, {made:,} made now, {speed}"

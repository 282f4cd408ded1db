"""Command lines `dataset import` (measurements to a dataset) and `dataset export` (images to files)."""

import argparse
import math
from pathlib import Path
from typing import Any

from schemas.runtime.destinations import local_path, output_path
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import Parser, add_repeatable_option, number, say, whole_number

FORMATS_HELP = (
    "format of the files; gif: an animation of all images of a sample; of projections: nxtomo, dxfile, and library: "
    "all pairs in one HDF5 file"
)
MAX_SHOWN_VALUES = 16  # maximum number of values of a parameter that are printed
FORMATS = ("npy", "tiff", "mat", "mrc", "png", "gif", "nxtomo", "dxfile", "library")


def importing(verbs: Any) -> None:
    """Add the command `import` to the parser of `dataset`."""
    about = "Make a dataset from measured images, for `infer`. With targets given in --from, it can be used by `train`."
    parser: Parser = verbs.add_parser(
        "import", help="make a dataset from measured images", description=about, allow_abbrev=False
    )
    parser.add_argument("--task", required=True, metavar="NAME", help="kind of measurement, for example tie")
    parser.add_argument("files", nargs="*", metavar="FILE[:ARRAY]", help="files of one sample each, as --from FILE")
    parser.add_argument("--key", metavar="ARRAY", help="name of the array in each of these files")
    parser.add_argument(
        "--from",
        dest="groups",
        nargs="+",
        action="append",
        default=[],
        metavar="FILE[:ARRAY]",
        help="files of one sample (TIFF, NPY, NPZ, HDF5, MRC, MAT, DM3, DM4, EMD ...): one image per file in the order "
        "of the planes, or one stack; repeat --from for each sample",
    )
    angles = "angles of the images: one file for all samples, or one for each; as rotation=FILE in --from"
    parser.add_argument("--angles", nargs="+", default=[], metavar="FILE[:ARRAY]", help=angles)
    add_repeatable_option(
        parser,
        "--set",
        "NAME=VALUE",
        "parameters in the units of the task, for example defocus=-8000,0,8000 voltage=300e3 sampling=2.34",
    )
    add_repeatable_option(
        parser,
        "--with",
        "NAME=FILE",
        "more arrays in the units of the task, for example position=positions.npy probe=probe.npy",
        dest="arrays",
    )
    held = parser.add_mutually_exclusive_group()
    for what, about in (
        ("counts", "the files hold electron counts; their square roots are stored"),
        ("amplitudes", "the files already hold amplitudes; needed only if all values are whole numbers"),
    ):
        held.add_argument(f"--{what}", dest="holds", action="store_const", const=what, help=f"for patterns: {about}")
    parser.add_argument("--axes", type=_names, default=(), metavar="A,B,C", help="order of the axes, such as plane,y,x")
    beam = "counts per pixel of the incident beam, by which intensities are divided; mean: each image by its own mean"
    parser.add_argument("--beam", type=_beam, metavar="N|mean", help=beam)
    for split, which in (("validation", "samples before these"), ("test", "last samples")):
        about = f"the {which} are for {split}; for samples with targets"
        parser.add_argument(f"--{split}", type=whole_number(0), metavar="N", help=about)
    out = "dataset to write (default: measured.zarr)"
    parser.add_argument("--out", type=local_path, default=Path("measured.zarr"), metavar="STORE", help=out)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier import of the same files")
    parser.set_defaults(run=_import)


def exporting(verbs: Any) -> None:
    """Add the command `export` to the parser of `dataset`."""
    about = "Write the images of a dataset, or of predictions from `infer`, to files: one per sample and field."
    parser: Parser = verbs.add_parser("export", help="write images to files", description=about, allow_abbrev=False)
    parser.add_argument("path", type=local_path, help="the dataset or predictions")
    parser.add_argument("--format", required=True, choices=FORMATS, help=FORMATS_HELP)
    parser.add_argument(
        "--fields", nargs="+", metavar="NAME", help="(default: inputs and targets; predictions: all, and their errors)"
    )
    parser.add_argument("--split", help="train, validation or test (default: test; predictions: their own)")
    parser.add_argument("--samples", type=_rows, default=(0, None), metavar="A:B", help="A to B-1 (default: all)")
    add_repeatable_option(
        parser,
        "--limits",
        "FIELD=LOW:HIGH",
        "clip the values of a field; for png and gif, black and white (default: the lowest and highest exported value)",
        type=_limits,
    )
    parser.add_argument(
        "--data",
        type=local_path,
        metavar="STORE",
        help="the dataset that these predictions belong to; needed to export error = prediction - truth",
    )
    axes = "order of the axes in npy and mat, for example y,x,tilt (default: as in the dataset)"
    parser.add_argument("--axes", type=_names, default=(), metavar="A,B,C", help=axes)
    parser.add_argument("--key", default="", metavar="NAME", help="name of the array in mat (default: the field's)")
    parser.add_argument("--out", type=local_path, metavar="FOLDER", help="folder to write (default: <store>-<format>)")
    parser.set_defaults(run=_export)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _beam(text: str) -> str:
    if text != "mean" and not 0 < number(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be the counts per pixel, more than 0, or the word mean")
    return text


def _rows(text: str) -> tuple[int, int | None]:
    first, colon, last = text.partition(":")
    if not (colon and all(part.isascii() and part.isdigit() for part in (first or "0", last or "0"))):
        raise argparse.ArgumentTypeError(f"{text}: must be A:B, A: or :B with whole numbers from 0, for example 0:10")
    return int(first or 0), int(last) if last else None


def _limits(text: str) -> tuple[str, tuple[float, float]]:
    name, _, ends = text.partition("=")
    low, high = (number(part) for part in (ends.partition(":")[0], ends.partition(":")[2]))
    if not (name and math.isfinite(low) and math.isfinite(high) and low < high):
        raise argparse.ArgumentTypeError(f"{text}: must be FIELD=LOW:HIGH with LOW below HIGH, for example phase=-3:3")
    return name, (low, high)


def _import(args: argparse.Namespace) -> int:
    from schemas.exchange.importing import split_samples, store
    from schemas.exchange.input_files import file_groups
    from schemas.exchange.measurements import measure
    from schemas.task import find_import, find_task

    task = find_task(args.task)
    if args.beam and find_import(task.name).beam is None:
        raise UserError(f"--beam {args.beam}: the inputs of task {task.name} are not relative to a beam; leave it out")
    out = output_path("--out", args.out)
    groups = file_groups(task, args.groups, args.files, args.key or "", args.angles)
    measurement = measure(task, groups, args.set, args.axes, args.beam or "", arrays=args.arrays, holds=args.holds)
    splits = split_samples(measurement, args.validation, args.test)
    manifest, written = store(measurement, out, splits, overwrite=args.overwrite)
    for note in measurement.notes:
        say(note)
    say(f"{args.out}: {_summary(manifest, measurement)}{'' if written else '; already imported'}")
    return 0


def _summary(manifest: Any, measurement: Any) -> str:
    """Return one line on the imported samples, with the parameters of the first one."""
    count = sum(manifest.samples.values())
    parts = "".join(f"{split} {n}, " for split, n in manifest.samples.items() if len(manifest.samples) > 1)
    sizes = ", ".join(f"{dim} {length}" for dim, length in manifest.sizes.items())
    first = (
        f"{field.name} {_list_values(measurement.arrays[field.name][0].ravel().tolist())} {field.units}"
        for field in manifest.task.of("parameter")
    )
    return "; ".join([f"{count} sample{'s' * (count > 1)} of {manifest.task.name} ({parts}{sizes})", *first])


def _list_values(values: list[float]) -> str:
    """Return the values, of many only the first and the last ones."""
    texts = [f"{value:.6g}" for value in values]
    return ",".join(texts if len(texts) <= MAX_SHOWN_VALUES else [*texts[:3], "...", texts[-1]])


def _export(args: argparse.Namespace) -> int:
    from schemas.exchange.export_sources import open_gallery
    from schemas.exchange.exporting import export

    gallery = open_gallery(args.path, args.split, args.data)
    out = args.out or Path(f"{args.path.absolute().name.removesuffix('.zarr')}-{args.format}")
    arrangement = args.axes, args.key
    count = export(
        gallery, output_path("--out", out), args.format, args.fields, args.samples, dict(args.limits), *arrangement
    )
    say(f"{out}: {count:,} files, parameters.csv, export.json")
    return 0

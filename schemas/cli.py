"""Inspect, check, draw, import and export datasets: the command line `dataset`."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from schemas.counting.cli import thinning
from schemas.exchange import cli
from schemas.mapping.cli import mapping
from schemas.runtime.destinations import local_path, output_path
from schemas.runtime.errors import UserError
from schemas.runtime.terminal import Parser, one_line, run_command, say, share, whole_number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console script `dataset`.

    Args:
        argv: the arguments; None: those of the process.

    Returns:
        The exit code.
    """
    return run_command(_main, argv, "interrupted")


def _main(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    code: int = args.run(args)
    return code


def _parser() -> Parser:
    parser = Parser(prog="dataset", description=__doc__, allow_abbrev=False)
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=Parser)
    info = _add_verb(verbs, "info", _info, "show the fields, sizes, recipe and digest of a dataset")
    info.add_argument("--json", action="store_true", help="print JSON")
    _add_verb(verbs, "validate", _validate, "check structure and values against the schema")
    verify = _add_verb(verbs, "verify", _verify, "check every sample against its stored digest")
    verify.add_argument(
        "--inputs", type=local_path, metavar="DIR", help="folder with the recipe's files, for --recompute"
    )
    verify.add_argument(
        "--recompute", type=share("the samples"), metavar="1%", help="also simulate this share again and compare"
    )
    about = "compare slices with a better approximation of the physics, and store how much they differ"
    certify = _add_verb(verbs, "certify", _certify, about)
    certify.add_argument("--slices", type=whole_number(1), default=8, metavar="N", help="slices (default: 8)")
    certify.add_argument("--values", type=whole_number(1), default=256, metavar="N", help="values (default: 256)")
    certify.add_argument("--inputs", type=local_path, metavar="DIR", help="folder with the recipe's files")
    preview = _add_verb(verbs, "preview", _preview, "draw a contact sheet of samples (PNG)")
    preview.add_argument("--samples", type=whole_number(1), default=8, metavar="N", help="samples to draw (default: 8)")
    preview.add_argument("--split", help="train, validation or test (default: the first with samples)")
    preview.add_argument("--out", type=local_path, metavar="PNG", help="file to write (default: <dataset>.png)")
    cli.importing(verbs)
    cli.exporting(verbs)
    thinning(verbs)
    mapping(verbs)
    return parser


def _add_verb(verbs: Any, name: str, run: Any, about: str) -> Parser:
    parser: Parser = verbs.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.add_argument("path", type=local_path, help="the store")
    parser.set_defaults(run=run)
    return parser


def _info(args: argparse.Namespace) -> int:
    from schemas.manifest import read_manifest

    manifest = read_manifest(args.path, incomplete=True)
    if args.json:
        say(json.dumps(_json_report(manifest), indent=2))
        return 0
    say("\n".join(_describe_dataset(args.path, manifest)))
    return 0


def _describe_dataset(path: Path, manifest: Any) -> Iterator[str]:
    """Yield the lines of `dataset info`."""
    from schemas.runtime.settings import flatten

    unfinished = "" if manifest.status == "complete" else ": run the same `generate` command again; gaps read as NaN"
    yield f"{path}: {manifest.task.name} {manifest.task.version}, {manifest.status}{unfinished}"
    yield f"samples    {', '.join(f'{split} {n:,}' for split, n in manifest.samples.items())}"
    yield f"origin     {_describe_origin(manifest)}"
    yield f"digest     {manifest.root_digest} (samples)"
    yield f"metadata   {manifest.sealed().metadata_digest} (digest of recipe, fields, units, formula and sources)"
    yield f"formula    {' '.join(manifest.task.formula.split())}"
    if manifest.accuracy:
        yield f"accuracy   {_describe_accuracy(manifest.accuracy)}"
    for field in manifest.task.fields:
        shape = ", ".join(f"{dim} {manifest.sizes[dim]}" for dim in field.dims if dim in manifest.sizes)
        yield f"{field.role:<10} {field.name} ({shape}) {field.dtype} [{field.units}] {_describe_field(field)}"
    for name, value in flatten(manifest.recipe or {}):
        is_long = isinstance(value, list) and len(value) > 12
        yield f"recipe     {name} = {f'{len(value)} values' if is_long else json.dumps(value)}"


def _describe_field(field: Any) -> str:
    names = ", ".join(f"{i} {name}" for i, name in enumerate(field.classes))
    return f"{field.about}; classes: {names}" if names else str(field.about)


def _describe_origin(manifest: Any) -> str:
    if manifest.origin == "measured":
        files = [f"{source.name} (sha256 {source.sha256[:12]})" for source in manifest.sources[:12]]
        more = len(manifest.sources) - len(files)
        return f"measured: {', '.join(files)}{f' and {more} more' if more else ''}"
    return f"{manifest.origin}, seed {manifest.seed}, generator version {manifest.generator_version}"


def _json_report(manifest: Any) -> dict[str, Any]:
    """Return the content of `dataset info --json`."""
    digests = ("root_digest", "metadata_digest", "split_digests")
    keys = ("status", "samples", "sizes", *digests, "seed", "generator_version", "origin")
    report = {"task": manifest.task.name, "schema_version": manifest.task.version}
    classes = {field.name: list(field.classes) for field in manifest.task.fields if field.classes}
    report |= {"classes": classes} if classes else {}
    rest: dict[str, Any] = manifest.sealed().model_dump(
        mode="json", include={*keys, "recipe", "platform", "packages", "layout", "statistics", "sources", "accuracy"}
    )
    return report | rest


def _validate(args: argparse.Namespace) -> int:
    from schemas.validation import validate

    return _print_verdict(args.path, validate(args.path), "valid", _repair_advice(args.path))


def _verify(args: argparse.Namespace) -> int:
    from schemas.validation import verify

    problems = verify(args.path)
    success, remedy = "every sample matches its digest", _repair_advice(args.path)
    if args.recompute and not problems:
        problems, count = _load_command("recompute")(args.path, args.recompute, args.inputs)
        success += f"; {count:,} simulated again, equal to the last bit"
        remedy = (
            "the data are undamaged, but this installation simulates different samples from the same recipe: "
            "compare the versions in `dataset info --json`"
        )
    return _print_verdict(args.path, problems, success, remedy)


def _certify(args: argparse.Namespace) -> int:
    found = _load_command("certify")(args.path, args.slices, args.values, args.inputs, say)
    say(f"{args.path}: {_describe_accuracy(found)}")
    return 0


def _describe_accuracy(found: Any) -> str:
    ratios = [one.ratio for one in found.slices]
    return (
        f"{found.about}: differs by {found.error:.3g} (root mean square of {len(ratios)} slices), with sums of "
        f"{min(ratios):.3g} to {max(ratios):.3g} times those of the reference"
    )


def _repair_advice(path: Path) -> str:
    """Return the sentence that says how damage can be repaired."""
    from schemas.manifest import read_manifest, receipts_of
    from schemas.runtime.publish import is_folder

    if read_manifest(path).recipe is None:
        return "imported measurements cannot be repaired; get another copy"
    has_receipts = is_folder(receipts_of(path))
    effect = "repairs the damaged shards" if has_receipts else "makes every sample again, since its receipts are gone"
    return f"its `generate` command {effect}; for a new copy: generate --from {path} --out ..."


def _load_command(name: str) -> Any:
    """Load a command of a package that this one must not import."""
    from importlib.metadata import entry_points

    commands = list(entry_points(group="drybeam.commands", name=name))
    if not commands:
        raise UserError(f"{name}: the generators are not installed; install all of drybeam (pip install -e .)")
    return commands[0].load()


def _print_verdict(path: Path, problems: list[str], success: str, remedy: str) -> int:
    for problem in problems[:20]:
        say(f"{path}: {one_line(problem)}")
    if len(problems) > 20:
        say(f"{path}: and {len(problems) - 20} more")
    say(f"{path}: {remedy if problems else success}")
    return int(bool(problems))


def _preview(args: argparse.Namespace) -> int:
    from schemas.manifest import read_manifest
    from schemas.preview import write_contact_sheet

    out = args.out or Path(args.path.name).with_suffix(".png")
    split = args.split or read_manifest(args.path, incomplete=True).first_split
    count = write_contact_sheet(args.path, split, output_path("--out", out), args.samples)
    say(f"{out}: {count} samples of {args.path}/{split}")
    return 0

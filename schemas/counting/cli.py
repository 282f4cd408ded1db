"""Command line `dataset thin`: counts to pairs of noisy images, for networks that learn without clean ones."""

import argparse
from pathlib import Path
from typing import Any

from schemas.runtime.destinations import local_path, output_path
from schemas.runtime.terminal import Parser, say, whole_number
from schemas.runtime.terminal import share as share_type

MAX_SHARE = 0.95  # of the counts that may become input


def thinning(verbs: Any) -> None:
    """Add the command `thin` to the parser of `dataset`."""
    about = (
        "Divide the counts of each image at random into two independent parts: input and target of a new sample. "
        "`train` learns from them to remove noise, without clean images (Noise2Noise)."
    )
    parser: Parser = verbs.add_parser(
        "thin", help="divide counts into pairs to learn from", description=about, allow_abbrev=False
    )
    parser.add_argument("path", type=local_path, help="the dataset of counted images")
    parser.add_argument("--split", help="train, validation or test (default: the first with samples)")
    share = "mean share of the counts that inputs get; targets get the rest (default: 0.9)"
    parser.add_argument("--share", type=share_type("the counts", MAX_SHARE), default=0.9, metavar="P", help=share)
    copies = "random divisions of each image for training (default: 8)"
    parser.add_argument("--copies", type=whole_number(1), default=8, metavar="N", help=copies)
    held = "images for validation, evenly spread (default: one of ten)"
    parser.add_argument("--validation", type=whole_number(0), metavar="N", help=held)
    parser.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help="random seed (default: 0)")
    out = "dataset to write (default: pairs.zarr)"
    parser.add_argument("--out", type=local_path, default=Path("pairs.zarr"), metavar="STORE", help=out)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier pairs of the same images")
    parser.set_defaults(run=_thin)


def _thin(args: argparse.Namespace) -> int:
    from schemas.counting.pairs import Division, make_pairs
    from schemas.exchange.importing import store
    from schemas.manifest import read_manifest

    split = args.split or read_manifest(args.path).first_split
    out = output_path("--out", args.out)
    pairs, splits = make_pairs(args.path, split, Division(args.share, args.copies, args.validation, args.seed))
    manifest, written = store(pairs, out, splits, overwrite=args.overwrite)
    counts = ", ".join(f"{name} {n:,}" for name, n in manifest.samples.items())
    say(f"{args.out}: pairs of {args.path}/{split} ({counts}){'' if written else '; already made'}")
    return 0

"""Command line `dataset map`: which samples are alike, within one store and between several."""

import argparse
from pathlib import Path
from typing import Any

from schemas.runtime.destinations import local_path, output_path, refuse_file, refuse_foreign_files
from schemas.runtime.terminal import Parser, number, say, whole_number

SHOWN = 5  # outliers that are printed
FILES = ("map.png", "map.csv", "map.html")


def mapping(verbs: Any) -> None:
    """Add the command `map` to the parser of `dataset`."""
    about = (
        "Draw samples of one or several stores as points, similar ones near each other (t-SNE or principal "
        "components), to see what a training set covers. Writes map.png, map.csv (outliers first) and map.html."
    )
    parser: Parser = verbs.add_parser("map", help="draw which samples are alike", description=about, allow_abbrev=False)
    add = parser.add_argument
    add("paths", nargs="+", type=local_path, metavar="STORE", help="the datasets")
    add("--field", metavar="NAME", help="field whose images are compared (default: the first input)")
    add("--split", help="train, validation or test (default: the first with samples)")
    add("--samples", type=whole_number(2), default=500, metavar="N", help="samples of each store (default: 500)")
    add("--method", choices=("tsne", "pca"), default="tsne", help="t-SNE, or principal components (default: tsne)")
    add("--components", type=whole_number(2, 3), default=2, metavar="2|3", help="dimensions of the map (default: 2)")
    neighbours = "t-SNE: about so many samples count as neighbours (default: 30)"
    add("--perplexity", type=_positive, default=30.0, metavar="P", help=neighbours)
    add("--learning-rate", type=_positive, metavar="R", help="t-SNE: length of steps (default: by number of samples)")
    add("--exaggeration", type=_positive, default=12.0, metavar="E", help="t-SNE: in its first steps (default: 12)")
    add("--iterations", type=whole_number(250), default=1000, metavar="N", help="t-SNE: steps (default: 1000)")
    add("--seed", type=whole_number(0, 2**32 - 1), default=0, metavar="N", help="random seed (default: 0)")
    add("--alone", action="store_true", help="scale each image by itself, so that brightness does not count")
    add("--colour", metavar="NAME", help="parameter that colours show (default: the store)")
    add("--out", type=local_path, default=Path("map"), metavar="FOLDER", help="folder to write (default: map)")
    parser.set_defaults(run=_map)


def _positive(text: str) -> float:
    value = number(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: must be a number above 0")
    return value


def _map(args: argparse.Namespace) -> int:
    from schemas.mapping import drawing
    from schemas.mapping.embedding import Settings, draw_map, read_part
    from schemas.runtime.publish import publish_folder

    out = output_path("--out", args.out)
    refuse_file("--out", out)
    refuse_foreign_files("--out", out, FILES, "dataset map")
    parts = [read_part(path, args.split, args.field, args.samples) for path in args.paths]
    names = ("method", "components", "perplexity", "learning_rate", "exaggeration", "iterations", "seed", "alone")
    found = draw_map(parts, Settings(**{name: getattr(args, name) for name in names}))
    contents = drawing.picture(found, args.colour), drawing.table(found), drawing.page(found, args.colour)
    publish_folder(out, zip(FILES, contents, strict=True))
    say(f"{args.out}: {len(found.places):,} samples; principal components hold {found.explained:.1%} of the variance")
    for line in drawing.outliers(found, SHOWN):
        say(f"outlier {line} times the usual distance")
    return 0

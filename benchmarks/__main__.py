"""Run a benchmark: `python -m benchmarks generate | train | retrieve | stitch | project`."""

import argparse
import importlib
import json
import sys

from schemas.runtime.terminal import on_huge_pages

COUNTS = {"generate": 4000, "train": 4000, "retrieve": 32, "stitch": 65_536}
SIZES = [128, 256, 512]


def main() -> int:
    """Run a benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*COUNTS, "project"])
    parser.add_argument(
        "--n",
        type=int,
        nargs="+",
        help="training samples (4000; generate runs with 10 n too), patterns (32), patches (65536), or sizes of images "
        "in pixels (128 256 512)",
    )
    parser.add_argument("--task", default="tie", choices=("tie", "cdi"), help="generate: the task (default: tie)")
    parser.add_argument("--torch-python", metavar="PYTHON", help="train: a python that has torch (default: this one)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    args = parser.parse_args()
    if args.name == "train":
        on_huge_pages()  # as `train` does; the process of the peer inherits it
    benchmark = importlib.import_module(f"benchmarks.{args.name}")
    options = {"train": {"torch_python": args.torch_python}, "generate": {"task": args.task}}.get(args.name, {})
    if args.name == "project":
        report = benchmark.measure(args.n or SIZES)
    elif args.n and len(args.n) > 1:
        parser.error(f"--n {' '.join(map(str, args.n))}: only project takes several numbers; give one")
    else:
        report = benchmark.measure(args.n[0] if args.n else COUNTS[args.name], **options)
    print(json.dumps(report, indent=2) if args.json else benchmark.text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

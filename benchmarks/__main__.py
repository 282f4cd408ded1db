"""`python -m benchmarks generate | stitch | train`."""

import argparse
import importlib
import json
import sys

from schemas.terminal import on_huge_pages

NUMBERS = {"stitch": 65_536}


def main() -> int:
    """Run a benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("name", choices=["generate", "stitch", "train"])
    parser.add_argument(
        "--n", type=int, help="samples: 4000 of training, of which generate also makes 10 n; 65536 patches"
    )
    parser.add_argument("--torch-python", metavar="PYTHON", help="train: a python that has torch (this one)")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    args = parser.parse_args()
    if args.name == "train":
        on_huge_pages()  # as `train` does; the peer inherits it
    benchmark = importlib.import_module(f"benchmarks.{args.name}")
    options = {"torch_python": args.torch_python} if args.name == "train" else {}
    report = benchmark.measure(args.n or NUMBERS.get(args.name, 4000), **options)
    print(json.dumps(report, indent=2) if args.json else benchmark.text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks generate`."""

import argparse
import importlib
import json
import sys


def main() -> int:
    """Run a benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("name", choices=["generate"])
    parser.add_argument("--n", type=int, default=4000, help="training samples; the engine also runs with 10 n (4000)")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    args = parser.parse_args()
    benchmark = importlib.import_module(f"benchmarks.{args.name}")
    report = benchmark.measure(args.n)
    print(json.dumps(report, indent=2) if args.json else benchmark.text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

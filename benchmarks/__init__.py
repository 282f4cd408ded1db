"""Benchmarks: speeds as ratios within one run, to the bare work of a sample and to one in-process loop."""

"""Speeds as ratios within one run: to the bare work that a sample needs, and to one in-process loop."""

"""Make some samples of a dataset again from its recipe and compare their digests (`dataset verify --recompute`)."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from generators.contract import find_generator
from generators.engine import shards
from generators.engine.plan import Plan
from generators.engine.provenance import platform_class
from schemas import digest
from schemas.manifest import read_manifest
from schemas.runtime.errors import UserError
from schemas.runtime.settings import make_settings, refuse_paths
from schemas.store import LEAF_FIELD, open_split


def plan_again(path: Path, inputs: Path | None, command: str) -> Plan:
    """Return the plan by which a dataset was made.

    Args:
        path: the dataset
        inputs: a folder in which files that the recipe names by hash are searched
        command: the command, for the message

    Raises:
        UserError: the dataset has no recipe, or another version of the generator made it
    """
    manifest = read_manifest(path)
    if manifest.recipe is None:
        raise UserError(f"{path}: holds measurements, without a recipe to make them again; leave {command} out")
    _, generator = find_generator(manifest.task.name)
    if manifest.generator_version != generator.VERSION:
        raise UserError(
            f"{path}: made by version {manifest.generator_version} of the generator; installed is version "
            f"{generator.VERSION}: install the version that made it"
        )
    refuse_paths(generator.Recipe, manifest.recipe, str(path))
    return Plan(path.absolute(), manifest, make_settings(generator.Recipe, manifest.recipe, []).bind(inputs))


def recompute(path: Path, share: float, inputs: Path | None = None) -> tuple[list[str], int]:
    """Make samples of a dataset again, evenly spread over each split, at least one per split.

    Args:
        path: the dataset
        share: share of the samples of each split, 0 to 1
        inputs: a folder in which files that the recipe names by hash are searched

    Returns:
        the problems found, and the number of samples that were made again

    Raises:
        UserError: the dataset has no recipe, or another version of the generator made it
    """
    plan = plan_again(path, inputs, "--recompute")
    differing, count = [], 0
    for split, n in plan.manifest.samples.items():
        picks: Iterable[int] = np.unique(np.linspace(0, n - 1, max(round(share * n), 1)).astype(int)) if n else []
        stored = open_split(path, split)[LEAF_FIELD.name]
        for index in map(int, picks):
            values = shards.make(plan, split, range(index, index + 1))
            count += 1
            if next(digest.leaves(plan.task, values)) != np.asarray(stored[index]).tobytes():
                differing.append(f"{split} sample {index}: has other bits when made here ({platform_class()})")
    return differing, count

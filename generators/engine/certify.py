"""Compare slices of a dataset with a better approximation, and store how much they differ (`dataset certify`)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from generators.contract import Comparison, find_comparison, find_generator
from generators.engine.plan import Plan
from generators.engine.recompute import plan_again
from generators.random_streams import Streams
from schemas.manifest import Accuracy, ComparedSlice, Manifest, read_manifest
from schemas.runtime.errors import UserError
from schemas.runtime.publish import inside, publish_if_changed
from schemas.store import metadata

type Say = Callable[[str], None]


def certify(path: Path, slices: int, values: int, inputs: Path | None, say: Say) -> Accuracy:
    """Compare some slices, chosen by the digest of the dataset, and store the result in its root.

    Each result is stored at once, so the same command goes on after an interruption, and a larger number adds slices.

    Args:
        path: the dataset
        slices: number of slices
        values: number of values in each
        inputs: a folder in which files that the recipe names by hash are searched
        say: called with a line for each slice

    Returns:
        the result

    Raises:
        UserError: the task or the recipe makes no approximation, or another version of the generator made the dataset
    """
    plan = plan_again(path, inputs, "dataset certify")
    comparison = find_comparison(plan.task.name)
    known = plan.manifest.accuracy
    found = list(known.slices) if known and known.about == comparison.about else []
    done = {(one.split, one.sample, one.slice) for one in found if one.values == values}
    for split, sample, index in _chosen(plan.manifest, slices):
        if (split, sample, index) not in done:
            found.append(_compare(plan, comparison, split, sample, index, values))
            say(f"{split} sample {sample}, slice {index}: error {found[-1].error:.3g}, ratio {found[-1].ratio:.4g}")
            _store(plan, Accuracy(about=comparison.about, slices=tuple(found)))
    return Accuracy(about=comparison.about, slices=tuple(found))


def _chosen(manifest: Manifest, count: int) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """Yield different slices, at random over all samples; a larger count continues the same order."""
    lengths = [manifest.sizes[dim] for dim in manifest.task.slices]
    total = sum(manifest.samples.values()) * int(np.prod(lengths))
    if count > total:
        raise UserError(f"--slices {count}: the dataset has {total}")
    assert manifest.root_digest is not None
    order = np.random.Generator(np.random.Philox(int(manifest.root_digest[:16], 16))).permutation(total)
    for number in order[:count].tolist():
        sample, rest = divmod(number, int(np.prod(lengths)))
        index = tuple(map(int, np.unravel_index(rest, lengths))) if lengths else ()
        for split, n in manifest.samples.items():
            if sample < n:
                yield split, sample, index
                break
            sample -= n


def _compare(
    plan: Plan, comparison: Comparison, split: str, sample: int, index: tuple[int, ...], values: int
) -> ComparedSlice:
    assert plan.manifest.seed is not None
    streams = Streams(plan.manifest.seed, split, sample)
    drawn = find_generator(plan.task.name)[1].draw(plan.recipe, streams)
    approximate, exact = comparison.compute(plan.recipe, drawn, index, values, streams.certificate)
    return ComparedSlice(
        split=split,
        sample=sample,
        slice=index,
        values=len(exact),
        error=float(np.linalg.norm(approximate - exact) / np.linalg.norm(exact)),
        ratio=float(approximate.sum() / exact.sum()),
    )


def _store(plan: Plan, accuracy: Accuracy) -> None:
    with plan.alone():
        stored = read_manifest(plan.out).model_copy(update={"accuracy": accuracy})
        publish_if_changed(inside(plan.out, "zarr.json"), metadata(stored)["zarr.json"], durable=True)

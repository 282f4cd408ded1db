"""Pairs of noisy images from counts alone, so that networks learn to denoise without clean images (Noise2Noise).

The counts of an image are divided at random into two independent parts (`schemas.counting.thinning`). One becomes the
input of a new sample, the other takes the place of its target. A network that minimises the mean squared error to such
targets learns the same as with clean ones, because noise that is independent of the input averages out (Lehtinen et
al., arXiv 1803.04189).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from schemas.counting.counts import Counts, require_counts
from schemas.counting.thinning import numbered_generator, thin
from schemas.exchange.measurements import Arrays, Measurement
from schemas.manifest import Manifest, SourceFile, read_manifest, reading_split
from schemas.runtime.errors import UserError
from schemas.runtime.machine import memory
from schemas.slices import fold
from schemas.store import open_split
from schemas.task import SAMPLE, Task, find_task

MAX_SHARE = 0.5  # of the memory that pairs may take


@dataclass(frozen=True)
class Division:
    """Settings by which images become pairs."""

    share: float = 0.9  # mean share of the counts that the input gets; networks are applied to all counts
    copies: int = 8  # number of random divisions of each image for training
    validation: int | None = None  # number of images for validation; None: one of ten, and at least one
    seed: int = 0


def make_pairs(path: Path, split: str, how: Division) -> tuple[Measurement, dict[str, int]]:
    """Divide the counts of all images of a split into inputs and targets.

    Each image (a sample, or a slice of one) becomes a sample of its own. Images for validation are evenly spread over
    the split, are divided once, and stand last.

    Args:
        path: the dataset.
        split: the split whose images are divided.
        how: share, and numbers.

    Returns:
        The pairs, and the number of samples in each split.

    Raises:
        UserError: the task has no rule for counts, or the values are no whole counts, or there are too few images.
    """
    manifest = read_manifest(path)
    manifest.refuse_empty(path, split)
    rule = require_counts(manifest.task, path, "dataset thin")
    fields = manifest.task.fields
    whole = manifest.task.holding(
        tuple(f for f in fields if f.name == rule.input or (f.role == "parameter" and f.per_sample))
    )
    images = fold(whole, _read(path, split, manifest, whole), manifest.samples[split], manifest.sizes)
    count = len(images[rule.input])
    held = max(count // 10, 1) if how.validation is None else how.validation
    if held >= count:
        raise UserError(f"--validation {held}: {path}/{split} has {count} images, and some must be left for training")
    rows, copies = _choose_rows(count, held, how.copies)
    needed = 2 * len(rows) * images[rule.input][0].size * np.dtype(np.float64).itemsize
    if needed > MAX_SHARE * memory():
        raise UserError(f"--copies {how.copies}: {len(rows):,} pairs need {needed / 2**30:.1f} GiB; give fewer copies")
    inputs, targets = _divide(whole.sliced, rule, images, rows, copies, manifest.split_digests[split], how, str(path))
    target = find_task(manifest.task.name)[rule.expectation[0]]
    less = "".join(f" - {name}" for name in rule.known_levels(whole, ()))
    about = f"{target.about}; here: with noise, from independent counts whose mean is that of {rule.input}{less}"
    task = manifest.task.holding((*whole.fields, replace(target, about=about, optional=False)))
    arrays = {name: _with_slices(task, name, values) for name, values in (inputs | {target.name: targets}).items()}
    sizes = {**manifest.sizes, **dict.fromkeys(task.slices, 1)}
    used = {dim: sizes[dim] for field in task.fields for dim in field.dims if dim != SAMPLE}
    source = SourceFile(name=f"{path.name}/{split}", sha256=manifest.split_digests[split])
    return Measurement(task, used, arrays, {}, [source], []), {"train": len(rows) - held, "validation": held}


def _read(path: Path, split: str, manifest: Manifest, task: Task) -> Arrays:
    """Read all samples of the fields of a task."""
    remedy = "find damage with `dataset verify`"
    with reading_split(path, split, manifest.split_digests[split], f"{path}/{split}", remedy):
        group = open_split(path, split)
        return {field.name: group.read(field.name, slice(0, manifest.samples[split])) for field in task.fields}


def _choose_rows(count: int, held: int, copies: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the image of each pair, and the number of its random division, first those for training."""
    last = ((np.arange(held) + 0.5) * count / max(held, 1)).astype(int)
    rest = np.setdiff1d(np.arange(count), last)
    rows = np.concatenate([np.tile(rest, copies), last])
    return rows, np.concatenate([np.repeat(np.arange(copies), len(rest)), np.zeros(held, int)])


def _divide(
    task: Task,
    rule: Counts,
    images: Mapping[str, np.ndarray],
    rows: np.ndarray,
    copies: np.ndarray,
    digest: str,
    how: Division,
    place: str,
) -> tuple[Arrays, np.ndarray]:
    """Return the fields of the inputs of all pairs, and their targets."""

    def parts() -> Iterator[tuple[Arrays, Arrays]]:
        for row, copy in zip(rows.tolist(), copies.tolist(), strict=True):
            one = {name: values[row : row + 1] for name, values in images.items()}
            chance = numbered_generator(f"pairs {how.seed} {how.share} {digest}", row, copy)
            yield thin(task, rule, one, how.share, [chance], np.array([row]), place)

    made = [(first, second[rule.input]) for first, second in parts()]
    inputs = {name: np.concatenate([first[name] for first, _ in made]) for name in images}
    targets = np.concatenate([second for _, second in made])
    for name in rule.known_levels(task, ()):
        targets = targets - rule.along_input(task, name, inputs[name])
    return inputs, targets.astype(images[rule.input].dtype)


def _with_slices(task: Task, name: str, values: np.ndarray) -> np.ndarray:
    """Return values (sample, *dims without slices) with an axis of length 1 for each dimension of slices."""
    along = tuple(axis for axis, dim in enumerate(task[name].dims) if dim in task.slices)
    return np.expand_dims(values, along)

"""Weights of classes from how often they occur in the training samples."""

from pathlib import Path

import numpy as np

from schemas.manifest import Manifest
from schemas.runtime.errors import UserError
from schemas.runtime.publish import reading
from schemas.store import open_split, shard_ranges
from schemas.task import Field

READ_BYTES = 1 << 26  # labels are counted in blocks of about this size


def balanced_weights(data: Path, manifest: Manifest, field: Field, samples: range) -> tuple[float, ...]:
    """Return the weight of each class, (1 / n) / (sum of 1 / n over the classes), n: number of its pixels.

    With two classes these are (1 - b, b), with b the share of the first class: the balanced cross entropy.

    Args:
        data: the dataset.
        manifest: its metadata.
        field: the target, sliced or not.
        samples: training samples that are used.

    Returns:
        Weights (class,); 0 for a class that is ignored.

    Raises:
        UserError: a class does not occur, so its weight would be infinite.
    """
    counts = count_classes(data, manifest, field, samples)
    if absent := [field.classes[i] for i in field.counted if not counts[i]]:
        raise UserError(
            f"loss.classes = balanced: no pixel of {field.name} in the {len(samples)} training samples of {data} is of "
            f"the class {absent[0]}, whose weight would be infinite; give weights (loss.classes="
            f"{','.join('1' for _ in field.classes)}), or samples with all classes"
        )
    shares = np.array([1 / counts[i] if i in field.counted else 0 for i in range(len(field.classes))])
    return tuple((shares / shares.sum()).tolist())


def count_classes(data: Path, manifest: Manifest, field: Field, samples: range) -> np.ndarray:
    """Count the pixels of each class, (class,).

    Args:
        data: the dataset.
        manifest: its metadata.
        field: the target.
        samples: training samples to count.
    """
    stored = manifest.task[field.name]
    rows = max(1, READ_BYTES // stored.nbytes(manifest.sizes))
    counts = np.zeros(256, np.int64)
    with reading(f"{data}/train/{field.name}", f"see: dataset verify {data}"):
        group = open_split(data, "train")
        for first, last in shard_ranges(len(samples), rows):
            part = slice(samples.start + first, samples.start + last)
            counts += np.bincount(np.asarray(group.read(field.name, part)).ravel(), minlength=256)
    return counts[: len(field.classes)]

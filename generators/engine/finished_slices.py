"""Finished slices of samples that take long, stored beside the receipts until their shard is done.

Each slice is a file that is sealed like a receipt, with a hash over its content, the plan, the sample and the versions
of the packages. A slice that is damaged, or was made for something else, is made again.
"""

import io
import json
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from generators.contract import Arrays, Sliced
from generators.engine.plan import SLICE_FOLDER, Job, Plan
from generators.engine.provenance import packages
from generators.engine.receipts import sealed, unsealed
from schemas import digest
from schemas.runtime.publish import entries, exists, publish, read
from schemas.runtime.publish import remove as remove_object

FILE_NAME = re.compile(r"[a-z]+-\d{12}(-\d+)+\.slice")


def storing(plan: Plan, split: str, sample: int, simulate: Sliced) -> Callable[[Any, Sequence[Any]], Arrays]:
    """Return a function that simulates one sample, reads its stored slices, and stores those that it makes.

    Args:
        plan: the plan
        split: split of the sample
        sample: index of the sample
        simulate: the task's simulation, slice by slice
    """

    def one(recipe: Any, block: Sequence[Any], index: tuple[int, ...]) -> Arrays:
        path = plan.run / SLICE_FOLDER / "-".join([_prefix(split, sample), *map(str, index)])
        path = path.with_suffix(".slice")
        of = digest.canonical_json([plan.fingerprint, packages(), path.name])
        data = read(path)
        content = None if data is None else unsealed(data, of)
        if content is None:
            content = _packed(simulate.one(recipe, block, index))
            with plan.shared() if exists(plan.out / "zarr.json") else nullcontext():  # none while a plan is checked
                publish(path, sealed(content, of))
        return _unpacked(content)

    return lambda recipe, block: simulate.stacked(recipe, partial(one, recipe, block))


def remove(job: Job) -> None:
    """Remove the stored slices of the samples of a finished job."""
    samples = tuple(f"{_prefix(job.split, sample)}-" for sample in range(job.start, job.stop))
    for path in entries(job.plan.run / SLICE_FOLDER):
        if path.name.startswith(samples):
            remove_object(path)


def _prefix(split: str, sample: int) -> str:
    return f"{split}-{sample:012d}"


def _packed(arrays: Arrays) -> bytes:
    buffer = io.BytesIO(json.dumps(list(arrays)).encode() + b"\n")
    buffer.seek(0, io.SEEK_END)
    for values in arrays.values():
        np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _unpacked(content: bytes) -> Arrays:
    buffer = io.BytesIO(content)
    return {name: np.load(buffer, allow_pickle=False) for name in json.loads(buffer.readline())}

"""Checks of a stored dataset: metadata and values (`validate`), and every bit against the digests (`verify`)."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from schemas import digest
from schemas.array_checks import array_problems
from schemas.manifest import METADATA, Manifest, read_manifest
from schemas.runtime.documents import parse_json
from schemas.runtime.errors import UserError, differences
from schemas.runtime.publish import MAX_DOCUMENT, entries, exists, inside, read
from schemas.store import (
    LEAF_FIELD,
    StoredArrays,
    arrays_of,
    metadata,
    open_split,
    read_rows,
    rows_at_once,
    shard_ranges,
)
from schemas.task import Field, Task, find_task, task_names

type Progress = Callable[[int], None]

MAX_PROBLEMS = 1000  # number of problems after which a check stops
FREE_KEYS = {"codecs", "chunk_grid", "chunk_key_encoding", "consolidated_metadata"}  # may differ in a re-chunked copy
FILL_NAN = ("_FillValue", "AAAAAAAA+H8=")  # how xarray writes that NaN, which no sample holds, marks missing values
READABLE_KEYS = {"data_type": "dtype", "dimension_names": "dimensions"}
STATISTICS_TOLERANCE = 1e-6  # relative difference of statistics that is rounding


def validate(path: Path) -> list[str]:
    """Check the metadata, the structure and the values of a dataset.

    Args:
        path: the dataset.

    Returns:
        One line per problem, at most MAX_PROBLEMS; an empty list if there is none.

    Raises:
        UserError: the path holds no dataset.
    """
    return list(islice(_problems(path, read_manifest(path)), MAX_PROBLEMS))


def _problems(path: Path, manifest: Manifest) -> Iterator[str]:
    yield from _task_problems(manifest)
    yield from _metadata_problems(path, manifest)
    for split in manifest.splits:
        yield from _split_problems(path, manifest, split)
        yield from _constant_problems(path, manifest, split)
    yield from _consolidated_problems(path, manifest)


def _task_problems(manifest: Manifest) -> Iterator[str]:
    """Yield the differences between the stored task and that of this version. Explanations (`about`) may differ."""
    task = manifest.task
    if task.name not in task_names():
        yield f"task {task.name}: this version has no such task"
        return
    known = find_task(task.name)
    if known.version.split(".")[0] != task.version.split(".")[0]:
        yield f"task {task.name}: version {task.version}, but this version of drybeam has {known.version}"
        return
    declared = {field.name: _meaning(field) for field in known.fields}
    for field in task.fields:
        if declared.get(field.name) != _meaning(field):
            yield f"{field.name}: differs from its declaration in the task"
    if known.version == task.version:
        stored, ours = (_meaning(one) for one in (task, known.holding(task.fields)))
        yield from (f"task {task.name}: {line} by its declaration" for line in differences(stored, ours))


def _meaning(declared: Task | Field) -> dict[str, Any]:
    """Return what a declaration says, without explanations and without fields."""
    return {key: value for key, value in vars(declared).items() if key not in ("about", "fields", "optional")}


def _metadata_problems(path: Path, manifest: Manifest) -> Iterator[str]:
    """Yield the differences between the stored metadata and those that the manifest would write."""
    if manifest.metadata_digest not in (None, manifest.sealed().metadata_digest):
        yield f"metadata digest {manifest.sealed().metadata_digest}, but the metadata say {manifest.metadata_digest}"
    for key, data in metadata(manifest).items():
        name = key.removesuffix("zarr.json").strip("/") or "root"
        stored, ours = _described(path, key), _essence(json.loads(data))
        if not isinstance(stored, dict):
            yield f"{name}: cannot be opened (zarr.json is missing or damaged)"
            continue
        for line in differences(_flat(stored), _flat(ours)):
            if line.partition(" ")[0] != METADATA.key:  # the manifest itself
                yield f"{name}: {line.replace(', asked ', ', must be ')}"
    for split in manifest.splits:
        known = set(arrays_of(manifest, split))
        for found in entries(path / split):
            if found.name not in known and exists(found / "zarr.json"):
                yield f"{split}/{found.name}: no array of this dataset, so no digest covers it; move it elsewhere"


def _flat(described: dict[str, Any]) -> dict[str, Any]:
    """Return metadata by name, with attributes among them. Empty values count as missing."""
    attributes = described.get("attributes")
    known = described | (attributes if isinstance(attributes, dict) else {})
    return {
        READABLE_KEYS.get(k, k): v
        for k, v in known.items()
        if k not in {*FREE_KEYS, "attributes"} and v not in (None, [], {}) and (k, v) != FILL_NAN
    }


def _split_problems(path: Path, manifest: Manifest, split: str) -> Iterator[str]:
    """Yield the problems of the arrays of a split, and of their values."""
    try:
        group = open_split(path, split, arrays_of(manifest, split))
    except Exception as error:
        yield f"{split}: the group cannot be read ({_reason(error)})"
        return
    wrong = list(_array_problems(group, manifest, split))
    yield from wrong
    if wrong:
        return
    sums: dict[str, list[np.ndarray]] = {}
    for start, stop in shard_ranges(manifest.samples[split], rows_at_once(manifest)):
        try:
            values = read_rows(group, manifest.task.fields, slice(start, stop))
        except Exception as error:
            yield f"{split} samples {start}:{stop}: cannot be read ({_reason(error)})"
            continue
        for problem in array_problems(manifest.task, manifest.sizes, values):
            yield f"{split} samples {start}:{stop}: {problem}"
        if split == "train":
            for name, known in manifest.statistics.items():
                sums.setdefault(name, []).extend(map(_sums, values.get(name, ())[: max(known.samples - start, 0)]))
    yield from (line for name, rows in sums.items() for line in _statistic_problems(manifest, name, np.array(rows)))


def _array_problems(group: StoredArrays, manifest: Manifest, split: str) -> Iterator[str]:
    """Yield the reasons why arrays of a split cannot be read."""
    for field in (*manifest.task.fields, LEAF_FIELD):
        try:
            group[field.name]
        except Exception as error:
            yield f"{split}/{field.name}: {_reason(error)}"


def _sums(value: np.ndarray) -> np.ndarray:
    """Return number, sum, sum of squares, minimum and maximum of the values of a sample."""
    x = (abs(value) if value.dtype.kind == "c" else value).astype(np.float64)
    return np.array([x.size, x.sum(), np.square(x).sum(), x.min(), x.max()])


def _statistic_problems(manifest: Manifest, name: str, sums: np.ndarray) -> Iterator[str]:
    """Yield the statistics of a field that differ from those of the samples."""
    known = manifest.statistics[name]
    if len(sums) != min(known.samples, manifest.samples["train"]) or not len(sums):
        return  # some samples cannot be read
    count, total, squares = sums[:, :3].sum(0)
    mean = total / count
    deviation, low, high = max(squares / count - mean**2, 0) ** 0.5, sums[:, 3].min(), sums[:, 4].max()
    size = max(abs(low), abs(high))
    for what, stored, found in zip(
        ("mean", "std", "min", "max"),
        (known.mean, known.std, known.min, known.max),
        (mean, deviation, low, high),
        strict=True,
    ):
        if not abs(stored - found) <= STATISTICS_TOLERANCE * size:
            yield f"statistics of {name}: {what} {stored:g}, but the samples have {found:g}"


def verify(path: Path, progress: Progress = lambda _: None) -> list[str]:
    """Compare every sample of a dataset with the stored digests.

    Args:
        path: the dataset.
        progress: called with the number of samples after each shard.

    Returns:
        One line per difference, at most about MAX_PROBLEMS; an empty list if there is none.

    Raises:
        UserError: the path holds no dataset.
    """
    manifest = read_manifest(path)
    found = list(_consolidated_problems(path, manifest))
    splits: dict[str, str] = {}
    for split in manifest.splits:
        found += _constant_problems(path, manifest, split)
        if problem := _length_problem(path, manifest, split):
            found.append(problem)
            continue
        leaves = bytearray()
        for start, stop, computed, problem in _checked_shards(path, manifest, split):
            if problem:
                found.append(f"{split} samples {start}:{stop}: {problem}")
            leaves += computed
            progress(stop - start)
            if len(found) >= MAX_PROBLEMS:
                return found
        splits[split] = digest.split(manifest.samples[split], [bytes(leaves)])
        if splits[split] != manifest.split_digests.get(split) and not found:
            found.append(f"{split}: digest {splits[split]}, but the metadata say {manifest.split_digests.get(split)}")
    if not found:
        found += _root_problems(path, manifest, splits)
    return found


def _length_problem(path: Path, manifest: Manifest, split: str) -> str:
    """Return a message if an array does not hold all samples. Reading past the end of an array raises no error."""
    n = manifest.samples[split]
    try:
        group = open_split(path, split, arrays_of(manifest, split))
        names = [field.name for field in (*manifest.task.fields, LEAF_FIELD) if field.per_sample]
        wrong = [name for name in names if group[name].shape[0] != n]
    except Exception as error:
        return f"{split}: cannot be opened ({_reason(error)})"
    return f"{split}: {', '.join(wrong)}: must have {n} samples" if wrong else ""


def _consolidated_problems(path: Path, manifest: Manifest) -> Iterator[str]:
    """Yield differences between consolidated metadata, which readers such as xarray trust, and those of the arrays."""
    for key, data in metadata(manifest).items():
        group, ours = key.removesuffix("zarr.json"), json.loads(data)
        if ours["node_type"] != "group":
            continue
        stored = _described(path, key)
        if isinstance(stored, dict) and "consolidated_metadata" not in stored:
            continue  # as in copies that xarray makes; readers then open every array
        try:
            copies = dict(stored["consolidated_metadata"]["metadata"])
        except (KeyError, TypeError, ValueError) as error:
            yield f"{group.strip('/') or 'root'}: consolidated metadata cannot be read ({_reason(error)})"
            continue
        for name in dict.fromkeys([*ours.get("consolidated_metadata", {}).get("metadata", ()), *copies]):
            if _essence(copies.get(name)) != _essence(_described(path, f"{group}{name}/zarr.json")):
                yield f"{group.strip('/') or 'root'}: consolidated metadata of {name} differ from those of the array"


def _described(path: Path, key: str) -> Any:
    """Return the metadata at a key; None if they are missing or damaged."""
    return parse_json(read(inside(path, key), MAX_DOCUMENT))


def _essence(described: Any) -> Any:
    """Return metadata without the consolidated copies that groups hold."""
    return {k: v for k, v in described.items() if k != "consolidated_metadata"} if isinstance(described, dict) else None


def _checked_shards(path: Path, manifest: Manifest, split: str) -> Iterator[tuple[int, int, bytes, str]]:
    """Yield start and stop of each block, its computed digests, and a problem (empty if there is none)."""
    for start, stop in shard_ranges(manifest.samples[split], rows_at_once(manifest)):
        rows = slice(start, stop)
        computed = b""
        try:
            group = open_split(path, split, arrays_of(manifest, split))
            computed = b"".join(digest.leaves(manifest.task, read_rows(group, manifest.task.fields, rows)))
            stored = np.asarray(group[LEAF_FIELD.name][rows]).tobytes()
            problem = "" if stored == computed else _differing(stored, computed, start)
        except Exception as error:  # damaged objects make codecs raise errors of any kind
            problem = f"cannot be read: {_reason(error)}"
        yield start, stop, computed, problem


def _differing(stored: bytes, computed: bytes, start: int) -> str:
    pairs = zip(np.frombuffer(stored, "V32"), np.frombuffer(computed, "V32"), strict=True)
    wrong = [start + i for i, (a, b) in enumerate(pairs) if a != b]
    return f"{len(wrong)} samples differ from their digest, the first is {wrong[0]}"


def _constant_problems(path: Path, manifest: Manifest, split: str) -> list[str]:
    try:
        values = constants(path, manifest, split)
    except Exception as error:
        return [f"{split}: fields without samples cannot be read: {_reason(error)}"]
    return [f"{split}: {problem}" for problem in array_problems(manifest.task, manifest.sizes, values, samples=False)]


def constants(path: Path, manifest: Manifest, split: str) -> dict[str, np.ndarray]:
    """Read the fields without a sample axis.

    Args:
        path: the dataset.
        manifest: its manifest.
        split: name of the split.
    """
    group = open_split(path, split, arrays_of(manifest, split))
    names = [field.name for field in manifest.task.fields if not field.per_sample]
    return {name: np.asarray(group[name][...]) for name in names}


def _root_problems(path: Path, manifest: Manifest, splits: dict[str, str]) -> Iterator[str]:
    """Yield differences of the root digest. The constants of every split must give the same one."""
    for split in manifest.splits:
        values = constants(path, manifest, split)
        root = digest.root(manifest.task.name, manifest.task.version, values, splits)
        if root != manifest.root_digest:
            yield f"root digest with the constants of {split} {root}, but the metadata say {manifest.root_digest}"


def _reason(error: Exception) -> str:
    """Describe an error of a read. A UserError is raised again: a link that leads out of the store is not damage."""
    if isinstance(error, UserError):
        raise error
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]

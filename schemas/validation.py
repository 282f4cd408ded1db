"""Checks of a stored dataset: structure and values (`validate`), and every bit against the digests (`verify`)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from schemas import digest
from schemas.array_checks import array_problems
from schemas.manifest import Manifest, read_manifest
from schemas.runtime.documents import parse_json
from schemas.runtime.errors import UserError
from schemas.runtime.publish import inside, read
from schemas.store import LEAF, open_split, read_rows, shard_ranges
from schemas.task import Field, find_task, task_names

type Progress = Callable[[int], None]


def validate(path: Path) -> list[str]:
    """Check the structure and the values of a dataset.

    Args:
        path: the dataset.

    Returns:
        One line per problem; an empty list if there is none.

    Raises:
        UserError: the path holds no dataset.
    """
    manifest = read_manifest(path)
    found = _task_problems(manifest)
    for split in manifest.splits:
        found += _split_problems(path, manifest, split)
        found += _constant_problems(path, manifest, split)
    return found + list(_consolidated_problems(path, manifest))


def _task_problems(manifest: Manifest) -> list[str]:
    """Return the differences between the stored fields and the task of this version."""
    task = manifest.task
    if task.name not in task_names():
        return [f"task {task.name}: this version has no such task"]
    known = find_task(task.name)
    if known.version.split(".")[0] != task.version.split(".")[0]:
        return [f"task {task.name}: version {task.version}, but this version of drybeam has {known.version}"]
    declared = [field.identity for field in known.fields]
    return [f"{f.name}: differs from its declaration in the task" for f in task.fields if f.identity not in declared]


def _split_problems(path: Path, manifest: Manifest, split: str) -> Iterator[str]:
    """Yield the problems of the arrays of a split, and of their values."""
    try:
        group = open_split(path, split)
    except Exception as error:
        yield f"{split}: the group cannot be read ({_reason(error)})"
        return
    for field in (*manifest.task.fields, LEAF):
        for problem in _array_problems(group, field, manifest, split):
            yield f"{split}/{field.name}: {problem}"
    if _length_problem(path, manifest, split):
        return
    for start, stop in shard_ranges(manifest.samples[split], manifest.layout.shard):
        try:
            values = read_rows(group, manifest.task.fields, slice(start, stop))
        except Exception as error:
            yield f"{split} samples {start}:{stop}: cannot be read ({_reason(error)})"
            continue
        for problem in array_problems(manifest.task, manifest.sizes, values):
            yield f"{split} samples {start}:{stop}: {problem}"


def _array_problems(group: zarr.Group, field: Field, manifest: Manifest, split: str) -> Iterator[str]:
    """Yield the problems of the metadata of one array."""
    try:
        array = group[field.name]
    except Exception as error:
        yield f"cannot be opened ({_reason(error)})"
        return
    shape = field.shape({**manifest.sizes, "byte": digest.LEAF_BYTES})
    if field.per_sample:
        shape = (manifest.samples[split], *shape)
    if not isinstance(array, zarr.Array):
        yield "is not an array"
        return
    if array.shape != shape:
        yield f"shape {array.shape}, must be {shape}"
    if array.dtype != np.dtype(field.dtype):
        yield f"dtype {array.dtype}, must be {field.dtype}"
    named = array.metadata.dimension_names or ()  # type: ignore[union-attr]  # a single value has none
    if named != field.dims:
        yield f"dimensions {named}, must be {field.dims}"
    for key, value in {"units": field.units, "role": field.role}.items():
        if array.attrs.get(key) != value:
            yield f"{key} {array.attrs.get(key)!r}, must be {value!r}"


def verify(path: Path, progress: Progress = lambda _: None) -> list[str]:
    """Compare every sample of a dataset with the stored digests.

    Args:
        path: the dataset.
        progress: called with the number of samples after each shard.

    Returns:
        One line per difference; an empty list if there is none.

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
        group = open_split(path, split)
        names = [field.name for field in (*manifest.task.fields, LEAF) if field.per_sample]
        wrong = [name for name in names if group[name].shape[0] != n]  # type: ignore[union-attr]
    except Exception as error:
        return f"{split}: cannot be opened ({_reason(error)})"
    return f"{split}: {', '.join(wrong)}: must have {n} samples" if wrong else ""


def _consolidated_problems(path: Path, manifest: Manifest) -> Iterator[str]:
    """Yield differences between consolidated metadata, which readers such as xarray trust, and those of the arrays."""
    for group in ("", *manifest.splits):
        try:
            copies = _described(path, group)["consolidated_metadata"]["metadata"]
        except (KeyError, TypeError) as error:
            yield f"{group or 'root'}: consolidated metadata cannot be read ({_reason(error)})"
            continue
        for key, copy in copies.items():
            if _essence(copy) != _essence(_described(path, f"{group}/{key}".strip("/"))):
                yield f"{group or 'root'}: consolidated metadata of {key} differ from those of the array"


def _described(path: Path, name: str) -> Any:
    """Return the metadata of an array or a group ("" for the root); None if they are missing or damaged."""
    return parse_json(read(inside(path, Path(name, "zarr.json"))))


def _essence(described: Any) -> Any:
    """Return metadata without the consolidated copies that groups hold."""
    return {k: v for k, v in described.items() if k != "consolidated_metadata"} if isinstance(described, dict) else None


def _checked_shards(path: Path, manifest: Manifest, split: str) -> Iterator[tuple[int, int, bytes, str]]:
    """Yield start and stop of each shard, its computed digests, and a problem (empty if there is none)."""
    for start, stop in shard_ranges(manifest.samples[split], manifest.layout.shard):
        rows = slice(start, stop)
        computed = b""
        try:
            group = open_split(path, split)
            computed = b"".join(digest.leaves(manifest.task, read_rows(group, manifest.task.fields, rows)))
            stored = np.asarray(group[LEAF.name][rows]).tobytes()  # type: ignore[index]
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
    group = open_split(path, split)
    names = [field.name for field in manifest.task.fields if not field.per_sample]
    return {name: np.asarray(group[name][...]) for name in names}  # type: ignore[index]


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

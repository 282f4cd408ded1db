"""Storage of measurements as a dataset without a recipe: all samples are in the split `test`, unless asked otherwise.

The store is written beside its place and then renamed. If the process is killed, there is either no store or all of it.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from schemas import digest
from schemas.exchange.measurements import Measurement
from schemas.layout import choose_layout
from schemas.manifest import FORMAT, Manifest, read_manifest, receipts_of
from schemas.runtime import destinations
from schemas.runtime.errors import UserError
from schemas.runtime.locks import claimed, writable
from schemas.runtime.machine import versions
from schemas.runtime.publish import entries, exists, publish_folder, read, recover
from schemas.store import LEAF_FIELD, encoded, metadata, shard_ranges

type Splits = Mapping[str, int]  # by split, its number of samples
PACKAGES = ("drybeam", "numpy", "zarr", "tifffile", "h5py", "mrcfile", "scipy", "rosettasciio")


def split_samples(measurement: Measurement, validation: int | None, test: int | None) -> dict[str, int]:
    """Return the number of samples in each split that has any, in the order of the samples.

    Args:
        measurement: the measurement.
        validation: number of samples for validation; None: 0.
        test: number of samples for tests. If it is also None, all are; otherwise None means 0, and the first samples,
            which neither of the two takes, are for training.

    Raises:
        UserError: there are not so many samples, or they have no targets.
    """
    count = measurement.samples
    if validation is None and test is None:
        return {"test": count}
    options = [f"--{n} {v}" for n, v in (("validation", validation), ("test", test)) if v is not None]
    if not measurement.task.of("target"):
        raise UserError(f"{' '.join(options)}: only samples with targets can be parted; give them in --from")
    rest = count - (validation or 0) - (test or 0)
    if rest < 0:
        raise UserError(f"{' '.join(options)}: there are only {count} samples; give smaller numbers")
    splits = {"train": rest, "validation": validation or 0, "test": test or 0}
    return {name: samples for name, samples in splits.items() if samples}


def store(
    measurement: Measurement, out: Path, splits: Splits | None = None, *, overwrite: bool = False
) -> tuple[Manifest, bool]:
    """Write a measurement as a dataset. If the same measurement is already there, nothing is written.

    Args:
        measurement: the measurement.
        out: place of the dataset.
        splits: by split, its number of samples, from `split_samples`; None: all are in the split test.
        overwrite: replace another import of the same files. Other measurements are never replaced, because they could
            not be made again.

    Returns:
        The manifest of the dataset, and True if it was written now.

    Raises:
        UserError: the place holds something else, or cannot be written.
        Interrupted: the disk is full, or another command has taken the place meanwhile.
    """
    stored = _leaves(measurement, splits or {"test": measurement.samples})
    manifest = _manifest(measurement, stored)
    with writable("--out", out), claimed("--out", out, lambda: _refuse_foreign(out), by="another `dataset import`"):
        return _store(measurement, manifest, stored, out, overwrite=overwrite)


def _leaves(measurement: Measurement, splits: Splits) -> dict[str, bytes]:
    """Return the digests of the samples of each split."""
    leaves = digest.leaves(measurement.task, measurement.arrays)
    return {name: b"".join(islice(leaves, samples)) for name, samples in splits.items()}


def _store(
    measurement: Measurement, manifest: Manifest, leaves: Mapping[str, bytes], out: Path, *, overwrite: bool
) -> tuple[Manifest, bool]:
    """Write the dataset unless the same one is stored there already."""
    recover(out)
    _refuse_foreign(out)
    root = read(out / "zarr.json")
    if root is not None:
        stored = read_manifest(out, incomplete=True)
        if _same(stored, manifest):
            return stored, False
        _refuse_loss(out, stored, manifest, overwrite=overwrite)
    publish_folder(out, _objects(manifest, measurement, leaves), replaced=lambda old: read(old / "zarr.json") == root)
    return manifest, True


def _manifest(measurement: Measurement, leaves: Mapping[str, bytes]) -> Manifest:
    task = measurement.task
    samples = {name: len(digest.as_array(parts)) for name, parts in leaves.items()}
    splits = {name: digest.split(samples[name], [parts]) for name, parts in leaves.items()}
    return Manifest(
        format=FORMAT,
        task=task,
        sizes=measurement.sizes,
        samples=samples,
        origin="measured",
        seed=None,
        recipe=None,
        settings={},
        generator_version=None,
        platform="",
        packages=versions(PACKAGES),
        layout=choose_layout(task, measurement.sizes, 0.0),
        status="complete",
        root_digest=digest.root(task.name, task.version, measurement.constants, splits),
        split_digests=splits,
        sources=measurement.sources,
    )


def _objects(manifest: Manifest, measurement: Measurement, leaves: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield all objects with their keys, the root last."""
    described = metadata(manifest)
    first = 0
    for split, samples in manifest.samples.items():
        arrays = {name: values[first : first + samples] for name, values in measurement.arrays.items()}
        arrays[LEAF_FIELD.name] = digest.as_array(leaves[split])
        for name, values in arrays.items():
            parameter = name == LEAF_FIELD.name or manifest.task[name].role == "parameter"
            length = manifest.layout.block if parameter else manifest.layout.shard
            for start, stop in shard_ranges(samples, length):
                yield from encoded(described, start, {f"{split}/{name}": values[start:stop]})
        for name, values in measurement.constants.items():
            yield from encoded(described, 0, {f"{split}/{name}": values})
        first += samples
    yield from sorted(described.items(), key=lambda item: -item[0].count("/"))


def _same(stored: Manifest, asked: Manifest) -> bool:
    keys = ("origin", "status", "task", "root_digest", "sources")
    return all(getattr(stored, key) == getattr(asked, key) for key in keys)


def _refuse_foreign(out: Path) -> None:
    """Refuse a place that holds files but no dataset, or that `generate` uses."""
    destinations.refuse_file("--out", out)
    if exists(receipts_of(out)):
        raise UserError(f"--out {out}: holds a dataset made by `generate`; choose another place")
    if read(out / "zarr.json") is None and entries(out):
        raise UserError(f"--out {out}: holds files that do not belong to a dataset; choose another place")


def _refuse_loss(out: Path, stored: Manifest, asked: Manifest, *, overwrite: bool) -> None:
    """Raise UserError if a stored dataset must not be replaced."""
    if stored.origin != "measured":
        raise UserError(f"--out {out}: holds a dataset made by `generate`; choose another place")
    if {source.sha256 for source in stored.sources} - {source.sha256 for source in asked.sources}:
        raise UserError(
            f"--out {out}: holds a measurement from other files, which would be lost; "
            "choose another place, or remove it yourself"
        )
    if not overwrite:
        raise UserError(f"--out {out}: holds another import of these files; choose another place, or use --overwrite")
    destinations.refuse_foreign_files("--out", out, metadata(stored).keys(), "dataset import")

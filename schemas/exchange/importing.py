"""Storage of measurements as a dataset: one split, `test`, without targets and without a recipe.

The store is written beside its place and then renamed. If the process is killed, there is either no store or all of it.
"""

from collections.abc import Iterator
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

IMPORT_SPLIT = "test"
PACKAGES = ("drybeam", "numpy", "zarr", "tifffile", "h5py", "mrcfile", "scipy", "rosettasciio")


def store(measurement: Measurement, out: Path, *, overwrite: bool = False) -> tuple[Manifest, bool]:
    """Write a measurement as a dataset. If the same measurement is already there, nothing is written.

    Args:
        measurement: the measurement.
        out: place of the dataset.
        overwrite: replace another import of the same files. Other measurements are never replaced, because they could
            not be made again.

    Returns:
        The manifest of the dataset, and True if it was written now.

    Raises:
        UserError: the place holds something else, or cannot be written.
        Interrupted: the disk is full, or another command has taken the place meanwhile.
    """
    leaves = b"".join(digest.leaves(measurement.task, measurement.arrays))
    manifest = _manifest(measurement, leaves)
    with writable("--out", out), claimed("--out", out, lambda: _refuse_foreign(out), by="another `dataset import`"):
        return _store(measurement, manifest, leaves, out, overwrite=overwrite)


def _store(
    measurement: Measurement, manifest: Manifest, leaves: bytes, out: Path, *, overwrite: bool
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


def _manifest(measurement: Measurement, leaves: bytes) -> Manifest:
    task, samples = measurement.task, measurement.samples
    splits = {IMPORT_SPLIT: digest.split(samples, [leaves])}
    return Manifest(
        format=FORMAT,
        task=task,
        sizes=measurement.sizes,
        samples={IMPORT_SPLIT: samples},
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


def _objects(manifest: Manifest, measurement: Measurement, leaves: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield all objects with their keys, the root last."""
    described = metadata(manifest)
    arrays = {**measurement.arrays, **measurement.constants}
    arrays[LEAF_FIELD.name] = digest.as_array(leaves)
    for name, values in arrays.items():
        prefix = f"{IMPORT_SPLIT}/{name}"
        whole = name in measurement.constants
        parameter = name == LEAF_FIELD.name or (not whole and manifest.task[name].role == "parameter")
        length = manifest.layout.block if parameter else manifest.layout.shard
        cuts = [(0, values)] if whole else [(a, values[a:b]) for a, b in shard_ranges(len(values), length)]
        for start, rows in cuts:
            yield from encoded(described, start, {prefix: rows})
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

"""Measurements as a dataset: one split, `test`, without targets and without a recipe.

The store is written beside its place and renamed whole: a process killed at any moment leaves none, or all of it.
"""

from collections.abc import Iterator
from pathlib import Path

from schemas import digest
from schemas.exchange.measurements import Measurement
from schemas.layout import choose
from schemas.manifest import FORMAT, Manifest, read_manifest, receipts_of
from schemas.runtime import destinations
from schemas.runtime.errors import UserError
from schemas.runtime.machine import versions
from schemas.runtime.publish import claimed, entries, exists, publish_folder, read, recover, writable
from schemas.store import LEAF, encoded, metadata, shard_ranges

SPLIT = "test"
PACKAGES = ("drybeam", "numpy", "zarr", "tifffile", "h5py", "mrcfile", "scipy", "rosettasciio")


def store(measurement: Measurement, out: Path, *, overwrite: bool = False) -> tuple[Manifest, bool]:
    """Write a measurement; returns what stands there, and whether it was written now.

    The same measurement again is left alone. UserError: the place holds something else. `overwrite` replaces another
    import of the same files only: no other measurement can be made again.
    """
    leaves = b"".join(digest.leaves(measurement.task, measurement.arrays))
    manifest = _manifest(measurement, leaves)
    with writable("--out", out), claimed("--out", out, lambda: _refuse_foreign(out)):
        return _store(measurement, manifest, leaves, out, overwrite=overwrite)


def _store(
    measurement: Measurement, manifest: Manifest, leaves: bytes, out: Path, *, overwrite: bool
) -> tuple[Manifest, bool]:
    recover(out)
    _refuse_foreign(out)
    if read(out / "zarr.json") is not None:
        stored = read_manifest(out, incomplete=True)
        if _same(stored, manifest):
            return stored, False
        _refuse_loss(out, stored, manifest, overwrite=overwrite)
    publish_folder(out, _objects(manifest, measurement, leaves))
    return manifest, True


def _manifest(measurement: Measurement, leaves: bytes) -> Manifest:
    task, samples = measurement.task, measurement.samples
    splits = {SPLIT: digest.split(samples, [leaves])}
    return Manifest(
        format=FORMAT,
        task=task,
        sizes=measurement.sizes,
        samples={SPLIT: samples},
        origin="measured",
        seed=None,
        recipe=None,
        settings={},
        generator_version=None,
        platform="",
        packages=versions(PACKAGES),
        layout=choose(task, measurement.sizes, 0.0),
        status="complete",
        root_digest=digest.root(task.name, task.version, measurement.constants, splits),
        split_digests=splits,
        sources=measurement.sources,
    )


def _objects(manifest: Manifest, measurement: Measurement, leaves: bytes) -> Iterator[tuple[str, bytes]]:
    """All objects by key, the root last."""
    described = metadata(manifest)
    arrays = {**measurement.arrays, **measurement.constants}
    arrays[LEAF.name] = digest.as_array(leaves)
    for name, values in arrays.items():
        prefix = f"{SPLIT}/{name}"
        whole = name in measurement.constants
        parameter = name == LEAF.name or (not whole and manifest.task[name].role == "parameter")
        length = manifest.layout.block if parameter else manifest.layout.shard
        cuts = [(0, values)] if whole else [(a, values[a:b]) for a, b in shard_ranges(len(values), length)]
        for start, rows in cuts:
            yield from encoded(described, start, {prefix: rows})
    yield from sorted(described.items(), key=lambda item: -item[0].count("/"))


def _same(stored: Manifest, asked: Manifest) -> bool:
    keys = ("origin", "status", "task", "root_digest", "sources")
    return all(getattr(stored, key) == getattr(asked, key) for key in keys)


def _refuse_foreign(out: Path) -> None:
    """Whatever is there and no dataset is somebody else's, and so is a place that `generate` has claimed."""
    destinations.refuse_file("--out", out)
    if exists(receipts_of(out)):
        raise UserError(f"--out {out}: is a dataset made by generate; choose another place")
    if read(out / "zarr.json") is None and entries(out):
        raise UserError(f"--out {out}: holds files that are no dataset; choose another place")


def _refuse_loss(out: Path, stored: Manifest, asked: Manifest, *, overwrite: bool) -> None:
    if stored.origin != "measured":
        raise UserError(f"--out {out}: is a dataset made by generate; choose another place")
    if {source.sha256 for source in stored.sources} - {source.sha256 for source in asked.sources}:
        raise UserError(
            f"--out {out}: holds a measurement from other files, which this import could not make again; "
            "choose another place, or remove it yourself"
        )
    if not overwrite:
        raise UserError(f"--out {out}: holds another import of these files; choose another place, or --overwrite")
    destinations.refuse_strangers("--out", out, metadata(stored).keys(), "dataset import")

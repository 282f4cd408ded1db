"""The store that a plan is written into: it is made, continued, extended or refused before any sample is made.

The root metadata is published first. From then on the folder belongs to the plan, and a run killed at any moment can be
resumed. Only `--overwrite` removes a dataset, and only one that `generate` has written itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from zarr.errors import BaseZarrError as ZarrError

from generators.engine import finished_slices, receipts, shards
from generators.engine.plan import RECEIPT_FOLDER, SLICE_FOLDER, Job, Plan
from generators.engine.provenance import packages
from schemas import digest
from schemas.manifest import Manifest, read_manifest
from schemas.runtime import destinations
from schemas.runtime.documents import parse_json
from schemas.runtime.errors import Interrupted, UserError, differences
from schemas.runtime.locks import Busy, claimed, writable
from schemas.runtime.publish import (
    create,
    entries,
    inside,
    is_folder,
    publish,
    publish_if_changed,
    read,
    remove,
    set_aside,
    sweep,
    sweep_removed,
)
from schemas.runtime.settings import files_of, flatten
from schemas.store import LEAF_FIELD, encoded, metadata, open_split

FORMER_LOCK_NAME = "claim.lock"  # older versions may have left this file among the receipts
COMMAND = "generate"
# Folders of a run, and the names of their files.
RUN_FOLDERS = {RECEIPT_FOLDER: receipts.FILE_NAME, SLICE_FOLDER: finished_slices.FILE_NAME}


def prepare(plan: Plan, *, shard_samples: int | None = None, overwrite: bool = False) -> Plan:
    """Return the plan as it will be carried out: with the stored layout, if there is a store to continue.

    Nothing is written.

    Args:
        plan: the plan
        shard_samples: shard length that the user asked for, if any
        overwrite: True if the dataset that is there will be replaced

    Raises:
        UserError: the place holds something else, or the stored dataset differs in recipe, size, layout or bits
    """
    _refuse_foreign(plan, overwrite=overwrite)
    if overwrite:
        return plan
    stored = None if read(plan.out / "zarr.json") is None else read_manifest(plan.out, incomplete=True)
    if stored:
        _refuse_difference(plan, stored)
    layout = stored.layout if stored else receipts.layout(plan)
    if layout is None:
        return plan
    if shard_samples not in (None, layout.shard):
        raise UserError(f"--shard-samples {shard_samples}: {plan.out} has shards of {layout.shard} samples; omit it")
    kept = {"packages": stored.packages, "accuracy": stored.accuracy} if stored else {}
    plan = replace(plan, manifest=plan.manifest.model_copy(update={"layout": layout, **kept}))
    _refuse_other_bits(plan, stored or plan.manifest)
    return plan


def claim(plan: Plan, *, shard_samples: int | None = None, overwrite: bool = False) -> Plan:
    """Write the metadata of a store, root first, and so make the place the plan's own.

    Another client may have claimed the place since `prepare`, so all is decided again, by one client at a time.

    Args:
        plan: the plan
        shard_samples: shard length that the user asked for, if any
        overwrite: replace the dataset that is there

    Returns:
        the plan, with the stored layout

    Raises:
        UserError: as `prepare`, or the place cannot be written, or another client makes another plan there
        Interrupted: the disk is full
    """

    def refuse() -> None:
        _refuse_foreign(plan, overwrite=overwrite)

    if not overwrite and _is_claimed(plan):
        sweep_removed(plan.out)
        return plan
    try:
        with writable("--out", plan.out), claimed("--out", plan.out, refuse, by="another `generate`"):
            if overwrite:
                _remove(plan)
            sweep_removed(plan.out)
            made = prepare(plan, shard_samples=shard_samples)
            _publish(made)
    except Busy:
        made = plan if overwrite else prepare(plan, shard_samples=shard_samples)
        if overwrite or not _is_claimed(made):
            raise
    return made


def _is_claimed(plan: Plan) -> bool:
    """Return True if the place holds all metadata and constants of a plan, so that nothing has to be written."""
    if read(plan.out / "zarr.json") is None or not read_manifest(plan.out, incomplete=True).same_plan(plan.manifest):
        return False
    objects = metadata(plan.manifest) | constants(plan)
    found = ((key, read(inside(plan.out, key)), data) for key, data in objects.items() if key != "zarr.json")
    return all(there == data or (there is not None and _is_group(key)) for key, there, data in found)


def remove_objects(plan: Plan, jobs: Sequence[Job]) -> None:
    """Remove the objects of jobs that are not done, so that they can be made again.

    Args:
        plan: the plan
        jobs: its jobs; another client may have done them meanwhile

    Raises:
        Interrupted: another client has changed the plan meanwhile
    """
    with plan.alone():
        for job in jobs:
            if not receipts.is_done(job):
                for key in job.object_keys():
                    remove(inside(plan.out, key))


def _publish(plan: Plan) -> None:
    """Write the metadata and constants of a store, the root first. Unchanged objects stay as they are."""
    objects = metadata(plan.manifest)
    root = objects.pop("zarr.json")
    new = read(plan.out / "zarr.json") is None
    changed = new or not read_manifest(plan.out, incomplete=True).same_plan(plan.manifest)
    if new and not create(inside(plan.out, "zarr.json"), root, durable=True):
        raise Interrupted(f"{plan.out}: another `generate` has taken this place meanwhile; run the same command again")
    if changed and not new:
        publish(inside(plan.out, "zarr.json"), root, durable=True)
    sweep(plan.out)
    for key, data in objects.items():
        if changed or not _is_group(key):
            publish_if_changed(inside(plan.out, key), data)
        elif read(plan.out / key) is None:  # not rewritten: the groups of a complete store say that it is complete
            publish(inside(plan.out, key), data)
    for key, data in constants(plan).items():
        publish_if_changed(inside(plan.out, key), data)


def _is_group(key: str) -> bool:
    return key.count("/") == 1  # train/zarr.json is a group, train/intensity/zarr.json an array


def constants(plan: Plan) -> dict[str, bytes]:
    """Return the objects of the fields without a sample axis, by key.

    Args:
        plan: the plan

    Raises:
        UserError: the task returns other fields than its schema has
    """
    values = shards.constants(plan)
    described = shards.described(plan)
    return {
        key: data
        for split in plan.manifest.splits
        for key, data in encoded(described, 0, {f"{split}/{name}": array for name, array in values.items()})
    }


def _remove(plan: Plan) -> None:
    """Set the dataset at a place aside, and remove its receipts and finished slices."""
    set_aside(plan.out)
    for folder in RUN_FOLDERS:
        for path in entries(plan.run / folder):
            remove(path)


def _refuse_foreign(plan: Plan, *, overwrite: bool) -> None:
    """Refuse a place unless it is free, or holds a dataset that `generate` has written.

    A folder of receipts proves nothing about the folder beside it. A dataset to be overwritten must hold nothing else.
    """
    destinations.refuse_file("--out", plan.out)
    if other := next(_strangers(plan), None):
        raise UserError(f"--out {plan.out}: {other} is not a receipt; move it away, or choose another place")
    if not is_folder(plan.out):
        return
    if read(plan.out / "zarr.json") is None:
        _refuse_without_root(plan)
        return
    stored = read_manifest(plan.out, incomplete=True)
    if stored.origin != "simulated":
        raise UserError(f"--out {plan.out}: holds measurements, which cannot be made again; choose another place")
    if overwrite:
        destinations.refuse_foreign_files("--out", plan.out, metadata(stored).keys(), COMMAND)
        _refuse_inputs(plan)


def _refuse_inputs(plan: Plan) -> None:
    """Refuse to overwrite a dataset that holds input files of the recipe."""
    there = plan.out.resolve()
    if needed := next((path for path in files_of(plan.recipe) if path.resolve().is_relative_to(there)), None):
        raise UserError(f"--out {plan.out}: holds {needed}, which this recipe reads; choose another place")


def _strangers(plan: Plan) -> Iterator[Path]:
    """Yield the files in the folder of receipts that are not receipts or finished slices."""
    yield from (path for path in entries(plan.run) if path.name not in (*RUN_FOLDERS, FORMER_LOCK_NAME))
    yield from (path for path in (plan.run, *(plan.run / name for name in RUN_FOLDERS)) if path.is_symlink())
    for folder, name in RUN_FOLDERS.items():
        yield from (path for path in entries(plan.run / folder) if not name.fullmatch(path.name))


def _refuse_without_root(plan: Plan) -> None:
    """Refuse a folder without root metadata that holds anything but parts of this plan's dataset."""
    described = metadata(plan.manifest)
    destinations.refuse_foreign_files("--out", plan.out, described.keys(), COMMAND)
    metadata_there = {key: data for key in described if (data := read(plan.out / key)) is not None}
    other = next((key for key, data in metadata_there.items() if not _alike(data, described[key])), None)
    chunks = any(is_folder((plan.out / key).with_name("c")) for key in described)
    if other or (chunks and not _receipted(plan)):
        raise UserError(
            f"--out {plan.out}: {other or 'it'} is of another dataset, whose root is lost; move the folder away, "
            "or choose another place"
        )


def _receipted(plan: Plan) -> bool:
    """Return True if a receipt of this plan names objects that are there: only this dataset has their hashes."""
    layout = receipts.layout(plan)
    if layout is None:
        return False
    plan = replace(plan, manifest=plan.manifest.model_copy(update={"layout": layout}))
    found = ((job, receipts.load(job)) for job in plan.jobs())
    return any(receipt is not None and receipts.holds(job, receipt) for job, receipt in found)


def _alike(found: bytes, ours: bytes) -> bool:
    """Return True if metadata may be those of our array or group; damaged metadata are written again later."""
    try:
        content, expected = (parse_json(data)["attributes"] for data in (found, ours))
    except (KeyError, TypeError):
        return True
    return content == expected or set(content) == set(expected) == {"status"}


def _refuse_difference(plan: Plan, stored: Manifest) -> None:
    """Refuse to continue a dataset of other settings, or to make it smaller."""
    asked = plan.manifest
    changes = list(differences(_identity(stored), _identity(asked)))
    if stored.task.name != asked.task.name:
        changes = changes[:1]  # all other differences follow from it
    if changes:
        raise UserError(
            f"{plan.out} was made with other settings: {'; '.join(changes[:4])}; choose another --out, or --overwrite"
        )
    for split, n in stored.samples.items():
        if asked.samples.get(split, 0) < n:
            option = "--n" if split == "train" else f"--{split}"
            raise UserError(f"{option} {asked.samples[split]}: {plan.out} already has {n}; a dataset can only grow")


def _identity(manifest: Manifest) -> dict[str, Any]:
    """Return the values that must be the same for a dataset to be continued, by name."""
    return {
        "task": manifest.task.name,
        "schema": manifest.task.identity(),
        "seed": manifest.seed,
        "generator version": manifest.generator_version,
        "platform": manifest.platform,
        **dict(flatten(manifest.recipe or {})),
    }


def _refuse_other_bits(plan: Plan, stored: Manifest) -> None:
    """Make one finished sample again and compare, since another version of a library may change its bits.

    A sample that takes minutes is made again only if versions do differ.
    """
    if plan.stores_slices and stored.packages == packages():
        return
    for split, index, leaf in _finished(plan, stored):
        values = shards.make(plan, split, range(index, index + 1))
        if next(digest.leaves(plan.task, values)) != leaf:
            raise UserError(
                f"{plan.out}: this installation produces different bits for its samples (they were made with "
                f"{stored.packages}); finish it with those versions, or choose another --out"
            )
        return


def _finished(plan: Plan, stored: Manifest) -> Iterator[tuple[str, int, bytes]]:
    """Yield split, index and digest of samples that receipts, or the store itself, show to be finished."""
    before = replace(plan, manifest=plan.manifest.model_copy(update={"samples": stored.samples}))
    for job in before.jobs():
        receipt = receipts.load(job) if job.kind == "samples" else None
        if receipt:
            yield job.split, job.start, bytes.fromhex(receipt.leaves)[: digest.LEAF_BYTES]
    for split, n in stored.samples.items():
        if n and stored.status == "complete":
            with suppress(KeyError, ValueError, OSError, ZarrError):  # a damaged sample will be made again
                yield split, 0, np.asarray(open_split(plan.out, split)[LEAF_FIELD.name][0]).tobytes()


def unfinished(plan: Plan) -> int:
    """Return the number of samples without a receipt; whether receipts still hold is checked later, by `ensure`.

    Args:
        plan: the plan
    """
    jobs = (job for job in plan.jobs() if job.kind == "samples")
    if not is_folder(plan.run):
        return sum(plan.manifest.samples.values())
    return sum(job.stop - job.start for job in jobs if receipts.load(job) is None)

"""The end of a run: leaf digests, digests and statistics, all taken from the receipts."""

import math
from collections.abc import Iterable, Iterator

from generators.engine import receipts, shards
from generators.engine.plan import SLICE_FOLDER, Plan
from generators.engine.receipts import FieldSums, Receipt
from schemas import digest
from schemas.manifest import Manifest, Statistics
from schemas.runtime.destinations import CHUNK_KEY
from schemas.runtime.errors import Interrupted
from schemas.runtime.publish import inside, keys, publish_if_changed, read, remove, sweep
from schemas.store import LEAF_FIELD, encoded, metadata


def finalise(plan: Plan) -> Manifest:
    """Complete the store of a plan whose jobs are all done; the root metadata is written last and marks it complete.

    Every object is checked once more against its receipt, while this process alone may write.

    Args:
        plan: the plan

    Returns:
        the manifest of the complete dataset

    Raises:
        Interrupted: a receipt is missing, an object has changed, or another client has changed the plan meanwhile
    """
    with plan.alone():
        receipts.refuse_broken(plan)
        return _complete(plan)


def _complete(plan: Plan) -> Manifest:
    splits = {split: _leaves(plan, split) for split in plan.manifest.splits}
    root = digest.root(plan.task.name, plan.task.version, shards.constants(plan), splits)
    update = {"status": "complete", "root_digest": root, "split_digests": splits, "statistics": _statistics(plan)}
    manifest = plan.manifest.model_copy(update=update)
    objects = metadata(manifest)
    for key in sorted(objects, key=lambda key: -key.count("/")):  # the root comes last
        publish_if_changed(inside(plan.out, key), objects[key], durable=key == "zarr.json")
    if read(plan.out / "zarr.json") != objects["zarr.json"]:  # possible only where the file system has no locks
        raise Interrupted(f"{plan.out}: changed by another `generate` meanwhile; run the same command again")
    remove(plan.run / SLICE_FOLDER)
    receipts.sweep_old(plan)
    _sweep_chunks(plan)
    for folder in (plan.out, plan.run):
        sweep(folder)
    return manifest


def _sweep_chunks(plan: Plan) -> None:
    """Remove the chunks of our arrays that lie beyond them, which writers that came too late have left."""
    own = {key for job in plan.jobs() for key in job.object_keys()}
    arrays = {key.partition("/c/")[0] for key in own}
    for key in keys(plan.out):
        if key not in own and key.partition("/c/")[0] in arrays and CHUNK_KEY.fullmatch(key):
            remove(inside(plan.out, key))


def _leaves(plan: Plan, split: str) -> str:
    """Write the leaf digests of a split, and return the digest of the split."""
    rows = plan.manifest.layout.block
    pieces = (bytes.fromhex(receipt.leaves) for receipt in _receipts(plan, split))

    def written() -> Iterator[bytes]:
        for index, block in enumerate(_blocks(pieces, rows * digest.LEAF_BYTES)):
            leaves = {f"{split}/{LEAF_FIELD.name}": digest.as_array(block)}
            for key, data in encoded(shards.described(plan), index * rows, leaves):
                publish_if_changed(inside(plan.out, key), data)
            yield block

    return digest.split(plan.manifest.samples[split], written())


def _blocks(pieces: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Yield the same bytes in blocks of one length; the last block may be shorter."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= length:
            yield bytes(buffer[:length])
            del buffer[:length]
    if buffer:
        yield bytes(buffer)


def _receipts(plan: Plan, split: str) -> Iterator[Receipt]:
    """Yield the receipts of all shards of a split, in order."""
    for job in plan.jobs():
        if job.split == split and job.kind == "samples":
            receipt = receipts.load(job)
            if receipt is None:
                raise Interrupted(f"{plan.out}: the receipt of {job} is missing; run the same command again")
            yield receipt


def _statistics(plan: Plan) -> dict[str, Statistics]:
    """Return the statistics of each field, from the receipts of the first training samples."""
    rows: dict[str, list[FieldSums]] = {}
    for receipt in _receipts(plan, "train"):
        if not receipt.moments:
            break
        for name, moments in receipt.moments.items():
            rows.setdefault(name, []).extend(moments)
    return {name: _combine(moments) for name, moments in rows.items()}


def _combine(rows: list[FieldSums]) -> Statistics:
    """Combine the sums of samples, with exact sums (fsum), so the result depends on no order or grouping."""
    count = sum(row.count for row in rows)
    mean = math.fsum(row.sum for row in rows) / count
    variance = math.fsum(row.squares for row in rows) / count - mean**2
    return Statistics(
        samples=len(rows),
        mean=mean,
        std=math.sqrt(max(variance, 0.0)),
        min=min(row.min for row in rows),
        max=max(row.max for row in rows),
    )

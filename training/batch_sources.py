"""Sources of the batches of a run: the fields that it reads from a split, and their order, in memory or not."""

from dataclasses import replace

from jax.sharding import Mesh

from schemas import slices
from training import batches, devices
from training.augmentation import refuse_asymmetric_constants, symmetries
from training.batches import BatchSource, Resident, Split, Stream
from training.contract import Symmetry
from training.run import Run
from training.sample_order import Order, block_length


def open_sources(run: Run, mesh: Mesh) -> tuple[BatchSource, BatchSource | None]:
    """Return the sources of the training and of the validation samples; None if there are no validation samples."""
    training = _open_source(run, mesh, "train", run.recipe.seed)
    return training, _open_source(run, mesh, "validation", None) if run.manifest.samples.get("validation") else None


def _open_source(run: Run, mesh: Mesh, split: str, seed: int | None) -> BatchSource:
    """Return the batches of a split, from memory or from the store."""
    data, order, nbytes = plan_reading(run, split, seed)
    if run.recipe.augment and seed is not None:
        refuse_asymmetric_constants(run.features, {k: v for k, v in data.read_constants().items() if not data.cuts(k)})
    total_bytes = nbytes * (order.n // order.parts)
    resident = run.mode == "resident" or (run.mode == "auto" and devices.fits_in_memory(total_bytes))
    if resident:
        return Resident(data, order, mesh)
    data.read(batches.rows_of_block(data, order, order.blocks(0)[0]))  # raises UserError if the first block is damaged
    return Stream(data, order, mesh)


def plan_reading(run: Run, split: str, seed: int | None) -> tuple[Split, Order, int]:
    """Return the fields that a run reads from a split, and the order of its rows.

    Args:
        run: the run.
        split: name of the split.
        seed: seed of the order; None: the stored order.

    Returns:
        The fields of the split, the order of its rows, and the number of bytes of a sample.
    """
    task, sizes = run.crop.task if run.crop else run.features.task, run.manifest.sizes
    crop = replace(run.crop, seed=seed) if run.crop else None
    moved = [name for one in symmetries(run.features) if isinstance(one, Symmetry) for name in one.fields]
    targets = [target.name for target in run.features.targets]
    names = dict.fromkeys([*run.features.reads, *targets, *(moved if run.recipe.augment else [])])
    per_row = [task[name] for name in names if task[name].per_sample]
    constants = tuple(name for name in names if not task[name].per_sample)
    of_sample = slices.slices_per_sample(run.manifest.task, sizes)
    nbytes, rows = of_sample * sum(field.nbytes(sizes) for field in per_row), of_sample * (crop.parts if crop else 1)
    count = run.manifest.samples[split]
    used = run.recipe.used_samples(count) if split == "train" else range(count)
    batch, block = run.recipe.batch_size, rows * block_length(nbytes)
    order = Order(rows * len(used), batch, seed, block, rows * used.start, nbytes, rows)
    fields = tuple(field.name for field in per_row)
    digest = run.manifest.split_digests.get(split, "")
    return Split(run.data, split, fields, constants, run.manifest.task, of_sample, crop, digest), order, nbytes

"""Places of samples on a map where similar samples lie near each other: principal components, or t-SNE after them.

Images are reduced to at most SIDE pixels along each axis by means over pixels, so that a map shows large structures and
not noise. t-SNE (van der Maaten and Hinton, J. Mach. Learn. Res. 9 (2008) 2579) keeps neighbours together; distances
between groups mean nothing there. Outliers are found before it, in the space of the principal components.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from physics.pixel_integration import integrate_pixels
from schemas.manifest import Manifest, read_manifest
from schemas.runtime.errors import UserError, suggestion
from schemas.runtime.publish import reading
from schemas.slices import fold
from schemas.store import open_split
from schemas.task import SAMPLE

SIDE = 48  # most pixels of an image along each axis
MAX_DIMENSIONS = 50  # principal components that t-SNE and the search for outliers see
NEIGHBOUR = 10  # an outlier is far from the sample that is so near to it

type Method = Literal["tsne", "pca"]


@dataclass(frozen=True)
class Settings:
    """Settings of a map."""

    method: Method = "tsne"
    components: int = 2
    perplexity: float = 30.0
    learning_rate: float | None = None  # None: samples / exaggeration / 4, at least 50
    exaggeration: float = 12.0
    iterations: int = 1000
    seed: int = 0
    alone: bool = False  # whether each image is scaled to mean 0 and deviation 1 by itself


@dataclass(frozen=True)
class Part:
    """Samples of one store."""

    path: Path
    split: str
    images: np.ndarray  # (row, y, x), or (row, value); a row is a sample, or a slice of one
    sampled: np.ndarray  # (row,), number of the sample of each row
    parameters: Mapping[str, np.ndarray]  # by name, (row,)


@dataclass(frozen=True)
class Map:
    """Places of samples, and how far each lies from the others."""

    parts: Sequence[Part]
    places: np.ndarray  # (row, component), of all parts one after another
    distance: np.ndarray  # (row,), to its tenth neighbour, relative to the median
    explained: float  # share of the variance that the principal components hold

    @property
    def store(self) -> np.ndarray:
        """Number of the store of each row (row,)."""
        return np.repeat(np.arange(len(self.parts)), [len(part.images) for part in self.parts])


def read_part(path: Path, split: str | None, name: str | None, count: int) -> Part:
    """Read the first samples of a store.

    Args:
        path: the dataset.
        split: its split; None: the first with samples.
        name: the field whose images are compared; None: the first input.
        count: most samples that are read.

    Raises:
        UserError: there is no such split or field, or it cannot be read.
    """
    manifest = read_manifest(path)
    split = split or manifest.first_split
    manifest.refuse_empty(path, split)
    name = name or manifest.task.of("input")[0].name
    known = {field.name: field for field in manifest.task.fields if field.per_sample and field.role != "digest"}
    if name not in known:
        raise UserError(f"--field {name}: {path} has no such field with a value per sample{suggestion(name, known)}")
    count = min(count, manifest.samples[split])
    told = [field.name for field in known.values() if field.role == "parameter"]
    with reading(f"{path}/{split}: the first {count} samples", "find damage with `dataset verify`"):
        group = open_split(path, split)
        read = {one: group.read(one, slice(0, count)) for one in dict.fromkeys([name, *told])}
    rows = fold(manifest.task, read, count, manifest.sizes)
    parameters = {one: rows[one] for one in told if rows[one].ndim == 1}
    sampled = np.repeat(np.arange(count), len(rows[name]) // count)
    return Part(path, split, _as_images(manifest, name, rows[name]), sampled, parameters)


def _as_images(manifest: Manifest, name: str, values: np.ndarray) -> np.ndarray:
    """Return values (row, ...) as images (row, channel, y, x) of at most SIDE pixels, or as (row, value)."""
    field = manifest.task.sliced[name]
    real = np.abs(values) if np.iscomplexobj(values) else np.asarray(values, np.float32)
    grid = manifest.task.spatial(field)
    if len(grid) != 2:
        return real.reshape(len(real), -1)
    dims = [dim for dim in field.dims if dim != SAMPLE]
    order = [1 + dims.index(dim) for dim in (*(dim for dim in dims if dim not in grid), *grid)]
    stack = real.transpose(0, *order)
    stack = stack.reshape(len(stack), -1, *stack.shape[-2:])
    return np.asarray(integrate_pixels(stack, (min(stack.shape[-2], SIDE), min(stack.shape[-1], SIDE))))


def draw_map(parts: Sequence[Part], how: Settings) -> Map:
    """Return the places of all samples.

    Args:
        parts: samples of each store.
        how: the settings.

    Raises:
        UserError: stores hold arrays of different kinds, or there are too few samples.
    """
    from sklearn.decomposition import PCA  # slow to import
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    values = _scaled(_alike(parts), alone=how.alone)
    count = len(values)
    least = how.components + 2
    if count < least:
        raise UserError(f"there are {count} samples; a map of {how.components} dimensions needs at least {least}")
    if how.method == "tsne" and how.perplexity >= count:
        raise UserError(f"--perplexity {how.perplexity:g}: must be below the number of samples, {count}")
    reduced = PCA(min(MAX_DIMENSIONS, count - 1, values.shape[1]), svd_solver="randomized", random_state=how.seed)
    found = reduced.fit_transform(values)
    if found.shape[1] < how.components:
        raise UserError(f"--components {how.components}: samples have only {found.shape[1]} values; give fewer")
    near = NearestNeighbors(n_neighbors=min(NEIGHBOUR + 1, count)).fit(found).kneighbors(found)[0][:, -1]
    middle = float(np.median(near))
    distance = near / middle if middle > 0 else np.ones(count)
    places = found[:, : how.components]
    if how.method == "tsne":
        tsne = TSNE(
            how.components,
            perplexity=how.perplexity,
            learning_rate=how.learning_rate or "auto",
            early_exaggeration=how.exaggeration,
            max_iter=how.iterations,
            init="pca",
            random_state=how.seed,
            method="barnes_hut" if how.components < 4 else "exact",
        )
        places = tsne.fit_transform(found)
    return Map(parts, np.asarray(places), np.asarray(distance), float(reduced.explained_variance_ratio_.sum()))


def _alike(parts: Sequence[Part]) -> np.ndarray:
    """Return the values of all samples (row, value), images with the pixels of the smallest ones."""
    shapes = [part.images.shape[1:] for part in parts]
    kinds = {(shape[0],) if len(shape) == 3 else ("values", *shape) for shape in shapes}
    if len(kinds) > 1:
        told = "; ".join(
            f"{part.path}: {' x '.join(map(str, shape))}" for part, shape in zip(parts, shapes, strict=True)
        )
        raise UserError(f"samples cannot be compared ({told}); give stores of one task, or another --field")
    if parts[0].images.ndim == 2:
        return np.concatenate([part.images for part in parts])
    smallest = tuple(min(part.images.shape[axis] for part in parts) for axis in (-2, -1))
    same = [integrate_pixels(part.images, (smallest[0], smallest[1])) for part in parts]
    return np.concatenate([images.reshape(len(images), -1) for images in same])


def _scaled(values: np.ndarray, *, alone: bool) -> np.ndarray:
    """Return values with mean 0 and deviation 1, of all samples together or of each."""
    values = np.nan_to_num(np.asarray(values, np.float64))
    axis = 1 if alone else None
    mean, deviation = values.mean(axis=axis, keepdims=True), values.std(axis=axis, keepdims=True)
    return np.asarray((values - mean) / np.where(deviation > 0, deviation, 1))

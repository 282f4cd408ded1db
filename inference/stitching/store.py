"""Images of whole scans, stitched from predicted patches: from a store of predictions to a store of images.

scan.zarr/zarr.json       what was stitched, how, and how each scan came out; consolidated metadata
scan.zarr/<target>/c/...  (scan, y, x); beside it `weight` and `component`, and the coordinates scan, y and x

All scans lie in one frame, that of their positions, so that they can be laid over the object that they were simulated
from. Predictions are read unit by unit and image after image is written: memory grows with one image alone.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from inference.stitching.image import Average, Blend, Image, Iterative, Read, Window, stitch
from inference.stitching.offsets import LeastSquares
from inference.stitching.patches import Canvas, Patches, corners, frame_of, relative
from schemas.predictions import Predictions, read_predictions, read_target
from schemas.runtime.destinations import refuse_strangers
from schemas.runtime.documents import Metadata
from schemas.runtime.errors import UserError, meant
from schemas.runtime.machine import versions
from schemas.runtime.publish import (
    claimed,
    entries,
    exists,
    publish_folder,
    reading,
    sha256,
    sha256_of_folder,
    writable,
)
from schemas.store import Array, describe, encoded, open_split, shard_ranges
from schemas.task import Field

FORMAT = 1
BESIDE = ("scan", "y", "x", "weight", "component")  # arrays beside the images
CHUNK = 1024  # pixels along each side, at most
NAMES: Mapping[type, Literal["least_squares", "iterative", "average"]] = {
    LeastSquares: "least_squares",
    Iterative: "iterative",
    Average: "average",
}
PACKAGES = ("drybeam", "numpy", "scipy", "numba", "zarr")

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True)
class Scans:
    """Where the patches of a split lie, one row per sample."""

    position: np.ndarray  # (sample, 2), y and x of pixel N//2 of the patch [nm]
    weight: np.ndarray  # (1 or sample, y, x): how much a patch's pixels count; `patches.tapered` makes it of a mask
    scan: np.ndarray  # (sample,), which scan it belongs to
    sampling: float  # of the patches [nm]
    zero: float = 0.0  # y and x of pixel 0 of the images, on whose grid patches are laid [nm]


class Stitched(BaseModel):
    """How one scan came out."""

    model_config = _STRICT

    scan: int
    patches: int
    left_out: int  # of these, as they hold no numbers
    components: int  # that no overlap links: a free constant is another in each
    misfit: float | None  # unit of the patches, root mean square of what patches and image differ by
    residual: float | None  # left in the equations of the offsets, relative to that of no offsets


class Images(BaseModel):
    """What stands in the root attributes under `drybeam_images`."""

    model_config = _STRICT

    format: int
    name: str  # of the predictions
    method: Literal["least_squares", "iterative", "average"]
    settings: dict[str, float | int]
    sampling: float  # nm
    dataset_digest: str
    split: str
    scans: list[Stitched]
    packages: dict[str, str]
    stitched_from: str = ""  # digest of patches, positions and weights; older programs did not write it


METADATA = Metadata(
    model=Images,
    key="drybeam_images",
    uuid="54538e32-8f91-4855-94c3-95a52ee448a1",
    about="images of scans, stitched from predicted patches",
    format=FORMAT,
    what="stitched images",
    command="infer --stitch ...",
)

type Placed = tuple[Stitched, tuple[int, int], np.ndarray]  # an image (y, x), and its first pixel on the grid of all


def write(source: Path, scans: Scans, out: Path, method: Blend, *, field: str) -> Images:
    """Stitch the scans of a store of predictions into a store of images.

    Images that are at `out` are made anew. UserError: it holds something else, or patches and positions do not go
    together.
    """
    refuse_taken(out, field)
    job = _job(source, scans, method, field)
    found: list[Stitched] = []
    with writable("--out", out), claimed("--out", out, lambda: refuse_taken(out, field)):
        publish_folder(out, job.objects(found))
    return job.about(found)


def images(source: Path, scans: Scans, method: Blend, *, field: str) -> tuple[Iterator[Placed], Path | None]:
    """Return the same images, one after another, and the store beside the predictions that they are read from.

    Images are read if `write` stored them from the same patches by the same method and program; otherwise they are
    stitched in memory, and the store is None. UserError as `write`.
    """
    job = _job(source, scans, method, field)
    if stored := job.stored():
        return read_each(*stored, scans, field), stored[0]
    patches, frame = job.laid()
    return ((one, frame.origin, image.values) for one, image in job.images(patches, frame)), None


def read_each(path: Path, found: Images, scans: Scans, field: str) -> Iterator[Placed]:
    """Yield the images of a store. UserError if they are damaged."""
    with reading(str(path), "stitch them again"):
        group: Any = open_split(path, "")
        y, x = (round(float((group[name][0] - scans.zero) / scans.sampling)) for name in ("y", "x"))
        for row, one in enumerate(found.scans):
            yield one, (y, x), np.asarray(group[field][row])


def _job(source: Path, scans: Scans, method: Blend, field: str) -> "_Job":
    predictions = read_predictions(source)
    target = _target(source, predictions, field)
    _refuse_unlike(source, predictions, scans)
    return _Job(source, predictions, target, scans, method)


def read_images(path: Path) -> Images:
    """Read the metadata of the images at a path. UserError if there are none, or if they are damaged."""
    return METADATA.read(path, "stitch them again")


def refuse_taken(out: Path, field: str) -> None:
    """Raise UserError if a place holds something else than stitched images of a field."""
    if not exists(out) and not out.is_symlink():
        return
    try:
        read_images(out)
    except (UserError, OSError):
        raise UserError(f"--out {out}: holds what is no stitched images; choose another place") from None
    written = {f"{name}/zarr.json" for name in (*BESIDE, field)}
    refuse_strangers("--out", out, {"zarr.json", *written}, "infer --stitch")


def _target(source: Path, predictions: Predictions, name: str) -> Field:
    patches = {field.name: field for field in predictions.targets if field.dims[1:] == ("y", "x")}
    if name not in patches:
        raise UserError(f"{source}: predicts no patches (sample, y, x) of {name!r}{meant(name, patches)}")
    return patches[name]


def _refuse_unlike(source: Path, predictions: Predictions, scans: Scans) -> None:
    n = predictions.samples
    if scans.position.shape != (n, 2) or scans.scan.shape != (n,):
        raise UserError(
            f"{source}: {n:,} patches, but positions {scans.position.shape} and scans {scans.scan.shape}: "
            "must be (sample, 2) and (sample,); take them from the split that was inverted"
        )
    size = (predictions.sizes["y"], predictions.sizes["x"])
    if scans.weight.shape not in ((1, *size), (n, *size)):
        raise UserError(
            f"{source}: {n:,} patches of {size} pixels, but weights {scans.weight.shape}: "
            "give one of that size, or one for each"
        )
    if not scans.sampling > 0:
        raise UserError(f"sampling {scans.sampling} nm of the patches: must be above 0")


@dataclass(frozen=True)
class _Job:
    source: Path
    predictions: Predictions
    target: Field
    scans: Scans
    method: Blend

    def objects(self, found: list[Stitched]) -> Iterator[tuple[str, bytes]]:
        """All objects of the store, the metadata of the whole last; how the scans came out is appended to `found`."""
        patches, frame = self.laid()
        numbers = np.unique(self.scans.scan)
        described = self._metadata(frame, len(numbers), [])
        yield from encoded(described, 0, self._coordinates(frame, numbers))
        for place, (one, image) in enumerate(self.images(patches, frame)):
            yield from encoded(described, place, self._arrays(image))
            found.append(one)
        yield from self._metadata(frame, len(numbers), found).items()

    def images(self, patches: Patches, frame: Canvas) -> Iterator[tuple[Stitched, Image]]:
        """Of one scan after another."""
        for number in np.unique(self.scans.scan):
            rows = np.flatnonzero(self.scans.scan == number)
            image = stitch(self._reader(rows), patches.select(rows), frame, self.method)
            yield _stitched(int(number), len(rows), image), image

    def stored(self) -> tuple[Path, Images] | None:
        """The images that this job would make, if a store beside the predictions holds them."""
        for path in entries(self.source.absolute().parent):
            with suppress(UserError, OSError):
                found = read_images(path)
                if found.model_copy(update={"scans": []}) == self.about([]):
                    return path, found
        return None

    @cached_property
    def digest(self) -> str:
        """sha256 of all that the images depend on, but for the method."""
        scans = self.scans
        places = (scans.position, scans.weight, scans.scan, np.array([scans.sampling, scans.zero]))
        parts = [sha256(np.asarray(values, float).tobytes()) for values in places]
        return sha256(" ".join([sha256_of_folder(self.source / self.target.name), *parts]).encode())

    def about(self, found: list[Stitched]) -> Images:
        """The metadata."""
        return Images(
            format=FORMAT,
            name=self.predictions.name,
            method=NAMES[type(self.method)],
            settings=asdict(self.method),
            sampling=self.scans.sampling,
            dataset_digest=self.predictions.dataset_digest,
            split=self.predictions.split,
            scans=found,
            packages=versions(PACKAGES),
            stitched_from=self.digest,
        )

    def laid(self) -> tuple[Patches, Canvas]:
        """The patches of all scans on the grid of their images, and what holds them."""
        scans, weight = self.scans, relative(self.scans.weight)
        size = (weight.shape[1], weight.shape[2])
        patches = Patches(corners(scans.position - scans.zero, scans.sampling, size), weight)
        return patches, frame_of(patches.corner, size)

    def _reader(self, rows: np.ndarray) -> Read:
        return lambda window: _ahead(self._blocks(rows, window))

    def _blocks(self, rows: np.ndarray, window: Window) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The patches of these samples, which are in order; only shards that hold some of them are read."""
        for start, stop in shard_ranges(self.predictions.samples, self.predictions.shard):
            which = np.arange(*np.searchsorted(rows, (start, stop)))
            if len(which):
                values = read_target(self.source, self.predictions, self.target, slice(start, stop), window)
                yield which, values if len(which) == stop - start else values[rows[which] - start]

    def _arrays(self, image: Image) -> dict[str, np.ndarray]:
        return {self.target.name: image.values[None], "weight": image.weight[None], "component": image.component[None]}

    def _coordinates(self, frame: Canvas, numbers: np.ndarray) -> dict[str, np.ndarray]:
        axes = zip(("y", "x"), frame.origin, frame.shape, strict=True)
        scans = self.scans
        along = {name: scans.zero + (first + np.arange(n)) * scans.sampling for name, first, n in axes}
        return {"scan": numbers.astype(np.int64), **along}

    def _fields(self) -> tuple[Field, ...]:
        dims, target = ("scan", "y", "x"), self.target
        return (
            Field("scan", ("scan",), "int64", "1", "auxiliary", "number of the scan"),
            Field("y", ("y",), "float64", "nm", "auxiliary", "of the middle of a pixel, as the positions of patches"),
            Field("x", ("x",), "float64", "nm", "auxiliary", "of the middle of a pixel, as the positions of patches"),
            Field(target.name, dims, "float32", target.units, "target", f"stitched: {target.about}"),
            Field("weight", dims, "float32", "1", "auxiliary", "sum of the weights of all patches at a pixel"),
            Field("component", dims, "uint32", "1", "auxiliary", "patches that overlaps link, from 1 on; 0: none"),
        )

    def _metadata(self, frame: Canvas, count: int, found: list[Stitched]) -> dict[str, bytes]:
        """Return all zarr.json by key. found: how the scans came out."""
        sizes = {"scan": count, "y": frame.shape[0], "x": frame.shape[1]}
        arrays = []
        for field in self._fields():
            shape = field.shape(sizes)
            chunks = (1, *(min(n, CHUNK) for n in shape[1:])) if len(shape) > 1 else shape
            arrays.append(Array(field, shape, chunks))
        return describe(METADATA.attributes(self.about(found)), {"": arrays})


def _ahead[T](items: Iterator[T]) -> Iterator[T]:
    """The same items, the next of which is made by a thread meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _stitched(number: int, patches: int, image: Image) -> Stitched:
    return Stitched(
        scan=number,
        patches=patches,
        left_out=image.left_out,
        components=int(image.component.max()),
        misfit=image.misfit,
        residual=image.residual,
    )

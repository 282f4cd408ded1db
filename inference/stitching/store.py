"""Stitch the patches in a store of predictions to a store of images, one image for each scan.

scan.zarr/zarr.json       origin and method of the images, results of each scan; consolidated metadata
scan.zarr/<target>/c/...  the images (scan, y, x); beside it `weight`, `component` and the coordinates scan, y and x

The images of all scans have a common frame, that of the positions, so that each can be laid over the object that it was
simulated from. Predictions are read shard by shard and images are written one by one, so that memory grows only with
the size of one image.
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

from inference.stitching.offsets import LeastSquares
from inference.stitching.patches import Canvas, Patches, first_pixels, frame_of, relative_weights
from inference.stitching.stitched_image import Average, Blend, Image, Iterative, Read, Window, stitch
from schemas.digest import leaf
from schemas.predictions import Predictions, read_predictions, read_target, verify
from schemas.runtime.destinations import refuse_foreign_files
from schemas.runtime.documents import Metadata
from schemas.runtime.errors import UserError, suggestion
from schemas.runtime.hashes import sha256, sha256_of_folder
from schemas.runtime.locks import claimed, writable
from schemas.runtime.machine import versions
from schemas.runtime.publish import entries, exists, publish_folder, read, reading
from schemas.store import Array, describe, encoded, open_split, shard_ranges
from schemas.task import Field

FORMAT = 1
OTHER_ARRAYS = ("scan", "y", "x", "weight", "component")  # arrays beside the images
MAX_CHUNK = 1024  # maximum number of pixels of a chunk along each side
METHOD_NAMES: Mapping[type, Literal["least_squares", "iterative", "average"]] = {
    LeastSquares: "least_squares",
    Iterative: "iterative",
    Average: "average",
}
PACKAGES = ("drybeam", "numpy", "scipy", "numba", "zarr")

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True)
class Scans:
    """Places of the patches of a split, one row per sample."""

    position: np.ndarray  # (sample, 2), y and x of pixel N//2 of the patch [nm]
    weight: np.ndarray  # (1 or sample, y, x), weights of pixels; `patches.tapered_weights` computes them from a mask
    scan: np.ndarray  # (sample,), number of the scan
    sampling: float  # pixel of the patches [nm]
    zero: float = 0.0  # y and x of pixel 0 of the images, on whose grid patches are laid [nm]


class Stitched(BaseModel):
    """Result of stitching one scan."""

    model_config = _STRICT

    scan: int
    patches: int  # number of patches
    left_out: int  # number of patches that were left out, because they are not finite
    components: int  # number of connected groups of patches; each has its own unknown constant
    misfit: float | None  # root mean square difference of patches and image, in the unit of the patches
    residual: float | None  # residual of the linear system for the offsets, divided by that without offsets
    digest: str = ""  # digest of the image; older versions did not write it


class Images(BaseModel):
    """Metadata of stitched images, stored in the root attributes under `drybeam_images`."""

    model_config = _STRICT

    format: int
    name: str  # name of the predictions
    method: Literal["least_squares", "iterative", "average"]
    settings: dict[str, float | int]
    sampling: float  # width of a pixel [nm]
    dataset_digest: str
    split: str
    scans: list[Stitched]
    packages: dict[str, str]
    stitched_from: str = ""  # digest of patches, positions and weights; older versions did not write it


METADATA = Metadata(
    model=Images,
    key="drybeam_images",
    uuid="54538e32-8f91-4855-94c3-95a52ee448a1",
    about="images of scans, stitched from predicted patches",
    format=FORMAT,
    what="stitched images",
    command="infer --stitch ...",
)

# Result, first pixel on the common grid, and image (y, x).
type Placed = tuple[Stitched, tuple[int, int], np.ndarray]


def write(source: Path, scans: Scans, out: Path, method: Blend, *, field: str) -> Images:
    """Stitch the scans of a store of predictions into a store of images. Existing images at `out` are replaced.

    Args:
        source: the store of predictions.
        scans: places of the patches.
        out: the store of images.
        method: the stitching method.
        field: the target that holds the patches.

    Raises:
        UserError: `out` holds something else, or patches and positions do not fit each other.
        Interrupted: another command has taken the place meanwhile.
    """
    refuse_taken(out, field)
    job = _make_job(source, scans, method, field)
    verify(source, job.predictions)
    stitched: list[Stitched] = []
    with writable("--out", out), claimed("--out", out, lambda: refuse_taken(out, field), by="another `infer`"):
        root = read(out / "zarr.json")
        publish_folder(out, job.objects(stitched), replaced=lambda old: read(old / "zarr.json") == root)
    return job.about(stitched)


def placed_images(source: Path, scans: Scans, method: Blend, *, field: str) -> tuple[Iterator[Placed], Path | None]:
    """Return the images that `write` would store, one after another, without writing them.

    Images are read from a store beside the predictions, if `write` stored them there from the same patches by the same
    method and program. Otherwise they are stitched in memory.

    Args:
        source: the store of predictions.
        scans: places of the patches.
        method: the stitching method.
        field: the target that holds the patches.

    Returns:
        The images, and the store that they are read from; None if they are stitched in memory.

    Raises:
        UserError: patches and positions do not fit each other.
    """
    job = _make_job(source, scans, method, field)
    if stored := job.find_stored():
        return read_stored(*stored, scans, field), stored[0]
    patches, frame = job.place_patches()
    return ((one, frame.origin, image.values) for one, image in job.images(patches, frame)), None


def read_stored(path: Path, images: Images, scans: Scans, field: str) -> Iterator[Placed]:
    """Yield the images of a store.

    Args:
        path: the store of images.
        images: its metadata.
        scans: places of the patches, for the common grid.
        field: the target that was stitched.

    Raises:
        UserError: the images are damaged.
    """
    with reading(str(path), "stitch them again"):
        group: Any = open_split(path, "")
        y, x = (round(float((group[name][0] - scans.zero) / scans.sampling)) for name in ("y", "x"))
        for row, stitched in enumerate(images.scans):
            values = np.asarray(group[field][row])
            if stitched.digest not in ("", _image_digest(values)):
                raise ValueError(f"the image of scan {stitched.scan} is not the one that was stitched")
            yield stitched, (y, x), values


def _make_job(source: Path, scans: Scans, method: Blend, field: str) -> "_Job":
    predictions = read_predictions(source)
    target = _patch_field(source, predictions, field)
    _refuse_mismatch(source, predictions, scans)
    return _Job(source, predictions, target, scans, method)


def read_images(path: Path) -> Images:
    """Read the metadata of stitched images.

    Args:
        path: the store of images.

    Raises:
        UserError: there are no images, or they are damaged.
    """
    return METADATA.read(path, "stitch them again")


def refuse_taken(out: Path, field: str) -> None:
    """Refuse a place that holds something else than stitched images of a field.

    Args:
        out: the place.
        field: the target that is to be stitched.

    Raises:
        UserError: the place is taken.
    """
    if not exists(out) and not out.is_symlink():
        return
    try:
        read_images(out)
    except (UserError, OSError):
        raise UserError(f"--out {out}: holds something else than stitched images; choose another place") from None
    written = {f"{name}/zarr.json" for name in (*OTHER_ARRAYS, field)}
    refuse_foreign_files("--out", out, {"zarr.json", *written}, "infer --stitch")


def _patch_field(source: Path, predictions: Predictions, name: str) -> Field:
    patches = {field.name: field for field in predictions.targets if field.dims[1:] == ("y", "x")}
    if name not in patches:
        raise UserError(f"{source}: holds no predicted patches (sample, y, x) of {name!r}{suggestion(name, patches)}")
    return patches[name]


def _refuse_mismatch(source: Path, predictions: Predictions, scans: Scans) -> None:
    """Raise UserError if positions, weights or sampling do not fit the predictions."""
    n = predictions.samples
    if scans.position.shape != (n, 2) or scans.scan.shape != (n,):
        raise UserError(
            f"{source}: holds {n:,} patches, but positions have the shape {scans.position.shape} and scans "
            f"{scans.scan.shape}: must be (sample, 2) and (sample,); take them from the split that was inverted"
        )
    size = (predictions.sizes["y"], predictions.sizes["x"])
    if scans.weight.shape not in ((1, *size), (n, *size)):
        raise UserError(
            f"{source}: holds {n:,} patches of {size} pixels, but weights have the shape {scans.weight.shape}: "
            "give one weight of that size, or one for each patch"
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

    def objects(self, stitched: list[Stitched]) -> Iterator[tuple[str, bytes]]:
        """Yield all objects of the store, the root metadata last, and append the result of each scan to `found`."""
        patches, frame = self.place_patches()
        numbers = np.unique(self.scans.scan)
        described = self._metadata(frame, len(numbers), [])
        yield from encoded(described, 0, self._coordinates(frame, numbers))
        for index, (result, image) in enumerate(self.images(patches, frame)):
            yield from encoded(described, index, self._arrays(image))
            stitched.append(result)
        yield from self._metadata(frame, len(numbers), stitched).items()

    def images(self, patches: Patches, frame: Canvas) -> Iterator[tuple[Stitched, Image]]:
        """Yield the result and the image of one scan after another."""
        for number in np.unique(self.scans.scan):
            rows = np.flatnonzero(self.scans.scan == number)
            image = stitch(self._reader(rows), patches.select(rows), frame, self.method)
            yield _scan_result(int(number), len(rows), image), image

    def find_stored(self) -> tuple[Path, Images] | None:
        """Return a store beside the predictions that holds the images of this job, with its metadata; None if none."""
        for path in entries(self.source.absolute().parent):
            with suppress(UserError, OSError):
                found = read_images(path)
                if found.model_copy(update={"scans": []}) == self.about([]):
                    return path, found
        return None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that the images depend on, except the method."""
        scans = self.scans
        places = (scans.position, scans.weight, scans.scan, np.array([scans.sampling, scans.zero]))
        parts = [sha256(np.asarray(values, float).tobytes()) for values in places]
        return sha256(" ".join([sha256_of_folder(self.source / self.target.name), *parts]).encode())

    def about(self, stitched: list[Stitched]) -> Images:
        """Return the metadata of the images, with the results of the scans."""
        return Images(
            format=FORMAT,
            name=self.predictions.name,
            method=METHOD_NAMES[type(self.method)],
            settings=asdict(self.method),
            sampling=self.scans.sampling,
            dataset_digest=self.predictions.dataset_digest,
            split=self.predictions.split,
            scans=stitched,
            packages=versions(PACKAGES),
            stitched_from=self.digest,
        )

    def place_patches(self) -> tuple[Patches, Canvas]:
        """Return the patches of all scans on the grid of their images, and the frame that holds them."""
        scans, weight = self.scans, relative_weights(self.scans.weight)
        size = (weight.shape[1], weight.shape[2])
        patches = Patches(first_pixels(scans.position - scans.zero, scans.sampling, size), weight)
        return patches, frame_of(patches.corner, size)

    def _reader(self, rows: np.ndarray) -> Read:
        return lambda window: _prefetch(self._blocks(rows, window))

    def _blocks(self, rows: np.ndarray, window: Window) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the patches of these samples, which are in order, reading only shards that hold some of them."""
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
        """Return the fields of the store of images."""
        dims, target = ("scan", "y", "x"), self.target
        return (
            Field("scan", ("scan",), "int64", "1", "auxiliary", "number of the scan"),
            Field("y", ("y",), "float64", "nm", "auxiliary", "middle of a pixel, in the frame of the positions"),
            Field("x", ("x",), "float64", "nm", "auxiliary", "middle of a pixel, in the frame of the positions"),
            Field(target.name, dims, "float32", target.units, "target", f"stitched: {target.about}"),
            Field("weight", dims, "float32", "1", "auxiliary", "sum of the weights of all patches at a pixel"),
            Field("component", dims, "uint32", "1", "auxiliary", "number of the part linked by overlaps; 0: no patch"),
        )

    def _metadata(self, frame: Canvas, count: int, stitched: list[Stitched]) -> dict[str, bytes]:
        """Return all zarr.json files by key. found: the results of the scans."""
        sizes = {"scan": count, "y": frame.shape[0], "x": frame.shape[1]}
        arrays = []
        for field in self._fields():
            shape = field.shape(sizes)
            chunks = (1, *(min(n, MAX_CHUNK) for n in shape[1:])) if len(shape) > 1 else shape
            arrays.append(Array(field, shape, chunks))
        return describe(METADATA.attributes(self.about(stitched)), {"": arrays})


def _prefetch[T](items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, while a thread prepares the next one."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _scan_result(number: int, patches: int, image: Image) -> Stitched:
    """Return the result of stitching one scan, without the image."""
    return Stitched(
        scan=number,
        patches=patches,
        left_out=image.left_out,
        components=int(image.component.max()),
        misfit=image.misfit,
        residual=image.residual,
        digest=_image_digest(image.values),
    )


def _image_digest(values: np.ndarray) -> str:
    return leaf({"image": values.astype(np.float32)}).hex()

"""Compare images that are stitched from predictions with the objects that were scanned, for a section of the report.

The predictions are read method by method and shard by shard. Only scores and small pictures of the images are kept, so
that memory does not grow with the number of methods or scans.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from inference.contract import Arrays, Scale, Section, SectionContent, Stitch
from inference.invert.split_reader import Source
from inference.report.tables import mean_and_deviation, unit_of
from inference.stitching.resolution import Resolution, filled_rectangle, lay_over_object, resolution
from inference.stitching.stitched_image import default_method
from inference.stitching.store import Scans, Stitched, placed_images
from schemas.runtime.errors import UserError
from schemas.scores import summarise
from schemas.target_kinds import Score
from schemas.task import Task

MAX_SHOWN_SCANS = 3  # maximum number of scans that are shown
MAX_SIDE = 96  # maximum number of pixels of an object that are shown along each side
MIN_VARIATION = 0.01  # if a quantity varies by less than this share of its maximum, scans are not plotted against it

ALIGNED_TERM = " - mean difference"  # this part of the formula is left out if patches have no unknown constant

SCAN_SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "stitched_rms": Score("field", f"sqrt(mean (image - object{ALIGNED_TERM})^2) of a stitched scan", "lower"),
        "frc_half_bit": Score(
            "1/nm",
            "frequency where the ring correlation of image and object first falls below the half-bit threshold (van "
            "Heel and Schatz 2005, adapted to an exact object and to the number of independent pixels under the "
            "window); if it never does, the frequency of the last ring in which the object has power",
            "higher",
        ),
        "frc_seventh": Score(
            "1/nm",
            "the same for the threshold 1/2, which corresponds to 1/7 between noisy halves of the data",
            "higher",
        ),
        "frc_mean": Score("1", "mean of the ring correlation over the rings in which the object has power", "higher"),
    }
)


@dataclass(frozen=True)
class StitchedScan:
    """Stitched image of one scan by one method, without its pixels."""

    stitched: Stitched
    resolution: Resolution

    @property
    def scores(self) -> dict[str, float | None]:
        """Scores of the image by the keys of `SCAN_SCORES`."""
        found = self.resolution
        return dict(zip(SCAN_SCORES, (found.rms, found.half_bit, found.seventh, found.mean), strict=True))


@dataclass(frozen=True)
class WholeScans:
    """All scans of a split. Rows of scales and outcomes are in the order of `numbers`."""

    task: Task
    how: Stitch
    numbers: np.ndarray  # numbers of the scans
    scales: Mapping[str, np.ndarray]  # known quantities of the scans by name, (scan,)
    shown: tuple[int, ...]  # rows of the scans that are shown as pictures
    objects: Mapping[int, np.ndarray]  # middle of each object, by row
    pictures: Mapping[str, Mapping[int, np.ndarray]]  # images by method and row, with aligned constants
    outcomes: Mapping[str, tuple[StitchedScan, ...]]  # stitched scans by method
    stored: Mapping[str, Path | None]  # store of the images by method; None if they were stitched just now
    failed: Mapping[str, str]  # reason why there are no images, by method

    @property
    def units(self) -> str:
        """Unit of images and objects."""
        return self.task[self.how.target].units

    @property
    def varying(self) -> list[Scale]:
        """Quantities in which scans differ."""
        return [scale for scale in self.how.scales if _varies(self.scales.get(scale.name))]

    def values(self, name: str, key: str) -> np.ndarray:
        """Return a score (scan,) of one method; NaN where it is undefined.

        Args:
            name: the method.
            key: the score, as in `SCAN_SCORES`.
        """
        return np.array([one.scores[key] for one in self.outcomes.get(name, ())], float)

    def summary(self, name: str) -> dict[str, dict[str, float | int | str | None]]:
        """Return mean and standard deviation over scans, number and unit of each score of a method."""
        values = {key: self.values(name, key) for key in SCAN_SCORES}
        return summarise(self.task, values, self.meaning)

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the entries of one method in `metrics.json`, one per scan; none if it has no images."""
        for row, outcome in enumerate(self.outcomes.get(name, ())):
            scales = {scale: float(values[row]) for scale, values in self.scales.items()}
            yield {
                **outcome.stitched.model_dump(mode="json"),
                "pixels": list(outcome.resolution.pixels),
                **outcome.scores,
                **scales,
            }

    def lines(self) -> Iterator[str]:
        """Yield a line about the images of each method, for the terminal."""
        for name in self.outcomes:
            parts = [f"{key} {mean_and_deviation(one)}{unit_of(one)}" for key, one in self.summary(name).items()]
            yield f"{name}, whole scans ({len(self.numbers):,}): {', '.join(parts)}"
        for name, reason in self.failed.items():
            yield f"{name}: there are no images of whole scans: {reason}"

    def meaning(self, key: str) -> Score:
        """Return the meaning of a score by its key in `SCAN_SCORES`."""
        score = SCAN_SCORES[key]
        about = score.about if self.how.free else score.about.replace(ALIGNED_TERM, "")
        return replace(score, about=about, unit=self.units if score.unit == "field" else score.unit)


def section(title: str, how: Stitch) -> Section:
    """Return the section on whole scans for the report of a task. It is left out if the dataset holds no objects.

    Args:
        title: heading of the section.
        how: the rule by which targets are stitched.
    """
    return Section(title, partial(_section_content, how))


def _section_content(how: Stitch, source: Source, stores: Mapping[str, Path]) -> SectionContent | None:
    """Return the content of the section for one split; None if there are no scans or no objects."""
    scans = compare(how, source, stores)
    if scans is None:
        return None
    from inference.stitching import report_section  # imported here, because it loads Matplotlib

    return SectionContent(
        scores={name: scans.summary(name) for name in stores},
        data={name: {"scans": list(scans.rows(name))} for name in stores},
        html=partial(report_section.html, scans=scans),
        lines=tuple(scans.lines()),
    )


def compare(how: Stitch, source: Source, stores: Mapping[str, Path]) -> WholeScans | None:
    """Stitch the predictions of several methods and compare the images with their objects.

    Args:
        how: the rule by which targets are stitched.
        source: the split.
        stores: stores of predictions by method.

    Returns:
        The comparison; None if the dataset holds no scans or no objects.
    """
    if source.lacks([*how.needs, how.truth]):
        return None
    where = how.scans(source.read(how.needs, 0, source.samples))
    truth = source.read([how.truth], 0, 0)[how.truth]
    numbers = np.unique(where.scan)
    scales = _scan_scales(source, how, where.scan)
    scene = _ScansAndObjects(how, where, truth, _choose_shown(how, scales), {})
    outcomes: dict[str, tuple[StitchedScan, ...]] = {}
    pictures: dict[str, Mapping[int, np.ndarray]] = {}
    stored: dict[str, Path | None] = {}
    failed: dict[str, str] = {}
    for name, store in stores.items():
        try:
            outcomes[name], pictures[name], stored[name] = scene.stitched(store)
        except UserError as error:  # the other methods are still compared
            failed[name] = str(error)
    objects = {row: truth[numbers[row]][part] for row, part in scene.parts.items()}
    return WholeScans(source.task, how, numbers, scales, scene.shown, objects, pictures, outcomes, stored, failed)


def resolution_of(
    how: Stitch, image: np.ndarray, first: tuple[int, int], truth: np.ndarray, sampling: float
) -> tuple[np.ndarray, Resolution]:
    """Lay a stitched image over its object, and return it in the pixels of the object, with its resolution.

    Args:
        how: the rule by which it was stitched.
        image: (y, x).
        first: place of its first pixel on the common grid of all images.
        truth: the object (y, x).
        sampling: pixel of the image [nm].
    """
    laid = lay_over_object(image.astype(np.float32), first, (truth.shape[0], truth.shape[1]), how.pixels)
    return laid, resolution(laid, truth, sampling * how.pixels, how.free)


@dataclass(frozen=True)
class _ScansAndObjects:
    """Scans and objects of a split, which are the same for all methods."""

    how: Stitch
    where: Scans
    truth: np.ndarray
    shown: tuple[int, ...]
    parts: dict[int, tuple[slice, slice]]  # pixels that are shown, by row; the first method with images decides

    def stitched(self, store: Path) -> tuple[tuple[StitchedScan, ...], dict[int, np.ndarray], Path | None]:
        """Return the outcomes of one method, its pictures by row, and the store that its images were read from."""
        outcomes, pictures = [], {}
        placed, stored = placed_images(store, self.where, default_method(self.how.free), field=self.how.target)
        for row, (scan, first, image) in enumerate(placed):
            exact = self.truth[scan.scan]
            laid, resolution = resolution_of(self.how, image, first, exact, self.where.sampling)
            outcomes.append(StitchedScan(scan, resolution))
            if row in self.shown and (part := self.parts.setdefault(row, _middle_part(laid))):
                pictures[row] = _shift_to_mean(laid[part], exact[part]) if self.how.free else laid[part]
        return tuple(outcomes), pictures, stored


def _middle_part(laid: np.ndarray) -> tuple[slice, slice]:
    """Return the middle of the known part of an image, at most MAX_SIDE pixels along each side."""
    rows, columns = (
        slice(max(part.start, middle - MAX_SIDE // 2), min(part.stop, middle - MAX_SIDE // 2 + MAX_SIDE))
        for part in filled_rectangle(np.isfinite(laid))
        for middle in [(part.start + part.stop) // 2]
    )
    return rows, columns


def _shift_to_mean(image: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return an image shifted by a constant so that its known pixels have the mean of the object."""
    known = np.isfinite(image)
    return image - (image - exact)[known].mean() if known.any() else image


def _scan_scales(source: Source, how: Stitch, scan: np.ndarray) -> dict[str, np.ndarray]:
    scales = {}
    for scale in how.scales:
        if not source.lacks(scale.needs):
            fields = source.read(scale.needs, 0, source.samples)
            values = [scale.compute(_select(source.task, fields, scan == n)) for n in np.unique(scan)]
            scales[scale.name] = np.array(values)
    return scales


def _select(task: Task, fields: Arrays, which: np.ndarray) -> Arrays:
    return {name: values[which] if task[name].per_sample else values for name, values in fields.items()}


def _varies(values: np.ndarray | None) -> bool:
    return values is not None and bool(np.ptp(values) > MIN_VARIATION * abs(values).max())


def _choose_shown(how: Stitch, scales: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Return the rows of the scans that are shown: lowest, middle and highest in the first quantity that varies.

    If no quantity varies, only the first scan is shown.
    """
    along = next((scales[scale.name] for scale in how.scales if _varies(scales.get(scale.name))), None)
    if along is None:
        return (0,)
    order = np.argsort(along, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(MAX_SHOWN_SCANS, len(order))).round().astype(int))
    return tuple(int(order[place]) for place in places)

"""Line integrals from projections: flat and dark frames, logarithm, dead columns, rings, and views without beam.

All settings of an import have the form `--set name=value`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from physics.tomography import corrections
from physics.tomography.rotation_axis import is_truncated
from schemas.formats.image import Beside, Known, Rows
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting

AXES = ("angle", "sample", "detector")
END = 0.02  # share of the detector at each end that is taken as air, if no flat frame shows the beam
MAX_LINE_INTEGRAL = 20.0  # the transmission is then 2e-9, which no detector measures
CLEAR = 0.25  # the ends are bright or dark if they lie within this share of the range from its end


class Corrections(Settings):
    """Settings of an import of projections."""

    angles: str = Field(
        "", **setting("first and last angle FIRST:LAST of evenly spaced views, both included", "degree")
    )
    rows: str = Field(
        "", **setting("rows of the detector that are read, START:STOP, without row STOP; empty: all", "detector pixel")
    )
    range: str = Field("", **setting("views that are kept, START:LENGTH; empty: all", "degree"))
    ranges: int = Field(
        1, ge=1, le=10_000, **setting("number of ranges of this length, evenly spread over a turn; each is a sample")
    )
    every: int = Field(1, ge=1, **setting("keep every k-th of these views"))
    first: int = Field(0, ge=0, **setting("the first view that `every` keeps"))
    turn: Annotated[float, within(-360, 360)] | Literal["start"] = Field(
        0.0,
        **setting(
            "added to all angles: the image turns by it, from x towards y; start: so that the first view that is kept "
            "lies at angle 0",
            "degree",
        ),
    )
    pixel: Annotated[float, within(0, 1000, above=True)] = Field(
        1.0, **setting("width of a pixel of the image, at the axis", "detector pixel")
    )
    image_size: int | None = Field(
        None, ge=1, le=100_000, **setting("pixels of the image along each side; none: as wide as the detector", "pixel")
    )
    field_of_view: Literal["disc", "square"] = Field(
        "disc", **setting("part of the image that is reconstructed; disc: what touches its edges, the rest is 0")
    )
    flip: Literal["auto", "yes", "no"] = Field(
        "auto", **setting("targets are upside down: their axis y points up; auto: as usual in files of this kind")
    )
    center: float | None = Field(None, **setting("centre of rotation, from the middle of pixel 0", "detector pixel"))
    log: Literal["auto", "take", "taken"] = Field("auto", **setting("take the logarithm, or it has been taken"))
    air: float | None = Field(None, gt=0, **setting("value without object, for files without flat frames"))
    zingers: bool = Field(False, **setting("replace bright outliers of one or two pixels"))
    columns: Literal["fill", "keep"] = Field("fill", **setting("fill dead columns of the detector, or keep them"))
    rings: Literal["none", "sorting", "columns"] = Field("none", **setting("method that removes rings"))
    ring_width: int = Field(corrections.RING_WIDTH, ge=3, **setting("width of its median filter", "detector pixel"))
    background: int = Field(0, ge=0, **setting("width of the air at each end; 0: no subtraction", "detector pixel"))
    views: Literal["drop", "keep"] = Field("drop", **setting("drop views whose total stands apart, or keep them"))
    normalise: bool = Field(False, **setting("scale all views to the same total"))


def rows_read(settings: Corrections, axes: Sequence[str]) -> Rows:
    """Return the rows of the detector that are read, and their axis.

    Args:
        settings: the settings.
        axes: names of the axes in the files; empty: not given.

    Raises:
        UserError: the setting is not a range of rows.
    """
    first, colon, last = settings.rows.partition(":")
    numbers = all(part.isascii() and part.isdigit() for part in (first, last))
    if settings.rows and not (colon and numbers and int(first) < int(last)):
        raise UserError(f"rows = {settings.rows}: must be START:STOP, two whole numbers that grow, such as 100:116")
    place = axes.index(AXES[1]) if AXES[1] in axes else 1
    return Rows(int(first or 0), int(last) if last else None, place, bool(axes))


@dataclass(frozen=True)
class Series:
    """Projections of one file or stack, with all that belongs to them."""

    path: Path
    values: np.ndarray  # (angle, row, detector)
    beside: Mapping[str, Beside]
    known: Known
    final: bool = False  # line integrals that need no corrections
    upward: bool = False  # the axis y of images that belong to it points up


def correct(
    series: Series, beside: Mapping[str, Beside], settings: Corrections
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return sinograms (row, angle, detector) after all corrections, True (row, angle) for good views, and notes.

    In sinograms that are final, views that are 0 beside others that are not have not been measured.
    """
    views, notes = _line_integrals(series, beside, settings)
    views, good, doubts = _clean(views, settings)
    present = views.any(axis=-1) | (not series.final) | ~views.any(axis=(1, 2))[:, None]
    return views, good & present, [*notes, *doubts]


def _line_integrals(
    series: Series, beside: Mapping[str, Beside], settings: Corrections
) -> tuple[np.ndarray, list[str]]:
    """Return line integrals (row, angle, detector), after flat and dark frames, outliers and dead columns."""
    counts = np.asarray(series.values, np.float32)
    corrections.find_missing_columns(np.moveaxis(counts, 1, 0))
    axes = corrections.find_exchanged_axes(counts)
    notes = [f"warning: {_exchanged(axes, counts.shape[1])}"] if axes else []
    shape = counts.shape[1:]
    flats, darks = (_frames(beside.get(name), shape, settings) for name in ("flat", "dark"))
    if settings.zingers:
        unlit = 0.0 if darks is None else np.median(darks, axis=0)[:, None]
        counts = np.moveaxis(corrections.remove_zingers(np.moveaxis(counts, 1, 0), unlit), 0, 1)
    taken = settings.log == "taken"
    if flats is not None:
        values = corrections.transmission(counts, flats, darks)
    else:
        values = counts if darks is None else counts - darks.mean(axis=0)
        values, taken, more = _without_flats(values, settings)
        notes += more
    counted = {"flat frames": flats is not None, "dark frames": darks is not None, "zingers=true": settings.zingers}
    if taken and any(counted.values()):
        what = next(name for name, there in counted.items() if there)
        raise ValueError(
            f"{what}: for counts, but the logarithm has been taken (log=taken, or the ends of the detector are dark); "
            "give --set log=take, or leave this correction out"
        )
    values = np.moveaxis(values, 1, 0)
    dead = corrections.find_dead_columns(values)
    if dead.any() and (settings.columns == "fill" or not np.isfinite(values).all()):
        columns = np.flatnonzero(dead.any(axis=0))
        shown = ", ".join(map(str, columns[:12])) + (" ..." if len(columns) > 12 else "")
        notes = [*notes, f"{int(dead.sum())} dead columns of the detector are filled: {shown}"]
        values = corrections.fill_columns(values, dead)
    if taken:
        if not series.final and (highest := float(np.nanmax(values))) > MAX_LINE_INTEGRAL:
            notes.append(
                f"warning: line integrals up to {highest:.3g}, of which no beam would be left: are these counts "
                "(log=take), or scaled values?"
            )
        return np.asarray(values, np.float32), notes
    lowest = corrections.LOWEST_TRANSMISSION
    if dark := int((values < lowest).sum()):
        notes.append(f"warning: {dark:,} of {values.size:,} transmissions are below {lowest:g}, to which they are set")
    return corrections.line_integrals(values), notes


def _exchanged(axes: tuple[str, str], rows: int) -> str:
    """Return a line about axes that seem to be exchanged, with those that would be right."""
    first, second = ("sample" if name == "row" else name for name in axes)
    names = AXES if rows > 1 else (AXES[0], AXES[2])
    right = ",".join({first: second, second: first}.get(name, name) for name in names)
    return f"the axes {first} and {second} look exchanged: name all in the order of the file, such as --axes {right}"


def _frames(found: Beside | None, shape: tuple[int, ...], settings: Corrections) -> np.ndarray | None:
    """Return frames (frame, row, detector) of the rows that are read; those of one row may lack the axis of rows."""
    if found is None:
        return None
    values = found.values
    if settings.rows and values.ndim > 1 and values.shape[-2] != shape[0]:
        rows = rows_read(settings, ())
        values = values[..., rows.start : rows.stop, :]
    if shape[0] == 1 and values.shape[-1:] == shape[1:] and values.shape[-2:] != shape:
        values = values.reshape(-1, *shape)
    return values if values.ndim == 3 else values[None]


def _without_flats(values: np.ndarray, settings: Corrections) -> tuple[np.ndarray, bool, list[str]]:
    """Return values relative to air, True if they are line integrals already, and notes.

    Air is at both ends of the detector. If it is bright, the values are counts; if it is dark, their logarithm has
    been taken.
    """
    width = max(round(END * values.shape[-1]), 1)
    ends = np.concatenate([values[..., :width], values[..., -width:]], axis=-1)
    level = float(np.nanmedian(ends))
    log, notes = settings.log, []
    if log == "auto":
        low, high = np.nanquantile(values.mean(axis=0), (0.02, 0.98))
        bright, dark = level >= high - CLEAR * (high - low), level <= low + CLEAR * (high - low)
        if bright == dark or low == high:
            axes = corrections.find_exchanged_axes(values)
            raise ValueError(
                "neither bright nor dark air at the ends of the detector shows whether the logarithm has been taken; "
                + (_exchanged(axes, values.shape[1]) if axes else "give --set log=take or log=taken")
            )
        log = "take" if bright else "taken"
        notes.append(f"the ends of the detector are {'bright: ' if bright else 'dark: no '}logarithm is taken")
    if log == "taken":
        return values, True, notes
    if (air := settings.air or level) <= 0:
        raise ValueError(
            f"{air:g} at the ends of the detector; air must be more than 0: give flat frames, or --set air="
        )
    if not settings.air:
        notes.append(f"no flat frames: air is taken as {air:.5g}, the median of the ends of the detector")
    return values / np.float32(air), False, notes


def _clean(views: np.ndarray, settings: Corrections) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return sinograms without background and rings, True for the views that are kept, and notes."""
    notes = []
    if settings.background:
        views = corrections.subtract_background(views, settings.background)
    if cut := is_truncated(views):
        notes.append("warning: the object reaches beyond the detector: near its edge, the image is not quantitative")
    measured = np.ones(views.shape[1], bool)
    if settings.views == "drop" and not cut:
        measured = ~corrections.find_bad_views(views)
    if not measured.all():
        shown = ", ".join(map(str, np.flatnonzero(~measured)[:12]))
        notes.append(f"warning: {int((~measured).sum())} views are dropped, because their totals stand apart: {shown}")
    kept = views[:, measured]
    if settings.rings != "none":
        kept = corrections.remove_rings(kept, settings.rings, settings.ring_width)
    if settings.normalise:
        if cut:
            raise ValueError("normalise: the object reaches beyond the detector, so that totals differ; leave it out")
        kept = corrections.equal_totals(kept)
    cleaned = np.zeros_like(views)
    cleaned[:, measured] = kept
    return cleaned, measured, notes

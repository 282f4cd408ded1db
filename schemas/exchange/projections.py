"""Sinograms from measured projections: axes, angles, flat and dark frames, corrections, and the axis of rotation.

Each row of the detector becomes a sample. All settings have the form `--set name=value`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from physics.tomography import corrections
from physics.tomography.rotation_axis import RotationAxis, find_axis, is_truncated
from schemas.exchange.raw_data import Files, Preparation, Prepared, PreparedSample
from schemas.exchange.targets import IMAGE, MASK, Frames, Placement, find_doubts, place, read_frames
from schemas.exchange.view_angles import DEGREE, read_angles, select_views
from schemas.formats.image import LINE_INTEGRALS, Beside, Known, Picture
from schemas.formats.pixel_sizes import nanometres
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting

AXES = ("angle", "sample", "detector")
LENGTHS = ("source_to_axis", "source_to_detector", "detector_pixel")
END = 0.02  # share of the detector at each end that is taken as air, if no flat frame shows the beam
CLEAR = 0.25  # the ends are bright or dark if they lie within this share of the range from its end
ANGLE_DIGITS = 10  # decimal digits of turned angles [rad]: equal views of several scans have equal bits
MAX_AXES = 32  # largest number of rows for each of which an axis is looked for


class Corrections(Settings):
    """Settings of an import of projections."""

    angles: str = Field(
        "", **setting("first and last angle FIRST:LAST of evenly spaced views, both included", "degree")
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


@dataclass(frozen=True)
class _Origin:
    """What the target of a sample depends on."""

    target: int  # its position among the targets
    flip: bool
    turn: float  # degree


@dataclass(frozen=True)
class _Series:
    """Projections of one file or stack, with all that belongs to them."""

    path: Path
    values: np.ndarray  # (angle, row, detector)
    beside: Mapping[str, Beside]
    known: Known
    final: bool = False  # line integrals that need no corrections
    upward: bool = False  # the axis y of images that belong to it points up


def prepare(files: Files, axes: Sequence[str], settings: Corrections) -> Prepared:
    """Return a sinogram for each row of the detector, with its parameters, and warnings.

    Args:
        files: projections by the name of the input, and the files beside them.
        axes: names of the axes in the files; empty: as the files state, else angle, sample (row), detector.
        settings: the settings.

    Raises:
        UserError: arrays do not fit together, or a correction is impossible.
    """
    beside = {name: _stack(files[name]) for name in PREPARATION.beside if files.get(name)}
    frames = {name: [*read_frames(files[name])] for name in PREPARATION.targets if files.get(name)}
    given = {*frames}
    samples: list[PreparedSample] = []
    origins: list[_Origin] = []
    notes: list[str] = []
    count = 0
    for series in _series(files[PREPARATION.input], axes):
        flip = series.upward if settings.flip == "auto" else settings.flip == "yes"
        rows = range(count, count + series.values.shape[1])
        for part in _ranges(settings):
            try:
                made, turn, doubts = _prepare_series(series, {**series.beside, **beside}, part)
            except ValueError as error:
                raise UserError(f"{series.path}: {error}") from None
            samples, notes = samples + made, notes + doubts
            origins += [_Origin(row, flip, turn) for row in rows]
        count = rows.stop
        for name in sorted({*PREPARATION.targets} & {*series.beside} - given):
            frames.setdefault(name, []).extend((series.path, one) for one in series.beside[name].values)
    return _add_targets(samples, frames, origins, settings, notes)


def _ranges(settings: Corrections) -> Sequence[Corrections]:
    """Return the settings of each range of views.

    Raises:
        UserError: several ranges are asked for without the length of one.
    """
    if settings.ranges == 1:
        return [settings]
    start, colon, length = settings.range.partition(":")
    if not colon:
        raise UserError(f"ranges = {settings.ranges}: needs the first range; give --set range=START:LENGTH, too")
    try:
        starts = [float(start) + number * 360 / settings.ranges for number in range(settings.ranges)]
    except ValueError:
        return [settings]  # whose range is refused
    return [settings.model_copy(update={"range": f"{one % 360:g}:{length}"}) for one in starts]


def _add_targets(
    samples: list[PreparedSample],
    frames: Mapping[str, Frames],
    origins: Sequence[_Origin],
    settings: Corrections,
    notes: list[str],
) -> Prepared:
    """Return the samples with their targets, and the notes with what is said about these."""
    how = Placement(settings.image_size, settings.pixel, 0.0)
    count = 1 + max(origin.target for origin in origins)
    for name, found in frames.items():
        if len(found) != count:
            raise UserError(f"--from {name}=...: {len(found)} targets for {count} sinograms; give one for each")
        for origin, (fields, _) in zip(origins, samples, strict=True):
            path, values = found[origin.target]
            flip = origin.flip
            fields[name] = place(name, path, values, replace(how, turn=origin.turn), flip=flip)
            how = replace(how, size=len(fields[name]))
            before = f"{path.name}: {name} of {' x '.join(map(str, values.shape))} pixels"
            flipped = ", upside down, since y points up in the file" if flip else ""
            notes.append(f"{before} is stored with {how.size} x {how.size}{flipped}")
    for index in sorted({0, len(samples) - 1}) if frames else ():
        origin = origins[index]
        flip, there = origin.flip, replace(how, turn=origin.turn)
        other = {name: place(name, *found[origin.target], there, flip=not flip) for name, found in frames.items()}
        notes += find_doubts(samples[index][0], other, samples[index][1], f"flip={'no' if flip else 'yes'}")
    return samples, list(dict.fromkeys(notes))


def _stack(files: Sequence[tuple[Path, Picture]]) -> Beside:
    """Return the frames of several files as one array."""
    shapes = {picture.values.shape for _, picture in files}
    if len(shapes) > 1:
        sizes = " and ".join(" x ".join(map(str, shape)) for shape in sorted(shapes))
        raise UserError(f"{files[0][0]} and others: images of {sizes} pixels; give images of one size")
    values = np.stack([picture.values for _, picture in files]) if len(files) > 1 else files[0][1].values
    return Beside(values, files[0][1].unit)


def _series(files: Sequence[tuple[Path, Picture]], axes: Sequence[str]) -> list[_Series]:
    """Return the projections: of each file, or of a stack of files that hold one image each and no angles."""
    images = all(picture.values.ndim == 2 and "rotation" not in picture.beside for _, picture in files)
    if len(files) > 1 and images:
        lacking = [name for name in AXES if name not in (axes or AXES[1:])]
        stack = _stack(files).values
        path, picture = files[0]
        return [_Series(path, _order(path, stack, (*lacking, *(axes or AXES[1:]))), {}, picture.known)]
    found = []
    for path, picture in files:
        values = picture.stored if axes else picture.values
        if picture.matlab and values.ndim > 2 and not axes:
            raise UserError(f"{path}: shape {values.shape} of MATLAB; name its axes: --axes {','.join(AXES)}")
        names = tuple(axes) or (AXES if values.ndim == 3 else (AXES[0], AXES[2]))
        final = picture.unit == LINE_INTEGRALS
        ordered = _order(path, values, names)
        found.append(_Series(path, ordered, picture.beside, picture.known, final, picture.upward))
    return found


def _order(path: Path, values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return an array with the axes angle, row, detector."""
    if values.ndim != len(names) or sorted(names) not in (sorted(AXES), sorted((AXES[0], AXES[2]))):
        raise UserError(
            f"{path}: shape {values.shape} with the axes {','.join(names)}; name them in the order of the file (angle, "
            f"detector and, for several rows, sample): --axes {','.join(AXES)}"
        )
    if values.dtype.kind not in "biuf":
        raise UserError(f"{path}: holds {values.dtype}; give intensities or line integrals")
    whole = values if values.ndim == 3 else values[:, None]
    whole_names = names if values.ndim == 3 else (names[0], AXES[1], names[1])
    return whole.transpose([whole_names.index(name) for name in AXES])


def _prepare_series(
    series: _Series, beside: Mapping[str, Beside], settings: Corrections
) -> tuple[list[PreparedSample], float, list[str]]:
    """Return the sinograms of the views that are kept, by how much they are turned [degree], and notes.

    The axis is looked for in all views.
    """
    angles, notes = read_angles(series.path, series.values.shape, settings.angles, beside.get("rotation"))
    if series.final:
        settings = settings.model_copy(update={"log": "taken", "columns": "keep", "views": "keep"})
    if settings.center is None and "center" in beside:
        settings = settings.model_copy(update={"center": float(beside["center"].values[0])})
    known = _geometry(series, beside)
    index, chosen = select_views(angles, settings.range, settings.every, settings.first)
    complete = np.array_equal(index, np.arange(len(angles)))
    part = series if complete else replace(series, values=series.values[index])
    views, measured, more = _correct(part, beside, settings)
    whole, seen, whole_angles = views, measured, chosen
    if not complete and settings.center is None:
        whole, seen, _ = _correct(series, beside, settings)
        whole_angles = angles
    seen = seen.all(axis=0)
    centres, unsure = _centres(whole[:, seen], whole_angles[seen], settings.center, known["source_distance"][0])
    turn = -float(np.rad2deg(chosen[0])) if settings.turn == "start" else settings.turn
    if not complete or settings.turn == "start":
        more.append(_report_views(np.rad2deg(chosen), len(angles), settings, turn))
    middle = (views.shape[-1] - 1) / 2
    if turn:
        chosen = np.round(chosen + turn * DEGREE, ANGLE_DIGITS)
    shared = {"angle": tuple(chosen.tolist()), **_in_pixels(known, settings.pixel)}
    samples: list[PreparedSample] = [
        ({"sinogram": view}, {**shared, "measured": tuple(map(float, row)), "axis_offset": (centre - middle,)})
        for view, row, centre in zip(views, measured, centres, strict=True)
    ]
    return samples, turn, [f"{series.path.name}: {note}" for note in (*notes, *more, *unsure)]


def _report_views(degrees: np.ndarray, count: int, settings: Corrections, turn: float) -> str:
    """Return a line about the views that are kept."""
    turned = f", then turned by {turn:g}" if turn else ""
    found = "" if settings.center is not None else "; the centre of rotation is looked for in all"
    return f"{len(degrees)} of {count} views are kept, {degrees[0]:g} to {degrees[-1]:g} degrees{turned}{found}"


def _correct(
    series: _Series, beside: Mapping[str, Beside], settings: Corrections
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return sinograms (row, angle, detector) after all corrections, True (row, angle) for good views, and notes.

    In sinograms that are final, views that are 0 beside others that are not have not been measured.
    """
    views, notes = _line_integrals(series, beside, settings)
    views, good, doubts = _clean(views, settings)
    present = views.any(axis=-1) | (not series.final) | ~views.any(axis=(1, 2))[:, None]
    return views, good & present, [*notes, *doubts]


def _line_integrals(
    series: _Series, beside: Mapping[str, Beside], settings: Corrections
) -> tuple[np.ndarray, list[str]]:
    """Return line integrals (row, angle, detector), after flat and dark frames, outliers and dead columns."""
    counts = np.asarray(series.values, np.float32)
    notes: list[str] = []
    shape = counts.shape[1:]
    flats, darks = (_frames(beside.get(name), shape) for name in ("flat", "dark"))
    if settings.zingers:
        counts = np.moveaxis(corrections.remove_zingers(np.moveaxis(counts, 1, 0)), 0, 1)
    taken = settings.log == "taken"
    if flats is not None:
        values = corrections.transmission(counts, flats, darks)
    else:
        values = counts if darks is None else counts - darks.mean(axis=0)
        values, taken, notes = _without_flats(values, settings)
    values = np.moveaxis(values, 1, 0)
    dead = corrections.find_dead_columns(values)
    if dead.any() and (settings.columns == "fill" or not np.isfinite(values).all()):
        columns = np.flatnonzero(dead.any(axis=0))
        shown = ", ".join(map(str, columns[:12])) + (" ..." if len(columns) > 12 else "")
        notes = [*notes, f"{int(dead.sum())} dead columns of the detector are filled: {shown}"]
        values = corrections.fill_columns(values, dead)
    return (np.asarray(values, np.float32) if taken else corrections.line_integrals(values)), notes


def _frames(found: Beside | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return frames (frame, row, detector); those of one row may lack the axis of rows."""
    if found is None:
        return None
    values = found.values
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
    level = float(np.median(ends))
    log, notes = settings.log, []
    if log == "auto":
        low, high = np.quantile(values.mean(axis=0), (0.02, 0.98))
        bright, dark = level >= high - CLEAR * (high - low), level <= low + CLEAR * (high - low)
        if bright == dark:
            raise ValueError(
                "neither bright nor dark air at the ends of the detector shows whether the logarithm has been taken; "
                "give --set log=take or log=taken"
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
    cut = is_truncated(views)
    measured = np.ones(views.shape[1], bool)
    if settings.views == "drop" and not cut and len(measured) > 2:
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


def _geometry(series: _Series, beside: Mapping[str, Beside]) -> dict[str, tuple[float, ...]]:
    """Return source_distance [detector pixel at the axis] and, if it is known, the width of such a pixel [nm]."""
    known: dict[str, tuple[float, ...]] = {"source_distance": (0.0,)}
    if all(name in beside for name in LENGTHS):
        axis, detector, pixel = (float(beside[name].values[0]) for name in LENGTHS)
        if not 0 < axis <= detector or pixel <= 0:
            raise ValueError(
                f"source to axis {axis:g}, source to detector {detector:g}: the axis must lie between them"
            )
        known["source_distance"] = (detector / pixel,)
        if scale := nanometres(beside[LENGTHS[2]].unit):
            known["sampling"] = (pixel * axis / detector * scale,)
    elif "sampling_x" in series.known:
        known["sampling"] = tuple(series.known["sampling_x"])
    return known


def _in_pixels(known: Known, pixel: float) -> Known:
    """Return the geometry in pixels of the image, each so many detector pixels wide."""
    scaled = {"pitch": (1 / pixel,), "source_distance": (known["source_distance"][0] / pixel,)}
    return scaled | ({"sampling": (known["sampling"][0] * pixel,)} if "sampling" in known else {})


def image_sizes(settings: Corrections, sizes: Mapping[str, int], known: Known) -> dict[str, int]:
    """Return the number of pixels of the image along each side: as set, or else as wide as the detector.

    Args:
        settings: the settings.
        sizes: lengths of the dimensions of the sinograms.
        known: parameters of a sample.
    """
    size = settings.image_size or max(round(sizes["detector"] * known.get("pitch", (1.0,))[0]), 1)
    return {"y": size, "x": size}


def _centres(
    views: np.ndarray, angles: np.ndarray, given: float | None, source_distance: float
) -> tuple[list[float], list[str]]:
    """Return the centre of rotation of each row, and what is said about it.

    A row without a certain centre takes that of all rows.
    """
    rows, width = len(views), views.shape[-1]
    if given is not None:
        if not 0 <= given <= width - 1:
            raise ValueError(f"center = {given:g}: must lie on the detector, 0 to {width - 1}; give --set center=")
        return [given] * rows, []
    chosen = views[np.unique(np.linspace(0, rows - 1, min(rows, MAX_AXES)).astype(int))]
    joint = find_axis(chosen, angles, source_distance)
    alone = [find_axis(view, angles, source_distance) for view in views] if 1 < rows <= MAX_AXES else [joint] * rows
    found = [one if one.certain else joint for one in alone]
    return [one.centre for one in found], [_report(joint, found)]


def _report(joint: RotationAxis, found: Sequence[RotationAxis]) -> str:
    """Return a line about the centre of rotation, a warning if it is not certain."""
    if not joint.certain:
        return (
            f"warning: the centre of rotation is not certain ({joint.doubt}); {joint.centre:.2f} is used: "
            "check it, and give --set center="
        )
    centres = [one.centre for one in found]
    uncertainty = max(joint.uncertainty, float(np.std(centres)))
    rows = f", {min(centres):.2f} to {max(centres):.2f} in its rows" if np.ptp(centres) > 0.01 else ""
    return f"centre of rotation {joint.centre:.2f} +- {uncertainty:.2f} pixels{rows}"


PREPARATION = Preparation("sinogram", ("flat", "dark", "rotation"), (IMAGE, MASK), Corrections, prepare, image_sizes)

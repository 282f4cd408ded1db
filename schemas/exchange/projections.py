"""Sinograms from measured projections: axes, angles, flat and dark frames, corrections, and the axis of rotation.

Each row of the detector becomes a sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from physics.tomography.axis_line import fit_line
from physics.tomography.geometry import Geometry, field_of_view, is_whole_turn, samples_by_rays
from physics.tomography.rotation_axis import LEAST_UNCERTAINTY, find_axis
from schemas.exchange.line_integrals import AXES, Corrections, Series, correct, rows_read
from schemas.exchange.raw_data import ROTATION, Files, Preparation, Prepared, PreparedSample
from schemas.exchange.targets import IMAGE, MASK, Frames, Placement, find_doubts, place, read_frames
from schemas.exchange.view_angles import DEGREE, doubt_turn, read_angles, select_views
from schemas.formats.image import LINE_INTEGRALS, Beside, Known, Picture
from schemas.formats.pixel_sizes import nanometres
from schemas.runtime.errors import UserError

GEOMETRY = ("axis_offset", "pitch", "source_distance")  # parameters that can be given
LENGTHS = ("source_to_axis", "source_to_detector", "detector_pixel")
ANGLE_DIGITS = 10  # decimal digits of turned angles [rad]: equal views of several scans have equal bits
MAX_AXES = 32  # largest number of rows for each of which an axis is looked for
MIN_CERTAIN = 0.5  # share of these rows that must show it, to find a tilt and to leave out wrong ones


@dataclass(frozen=True)
class _Origin:
    """Properties of a sample on which its target depends."""

    target: int  # its position among the targets
    flip: bool
    turn: float  # degree


def prepare(files: Files, axes: Sequence[str], settings: Corrections, given: Known) -> Prepared:
    """Return a sinogram for each row of the detector, with its parameters, and warnings.

    Args:
        files: projections by the name of the input, and the files beside them.
        axes: names of the axes in the files; empty: as the files state, else angle, sample (row), detector.
        settings: the settings.
        given: parameters that are given, instead of what the files state or the search for the axis finds.

    Raises:
        UserError: arrays do not fit together, or a correction is impossible.
    """
    given = {name: given[name] for name in GEOMETRY if given.get(name)}
    settings = _match_pitch(settings, given)
    beside = {name: _stack(files[name]) for name in PREPARATION.beside if files.get(name)}
    frames = {name: [*read_frames(files[name])] for name in PREPARATION.targets if files.get(name)}
    samples: list[PreparedSample] = []
    origins: list[_Origin] = []
    notes: list[str] = []
    count = 0
    for series in _series(files[PREPARATION.input], axes, settings):
        flip = series.upward if settings.flip == "auto" else settings.flip == "yes"
        rows = range(count, count + series.values.shape[1])
        for part in _ranges(settings):
            try:
                rest = {name: values[len(samples) :] if len(values) > 1 else values for name, values in given.items()}
                made, turn, doubts = _prepare_series(series, {**series.beside, **beside}, part, rest)
            except ValueError as error:
                raise UserError(f"{series.path}: {error}") from None
            samples, notes = samples + made, notes + doubts
            origins += [_Origin(row, flip, turn) for row in rows]
        count = rows.stop
        for name in sorted({*PREPARATION.targets} & {*series.beside} - {*files}):
            frames.setdefault(name, []).extend((series.path, one) for one in series.beside[name].values)
    return _add_targets(samples, frames, origins, settings, notes)


def _match_pitch(settings: Corrections, given: Known) -> Corrections:
    """Return the settings with the width of a pixel of the image that follows from a given pitch.

    Raises:
        UserError: both are given, and contradict one another; or samples differ in the geometry of their beam.
    """
    for name in ("pitch", "source_distance"):
        if len({*given.get(name, ())}) > 1:
            raise UserError(f"--set {name}=...: must be the same for all samples; import the others on their own")
    pitch = given.get("pitch", (1 / settings.pixel,))[0]
    if pitch <= 0:
        raise UserError(f"--set pitch={pitch:g}: must be more than 0")
    if (distance := given.get("source_distance", (0.0,))[0]) < 0:
        raise UserError(f"--set source_distance={distance:g}: must be positive, or 0 for a parallel beam")
    if settings.pixel not in (1.0, 1 / pitch):
        raise UserError(f"--set pitch={pitch:g}: must be 1/pixel, {1 / settings.pixel:g}; give only one of them")
    return settings.model_copy(update={"pixel": 1 / pitch})


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
            if flip or values.shape != (how.size,) * 2:
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


def _series(files: Sequence[tuple[Path, Picture]], axes: Sequence[str], settings: Corrections) -> list[Series]:
    """Return the projections: of each file, or of a stack of files that hold one image each and no angles."""
    images = all(picture.values.ndim == 2 and ROTATION not in picture.beside for _, picture in files)
    if len(files) > 1 and images:
        lacking = [name for name in AXES if name not in (axes or AXES[1:])]
        path, picture = files[0]
        ordered = _order(path, _stack(files).values, (*lacking, *(axes or AXES[1:])))
        return [Series(path, ordered, {}, picture.known)]
    found = []
    for path, picture in files:
        values = picture.stored if axes else picture.values
        if picture.matlab and values.ndim > 2 and not axes:
            raise UserError(f"{path}: shape {values.shape} of MATLAB; name its axes: --axes {','.join(AXES)}")
        names = tuple(axes) or (AXES if values.ndim == 3 else (AXES[0], AXES[2]))
        final = picture.unit == LINE_INTEGRALS
        ordered = _order(path, values, names)
        if values.ndim == 2:
            rows_read(settings, ()).index(path, ordered.shape)
        found.append(Series(path, ordered, picture.beside, picture.known, final, picture.upward))
    return found


def _order(path: Path, values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return an array with the axes angle, row, detector."""
    if values.ndim != len(names) or sorted(names) not in (sorted(AXES), sorted((AXES[0], AXES[2]))):
        form = ",".join(AXES if values.ndim == 3 else (AXES[0], AXES[2]))
        raise UserError(
            f"{path}: shape {values.shape} with the axes {','.join(names)}; name them in the order of the file (angle, "
            f"detector and, for several rows, sample), such as --axes {form}"
        )
    if values.dtype.kind not in "biuf":
        raise UserError(f"{path}: holds {values.dtype}; give intensities or line integrals")
    whole = values if values.ndim == 3 else values[:, None]
    whole_names = names if values.ndim == 3 else (names[0], AXES[1], names[1])
    return whole.transpose([whole_names.index(name) for name in AXES])


def _prepare_series(
    series: Series, beside: Mapping[str, Beside], settings: Corrections, given: Known
) -> tuple[list[PreparedSample], float, list[str]]:
    """Return the sinograms of the views that are kept, by how much they are turned [degree], and notes.

    The axis is looked for in all views.
    """
    angles, notes = read_angles(series.path, series.values.shape, settings.angles, beside.get(ROTATION))
    if series.final:
        settings = settings.model_copy(update={"log": "taken", "columns": "keep", "views": "keep"})
    if settings.center is None and "center" in beside:
        settings = settings.model_copy(update={"center": float(beside["center"].values[0])})
    known = _geometry(series, beside)
    if "source_distance" in given:
        known["source_distance"] = (given["source_distance"][0] * settings.pixel,)
    if known["source_distance"][0] and (count := series.values.shape[1]) > 1:
        middle_row = rows_read(settings, ()).start + count // 2
        raise ValueError(
            f"{count} rows and a source at a finite distance: a cone beam, of which only the row in the plane of the "
            f"source is a fan; name this row, such as --set rows={middle_row}:{middle_row + 1}"
        )
    width = series.values.shape[-1]
    middle, offsets = (width - 1) / 2, given.get("axis_offset", ())
    if offsets:
        settings = settings.model_copy(update={"center": middle + offsets[0]})
    index, chosen = select_views(angles, settings.range, settings.every, settings.first)
    complete = np.array_equal(index, np.arange(len(angles)))
    part = series if complete else replace(series, values=series.values[index])
    views, measured, more = correct(part, beside, settings)
    whole, seen, whole_angles = views, measured, chosen
    if not complete and settings.center is None:
        whole, seen, _ = correct(series, beside, settings)
        whole_angles = angles
    seen = seen.all(axis=0)
    if not known["source_distance"][0]:
        notes += doubt_turn(whole[:, seen][:: max(len(whole) // MAX_AXES, 1)], whole_angles[seen])
    unsure: list[str] = []
    if offsets:
        centres = [middle + offsets[row % len(offsets)] for row in range(len(views))]
    else:
        distance, stated = known["source_distance"][0], beside.get("stated_axis")
        place = middle + float(stated.values[0]) if stated else None
        centres, unsure = _centres(whole[:, seen], whole_angles[seen], settings, distance, place)
    if "half" in beside and beside["half"].values[0] and not is_whole_turn(chosen):
        more.append("warning: the file states a half acquisition (field_of_view), but the views cover no whole turn")
    turn = -float(np.rad2deg(chosen[0])) if settings.turn == "start" else settings.turn
    if not complete or settings.turn == "start":
        more.append(_report_views(np.rad2deg(chosen), len(angles), settings, turn))
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
    kept = f"{len(degrees)} of {count} views are kept"
    found = "" if settings.center is not None else "; the centre of rotation is looked for in all"
    if settings.ranges > 1:
        turned = ", each turned so that it begins at angle 0" if settings.turn == "start" else ""
        return f"{kept} in each of {settings.ranges} ranges{turned}{found}"
    turned = f", then turned by {turn:g}" if turn else ""
    return f"{kept}, {degrees[0]:g} to {degrees[-1]:g} degrees{turned}{found}"


def _geometry(series: Series, beside: Mapping[str, Beside]) -> dict[str, tuple[float, ...]]:
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
    """Return the number of pixels of the image along each side: as set, or else as wide as what is measured.

    This is the width of the detector; in a whole turn, twice the distance from the axis to its farther end.

    Args:
        settings: the settings.
        sizes: lengths of the dimensions of the sinograms.
        known: parameters of a sample.
    """
    pitch, width = known.get("pitch", (1.0,))[0], sizes["detector"]
    size = settings.image_size or max(round(width * pitch), 1)
    if not settings.image_size and "angle" in known:
        rest = (known.get(name, (0.0,))[0] for name in ("axis_offset", "source_distance"))
        seen = np.array(known.get("measured", (1.0,) * len(known["angle"]))) != 0
        if seen.any() and is_whole_turn(angles := np.array(known["angle"])[seen]):
            size = max(size, round(2 * Geometry(angles, width, pitch, *rest).radius))
    distance = known.get("source_distance", (0.0,))[0]
    if 0 < distance <= (reach := size / 2**0.5):
        raise UserError(
            f"source_distance = {distance:g} pixels of the image: the source must lie outside of the image, beyond "
            f"{reach:.1f}; give it in pixels, or make the image smaller with image_size="
        )
    return {"y": size, "x": size}


def _centres(
    views: np.ndarray, angles: np.ndarray, settings: Corrections, source_distance: float, stated: float | None
) -> tuple[list[float], list[str]]:
    """Return the centre of rotation of each row, and what is said about it.

    A centre that the file states is that of a motor. It is used only if the views do not show theirs.
    """
    rows, width = np.arange(len(views)), views.shape[-1]
    if (given := settings.center) is not None:
        if not 0 <= given <= width - 1:
            raise ValueError(f"center = {given:g}: must lie on the detector, 0 to {width - 1}; give --set center=")
        return [given] * len(rows), []
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_AXES)).astype(int))
    joint = find_axis(views[chosen], angles, source_distance)
    alone = [find_axis(views[row], angles, source_distance) for row in chosen] if len(rows) > 1 else [joint]
    if np.mean([one.certain for one in alone]) >= MIN_CERTAIN:
        line = fit_line(chosen, alone)
    elif joint.certain:
        line = fit_line(chosen[:1], [joint])
    else:
        used, whose = (joint.centre, "") if stated is None else (stated, ", which the file states,")
        if stated is None and not 0 <= used <= width - 1:
            used, whose = (width - 1) / 2, ", the middle of the detector,"
        doubt = f"warning: the centre of rotation is not certain ({joint.doubt}); {used:.2f}{whose} is used"
        return [used] * len(rows), [f"{doubt}: check it, and give --set center="]
    centres = line.centres(rows)
    shared = joint.uncertainty if joint.certain else LEAST_UNCERTAINTY  # errors of a method are those of all rows
    uncertainty = max(float(line.uncertainties(rows).max()), shared)
    note = f"centre of rotation {centres.mean():.2f} +- {uncertainty:.2f} pixels"
    note += f", {centres[0]:.2f} in the first to {centres[-1]:.2f} in the last row" if line.tilt else ""
    note += f"; the file states {stated:.2f}" if stated is not None else ""
    return centres.tolist(), [note]


def _view(settings: Corrections, sizes: Mapping[str, int], columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the field of view: the square, or the disc that is measured in all samples and touches no edge."""
    shape = sizes["y"], sizes["x"]
    if settings.field_of_view == "square":
        return {"field_of_view": np.ones(shape, np.float32)}
    names = ("angle", "measured", "axis_offset", "pitch", "source_distance")
    groups = samples_by_rays(sizes["detector"], *(columns[name] for name in names))
    radius = min((rays.radius for _, seen, rays, _ in groups if seen.any()), default=np.inf)
    return {"field_of_view": field_of_view(shape[0], radius).astype(np.float32)}


PREPARATION = Preparation(
    "sinogram", ("flat", "dark", ROTATION), (IMAGE, MASK), Corrections, prepare, image_sizes, _view, rows_read
)

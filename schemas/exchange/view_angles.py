"""Angles of views in rad: as given, as a file states them, or inferred from their range; a wrong unit is refused.

Views can be selected by a range of their angles, or every k-th one.
"""

from pathlib import Path

import numpy as np

from schemas.formats.image import Beside
from schemas.formats.pixel_sizes import RADIANS_PER_UNIT

DEGREE = np.pi / 180
MAX_RADIANS = 2.1 * np.pi  # angles up to this value are taken as rad, if no unit is stated
MAX_TURNS = 4  # largest range of angles in turns
ROUNDING = 1e-3  # degree; an end of a range that falls on a view includes it
TURN_TOLERANCE = 0.02  # relative difference below which a range is that of half a turn or a turn
ALIKE = 0.9  # correlation of two views above which they are the same view
UNLIKE = 0.05  # by so much it must exceed that of another way to compare them


def read_angles(path: Path, shape: tuple[int, ...], given: str, found: Beside | None) -> tuple[np.ndarray, list[str]]:
    """Return one angle [rad] for each view, and warnings.

    Args:
        path: the file, for messages.
        shape: of the projections, (angle, row, detector).
        given: FIRST:LAST [degree] of evenly spaced views, both included; empty: as in the file.
        found: the angles that belong to the projections, in any order, and their unit.

    Raises:
        ValueError: there are no angles, or their number or unit is wrong.
    """
    if given:
        first, last = _numbers("angles", given, "FIRST:LAST", "0:180")
        if first == last and shape[0] > 1:
            raise ValueError(
                f"angles = {given}: all {shape[0]} views would be alike; give the first and the last angle"
            )
        degrees = np.linspace(first, last, shape[0])
        return degrees * DEGREE, _doubt_unit(degrees, "degrees", "rad")
    if found is None:
        raise ValueError(
            "states no angles; give the first and the last in degrees, both included: --set angles=0:180 for half a "
            "turn, angles=0:360 for a whole turn; or --from rotation=FILE"
        )
    values = np.asarray(found.values, np.float64).reshape(-1)
    if len(values) != shape[0]:
        names = ("angle", "sample", "detector")
        fits = [name for name, length in zip(names, shape, strict=True) if length == len(values) and name != "angle"]
        hint = f"; its axis {fits[0]} has this length: transposed? name the axes with --axes" if fits else ""
        axes = ", ".join(f"{name} {length}" for name, length in zip(names, shape, strict=True))
        raise ValueError(f"{len(values)} angles for {shape[0]} views ({axes}); give one angle per view{hint}")
    if not np.isfinite(values).all():
        raise ValueError("some angles are not finite numbers; correct them, or leave these views out")
    if len(values) > 1 and not np.ptp(values):
        raise ValueError(
            f"all {len(values)} angles are {values[0]:g}; give one angle per view, or --set angles=FIRST:LAST"
        )
    return _to_radians(values, found.unit)


def select_views(angles: np.ndarray, part: str, every: int = 1, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of some of the views, and their angles [rad].

    Views in a range are in the order of the range, and their angles grow; elsewhere views keep their order. Of views
    that repeat after a turn, such as those at 0 and 360 degrees, the first one is kept.

    Args:
        angles: of all views (view,) [rad], in any order.
        part: START:LENGTH [degree] of a range that includes both ends and goes on after 360 degrees; empty: all views.
        every: every so many views of the range, one is kept.
        first: the first of these views.

    Raises:
        ValueError: there is no such range, or no view in it.
    """
    index, chosen = np.arange(len(angles)), angles
    if part:
        start, length = _numbers("range", part, "START:LENGTH", "75:30")
        if not 0 <= length <= 360:
            raise ValueError(f"range = {part}: its length must be 0 to 360 degrees; write START:LENGTH")
        place = np.mod(np.rad2deg(angles) - start + ROUNDING, 360.0)
        index = np.argsort(place, kind="stable")
        index = index[place[index] <= length + 2 * ROUNDING]
        turns = np.round((start + place[index]) / 360 - angles[index] / (2 * np.pi))
        chosen = angles[index] + 2 * np.pi * turns
        again = (np.diff(chosen, prepend=-np.inf) < 2 * ROUNDING * DEGREE) & (np.diff(turns, prepend=0) != 0)
        index, chosen = index[~again], chosen[~again]
        if not len(index):
            near, far = np.rad2deg(angles).min(), np.rad2deg(angles).max()
            raise ValueError(f"range = {part}: holds no view; the angles are {near:g} to {far:g} degrees")
    if first >= len(index):
        raise ValueError(f"first = {first}: must be less than the number of views, {len(index)}")
    return index[first::every], chosen[first::every]


def doubt_turn(views: np.ndarray, angles: np.ndarray) -> list[str]:
    """Return a warning if the views of a parallel beam end as after another turn than their angles state.

    After half a turn the last view is the mirror image of the first one, after a whole turn it is the same.

    Args:
        views: (row, view, detector).
        angles: of the views [rad].
    """
    if len(angles) < 3:
        return []
    span = float(np.ptp(angles)) / np.pi
    stated = next((turns for turns in (1, 2) if abs(span - turns) < TURN_TOLERANCE * turns), 0)
    if not stated:
        return []
    ends = views[:, [int(angles.argmin()), int(angles.argmax())]].astype(float)
    first, last = (ends - ends.mean(axis=(0, 2), keepdims=True)).swapaxes(0, 1)
    size = float(np.sqrt((first**2).sum() * (last**2).sum())) or 1.0
    same = float((first * last).sum()) / size
    mirrored = float(np.sum([np.convolve(*rows) for rows in zip(first, last, strict=True)], axis=0).max()) / size
    if stated == 1 and same > max(ALIKE, mirrored + UNLIKE):
        return ["warning: the first and the last view are alike, as after a whole turn: are the angles 0:360?"]
    if stated == 2 and mirrored > max(ALIKE, same + UNLIKE):
        return ["warning: the last view is the mirror image of the first, as after half a turn: are the angles 0:180?"]
    return []


def _numbers(name: str, text: str, form: str, example: str) -> tuple[float, float]:
    """Return the two numbers of a text such as 0:180."""
    first, colon, last = text.partition(":")
    try:
        numbers = float(first), float(last)
    except ValueError:
        numbers = (np.nan, np.nan)
    if not (colon and np.isfinite(numbers).all()):
        raise ValueError(f"{name} = {text}: must be {form} in degrees, for example {example}")
    return numbers


def _to_radians(values: np.ndarray, unit: str) -> tuple[np.ndarray, list[str]]:
    """Return angles in rad. Refuse a unit that their range contradicts, and infer it if there is none."""
    name = unit.strip().lower()
    scale = RADIANS_PER_UNIT.get(name, RADIANS_PER_UNIT.get(name.removesuffix("s").replace("degree", "deg")))
    span = float(np.ptp(values))
    if not name:
        scale = 1.0 if float(abs(values).max()) <= MAX_RADIANS else DEGREE
        if span * scale > MAX_TURNS * 2 * np.pi:
            raise ValueError(
                f"angles over {span:g} without a unit: must be less than {MAX_TURNS} turns, in degrees or rad; convert "
                "them, or give --set angles=FIRST:LAST"
            )
        note = f"warning: angles from {values.min():g} to {values.max():g} without a unit are taken as "
        return values * scale, [note + ("rad" if scale == 1.0 else "degrees")]
    if scale is None:
        raise ValueError(f"angles in {unit}: must be in degrees or rad; convert them, or give --set angles=FIRST:LAST")
    step = span / max(len(values) - 1, 1)
    turns = [(span + extra) / np.pi for extra in (0.0, step)]
    if scale == DEGREE and len(values) > 2 and any(abs(t - n) < TURN_TOLERANCE * n for t in turns for n in (1, 2)):
        raise ValueError(
            f"angles over {span:g} degrees look like rad; correct the unit, or give --set angles=FIRST:LAST"
        )
    if span * scale > MAX_TURNS * 2 * np.pi:
        raise ValueError(
            f"angles over {span:g} {unit}: must be less than {MAX_TURNS} turns; correct the unit, or give --set "
            "angles=FIRST:LAST"
        )
    return values * scale, _doubt_unit(values, *(("rad", "degrees") if scale == 1 else ("degrees", "rad")))


def _doubt_unit(values: np.ndarray, unit: str, other: str) -> list[str]:
    """Return a warning about angles whose range is usual for another unit: few degrees, or rad of more than a turn."""
    span = float(np.ptp(values))
    unusual = 0 < span <= MAX_RADIANS if unit == "degrees" else span > MAX_RADIANS
    if len(values) < 3 or not unusual:
        return []
    return [f"warning: angles over {span:g} {unit}: are they in {other}? Then give --set angles=FIRST:LAST in degrees"]

"""Tilt series of noisy images from measured ones, with their angles, and images without noise as targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from schemas.exchange.image_series import doubts
from schemas.exchange.image_series.image_axes import FIRST, find_names, order_axes
from schemas.exchange.image_series.tilt_angles import tilt_column, tilts_in_radians
from schemas.exchange.input_files import grey_values
from schemas.exchange.input_values import refuse_unmeasured
from schemas.exchange.raw_data import ROTATION, Files, Preparation, Prepared, PreparedSample
from schemas.formats.image import Beside, Known, Picture
from schemas.runtime.errors import UserError
from schemas.runtime.ranges import within
from schemas.runtime.settings import Settings, setting

IMAGES, TARGET = "noisy", "clean"
ANGLE, ELECTRONS, LEVEL = "angle", "electrons", "background_level"
UNITS = {"auto": "", "degree": "deg", "rad": "rad"}


class SeriesSettings(Settings):
    """Settings of an import of tilt series."""

    angles: str = Field(
        "", **setting("first and last angle FIRST:LAST of evenly spaced tilts, both included", "degree")
    )
    angle_unit: Literal["auto", "degree", "rad"] = Field(
        "auto", **setting("unit of the angles in a file; auto: as it states, or by their range")
    )
    angle_column: int | None = Field(
        None, ge=0, le=2, **setting("Euler angle that is the tilt, counted from 0; none: the only one that varies")
    )
    pedestal: Annotated[float, within(-1e9, 1e9)] = Field(
        0.0, **setting("value of a pixel without electrons, which is taken off images and targets")
    )
    scale: Annotated[float, within(0, 1e9, above=True)] = Field(
        1.0, **setting("value that becomes 1, after the pedestal has been taken off")
    )


@dataclass(frozen=True)
class _Series:
    """Images of one or several samples, with their angles if these are known."""

    path: Path
    values: np.ndarray  # (sample, tilt, y, x)
    axes: Sequence[str]  # names of the axes in the file
    known: Known
    angles: Beside | None
    angles_path: Path


def prepare(files: Files, axes: Sequence[str], settings: SeriesSettings, given: Known) -> Prepared:
    """Return the tilt series in some files, with their angles, and warnings.

    Args:
        files: images by the name of the input, and the files beside them.
        axes: names of the axes in the files; empty: found from the number of angles.
        settings: the settings.
        given: parameters that are given, instead of what the files state.

    Raises:
        UserError: arrays do not fit together, or some pixels have no measurement, or counts are negative.
    """
    notes: list[str] = []
    images = _read_series(files[IMAGES], files.get(ROTATION, ()), axes, settings, given, notes)
    targets: list[_Series | None] = [None] * len(images)
    if found := files.get(TARGET):
        targets = [*_read_series(found, files.get(ROTATION, ()), axes, settings, given, [])]
    if len(targets) != len(images):
        raise UserError(f"--from {TARGET}=...: {len(targets)} targets for {len(images)} series; give one for each")
    samples: list[PreparedSample] = []
    for series, target in zip(images, targets, strict=True):
        if target and target.values.shape != series.values.shape:
            here, there = (" x ".join(map(str, one.values.shape[1:])) for one in (target, series))
            raise UserError(f"{target.path}: {here} (tilt, y, x), but {series.path} is {there}; give equal sizes")
        known = {**series.known, **_parameters(series, settings, given, notes)}
        for index, raw in enumerate(series.values):
            fields = {IMAGES: _convert(series.path, raw, settings)}
            if target:
                fields[TARGET] = _convert(target.path, target.values[index], settings)
                notes += doubts.doubt_target(target.path.name, fields[IMAGES] - _level(given), fields[TARGET])
            notes += _doubts(series, raw, fields[IMAGES], known, settings, given)
            samples.append((fields, known))
    return samples, list(dict.fromkeys(notes))


def _read_series(
    files: Sequence[tuple[Path, Picture]],
    rotation: Sequence[tuple[Path, Picture]],
    axes: Sequence[str],
    settings: SeriesSettings,
    given: Known,
    notes: list[str],
) -> list[_Series]:
    """Return the series of each file; or one of several files that hold one image each."""
    alone = len(files) > 1 and all(picture.values.ndim == 2 and not axes for _, picture in files)
    count = 1 if alone else len(files)
    if len(rotation) not in (0, 1, count):
        raise UserError(f"--from {ROTATION}=...: {len(rotation)} files of angles for {count} series; give one for each")
    found = []
    for index, (path, picture) in enumerate(files[:count]):
        beside, where = picture.beside.get(ROTATION), path
        if rotation:
            where, other = rotation[index % len(rotation)]
            beside = Beside(other.values, other.unit)
        if beside is not None:
            column, more = tilt_column(where, beside.values, settings.angle_column)
            beside = Beside(column, UNITS[settings.angle_unit] or beside.unit)
            notes += more
        numbers = given.get(ANGLE, beside.values if beside else ())
        names: Sequence[str]
        if alone:
            values, names = np.stack([grey_values(*one, named=False) for one in _alike(files)]), FIRST
        else:
            values = grey_values(path, picture, named=bool(axes))
            names = tuple(axes) or find_names(path, picture, len(numbers) or None)
        found.append(_Series(path, order_axes(path, values, names), names, picture.known, beside, where))
    return found


def _level(given: Known) -> np.ndarray:
    """Return the known background of the images, to be subtracted from (tilt, y, x)."""
    return np.array(given.get(LEVEL, (0.0,)))[:, None, None]


def _alike(files: Sequence[tuple[Path, Picture]]) -> Sequence[tuple[Path, Picture]]:
    """Return the files, unless their images have different sizes."""
    first, shape = files[0][0], files[0][1].values.shape
    for path, picture in files:
        if picture.values.shape != shape:
            here, there = (" x ".join(map(str, size)) for size in (picture.values.shape, shape))
            raise UserError(f"{path}: has {here} pixels, but {first} has {there}; crop them to one size")
    return files


def _parameters(series: _Series, settings: SeriesSettings, given: Known, notes: list[str]) -> Known:
    """Return the angles [rad] and the counted electrons of the images of a series."""
    count = series.values.shape[1]
    known: dict[str, tuple[float, ...]] = {} if ELECTRONS in given else {ELECTRONS: (0.0,) * count}
    if ANGLE in given:
        return known
    angles, more = tilts_in_radians(series.angles_path, count, settings.angles, series.angles)
    notes += [f"{note.replace('warning: ', f'warning: {series.angles_path.name}: ', 1)}" for note in more]
    return known | {ANGLE: tuple(angles.tolist())}


def _convert(path: Path, raw: np.ndarray, settings: SeriesSettings) -> np.ndarray:
    """Return images without pedestal, relative to the value that becomes 1."""
    refuse_unmeasured(str(path), raw, "replace or crop them, or leave these images out")
    if (settings.pedestal, settings.scale) == (0, 1):
        return raw
    return np.asarray((raw.astype(np.float64) - settings.pedestal) / settings.scale, np.float32)


def _doubts(
    series: _Series,
    raw: np.ndarray,
    images: np.ndarray,
    known: Known,
    settings: SeriesSettings,
    given: Known,
) -> list[str]:
    """Return the warnings that the values of a series raise. Refuse negative counts."""
    name, rates = series.path.name, np.array(given.get(ELECTRONS, ()))
    notes = [*doubts.doubt_pedestal(name, images, settings.pedestal)]
    if len(rates) in (1, len(raw)):
        rates = np.broadcast_to(rates, len(raw))
        notes += doubts.check_counts(name, raw.astype(np.float64) / settings.scale, rates)
    if ANGLE in known:
        notes += doubts.doubt_order(images, np.array(known[ANGLE]))
        notes += doubts.doubt_axis(images, ",".join({"x": "y", "y": "x"}.get(axis, axis) for axis in series.axes))
    return notes


PREPARATION = Preparation(IMAGES, (ROTATION,), (TARGET,), SeriesSettings, prepare, refuses_marks=True)

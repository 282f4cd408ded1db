"""Values of the inputs of a measurement: masks, division by the beam, roots of counts, and doubts about numbers."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from schemas.runtime.errors import UserError
from schemas.task import Field

PLAUSIBLE_MEDIANS = (0.2, 5.0)  # a warning is printed if the median of an image relative to the beam lies outside
MEAN = "mean"
MIN_MARK_BYTES = 2  # bytes of the narrowest integers whose largest number can be a mark
MIN_MARK_RATIO = 2  # a number can be a mark if it is at least this many times as large as all others
LARGEST_INTEGERS = [2**bits - less for bits in (16, 31, 32, 64) for less in (1, 2)]  # marks of detectors and programs
FILL_VALUES = [1e20, 1e36, 9.969209968386869e36]  # marks of NumPy and netCDF
NEGATIVE_MARKS = [-1.0, -2.0, -999.0, -9999.0, *(float(-(2**bits)) for bits in (15, 31, 63))]

type Held = Literal["counts", "amplitudes"]


def apply_mask(
    field: Field, samples: Sequence[np.ndarray], mask: np.ndarray | None, name: str, *, marks: bool = True
) -> np.ndarray:
    """Return the images of all samples, with 0 where a mask is 0.

    Args:
        field: the input.
        samples: the images of each sample.
        mask: 1 where the detector measures; None: everywhere.
        name: name of the field that may hold the mask, for messages; empty: there is none.
        marks: whether pixels without a measurement are looked for.

    Raises:
        UserError: some of the other pixels have no measurement.
    """
    values = np.stack(samples)
    if mask is not None:
        values[np.broadcast_to(mask == 0, values.shape)] = 0
    if marks:
        remedy = f"mask them: --with {name}=FILE, 0 at these pixels" if name and mask is None else ""
        refuse_unmeasured(field.name, values, remedy or "replace or crop them")
    return values


def refuse_unmeasured(name: str, values: np.ndarray, remedy: str) -> None:
    """Refuse values among which some pixels have no measurement.

    Args:
        name: name of the input or the file, for the message.
        values: array of numbers.
        remedy: what the user can do.

    Raises:
        UserError: some pixels have no measurement.
    """
    missing = find_unmeasured(values)
    if not missing.any():
        return
    shown = np.unique(values[missing])[:3]
    if not np.isfinite(shown).all():
        what = "values are not finite numbers (NaN, inf), or missing by the file's own mark"
    else:
        what = f"values are {' or '.join(f'{mark:.10g}' for mark in shown)}, a mark of pixels without a measurement"
    raise UserError(f"{name}: {int(missing.sum()):,} {what}; {remedy}")


def find_unmeasured(values: np.ndarray) -> np.ndarray:
    """Return True at pixels without a measurement: NaN, infinities, and marks that stand apart from all other values.

    Marks are the largest number of an integer type and other customary numbers, at least twice as large as all other
    values; and customary negative numbers, such as -1, if no other value is negative.

    Args:
        values: array of numbers.
    """
    missing = ~np.isfinite(values)
    if not missing.all() and values.dtype.itemsize >= MIN_MARK_BYTES:
        missing |= _large_marks(values, missing)
        below = (values < 0) & ~missing
        if below.any() and np.isin(np.unique(values[below]), NEGATIVE_MARKS).all():
            missing |= below
    return missing


def _large_marks(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return True at the largest values, as long as these are marks."""
    if values.dtype.kind in "iu":
        most = int(np.iinfo(values.dtype).max)
        marks = {float(mark) for mark in (*LARGEST_INTEGERS, most) if mark <= most}
    else:
        marks = {
            float(values.dtype.type(mark))
            for mark in (*LARGEST_INTEGERS, *FILL_VALUES)
            if mark < float(np.finfo(values.dtype).max)
        }
    found, lowest = np.zeros(values.shape, bool), 0.0
    rest = ~missing
    while rest.any() and float(top := values.max(initial=0, where=rest)) in marks:
        found |= values == top
        rest, lowest = ~(missing | found), float(top)
    apart = rest.any() and lowest >= MIN_MARK_RATIO * float(values.max(where=rest, initial=0))
    return found if apart else np.zeros(values.shape, bool)


def convert_input(field: Field, raw: np.ndarray, beam: str, notes: list[str], *, relative: bool) -> np.ndarray:
    """Return one input of all samples in its dtype, relative to the beam if the task stores it so.

    Args:
        field: the input.
        raw: (sample, ...), the values in the files.
        beam: counts per pixel of the incident beam, "mean", or empty.
        notes: warnings for the user, to which others are added.
        relative: True if the input is relative to the beam.

    Raises:
        UserError: a value is not finite in the dtype, or the beam is not positive.
    """
    values = _divide_by_beam(raw, beam if relative else "")
    with np.errstate(over="ignore", invalid="ignore"):
        array = values.astype(field.dtype)
    if wrong := int((~np.isfinite(array)).sum()):
        raise UserError(f"{field.name}: {wrong:,} values are not finite numbers (NaN, inf); correct or crop the images")
    median = float(np.median(array))
    if relative and (dark := int((array < 0).sum())):
        notes.append(f"warning: {field.name} has {dark:,} values below 0; an intensity cannot be negative")
    if (
        raw.dtype.kind in "iu"
        and raw.itemsize >= MIN_MARK_BYTES
        and (full := int((raw == np.iinfo(raw.dtype).max).sum()))
    ):
        most = np.iinfo(raw.dtype).max
        notes.append(f"warning: {full:,} values of {field.name} are {most}, the largest of {raw.dtype}: saturated?")
    flat = np.ptp(array.reshape(-1, *array.shape[-2:]), axis=(1, 2)) == 0
    if flat.any():
        notes.append(f"warning: {int(flat.sum())} of the {len(flat)} images of {field.name} are constant")
    if relative and not PLAUSIBLE_MEDIANS[0] <= median <= PLAUSIBLE_MEDIANS[1]:
        notes.append(
            f"warning: {field.name} has the median {median:.4g} relative to the beam: {_beam_hint(median, beam)}"
        )
    return array


def refuse_unknown_labels(field: Field, raw: np.ndarray) -> None:
    """Refuse values that are not the number of a class.

    Args:
        field: a target with classes.
        raw: (sample, ...), the values in the files.

    Raises:
        UserError: some values are no labels.
    """
    held = np.unique(raw)
    if not (unknown := held[~np.isin(held, np.arange(len(field.classes)))]).size:
        return
    shown = ", ".join(f"{value:g}" for value in unknown[:3]) + (" ..." if len(unknown) > 3 else "")
    known = ", ".join(f"{number} {name}" for number, name in enumerate(field.classes))
    raise UserError(f"{field.name}: holds {shown}; its values must be numbers of classes: {known}; change the files")


def to_amplitudes(name: str, values: np.ndarray, raw: np.ndarray, holds: Held | None) -> np.ndarray:
    """Return amplitudes: the values unchanged, or square roots of counts.

    Args:
        name: name of the input.
        values: the input in its dtype.
        raw: the values in the files.
        holds: the content of the files, if the user states it.

    Raises:
        UserError: values are negative, or look like counts although the user has not said so.
    """
    if dark := int((values < 0).sum()):
        what = holds or "amplitudes"
        least = f"{dark:,} {what} are below 0, the lowest is {values.min():g}"
        raise UserError(f"{name}: {least}: subtract less background, or set them to 0")
    if holds is None and values.max() > 1 and (raw % 1 == 0).all():
        raise UserError(
            f"{name}: whole numbers up to {values.max():g} look like counts, whose square roots are the amplitudes: "
            "give --counts to take the roots, or --amplitudes if the files already hold amplitudes"
        )
    return np.sqrt(values) if holds == "counts" else values


def _beam_hint(median: float, beam: str) -> str:
    if beam:
        return f"is --beam {beam} right?"
    return "it looks like counts: give --beam" if median > 1 else "give --beam, unless the image is really so dark"


def _divide_by_beam(values: np.ndarray, beam: str) -> np.ndarray:
    """Divide counts by the counts of the incident beam, or each image by its own mean."""
    if not beam:
        return values
    scale = values.mean(axis=(-2, -1), keepdims=True, dtype=np.float64) if beam == MEAN else np.float64(float(beam))
    if not np.all(scale > 0):
        raise UserError(f"--beam {beam}: the mean of an image is not positive; give the counts of the beam")
    return np.asarray(values / scale)

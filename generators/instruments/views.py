"""The views of a scan that are measured: all, a limited range of angles, every k-th, or a random subset.

First the range is applied, then every k-th view of it is taken, then a random subset of these. At least one view
remains. Rows of views that are not measured are 0.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from generators.random_streams import Streams
from generators.specimens.draws import check_whole_numbers, draw_count, to_float32
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

ROUNDING = 1e-3  # degree; an end of a range that falls on a view includes it

type Floats = NDArray[np.floating]
type WholeNumbers = Annotated[Range, within(1), AfterValidator(check_whole_numbers)]


class Views(Settings):
    """Settings of the measured views; the defaults measure all."""

    start: Annotated[Range, within()] = between(0.0, 360.0, "angle at which the measured range starts", "degree")
    length: Annotated[Range, within(0, 360)] = between(
        360.0, 360.0, "length of the measured range, which goes on at the first view; 360: all views", "degree"
    )
    every: WholeNumbers = between(1, 1, "measure every k-th view of the range, in the order of the views; 1: all")
    number: WholeNumbers | None = Field(
        None, **setting("number of measured views, a random subset of these; none, or more than there are: all")
    )


@dataclass(frozen=True, slots=True)
class DrawnViews:
    """The measured views of a sample."""

    start: float  # degree
    length: float  # degree
    number: int
    measured: NDArray[np.uint8]  # (angle,): 1 where a view is measured


def draw(views: Views, angles: Floats, period: float, rng: Streams) -> DrawnViews:
    """Draw the measured views, from the stream `views`.

    Args:
        views: the settings
        angles: (angle,) [rad], in any order
        period: angle [rad] after which views repeat: pi for a parallel beam, 2 pi for a fan beam. A range that leaves
            the last view goes on at the first one.
        rng: the streams of the sample
    """
    start, length = to_float32(views.start.draw(rng.views), views.length.draw(rng.views))
    step = draw_count(views.every, rng.views)
    chosen = np.flatnonzero(_is_in_range(np.degrees(angles), start, length, np.degrees(period)))[::step]
    if views.number:
        chosen = rng.views.permutation(chosen)[: draw_count(views.number, rng.views)]
    measured = np.zeros(len(angles), np.uint8)
    measured[chosen] = 1
    return DrawnViews(start, length, len(chosen), measured)


def _is_in_range(angles: Floats, start: float, length: float, period: float) -> NDArray[np.bool_]:
    """Return True for angles in the range, or else for the first one after its start. All are in degrees."""
    after = np.mod(angles - start + ROUNDING, period)  # a view at the start is ROUNDING after it
    return np.asarray((after <= length + 2 * ROUNDING) | (after == after.min()))


def hide_unmeasured(sinogram: Floats, measured: NDArray[np.uint8]) -> Floats:
    """Return a sinogram in which the rows of views that are not measured are 0.

    Args:
        sinogram: (..., angle, detector)
        measured: (..., angle), 1 where a view is measured
    """
    return np.where(measured[..., None], sinogram, np.float32(0))

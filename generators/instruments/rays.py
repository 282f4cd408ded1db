"""The rays of a tomographic scan: its views, its detector and its beam, as `physics.tomography.geometry` has them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generators.random_streams import Streams
from generators.specimens.draws import to_float32
from physics.tomography.geometry import Geometry
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

GOLDEN = (np.sqrt(5) - 1) / 2  # share of the turn from view to view in the golden order


class Rays(Settings):
    """Settings of the rays."""

    views: int = Field(64, ge=1, le=100_000, **setting("number of views; `measured` may leave some out"))
    turn: Annotated[float, within(0, 360, above=True)] = Field(180.0, **setting("range of their angles", "degree"))
    end_point: bool = Field(False, **setting("true: the last view lies at the end of the range, not one step before"))
    order: Literal["even", "golden"] = Field(
        "even", **setting("views at equal steps, or at steps of the golden ratio of the range")
    )
    detectors: int | None = Field(
        None, ge=1, le=100_000, **setting("number of detector pixels; none: as many as the image has along a side")
    )
    pitch: Annotated[float, within(0, 100, above=True)] = Field(
        1.0, **setting("width of a detector pixel at the axis", "pixel")
    )
    axis_offset: Annotated[Range, within(-10_000, 10_000)] = between(
        0.0, 0.0, "where the axis of rotation falls on the detector, from its middle", "detector pixel"
    )
    source_distance: Annotated[float, within(0)] = Field(
        0.0, **setting("distance from the source to the axis of rotation; 0: a parallel beam", "pixel")
    )

    def angles(self) -> NDArray[np.float32]:
        """Return the angle of each view (view,) [rad]."""
        step = self.turn / (max(self.views - 1, 1) if self.end_point else self.views)
        steps = np.arange(self.views)
        degrees = steps * step if self.order == "even" else steps * GOLDEN % 1 * self.turn
        return np.radians(degrees).astype(np.float32)


@dataclass(frozen=True, slots=True)
class DrawnRays:
    """The rays of a sample: numbers that float32 holds exactly."""

    axis_offset: float
    pitch: float
    source_distance: float


def draw(rays: Rays, rng: Streams) -> DrawnRays:
    """Draw the rays of a sample, from the stream `rays`.

    Args:
        rays: the settings
        rng: the streams of the sample
    """
    return DrawnRays(*to_float32(rays.axis_offset.draw(rng.rays), rays.pitch, rays.source_distance))


@lru_cache(maxsize=8)
def geometry(rays: Rays, drawn: DrawnRays, detectors: int, finer: int = 1) -> Geometry:
    """Return the geometry of a sample.

    Args:
        rays: the settings
        drawn: the drawn rays
        detectors: number of detector pixels
        finer: detector pixels and pixels of the image are divided into so many along each side
    """
    return Geometry(
        rays.angles().astype(float),
        detectors * finer,
        drawn.pitch,
        drawn.axis_offset * finer,
        drawn.source_distance * finer,
    )

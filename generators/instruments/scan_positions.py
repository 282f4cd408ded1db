"""The positions of the probe in a whole scan: a raster, or positions from a file.

Rasters run along x, then along y: position j is row j // columns, column j % columns.

When fluence or step is a range, each scan has one value; the values are evenly spaced in the logarithm. Scan k of n
scans takes

    low (high / low)^((k + u) / n),   u from 0 to 1, drawn once

Steps come in another order than fluences, so that the two are not correlated: the order of the fractional parts of k
times the golden ratio.
"""

from functools import lru_cache
from math import ceil, cos, sin
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from generators.random_streams import Streams
from generators.specimens.from_files.arrays import ArrayFile
from schemas.runtime.ranges import Range, within
from schemas.runtime.settings import Settings, between, setting

MAX_OBJECT_SIZE = 8192  # pixels of an object along each side
GOLDEN_FRACTION = (5**0.5 - 1) / 2


class Positions(ArrayFile):
    """Positions from a file."""

    setting_name: ClassVar[str] = "scan.positions"
    valid_file: ClassVar[str] = "an array (position, 2) of (row, column) in pixels of the object, as .npy"

    def coordinates(self) -> np.ndarray:
        """Return the positions (position, 2), (row, column) [pixel].

        Raises:
            UserError: the file does not hold positions
        """
        positions = self.array()
        if positions.ndim != 2 or positions.shape[1] != 2 or not len(positions) or positions.dtype.kind not in "iuf":
            raise self.refusal(f"holds {positions.dtype} of shape {positions.shape}")
        if len(positions) > 1 and np.ptp(positions, axis=0).max() < 1:
            raise self.refusal(f"holds positions within {np.ptp(positions, axis=0).max():.3g} pixels of one another")
        return positions.astype(np.float64)


class Scan(Settings):
    """A whole scan: one pattern per position, and the samples of one scan follow one another."""

    rows: int = Field(256, ge=1, le=65536, **setting("number of raster rows, along y"))
    columns: int = Field(256, ge=1, le=65536, **setting("number of raster columns, along x"))
    step: Annotated[Range, within(0, above=True)] = between(
        0.0248, 0.0248, "step of the raster; with a range, scans spread over it evenly on a logarithmic scale", "nm"
    )
    rotation: Annotated[float, within()] = Field(0.0, **setting("rotation of the raster, from x towards y", "rad"))
    jitter: Annotated[float, within(0)] = Field(
        0.0, **setting("random displacement of each position, uniform within +- along y and x", "nm")
    )
    positions: Positions | None = Field(
        None, **setting("positions (row, column) in pixels of the object, read from a file, in place of the raster")
    )
    scans: int = Field(1, ge=1, le=65536, **setting("number of scans in the dataset, each of its own object"))
    fluence: Annotated[Range, within(0, above=True)] | None = Field(
        None,
        **setting(
            "fluence: the dose of a pattern is fluence x step^2; a range works as for step; none: use dose",
            "electron / nm^2",
        ),
    )

    @model_validator(mode="after")
    def _check_fluence(self) -> Self:
        if self.fluence is not None and self.positions is not None:
            raise ValueError(
                "scan.fluence: only a raster has a step; for positions of a file, give scan.fluence=none and a dose, "
                "or leave scan.positions out"
            )
        return self

    @property
    def count(self) -> int:
        """Number of positions of one scan."""
        return len(self.positions.coordinates()) if self.positions else self.rows * self.columns

    def step_of(self, number: int, rng: Streams) -> float:
        """Return the step [nm] of a scan.

        Args:
            number: index of the scan
            rng: the streams that all scans share
        """
        return _value_of_scan(self.step, int(_shuffled_order(self.scans)[number]), self.scans, rng, "step")

    def fluence_of(self, number: int, rng: Streams) -> float | None:
        """Return the fluence [electron / nm^2] of a scan; None if the dose is set instead.

        Args:
            number: index of the scan
            rng: the streams that all scans share
        """
        return None if self.fluence is None else _value_of_scan(self.fluence, number, self.scans, rng, "fluence")

    def coordinates(self, n: int, sampling: float, step: float) -> np.ndarray:
        """Return the positions (position, 2) without jitter, y and x [pixel of the object].

        Args:
            n: pixels of a pattern along each side
            sampling: width of a pixel of the object [nm]
            step: step of this scan [nm]; positions from a file do not depend on it
        """
        return _scan_coordinates(self, n, sampling, step)

    def object_shape(self, n: int, sampling: float) -> tuple[int, int]:
        """Return the pixels (y, x) of an object that holds the probe at all positions of the largest step.

        Args:
            n: pixels of a pattern along each side
            sampling: width of a pixel of the object [nm]

        Raises:
            ValueError: the object would be larger than MAX_OBJECT_SIZE
        """
        last = self.coordinates(n, sampling, self.step.high).max(axis=0) + self.jitter / sampling
        y, x = (ceil(end) + n - n // 2 for end in last.tolist())
        if max(y, x) > MAX_OBJECT_SIZE:
            raise ValueError(
                f"the scan needs an object of {y}x{x} pixels, at most {MAX_OBJECT_SIZE}; lower rows, columns or step"
            )
        return y, x


@lru_cache(maxsize=4)
def _scan_coordinates(scan: Scan, n: int, sampling: float, step: float) -> np.ndarray:
    """Return positions, shifted so that the smallest ones are as far from pixel 0 as probe and jitter reach."""
    coordinates = scan.positions.coordinates() if scan.positions else _raster(scan, step) / sampling
    coordinates = coordinates - coordinates.min(axis=0) + n // 2 + ceil(scan.jitter / sampling)
    coordinates.flags.writeable = False
    return coordinates


def _raster(scan: Scan, step: float) -> np.ndarray:
    """Return the positions (position, 2) of a raster about its first one [nm]."""
    y, x = (step * np.arange(n, dtype=float) for n in (scan.rows, scan.columns))
    c, s = cos(scan.rotation), sin(scan.rotation)
    return np.stack([c * y[:, None] + s * x, c * x - s * y[:, None]], axis=-1).reshape(-1, 2)


@lru_cache(maxsize=4)
def _shuffled_order(n: int) -> np.ndarray:
    """Return the numbers 0 to n - 1 in an order that is not correlated with their size."""
    return np.argsort(np.argsort(np.arange(n) * GOLDEN_FRACTION % 1))


def _value_of_scan(span: Range, rank: int, n: int, rng: Streams, stream: str) -> float:
    """Return the value of a range for scan `rank` of n, from the stream of that name."""
    if span.low == span.high:
        return span.low
    return float(span.low * (span.high / span.low) ** ((rank + float(getattr(rng, stream).random())) / n))

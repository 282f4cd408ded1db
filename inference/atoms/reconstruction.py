"""Atoms in volumes reconstructed from whole tilt series: from raw, denoised and exact images.

Every series has the number of iterations, and the smoothing before tracing, that suit it best by the known atoms.
Otherwise a series without noise, which bears many iterations, would be compared with a noisy one that does not.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from inference.invert.split_reader import Rows, Source
from physics.atom_tracing import Agreement, match_atoms, trace_atoms
from physics.background import level_outside
from physics.particle_mask import find_particle
from physics.tomography.volume import project_volume, r_factor, reconstruct_volume
from schemas.predictions import read_predictions

ITERATIONS = (10, 30, 100)  # numbers of iterations that are tried
WIDTHS = (1.0, 2.0, 3.0)  # standard deviations [pixel] of the smoothing before tracing that are tried
SPACING = 0.75  # smallest distance of traced atoms, relative to the usual one of neighbours
REACH = 0.4  # largest distance of a traced atom from a known one, relative to the same
RAW, EXACT = "noisy images", "exact images"
MEDIAN = 0.5

type Real = np.ndarray


@dataclass(frozen=True)
class Reconstruction:
    """A volume from one tilt series, and its agreement with what is known."""

    iterations: int
    width: float  # of the smoothing before tracing [pixel]; NaN if no atoms are known
    r: float  # R factor of its projections, against the exact images; without them, against its own
    atoms: Agreement | None  # [nm]; None if no atoms are known
    plane: Real  # the plane (z, x) in the middle of the volume

    @property
    def cost(self) -> float:
        """Error by which variants are compared: an atom that is not found counts as one that is REACH off."""
        if self.atoms is None:
            return self.r
        known, matched = self.atoms.known, self.atoms.matched
        squares = matched * self.atoms.error**2 if matched else 0.0
        return math.sqrt((squares + (known - matched) * self.atoms.reach**2) / known)


@dataclass(frozen=True)
class Series:
    """One tilt series: what was measured, and what is known."""

    number: int  # of the sample
    sampling: float  # [nm]
    angles: Real  # (tilt,) [rad]
    raw: Real  # (tilt, y, x), without the level of the background
    exact: Real | None  # (tilt, y, x)
    known: Real | None  # positions of the atoms (atom, 3) [nm]

    @property
    def distance(self) -> float:
        """Usual distance of neighbouring atoms [nm]."""
        assert self.known is not None
        return float(np.median(KDTree(self.known).query(self.known, k=2)[0][:, 1]))


def read_series(source: Source, number: int) -> Series:
    """Read a tilt series.

    Args:
        source: split of a dataset of the task aet.
        number: number of the sample.
    """
    optional = [
        name for name in ("clean", "background_level", "atom_position", "atom_count") if not source.lacks([name])
    ]
    fields = {
        name: v[0] for name, v in source.read(["noisy", "angle", "sampling", *optional], number, number + 1).items()
    }
    noisy = fields["noisy"].astype(np.float32)
    if "background_level" in fields:
        raw = noisy - fields["background_level"][:, None, None]
    else:
        raw = noisy - level_outside(noisy, find_particle(noisy), MEDIAN)
    known = fields.get("atom_position")
    if known is not None and "atom_count" in fields:
        known = known[: int(fields["atom_count"])]
    exact = fields.get("clean")
    return Series(
        number,
        float(fields["sampling"]),
        fields["angle"].astype(float),
        raw.astype(np.float32),
        None if exact is None else exact.astype(np.float32),
        None if known is None or len(known) < 2 else known.astype(float),
    )


def reconstruct_all(source: Source, stores: Mapping[str, Path], number: int) -> Iterator[tuple[str, Reconstruction]]:
    """Yield the best reconstruction of a series from its noisy images, from each prediction, and from exact images.

    Args:
        source: split of a dataset of the task aet.
        stores: stores of predictions by name.
        number: number of the sample.
    """
    series = read_series(source, number)
    yield RAW, _best(series, series.raw)
    rows = Rows(source.path, source.manifest, source.split, source.targets)
    for name, path in stores.items():
        found = rows.read_predicted(path, read_predictions(path), number * rows.slices, (number + 1) * rows.slices)
        yield name, _best(series, found["clean"].astype(np.float32))
    if series.exact is not None:
        yield EXACT, _best(series, series.exact)


def _best(series: Series, images: Real) -> Reconstruction:
    """Return the best of the reconstructions with all numbers of iterations and all widths."""
    return min((one for count in ITERATIONS for one in _variants(series, images, count)), key=lambda one: one.cost)


def _variants(series: Series, images: Real, iterations: int) -> Iterator[Reconstruction]:
    """Yield the volume of a number of iterations with all widths of the smoothing."""
    images = np.nan_to_num(images)
    volume = reconstruct_volume(images, series.angles, iterations)
    r = r_factor(project_volume(volume, series.angles), images if series.exact is None else series.exact)
    plane = volume[:, volume.shape[1] // 2]
    if series.known is None:
        yield Reconstruction(iterations, math.nan, r, None, plane)
        return
    for width in WIDTHS:
        separation = SPACING * series.distance / series.sampling
        traced = trace_atoms(volume, width, separation, len(series.known)) * series.sampling
        agreement = match_atoms(traced, series.known, REACH * series.distance)
        yield Reconstruction(iterations, width, r, agreement, plane)

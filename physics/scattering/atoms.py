"""Atoms, and their potentials on a grid. Lengths in nm, potentials in V.

    V_z(r) = sum over atoms j of v_j(r - r_j),     F v_j = S f_e(f) exp(-2 pi^2 u_j^2 |f|^2) B(f)

V_z is the potential integrated along the beam. B is the circular band limit of `physics.multislice`; so V_z holds no
alias, and an atom between pixels has the same shape as one on a pixel. u is the standard deviation of an atom's
position along one axis, by which the average potential is blurred (Debye and Waller). For frozen phonons, displace the
atoms (`displaced`) and average over intensities.

The grid is periodic, and positions are relative to its pixel N//2. The beam travels along +z. Each atom is projected as
a whole into the slice in which its nucleus lies.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import pi

import numpy as np

from physics.arrays import Real, pair
from physics.fourier import frequencies, irfft2, rfft2
from physics.multislice import band_limit
from physics.scattering.factors import STRENGTH, atomic_number, scattering_factor
from physics.scattering.placement import WIDTH, correction, spread


@dataclass(frozen=True)
class Atoms:
    """Atoms of some elements at given positions."""

    elements: tuple[str, ...]  # symbols
    kinds: np.ndarray  # index into `elements` (atom,), integer
    positions: Real  # (atom, 3), (z, y, x) [nm]

    def __post_init__(self) -> None:
        for element in self.elements:
            atomic_number(element)
        if self.positions.shape != (len(self.kinds), 3):
            raise ValueError(
                f"positions of shape {self.positions.shape} for {len(self.kinds)} atoms: must be (atom, 3), (z, y, x)"
            )
        if not np.isfinite(self.positions).all():
            raise ValueError("positions of atoms: must be finite numbers")

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, chosen: np.ndarray | slice) -> "Atoms":
        return Atoms(self.elements, self.kinds[chosen], self.positions[chosen])


def cut(atoms: Atoms, edges: Sequence[float]) -> list[Atoms]:
    """Sort atoms into slices.

    Args:
        atoms: the atoms.
        edges: limits (slice + 1,) of the slices along z [nm], rising.

    Returns:
        The atoms of each slice: those with edge_k <= z < edge_k+1. The last slice holds z = edge_n, too.

    Raises:
        ValueError: if an atom lies outside of all slices.
    """
    z, limits = atoms.positions[:, 0], np.asarray(edges, dtype=float)
    outside = (z < limits[0]) | (z > limits[-1])
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of {len(atoms)} atoms lie outside of the slices, from {limits[0]:.4g} to "
            f"{limits[-1]:.4g} nm: their z is {z.min():.4g} to {z.max():.4g} nm; take more or thicker slices"
        )
    place = np.minimum(np.searchsorted(limits, z, side="right") - 1, len(limits) - 2)
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(len(limits)))
    return [atoms[order[start:end]] for start, end in pairwise(ends)]


def check_inside(atoms: Atoms, shape: tuple[int, int], sampling: float | tuple[float, float]) -> None:
    """Refuse atoms outside of the field of view; a periodic grid would show them on the other side.

    Raises:
        ValueError: if an atom lies outside.
    """
    for axis, n, d, name in zip((1, 2), shape, pair(sampling), "yx", strict=True):
        pixel = atoms.positions[:, axis] / d + n // 2
        outside = (pixel < -0.5) | (pixel > n - 0.5)
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} of {len(atoms)} atoms lie outside of the field of view, {n * d:.4g} nm along "
                f"{name}: make it larger, or move the atoms"
            )


def place(
    atoms: Atoms,
    factor: Callable[[str, Real], Real],
    shape: tuple[int, int],
    sampling: float | tuple[float, float],
    weights: Real | None = None,
) -> Real:
    """Add up one radial function per atom on a periodic grid, up to the band limit.

        F result = B(f) sum_j w_j factor_j(|f|) exp(-2 pi i f.r_j) / area of a pixel

    Args:
        atoms: the atoms; z plays no part.
        factor: gives the Fourier transform of the function of an element, (element, |f| [1/nm]) -> values.
        shape: (ny, nx), each at least `placement.WIDTH`.
        sampling: [nm], as for `arrays.pair`.
        weights: w_j of the atoms (atom,); None for 1.

    Returns:
        The sum (ny, nx), in the units of `factor` per nm^2.

    Raises:
        ValueError: if the grid is too small.
    """
    if min(shape) < WIDTH:
        raise ValueError(f"a grid of {shape[0]} x {shape[1]} pixels: must be at least {WIDTH} x {WIDTH}")
    fy, fx = frequencies(shape, sampling, np)
    half = shape[1] // 2 + 1
    frequency = np.hypot(fy, abs(fx[:half]))
    pixels = atoms.positions[:, 1:] / np.array(pair(sampling)) + np.array(shape) // 2
    weights = np.ones(len(atoms)) if weights is None else weights
    spectrum = np.zeros(frequency.shape, complex)
    for kind, element in enumerate(atoms.elements):
        chosen = atoms.kinds == kind
        if chosen.any():
            grid = spread(pixels[chosen], weights[chosen], shape)
            spectrum += rfft2(grid, shape) * factor(element, frequency)
    along_y, along_x = correction(shape)
    spectrum *= along_y * along_x * band_limit(shape, sampling)[:, :half]
    dy, dx = pair(sampling)
    return irfft2(spectrum, shape) / (dy * dx)  # type: ignore[no-any-return]


def projected_potential(
    atoms: Atoms, shape: tuple[int, int], sampling: float | tuple[float, float], vibration: float = 0.0
) -> Real:
    """Return the projected potential V_z of atoms on a periodic grid.

    Args:
        atoms: the atoms.
        shape: (ny, nx).
        sampling: [nm], as for `arrays.pair`.
        vibration: u [nm], the standard deviation of an atom's position along one axis.

    Returns:
        V_z (ny, nx) [V nm]. Its mean times the area is S sum f_e(0).
    """
    return place(atoms, partial(_blurred_factor, vibration=vibration), shape, sampling)


def slice_potentials(
    atoms: Atoms,
    edges: Sequence[float],
    shape: tuple[int, int],
    sampling: float | tuple[float, float],
    vibration: float = 0.0,
) -> Iterator[np.ndarray]:
    """Yield the projected potential (ny, nx) [V nm], float32, of each slice; arguments as for `cut` and above."""
    for part in cut(atoms, edges):
        yield projected_potential(part, shape, sampling, vibration).astype(np.float32)


def displaced(atoms: Atoms, vibration: float | Real, normals: Real) -> Atoms:
    """Return the atoms at one instant of their thermal vibration (a frozen phonon configuration).

    Args:
        atoms: the atoms.
        vibration: u [nm], the standard deviation along one axis, a number or one per element (element,).
        normals: independent normal random numbers (atom, 3).
    """
    width = np.broadcast_to(np.asarray(vibration, dtype=float), len(atoms.elements))[atoms.kinds]
    return replace(atoms, positions=atoms.positions + width[:, None] * normals)


def _blurred_factor(element: str, frequency: Real, vibration: float) -> Real:
    """Return S f_e exp(-2 pi^2 u^2 f^2) [V nm^3]."""
    return STRENGTH * scattering_factor(element, frequency) * np.exp(-2 * (pi * vibration * frequency) ** 2)  # type: ignore[no-any-return]

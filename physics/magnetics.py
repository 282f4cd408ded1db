"""Magnetic phase of electrons behind magnetised bodies (Aharonov and Bohm).

Lengths are in nm, magnetisation in A/m, phases in rad. Coordinates (x, y, z) are right-handed, z downstream. With the
projected magnetisation P = integral of M over z [A/m nm],

    phi_m = -(e / hbar) int A_z dz = (e mu_0 / 2 pi hbar) int [P_y(r') (x - x') - P_x(r') (y - y')] / |r - r'|^2 d^2r'

Only the magnetisation across the beam contributes. Each body is treated as isolated, so its phase is not periodic: it
falls as 1/r. (A sum over Fourier components of the periodic image, with k in rad/m, would give the phase of an infinite
lattice of bodies: 7 % less for a sphere of 25 nm in 150 nm.)

Beleggia and Zhu, Phil. Mag. 83 (2003) 1045, for the Fourier form.
"""

from functools import lru_cache
from math import pi

import numpy as np

from physics.arrays import Array, pair
from physics.electron import CHARGE, PLANCK
from physics.fourier import irfft2, rfft2

MAGNETIC_CONSTANT = 1.25663706127e-6  # N/A^2: the magnetic constant mu_0, CODATA 2022
PHASE_RATE = 1e-18 * 2 * pi * CHARGE / PLANCK * MAGNETIC_CONSTANT  # e mu_0 / hbar in rad per (A/m nm^2)

type Kernel = tuple[Array, Array]


def magnetisation(mass: Array, density: Array) -> Array:
    """Volume magnetisation [A/m] of a material.

        M = 1000 s rho

    Args:
        mass: s [emu/g], equal to A m^2/kg (magnetite: 80).
        density: rho [g/cm^3] (magnetite: 5.18).

    >>> magnetisation(80, 5.18)
    414400.0
    """
    return 1000 * mass * density


@lru_cache(maxsize=2)
def kernel(shape: tuple[int, int], sampling: float | tuple[float, float]) -> Kernel:
    """Return the spectra of y / r^2 and x / r^2, times (e mu_0 / 2 pi hbar) and the area of a pixel [rad/(A/m nm)].

    The kernels are sampled at pixel centres, with 0 at the origin, on twice the grid, so that a convolution does not
    wrap around at the edges.

    Args:
        shape: (ny, nx) of the images.
        sampling: [nm], a number or (y, x).

    Returns:
        Two spectra (2 ny, nx + 1), complex128, NumPy. They are cached and read-only.
    """
    dy, dx = pair(sampling)
    y, x = (np.fft.ifftshift(np.arange(2 * n) - n) * d for n, d in zip(shape, (dy, dx), strict=True))
    square = y[:, None] ** 2 + x**2
    square[0, 0] = np.inf
    scale = PHASE_RATE / (2 * pi) * dy * dx / square
    spectra = rfft2(y[:, None] * scale, square.shape), rfft2(x * scale, square.shape)
    for spectrum in spectra:
        spectrum.flags.writeable = False  # the cache returns the same array to every caller
    return spectra


def phase(projected_y: Array, projected_x: Array, sampling: float | tuple[float, float]) -> Array:
    """Magnetic phase of a body of any magnetisation.

    It is linear in P; the error of the sum over pixels is of second order in `sampling`.

    Args:
        projected_y: P_y (..., y, x) [A/m nm], the component of M along y integrated along z.
        projected_x: P_x (..., y, x) [A/m nm].
        sampling: [nm], a number or (y, x).

    Returns:
        phi_m (..., y, x) [rad].
    """
    shape = projected_y.shape[-2:]
    doubled = (2 * shape[0], 2 * shape[1])
    ky, kx = kernel(shape, sampling)
    return _transform_back(rfft2(projected_y, doubled) * kx - rfft2(projected_x, doubled) * ky, projected_y)


def uniform_phase(
    thickness: Array, magnetisation_y: float, magnetisation_x: float, sampling: float | tuple[float, float]
) -> Array:
    """Magnetic phase of a uniformly magnetised body: `phase` with P = M t, for two transforms instead of three.

    Args:
        thickness: t (..., y, x) [nm].
        magnetisation_y: [A/m].
        magnetisation_x: [A/m].
        sampling: [nm], a number or (y, x).

    Returns:
        phi_m (..., y, x) [rad].
    """
    shape = thickness.shape[-2:]
    ky, kx = kernel(shape, sampling)
    doubled = (2 * shape[0], 2 * shape[1])
    return _transform_back(rfft2(thickness, doubled) * (magnetisation_y * kx - magnetisation_x * ky), thickness)


def _transform_back(spectrum: Array, image: Array) -> Array:
    """Return the part of the doubled grid that the image covers, in its dtype."""
    ny, nx = image.shape[-2:]
    return irfft2(spectrum, (2 * ny, 2 * nx))[..., :ny, :nx].astype(image.dtype)


def separate_phases(forward: Array, flipped: Array) -> tuple[Array, Array]:
    """Separate the electrostatic and the magnetic phase of a specimen that was measured from both sides.

        phi_e = (phi + phi') / 2,   phi_m = (phi - phi') / 2

    Turning the specimen over (and its images back) leaves phi_e and reverses phi_m. If a constant was lost in each
    measured phase, a constant is lost in each result.

    Args:
        forward: phi [rad].
        flipped: phi' [rad], of the specimen turned over, with the same shape.

    Returns:
        (phi_e, phi_m) [rad].

    Tonomura et al., Phys. Rev. B 34 (1986) 3397.
    """
    return (forward + flipped) / 2, (forward - flipped) / 2

"""Multislice: waves through thick specimens, slice by slice.

Lengths are in nm, phases in rad, and waves are as in `physics.optics`.

Slice k of thickness dz multiplies the wave by t_k = exp(-sigma V' d_k) exp(i sigma V d_k), where d_k is the thickness
of the body within the slice. Free space P(dz) lies between the middles of neighbouring slices (Strang's splitting,
error O(dz^2)):

    psi = P(-(n - 1) dz / 2) t_{n-1} P(dz) ... P(dz) t_1 P(dz) t_0

The first factor refers the wave to the plane in the middle of the slices, as if it had travelled on from there in
vacuum. Therefore one slice is the projection approximation, and defocus has the same meaning in both.

Cowley and Moodie, Acta Cryst. 10 (1957) 609; Kirkland, Advanced Computing in Electron Microscopy, ch. 6.
"""

from collections.abc import Iterable

from physics.arrays import Array
from physics.optics import propagate


def exit_wave(transmissions: Iterable[Array], wavelength: Array, distance: Array, sampling: Array) -> Array:
    """Wave psi behind a specimen on which a plane wave of amplitude 1 falls.

    The intensity is conserved where |t| = 1. Slices must be thin: pi lambda dz f^2 << 1 and |d phi / dx| dz lambda << 1
    pixel. The t_k must be smooth on the grid, because products of detail beyond half the Nyquist frequency are aliased.

    Args:
        transmissions: t_k (..., y, x), complex, in the order in which the beam meets them; one is held at a time.
        wavelength: lambda [nm], a number or an array over the leading axes.
        distance: dz [nm] from one slice to the next, a number or an array over the leading axes.
        sampling: [nm], a number or an array over the leading axes.

    Returns:
        psi (..., y, x), complex.
    """
    slices = iter(transmissions)
    wave, steps = next(slices), 0
    for transmission in slices:
        wave = transmission * propagate(wave, wavelength, distance, sampling)
        steps += 1
    return propagate(wave, wavelength, -steps / 2 * distance, sampling) if steps else wave

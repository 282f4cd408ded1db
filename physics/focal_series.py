"""Phase retrieval from a focal series: Gerchberg-Saxton-Misell, and a solution for objects of one material.

Lengths are in nm, phases in rad. The images are I_k (..., plane, y, x), relative to the incident beam, and their
defocus is z_k (..., plane) [nm]. psi is the exit wave, and P(z) psi is the wave at z (`physics.optics.propagate`).
Boundaries are periodic.
"""

from math import pi

from physics.arrays import Array, as_leading, module, pair
from physics.fourier import fft2, frequencies, ifft2
from physics.moduli import bright_pixels
from physics.optics import exit_wave, phasor, propagate
from physics.transport_of_intensity import in_focus, remove_window, retrieve_from_series, vacuum_phase

START_FLOOR = 0.01  # `floor` of the transport of intensity that gives the first phase
MIN_INTENSITY = 1e-3  # relative to the incident beam; smaller values are set to it before the logarithm is taken


def misell(
    images: Array, defocus: Array, wavelength: Array, sampling: Array, *, start: Array, iterations: int
) -> Array:
    """Phase of the exit wave, found by projection onto one measured plane after another (Gerchberg, Saxton, Misell).

        psi <- P(-z_k) [ sqrt(I_k) u / |u| ],   u = P(z_k) psi

    The first wave has the phase `start` and the amplitude of the image in focus. The planes are visited in order and
    back again, `iterations` times.

    Where a wave is dark, below 1e-6 of its maximum modulus, rounding decides its phase (`physics.moduli`). At these
    pixels the modulus of u is kept instead of being replaced, and the result is the phase of `start`.

    The true wave is a fixed point. Without noise, sum_k || |u_k| - sqrt(I_k) ||^2 does not grow for two planes (Fienup,
    Appl. Opt. 21 (1982) 2758). Low frequencies change the images little, so they converge slowly.

    Args:
        images: I_k (..., plane, y, x), relative to the incident beam.
        defocus: z_k (..., plane) [nm].
        wavelength: [nm], a number or an array over the leading axes.
        sampling: [nm], a number or an array over the leading axes.
        start: a first phase (..., y, x) [rad], for instance from the transport of intensity.
        iterations: number of sweeps over the planes.

    Returns:
        Phase (..., y, x) [rad], within pi of `start`.

    Misell, J. Phys. D 6 (1973) L6; Gerchberg and Saxton, Optik 35 (1972) 237.
    """
    xp = images.__array_namespace__()
    amplitude = xp.sqrt(xp.maximum(images, 0))
    planes = images.shape[-3]
    wave, position = exit_wave(start, xp.sqrt(xp.maximum(in_focus(images), 0))), 0 * defocus[..., 0]
    for k in [*range(planes), *range(planes - 2, 0, -1)] * iterations:
        wave = propagate(wave, wavelength, defocus[..., k] - position, sampling)
        modulus = abs(wave)
        wave, position = amplitude[..., k, :, :] * wave / xp.where(bright_pixels(modulus), modulus, 1), defocus[..., k]
    wave = propagate(wave, wavelength, -position, sampling) * phasor(-start)
    return start + xp.where(bright_pixels(abs(wave)), xp.atan2(wave.imag, wave.real), 0)


def misell_from_transport(
    images: Array, defocus: Array, wavelength: Array, sampling: Array, *, window: Array, iterations: int
) -> Array:
    """Run `misell` from the solution of the transport-of-intensity equation. NumPy.

    The constant of the first phase is chosen so that the vacuum around the specimen has phase 0
    (`physics.transport_of_intensity.vacuum_phase`).

    Args:
        images: I_k (..., plane, y, x), multiplied by the window; pixels that the window hides are taken for vacuum.
        defocus: z_k (..., plane) [nm].
        wavelength: [nm].
        sampling: [nm].
        window: (y, x).
        iterations: number of sweeps over the planes.

    Returns:
        Phase (..., y, x) [rad].
    """
    series = (defocus, wavelength, sampling)
    start = retrieve_from_series(images, *series, floor=START_FLOOR)
    start = (start - vacuum_phase(start, window)) * window
    return misell(remove_window(images, window), *series, start=start, iterations=iterations)


def single_material(images: Array, defocus: Array, wavelength: Array, sampling: Array, ratio: Array) -> Array:
    """Phase of an object made of one material, from its projected thickness; one image suffices.

        phi = -(r / 2) ln I,   I = F^-1 [ sum_k H_k F I_k / sum_k H_k^2 ],   H_k = 1 - pi lambda z_k r f^2

    With phi = sigma V t, I = exp(-2 sigma V' t) and r = V / V', the transport-of-intensity equation becomes I_k = H_k
    I. I is the least-squares solution of these equations. A single plane must be underfocused.

    Args:
        images: I_k (..., plane, y, x), relative to the incident beam; one plane or more.
        defocus: z_k (..., plane) [nm].
        wavelength: lambda [nm].
        sampling: [nm].
        ratio: r [1], a number or an array over the leading axes.

    Returns:
        Phase (..., y, x) [rad].

    Valid where pi lambda z f^2 << 1. Paganin et al., J. Microsc. 206 (2002) 33, for one plane.
    """
    xp = images.__array_namespace__()
    fy, fx = frequencies(images.shape, sampling, module(images, *pair(sampling)))
    square = (fy**2 + fx**2)[..., None, :, :]
    step = pi * as_leading(wavelength * ratio, xp)[..., None, :, :] * defocus[..., None, None]
    transfer = (1 - step * square).astype(images.dtype)
    total = (transfer * fft2(images)).sum(axis=-3) / (transfer**2).sum(axis=-3)
    focus = xp.maximum(ifft2(total).real, MIN_INTENSITY)
    return -as_leading(ratio, xp).astype(images.dtype) / 2 * xp.log(focus)

"""Phase from a focal series, plane by plane: Gerchberg, Saxton and Misell; one material. Lengths in nm, phases in rad.

images: I_k (..., plane, y, x), relative to the incident beam. defocus: z_k (..., plane) [nm]. psi is the exit wave,
P(z) psi the wave at z (`physics.optics.propagate`). Boundaries are periodic.
"""

from math import pi

from physics.arrays import Array, leading, module, pair
from physics.fourier import fft2, frequencies, ifft2
from physics.moduli import bright
from physics.optics import exit_wave, phasor, propagate
from physics.phase import in_focus, transport, unwindowed, vacuum

GENTLE = 0.01  # the floor of the division that starts `misell_from_transport`
DARKEST = 1e-3  # of the incident beam: the logarithm is cut there


def misell(
    images: Array, defocus: Array, wavelength: Array, sampling: Array, *, start: Array, iterations: int
) -> Array:
    """Phase (..., y, x) [rad] of the exit wave, within pi of `start`: projected onto one measured plane after another.

        psi <- P(-z_k) [ sqrt(I_k) u / |u| ],   u = P(z_k) psi

    Planes are swept there and back, `iterations` times. start: (..., y, x) [rad], for instance by the transport of
    intensity; with the amplitude of the image in focus. wavelength, sampling: [nm], numbers or over the leading axes.

    Where a wave is dark, below 1e-6 of its greatest modulus, rounding decides its phase (`physics.moduli`): u stays
    dark there, and the result is the phase of `start`.

    The true wave is a fixed point. Without noise sum_k || |u_k| - sqrt(I_k) ||^2 does not grow for two planes (Fienup,
    Appl. Opt. 21 (1982) 2758). Slow frequencies change the images little, and converge slowly.
    Misell, J. Phys. D 6 (1973) L6; Gerchberg and Saxton, Optik 35 (1972) 237.
    """
    xp = images.__array_namespace__()
    amplitude = xp.sqrt(xp.maximum(images, 0))
    planes = images.shape[-3]
    wave, place = exit_wave(start, xp.sqrt(xp.maximum(in_focus(images), 0))), 0 * defocus[..., 0]
    for k in [*range(planes), *range(planes - 2, 0, -1)] * iterations:
        wave = propagate(wave, wavelength, defocus[..., k] - place, sampling)
        size = abs(wave)
        wave, place = amplitude[..., k, :, :] * wave / xp.where(bright(size), size, 1), defocus[..., k]
    wave = propagate(wave, wavelength, -place, sampling) * phasor(-start)
    return start + xp.where(bright(abs(wave)), xp.atan2(wave.imag, wave.real), 0)


def misell_from_transport(
    images: Array, defocus: Array, wavelength: Array, sampling: Array, *, window: Array, iterations: int
) -> Array:
    """`misell` from the transport of intensity on, its constant taken from the vacuum (`physics.phase.vacuum`). NumPy.

    images: multiplied with the window (y, x); what that hides is taken for vacuum.
    """
    series = (defocus, wavelength, sampling)
    start = transport(images, *series, floor=GENTLE)
    start = (start - vacuum(start, window)) * window
    return misell(unwindowed(images, window), *series, start=start, iterations=iterations)


def single_material(images: Array, defocus: Array, wavelength: Array, sampling: Array, ratio: Array) -> Array:
    """Phase (..., y, x) [rad] of one material by its projected thickness, from one plane or from many.

        phi = -(r / 2) ln I,   I = F^-1 [ sum_k H_k F I_k / sum_k H_k^2 ],   H_k = 1 - pi lambda z_k r f^2

    since phi = sigma V t, I = exp(-2 sigma V' t) and r = V / V' turn the transport of intensity into I_k = H_k I;
    I is its least-squares solution. ratio: r [1], a number or over the leading axes. One plane must be underfocus.

    Valid where pi lambda z f^2 << 1. Paganin et al., J. Microsc. 206 (2002) 33, for one plane.
    """
    xp = images.__array_namespace__()
    fy, fx = frequencies(images.shape, sampling, module(images, *pair(sampling)))
    square = (fy**2 + fx**2)[..., None, :, :]
    step = pi * leading(wavelength * ratio, xp)[..., None, :, :] * defocus[..., None, None]
    transfer = (1 - step * square).astype(images.dtype)
    total = (transfer * fft2(images)).sum(axis=-3) / (transfer**2).sum(axis=-3)
    focus = xp.maximum(ifft2(total).real, DARKEST)
    return -leading(ratio, xp).astype(images.dtype) / 2 * xp.log(focus)

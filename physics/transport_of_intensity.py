"""Phase retrieval by the transport-of-intensity equation. Lengths in nm, phases in rad.

For a paraxial wave sqrt(I) exp(i phi), exp(+2 pi i z / lambda), z downstream (`physics.optics`):

    dI/dz = - (lambda / 2 pi) div(I grad phi)

A positive phase focuses: dI/dz > 0 on a maximum of phi. Boundaries are periodic. Intensities do not depend on a
constant phase, so every solution has mean zero. Tikhonov's regularisation replaces the inverse Laplacian -1 / (4 pi^2
f^2) by - G / 4 pi^2 with

    G(f) = f^2 / (f^4 + f_c^4),   G(0) = 0

which keeps half of the frequency f = f_c ("cutoff") and suppresses lower ones, where noise is amplified most.
"""

from math import pi

import numpy as np

from physics.arrays import Array, as_leading, module, pair
from physics.fourier import fft2, frequencies, ifft2

MIN_WINDOW = 0.1  # minimum value of a window by which images are divided; less would amplify noise more than tenfold
ANNULUS = (0.45, 0.50)  # radii of the annulus of `vacuum_phase`, relative to the width


def in_focus(images: Array) -> Array:
    """Return the in-focus image of a through-focus series.

    Args:
        images: (..., plane, y, x).

    Returns:
        The middle plane (..., y, x), or the mean of the two middle planes if their number is even.
    """
    count = images.shape[-3]
    return images[..., (count - 1) // 2 : count // 2 + 1, :, :].mean(axis=-3)


def longitudinal_derivative(images: Array, defocus: Array) -> Array:
    """Derivative dI/dz [1/nm] of a through-focus series: the slope of the least-squares line through each pixel.

        dI/dz = sum_k (z_k - z) I_k / sum_k (z_k - z)^2,   z = mean of z_k

    With two planes it is the difference quotient. So it is with three planes at equal steps, where the middle one drops
    out. The error is O(z^2) for planes symmetric about z, otherwise O(z).

    Args:
        images: I_k (..., plane, y, x), two planes or more.
        defocus: z_k (plane,) or (..., plane) [nm], not all equal.

    Returns:
        The derivative at z, (..., y, x).

    Raises:
        ValueError: if there are fewer than two planes.
    """
    if images.shape[-3] < 2:
        raise ValueError(f"a derivative needs 2 planes or more, not {images.shape[-3]}: images are (..., plane, y, x)")
    xp = module(defocus)
    z = xp.asarray(defocus, dtype=float)
    z = z - z.mean(axis=-1, keepdims=True)
    weight = as_leading(z / (z**2).sum(axis=-1, keepdims=True), xp).astype(images.dtype)
    return (images * weight).sum(axis=-3)


def inverse_square(fy: Array, fx: Array, cutoff: Array = 0.0) -> Array:
    """Regularised inverse square G = f^2 / (f^4 + f_c^4) [nm^2] of the frequency, and 0 at f = 0.

    Args:
        fy: [1/nm].
        fx: [1/nm].
        cutoff: f_c [1/nm], a number or an array over the leading axes; 0 gives 1 / f^2.
    """
    xp = module(fy, cutoff)
    square = fy**2 + fx**2
    safe = xp.where(square == 0, 1, square)
    return xp.where(square == 0, 0, 1 / (safe + as_leading(cutoff, xp).astype(fy.dtype) ** 4 / safe))


def reciprocal(intensity: Array, floor: Array = 0.0) -> Array:
    """Regularised reciprocal of an intensity.

        R = I / (I^2 + (r M)^2),   M = mean of I over the image

    R is largest at I = r M and goes to 0 with I; where I = M it is 1 / (M (1 + r^2)).

    Args:
        intensity: I (..., y, x).
        floor: r [1], relative to the mean, a number or an array over the leading axes. With r = 0, I must not vanish.

    Returns:
        R (..., y, x), in the unit of 1 / I.
    """
    mean = intensity.mean(axis=(-2, -1), keepdims=True)
    offset = as_leading(floor, module(intensity, floor)).astype(intensity.dtype) * mean
    return intensity / (intensity**2 + offset**2)


def retrieve_uniform(
    derivative: Array, wavelength: Array, sampling: Array, *, intensity: Array = 1.0, cutoff: Array = 0.0
) -> Array:
    """Phase [rad] of an object that does not attenuate: the in-focus intensity is a constant I_0.

        phi = F^-1 [ G F dI/dz ] / (2 pi lambda I_0)

    It is linear in `derivative`. Valid where pi lambda z f^2 << 1 for the defocus z of the images; symmetric planes
    leave an error O(z^2).

    Args:
        derivative: dI/dz (..., y, x), [1/nm] times the unit of I_0. All other arguments are numbers, or arrays over its
            leading axes.
        wavelength: lambda [nm].
        sampling: [nm].
        intensity: I_0.
        cutoff: f_c [1/nm] of G.

    Returns:
        phi (..., y, x) of the dtype of `derivative`, with mean 0.

    Teague, J. Opt. Soc. Am. 73 (1983) 1434.
    """
    fy, fx = _frequencies(derivative, sampling)
    filtered = ifft2(fft2(derivative) * inverse_square(fy, fx, cutoff)).real
    return filtered * _phase_scale(derivative, wavelength, intensity)


def retrieve(
    derivative: Array,
    intensity: Array,
    wavelength: Array,
    sampling: Array,
    *,
    cutoff: Array = 0.0,
    floor: Array = 0.0,
) -> Array:
    """Phase [rad] of an object that also attenuates, by Teague's auxiliary potential, I grad phi = grad psi.

        phi = F^-1 [ G D* F ( R F^-1 [ G D F dI/dz ] ) ] / (2 pi lambda),   D = fy + i fx

    The result is the real part. D packs the two components of a gradient into one complex image, and D* takes the
    divergence of one, so that four transforms suffice. The imaginary part, the curl, is dropped.

    phi is linear in `derivative`. With a constant I and no regularisation it is `retrieve_uniform`. It solves the
    equation exactly only if I grad phi has no curl: grad I is then parallel to grad phi, as for one material of varying
    thickness. Otherwise the curl is lost: Schmalz et al., Phys. Rev. A 84 (2011) 023808.

    Args:
        derivative: dI/dz (..., y, x), [1/nm] times the unit of the intensity.
        intensity: I (..., y, x), in focus.
        wavelength: lambda [nm], like sampling, cutoff and floor a number or an array over the leading axes.
        sampling: [nm].
        cutoff: f_c [1/nm] of G, which acts twice.
        floor: r [1] of `reciprocal`; it scales the phase of a uniform image by 1 / (1 + r^2).

    Returns:
        phi (..., y, x) of the dtype of `derivative`, with mean 0.

    Teague, J. Opt. Soc. Am. 73 (1983) 1434; Paganin and Nugent, Phys. Rev. Lett. 80 (1998) 2586.
    """
    fy, fx = _frequencies(derivative, sampling)
    inverse, slope = inverse_square(fy, fx, cutoff), fy + 1j * fx
    gradient = ifft2(fft2(derivative) * (inverse * slope)) * reciprocal(intensity, floor)
    return ifft2(fft2(gradient) * (inverse * slope.conj())).real * _phase_scale(derivative, wavelength)


def retrieve_from_series(
    images: Array, defocus: Array, wavelength: Array, sampling: Array, *, cutoff: Array = 0.0, floor: Array = 0.0
) -> Array:
    """Phase [rad] from a through-focus series by `retrieve`: dI/dz from all planes, I from the middle plane.

    Args:
        images: (..., plane, y, x).
        defocus: (..., plane) [nm].
        wavelength: [nm].
        sampling: [nm].
        cutoff: as for `retrieve`.
        floor: as for `retrieve`.

    Returns:
        Phase (..., y, x) [rad].
    """
    slope = longitudinal_derivative(images, defocus)
    return retrieve(slope, in_focus(images), wavelength, sampling, cutoff=cutoff, floor=floor)


def remove_window(images: Array, window: Array) -> Array:
    """Divide images by the window that multiplied them; where it is below MIN_WINDOW, they become vacuum (1). NumPy."""
    return np.where(window < MIN_WINDOW, 1.0, images / np.maximum(window, MIN_WINDOW))


def vacuum_phase(phase: Array, window: Array) -> Array:
    """Mean phase [rad] of the vacuum around a specimen, in an annulus where the specimen should have ended. NumPy.

    The radii of the annulus are 0.45 and 0.50 of the smaller width of the image.

    Args:
        phase: (..., y, x).
        window: (y, x); pixels where it is 0 are ignored.

    Returns:
        The mean (..., 1, 1), or 0 if no pixel is left.
    """
    ny, nx = phase.shape[-2:]
    y, x = np.arange(ny) - ny // 2, np.arange(nx) - nx // 2
    radius = np.hypot(y[:, None], x) / min(ny, nx)
    ring = (radius >= ANNULUS[0]) & (radius <= ANNULUS[1]) & (window > 0)
    if not ring.any():
        return np.zeros((*phase.shape[:-2], 1, 1), phase.dtype)
    means = [image[ring].mean() for image in phase.reshape(-1, ny, nx)]  # one by one: bits do not depend on the batch
    return np.array(means, phase.dtype).reshape(*phase.shape[:-2], 1, 1)


def _frequencies(image: Array, sampling: Array) -> tuple[Array, Array]:
    """Return the frequencies in the dtype of the image; filters in float64 would cost more than the transforms."""
    fy, fx = frequencies(image.shape, sampling, module(image, *pair(sampling)))
    return fy.astype(image.dtype), fx.astype(image.dtype)


def _phase_scale(derivative: Array, wavelength: Array, intensity: Array = 1.0) -> Array:
    """Return 1 / (2 pi lambda I_0) in the dtype of the derivative."""
    xp = module(wavelength, intensity)
    return (1 / (2 * pi * as_leading(wavelength, xp) * as_leading(intensity, xp))).astype(derivative.dtype)

"""Phase from images: the transport-of-intensity equation. Lengths in nm, phases in rad.

For a paraxial wave sqrt(I) exp(i phi), exp(+2 pi i z / lambda), z downstream (`physics.optics`):

    dI/dz = - (lambda / 2 pi) div(I grad phi)

A positive phase focuses: dI/dz > 0 on a maximum of phi. Boundaries are periodic. No intensity reveals a constant
phase: every solution has mean zero. Tikhonov's regularisation replaces the inverse Laplacian -1 / (4 pi^2 f^2) by
- G / 4 pi^2 with

    G(f) = f^2 / (f^4 + f_c^4),   G(0) = 0

which keeps half of the frequency f = f_c ("cutoff") and suppresses slower ones, where noise is amplified most.
"""

from math import pi

import numpy as np

from physics.arrays import Array, leading, module, pair
from physics.fourier import fft2, frequencies, ifft2

FAINT = 0.1  # of a window: below, noise would be blown up by more than ten
ANNULUS = (0.45, 0.50)  # of the width: radii of `vacuum`


def in_focus(images: Array) -> Array:
    """(..., y, x): the plane amid a series (..., plane, y, x) through focus, or the mean of two if it is even."""
    count = images.shape[-3]
    return images[..., (count - 1) // 2 : count // 2 + 1, :, :].mean(axis=-3)


def longitudinal_derivative(images: Array, defocus: Array) -> Array:
    """dI/dz [1/nm] of a through-focus series: the slope of the least-squares line through each pixel.

        dI/dz = sum_k (z_k - z) I_k / sum_k (z_k - z)^2,   z = mean of z_k

    images: (..., plane, y, x), two planes or more. defocus: z_k (plane,) or (..., plane) [nm], not all equal.
    Returns (..., y, x), the derivative at z. With two planes it is the difference quotient, and so it is with three at
    equal steps, where the middle one drops out. Error O(z^2) for planes symmetric about z, O(z) otherwise.
    """
    if images.shape[-3] < 2:
        raise ValueError(f"a derivative needs 2 planes or more, not {images.shape[-3]}: images are (..., plane, y, x)")
    xp = module(defocus)
    z = xp.asarray(defocus, dtype=float)
    z = z - z.mean(axis=-1, keepdims=True)
    weight = leading(z / (z**2).sum(axis=-1, keepdims=True), xp).astype(images.dtype)
    return (images * weight).sum(axis=-3)


def inverse_square(fy: Array, fx: Array, cutoff: Array = 0.0) -> Array:
    """G = f^2 / (f^4 + f_c^4) [nm^2], and 0 at f = 0.

    fy, fx: [1/nm]. cutoff: f_c [1/nm], a number or an array over leading axes; 0 gives 1 / f^2.
    """
    xp = module(fy, cutoff)
    square = fy**2 + fx**2
    safe = xp.where(square == 0, 1, square)
    return xp.where(square == 0, 0, 1 / (safe + leading(cutoff, xp).astype(fy.dtype) ** 4 / safe))


def reciprocal(intensity: Array, floor: Array = 0.0) -> Array:
    """Regularised 1 / I, in the unit of 1 / I.

        R = I / (I^2 + (r M)^2),   M = mean of I over the image

    intensity: I (..., y, x). floor: r [1], relative to the mean; a number or an array over leading axes.
    R is largest at I = r M and goes to 0 with I; where I = M it is 1 / (M (1 + r^2)). With r = 0, I must not vanish.
    """
    mean = intensity.mean(axis=(-2, -1), keepdims=True)
    small = leading(floor, module(intensity, floor)).astype(intensity.dtype) * mean
    return intensity / (intensity**2 + small**2)


def retrieve_uniform(
    derivative: Array, wavelength: Array, sampling: Array, *, intensity: Array = 1.0, cutoff: Array = 0.0
) -> Array:
    """Phase [rad] of an object that does not attenuate: the in-focus intensity is a constant I_0.

        phi = F^-1 [ G F dI/dz ] / (2 pi lambda I_0)

    derivative: dI/dz (..., y, x), [1/nm] times the unit of I_0. wavelength: lambda [nm]. sampling: [nm].
    intensity: I_0. cutoff: f_c [1/nm] of G. All but `derivative` are numbers, or arrays over its leading axes.
    Returns (..., y, x) of the dtype of `derivative`, mean 0. Linear in `derivative`.

    Valid where pi lambda z f^2 << 1 for the defocus z of the images; symmetric planes leave an error O(z^2).
    Teague, J. Opt. Soc. Am. 73 (1983) 1434.
    """
    fy, fx = _frequencies(derivative, sampling)
    filtered = ifft2(fft2(derivative) * inverse_square(fy, fx, cutoff)).real
    return filtered * _scale(derivative, wavelength, intensity)


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

    the real part. D packs the two components of a gradient into one complex image and D* takes the divergence of
    one, so that four transforms do; the imaginary part, the curl, is dropped.

    derivative: dI/dz (..., y, x), [1/nm] times the unit of the intensity. intensity: I (..., y, x), in focus.
    wavelength: lambda [nm]. sampling: [nm]. cutoff: f_c [1/nm] of G, which acts twice. floor: r [1] of `reciprocal`;
    it scales the phase of a uniform image by 1 / (1 + r^2). Numbers, or arrays over the leading axes of `derivative`.
    Returns (..., y, x) of the dtype of `derivative`, mean 0. Linear in `derivative`; with a constant I and no
    regularisation it is `retrieve_uniform`.

    Exact (for the equation) only if I grad phi has no curl: grad I parallel to grad phi, as for one material of
    varying thickness; otherwise the curl is lost: Schmalz et al., Phys. Rev. A 84 (2011) 023808.
    Teague, J. Opt. Soc. Am. 73 (1983) 1434; Paganin and Nugent, Phys. Rev. Lett. 80 (1998) 2586.
    """
    fy, fx = _frequencies(derivative, sampling)
    inverse, slope = inverse_square(fy, fx, cutoff), fy + 1j * fx
    gradient = ifft2(fft2(derivative) * (inverse * slope)) * reciprocal(intensity, floor)
    return ifft2(fft2(gradient) * (inverse * slope.conj())).real * _scale(derivative, wavelength)


def transport(
    images: Array, defocus: Array, wavelength: Array, sampling: Array, *, cutoff: Array = 0.0, floor: Array = 0.0
) -> Array:
    """`retrieve` from a series: dI/dz of the line through all planes, I of the plane amid. Returns (..., y, x) [rad].

    images: (..., plane, y, x). defocus: (..., plane) [nm]. wavelength, sampling: [nm]. cutoff, floor: as `retrieve`.
    """
    slope = longitudinal_derivative(images, defocus)
    return retrieve(slope, in_focus(images), wavelength, sampling, cutoff=cutoff, floor=floor)


def unwindowed(images: Array, window: Array) -> Array:
    """Images without the window that multiplied them, where it is FAINT or more; vacuum, 1, elsewhere. NumPy."""
    return np.where(window < FAINT, 1.0, images / np.maximum(window, FAINT))


def vacuum(phase: Array, window: Array) -> Array:
    """The mean phase (..., 1, 1) [rad] in the annulus where the specimen is expected to have ended.

    Radii of 0.45 to 0.50 of the smaller width. phase: (..., y, x). window: (y, x); only where it is not 0. 0 if nothing
    is left. NumPy.
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
    """Frequencies in the dtype of the image: two-dimensional filters in float64 would cost more than the transforms."""
    fy, fx = frequencies(image.shape, sampling, module(image, *pair(sampling)))
    return fy.astype(image.dtype), fx.astype(image.dtype)


def _scale(derivative: Array, wavelength: Array, intensity: Array = 1.0) -> Array:
    """1 / (2 pi lambda I_0) in the dtype of the derivative."""
    xp = module(wavelength, intensity)
    return (1 / (2 * pi * leading(wavelength, xp) * leading(intensity, xp))).astype(derivative.dtype)

"""Fourier transforms of images and their frequencies. Frequencies f in 1/nm (cycles, not radians).

    F a(f) = sum_x a(x) exp(-2 pi i f.x),   zero frequency first (index 0), 1/N in the inverse

Images are (..., y, x); transforms run over the last two axes. Odd sizes have no Nyquist frequency, even sizes have the
negative one. Diffraction patterns, which have zero frequency at N//2, are shifted where they are made, not here.
"""

from math import pi

import numpy as np
import scipy.fft

from physics.arrays import Array, module, pair


def frequencies(shape: tuple[int, ...], sampling: Array, xp: Array) -> tuple[Array, Array]:
    """Spatial frequencies (fy, fx) [1/nm] of images (..., y, x), of shapes (ny, 1) and (nx,).

        f_j = j / (N d),   j = 0 ... ceil(N/2)-1, -floor(N/2) ... -1

    shape: of the image, only the last two entries count. sampling: [nm], see `arrays.pair`; where an entry is an array
    of shape (...), the result is (..., ny, 1) or (..., 1, nx). xp: the array module; NumPy's are float64.
    """
    dy, dx = (xp.asarray(d, dtype=float) for d in pair(sampling))
    fy = xp.fft.fftfreq(shape[-2])[:, None] / dy[..., None, None]
    fx = xp.fft.fftfreq(shape[-1]) / (dx[..., None, None] if dx.ndim else dx)
    return fy, fx


def fft2(image: Array) -> Array:
    """Forward transform over the last two axes. image: (..., y, x), real or complex; complex64 stays complex64.

    NumPy arrays go to SciPy on one thread: three times faster than `numpy.fft`, its bits do not depend on the batch.
    Parseval: sum |F a|^2 = N sum |a|^2 with N the number of pixels.
    """
    if isinstance(image, np.ndarray):
        return scipy.fft.fft2(image, workers=1)
    return image.__array_namespace__().fft.fft2(image)


def ifft2(spectrum: Array) -> Array:
    """Inverse of `fft2`, complex. spectrum: (..., y, x), zero frequency first."""
    if isinstance(spectrum, np.ndarray):
        return scipy.fft.ifft2(spectrum, workers=1)
    return spectrum.__array_namespace__().fft.ifft2(spectrum)


def rfft2(image: Array, shape: tuple[int, int]) -> Array:
    """Forward transform of a real image (..., y, x), padded with zeros to `shape`: the half (..., ny, nx // 2 + 1)."""
    if isinstance(image, np.ndarray):
        return scipy.fft.rfft2(image, s=shape, workers=1)
    return image.__array_namespace__().fft.rfft2(image, s=shape)


def irfft2(spectrum: Array, shape: tuple[int, int]) -> Array:
    """Inverse of `rfft2`: real (..., *shape)."""
    if isinstance(spectrum, np.ndarray):
        return scipy.fft.irfft2(spectrum, s=shape, workers=1)
    return spectrum.__array_namespace__().fft.irfft2(spectrum, s=shape)


def blurred(image: Array, width: float) -> Array:
    """A real image convolved with a normalised, periodic Gaussian.

        F^-1 [ exp(-2 pi^2 s^2 f^2) F a ],   f in cycles per pixel

    image: a (..., y, x). width: s, a standard deviation [pixel]; 0 returns the image itself. The sum is conserved. The
    dtype is kept. Where the image is 0, rounding may leave values below 0.
    """
    if not width:
        return image
    shape = (image.shape[-2], image.shape[-1])
    fy, fx = frequencies(shape, 1.0, module(image))
    exponent = -2 * (pi * width) ** 2 * (fy**2 + fx[: shape[1] // 2 + 1] ** 2)
    return irfft2(rfft2(image, shape) * module(image).exp(exponent).astype(image.dtype), shape)

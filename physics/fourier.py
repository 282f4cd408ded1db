"""Fourier transforms of images and their frequencies. Frequencies f are in 1/nm (cycles, not radians).

    F a(f) = sum_x a(x) exp(-2 pi i f.x),   zero frequency first (index 0), 1/N in the inverse

Images are (..., y, x), and transforms run over the last two axes. Odd sizes have no Nyquist frequency; even sizes have
the negative one. Diffraction patterns have zero frequency at N//2: they are shifted by the code that makes them, not
here.
"""

from math import pi

import numpy as np
import scipy.fft

from physics.arrays import Array, module, pair


def frequencies(shape: tuple[int, ...], sampling: Array, xp: Array) -> tuple[Array, Array]:
    """Spatial frequencies (fy, fx) [1/nm] of images (..., y, x).

        f_j = j / (N d),   j = 0 ... ceil(N/2)-1, -floor(N/2) ... -1

    Args:
        shape: shape of the images; only the last two entries count.
        sampling: d [nm], as for `arrays.pair`.
        xp: the array module of the result; NumPy's frequencies are float64.

    Returns:
        (fy, fx) of shapes (ny, 1) and (nx,). Where an entry of `sampling` is an array of shape (...), they are
        (..., ny, 1) or (..., 1, nx).
    """
    dy, dx = (xp.asarray(d, dtype=float) for d in pair(sampling))
    fy = xp.fft.fftfreq(shape[-2])[:, None] / dy[..., None, None]
    fx = xp.fft.fftfreq(shape[-1]) / (dx[..., None, None] if dx.ndim else dx)
    return fy, fx


def fast_length(least: int) -> int:
    """Return the smallest length from `least` on whose only prime factors are 2, 3, 5 and 7.

    Transforms of other lengths take more time, and on a GPU twelve times the memory.
    """
    powers = [1]
    for prime in (2, 3, 5, 7):
        powers = [
            n * prime**k for n in powers for k in range(max(least, 1).bit_length() + 1) if n * prime**k < 2 * least
        ]
    return min((n for n in powers if n >= least), default=1)


def fft2(image: Array) -> Array:
    """Fourier transform over the last two axes.

    NumPy arrays are transformed by SciPy on one thread: it is three times faster than `numpy.fft`, and its bits do not
    depend on the batch. Parseval: sum |F a|^2 = N sum |a|^2, where N is the number of pixels.

    Args:
        image: a (..., y, x), real or complex.

    Returns:
        F a (..., y, x), zero frequency first; complex64 stays complex64.
    """
    if isinstance(image, np.ndarray):
        return scipy.fft.fft2(image, workers=1)
    return image.__array_namespace__().fft.fft2(image)


def ifft2(spectrum: Array) -> Array:
    """Inverse of `fft2`, complex.

    Args:
        spectrum: F a (..., y, x), zero frequency first.

    Returns:
        a (..., y, x), complex.
    """
    if isinstance(spectrum, np.ndarray):
        return scipy.fft.ifft2(spectrum, workers=1)
    return spectrum.__array_namespace__().fft.ifft2(spectrum)


def rfft2(image: Array, shape: tuple[int, int]) -> Array:
    """Fourier transform of a real image that is first padded with zeros.

    Args:
        image: (..., y, x), real.
        shape: (ny, nx) of the padded image.

    Returns:
        Half of the spectrum, (..., ny, nx // 2 + 1).
    """
    if isinstance(image, np.ndarray):
        return scipy.fft.rfft2(image, s=shape, workers=1)
    return image.__array_namespace__().fft.rfft2(image, s=shape)


def irfft2(spectrum: Array, shape: tuple[int, int]) -> Array:
    """Inverse of `rfft2`: the real image (..., ny, nx) of half a spectrum, with shape = (ny, nx)."""
    if isinstance(spectrum, np.ndarray):
        return scipy.fft.irfft2(spectrum, s=shape, workers=1)
    return spectrum.__array_namespace__().fft.irfft2(spectrum, s=shape)


def blurred(image: Array, width: float) -> Array:
    """Convolve a real image with a normalised, periodic Gaussian.

        F^-1 [ exp(-2 pi^2 s^2 f^2) F a ],   f in cycles per pixel

    The sum is conserved. Where the image is 0, rounding may leave values below 0.

    Args:
        image: a (..., y, x), real.
        width: s [pixel], the standard deviation; 0 returns the image itself.

    Returns:
        The blurred image (..., y, x), of the dtype of `image`.
    """
    if not width:
        return image
    shape = (image.shape[-2], image.shape[-1])
    fy, fx = frequencies(shape, 1.0, module(image))
    exponent = -2 * (pi * width) ** 2 * (fy**2 + fx[: shape[1] // 2 + 1] ** 2)
    return irfft2(rfft2(image, shape) * module(image).exp(exponent).astype(image.dtype), shape)

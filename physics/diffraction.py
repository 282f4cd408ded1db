"""Far fields: the diffraction pattern that a distant detector records of a wave.

    D(q) = sum_r psi(r) exp(-2 pi i q.r),   amplitude |D|, intensity |D|^2

Frequencies are in 1/nm, or in cycles per pixel. The origin of r is pixel N//2 of the wave, and q = 0 is pixel N//2 of
the pattern. Therefore a real wave that is symmetric about its middle has a real far field. The transform is not
normalised: sum |D|^2 = N sum |psi|^2, where N is the number of pixels of the pattern, and |D(0)| is the sum of a flat
wave. Surrounding a wave with zeros (`embed`) samples its pattern more finely.

The amplitude |D| does not determine the phase of psi (a constant), the position of psi, or whether the wave is psi(r)
or its twin conj psi(-r).

Arrays are (..., y, x) and (..., qy, qx), NumPy or JAX.
"""

import numpy as np

from physics.arrays import Array, cyclic_middle, module
from physics.fourier import blurred, fft2, ifft2

AXES = (-2, -1)


def far_field(wave: Array) -> Array:
    """Return the far field D of a wave, complex.

    Args:
        wave: psi (..., y, x), real or complex.

    Returns:
        D (..., qy, qx), complex.
    """
    xp = module(wave)
    return xp.fft.fftshift(fft2(xp.fft.ifftshift(wave, AXES)), AXES)


def inverse_far_field(pattern: Array) -> Array:
    """Return the wave psi that has the given far field; this is the inverse of `far_field`.

    Args:
        pattern: D (..., qy, qx).

    Returns:
        psi (..., y, x), complex.
    """
    xp = module(pattern)
    return xp.fft.fftshift(ifft2(xp.fft.ifftshift(pattern, AXES)), AXES)


def amplitude(wave: Array) -> Array:
    """Return the amplitude |D| (..., qy, qx) of the far field, real and in the precision of the wave."""
    return abs(far_field(wave))


def embed(image: Array, shape: tuple[int, int]) -> Array:
    """Surround an image with zeros, so that its pixel n//2 becomes pixel N//2 of the result.

    Args:
        image: (..., y, x).
        shape: (ny, nx) of the result.

    Returns:
        The image among zeros, (..., ny, nx).

    Raises:
        ValueError: if the image is larger than `shape`.
    """
    if any(small > large for small, large in zip(image.shape[-2:], shape, strict=True)):
        raise ValueError(f"an image of {image.shape[-2:]} does not fit into {shape}")
    before = [large // 2 - small // 2 for small, large in zip(image.shape[-2:], shape, strict=True)]
    after = [large - small - b for small, large, b in zip(image.shape[-2:], shape, before, strict=True)]
    pads = [(0, 0)] * (image.ndim - 2) + list(zip(before, after, strict=True))
    return module(image).pad(image, pads)


def crop_middle(image: Array, shape: tuple[int, int]) -> Array:
    """Cut out the middle of an image, so that its pixel N//2 becomes pixel n//2 of the result; this undoes `embed`.

    Args:
        image: (..., y, x).
        shape: (ny, nx) of the part.

    Returns:
        The part (..., ny, nx).

    Raises:
        ValueError: if the image is smaller than `shape`.
    """
    if any(small > large for small, large in zip(shape, image.shape[-2:], strict=True)):
        raise ValueError(f"an image of {image.shape[-2:]} has no part of {shape}")
    first = [large // 2 - small // 2 for small, large in zip(shape, image.shape[-2:], strict=True)]
    rows = tuple(slice(start, start + n) for start, n in zip(first, shape, strict=True))
    return image[(..., *rows)]


def subsample(pattern: Array, factor: int) -> Array:
    """Keep every factor-th pixel along each axis, among them q = 0, which is again at pixel n//2 (n = N / factor).

    If the wave was embedded in a grid that is `factor` times as wide, this gives the pattern of the wave alone.

    Args:
        pattern: (..., qy, qx).
        factor: the step from one kept pixel to the next.

    Returns:
        The coarser pattern (..., qy / factor, qx / factor).

    Raises:
        ValueError: if a side is not a multiple of the factor.
    """
    shape = pattern.shape[-2:]
    if any(n % factor for n in shape):
        raise ValueError(f"a pattern of {shape} has no {factor}-fold coarser one: the sides must be multiples")
    first = [n // 2 - factor * (n // factor // 2) for n in shape]
    return pattern[..., first[0] :: factor, first[1] :: factor]


def disk(pattern: Array, levels: tuple[float, ...]) -> tuple[float, ...]:
    """Return the brightness of the bright disk in a pattern, and its radius at each of the given levels.

    Half of the sum of the pattern lies in pixels brighter than the brightness. A few very bright pixels, or many dim
    ones beside the disk, change it little. The radius is sqrt(A / pi), where A is the area above the level. A pixel
    whose value is within an eighth of the brightness from the level is counted in part.

    Args:
        pattern: (qy, qx) >= 0, not all 0, NumPy.
        levels: fractions of the brightness.

    Returns:
        The brightness, then one radius [pixel] per level.
    """
    brightness = _median_brightness(pattern)
    areas = [_shares_above(pattern, level * brightness, brightness).sum() for level in levels]
    return brightness, *(float((area / np.pi) ** 0.5) for area in areas)


def disk_centre(pattern: Array) -> Array:
    """Return the middle (y, x) [pixel] of the bright disk of `disk`, from -n/2 to n/2 along an axis of n pixels.

    The position is cyclic, and 0 is pixel 0.
    """
    brightness = _median_brightness(pattern)
    area = _shares_above(pattern, brightness / 2, brightness)
    return np.array([cyclic_middle(area.sum(axis=1 - axis)) for axis in (0, 1)])


def _median_brightness(pattern: Array) -> float:
    values = np.sort(pattern, axis=None)
    sums = values.cumsum()
    return float(values[np.searchsorted(sums, sums[-1] / 2)])


def _shares_above(pattern: Array, level: float, brightness: float) -> Array:
    """Return the part of each pixel that counts as above the level, 0 to 1."""
    return np.clip(4 * (pattern - level) / brightness + 0.5, 0, 1)


def partially_coherent(intensity: Array, width: float) -> Array:
    """Blur an intensity as an extended source does, with a Gaussian.

        I' = F^-1 [ exp(-2 pi^2 s^2 r^2) F I ]

    The mutual coherence of two points of the wave at the distance r (in units of the periodic field) is exp(-2 pi^2 s^2
    r^2).

    The sum is conserved and no value falls below 0 (rounding is clipped), if the pattern is oversampled by a factor of
    two or more. Otherwise a Gaussian narrower than about half a pixel rings: for white noise and a width of 0.3,
    clipping adds some 1e-6.

    Args:
        intensity: (..., qy, qx) >= 0, periodic.
        width: s [pixel], the standard deviation of the Gaussian; 0 returns the image itself.

    Returns:
        The blurred intensity (..., qy, qx).
    """
    if not width:
        return intensity
    return module(intensity).maximum(blurred(intensity, width), 0)

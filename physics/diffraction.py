"""Far fields: what a detector far away sees of a wave. Frequencies in 1/nm, or in cycles per pixel.

    D(q) = sum_r psi(r) exp(-2 pi i q.r),   amplitude |D|, intensity |D|^2

The origin of r is pixel N//2 of the wave, and q = 0 is pixel N//2 of the pattern: so a real wave that is symmetric
about its middle has a real far field. Not normalised: sum |D|^2 = N sum |psi|^2, N the pixels of the pattern, and
|D(0)| is the sum of a flat wave. A wave in the middle of zeros gives a finer sampled pattern, `embed` puts it there.

What |D| cannot tell: the phase of psi, where psi lies, and whether it is psi(r) or its twin conj psi(-r).

Arrays (..., y, x) and (..., qy, qx), NumPy or JAX.
"""

import numpy as np

from physics.arrays import Array, cyclic_middle, module
from physics.fourier import blurred, fft2, ifft2

AXES = (-2, -1)


def far_field(wave: Array) -> Array:
    """D of a wave, complex (..., qy, qx). wave: psi (..., y, x), real or complex."""
    xp = module(wave)
    return xp.fft.fftshift(fft2(xp.fft.ifftshift(wave, AXES)), AXES)


def near_field(pattern: Array) -> Array:
    """The inverse of `far_field`: psi, complex (..., y, x). pattern: D (..., qy, qx)."""
    xp = module(pattern)
    return xp.fft.fftshift(ifft2(xp.fft.ifftshift(pattern, AXES)), AXES)


def amplitude(wave: Array) -> Array:
    """|D|, real (..., qy, qx) in the precision of the wave."""
    return abs(far_field(wave))


def embed(image: Array, shape: tuple[int, int]) -> Array:
    """The image amid zeros, (..., *shape): its pixel n//2 becomes pixel N//2. ValueError if it does not fit."""
    if any(small > large for small, large in zip(image.shape[-2:], shape, strict=True)):
        raise ValueError(f"an image of {image.shape[-2:]} does not fit into {shape}")
    before = [large // 2 - small // 2 for small, large in zip(image.shape[-2:], shape, strict=True)]
    after = [large - small - b for small, large, b in zip(image.shape[-2:], shape, before, strict=True)]
    pads = [(0, 0)] * (image.ndim - 2) + list(zip(before, after, strict=True))
    return module(image).pad(image, pads)


def middle(image: Array, shape: tuple[int, int]) -> Array:
    """The part of an image that `embed` has put amid the rest, (..., *shape): pixel N//2 becomes pixel n//2.

    ValueError if the image is smaller.
    """
    if any(small > large for small, large in zip(shape, image.shape[-2:], strict=True)):
        raise ValueError(f"an image of {image.shape[-2:]} has no part of {shape}")
    first = [large // 2 - small // 2 for small, large in zip(shape, image.shape[-2:], strict=True)]
    rows = tuple(slice(start, start + n) for start, n in zip(first, shape, strict=True))
    return image[(..., *rows)]


def coarser(pattern: Array, factor: int) -> Array:
    """Every factor-th pixel along each axis, q = 0 among them, again at its pixel n//2 (n = N / factor).

    Of the pattern of a wave amid `factor` times as many zeros, the pattern of the wave alone. ValueError if the sides
    are no multiples of the factor.
    """
    shape = pattern.shape[-2:]
    if any(n % factor for n in shape):
        raise ValueError(f"a pattern of {shape} has no {factor}-fold coarser one: the sides must be multiples")
    first = [n // 2 - factor * (n // factor // 2) for n in shape]
    return pattern[..., first[0] :: factor, first[1] :: factor]


def disk(pattern: Array, levels: tuple[float, ...]) -> tuple[float, ...]:
    """Brightness of the disk of a pattern, and its radius [pixel] at each of these levels of it, in their order.

    The brightness is the one above which pixels hold half of the sum: what few bright pixels, or many dim ones beside
    the disk, do to it is little. The radius is sqrt(A / pi), A the area above the level; a pixel counts in part within
    an eighth of the brightness from it. pattern: (qy, qx) >= 0, not all 0. NumPy.
    """
    bright = _brightness(pattern)
    return bright, *(float((_above(pattern, level * bright, bright).sum() / np.pi) ** 0.5) for level in levels)


def disk_centre(pattern: Array) -> Array:
    """Where the middle of that disk lies (y, x) [pixel], from -n/2 to n/2 of each axis' n, cyclic: 0 is pixel 0."""
    bright = _brightness(pattern)
    area = _above(pattern, bright / 2, bright)
    return np.array([cyclic_middle(area.sum(axis=1 - axis)) for axis in (0, 1)])


def _brightness(pattern: Array) -> float:
    values = np.sort(pattern, axis=None)
    sums = values.cumsum()
    return float(values[np.searchsorted(sums, sums[-1] / 2)])


def _above(pattern: Array, level: float, bright: float) -> Array:
    return np.clip(4 * (pattern - level) / bright + 0.5, 0, 1)


def partially_coherent(intensity: Array, width: float) -> Array:
    """The intensity of a source that is not a point: blurred by a Gaussian of the standard deviation `width` [pixel].

        I' = F^-1 [ exp(-2 pi^2 s^2 r^2) F I ]

    So the mutual coherence of two points of the wave at the distance r (in units of the periodic field) is
    exp(-2 pi^2 s^2 r^2). intensity: (..., qy, qx) >= 0, periodic. width 0 returns the image itself.

    The sum is conserved, and nothing falls below 0 (rounding is cut), if the pattern is sampled twice or finer. If not,
    a Gaussian narrower than about half a pixel rings: of white noise, a width of 0.3 cuts and so adds some 1e-6.
    """
    if not width:
        return intensity
    return module(intensity).maximum(blurred(intensity, width), 0)

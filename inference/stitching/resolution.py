"""Measure how well a stitched image agrees with its object: their ring correlation, and the frequency where it ends.

The spectrum of a crystal is empty between its spots. Rings without power cannot correlate, so they are not used to find
where a correlation ends. The first ring is not used either: the Hann window, which is two rings wide, lets the mean
leak into it, and the mean is subtracted from both images.
"""

import math
from dataclasses import dataclass

import numpy as np

from physics.ring_correlation import (
    RESOLUTION_THRESHOLD,
    crossing_frequency,
    half_bit_threshold,
    independent_counts,
    ring_correlation,
    ring_counts,
)

MIN_RING_POWER = 1e-3  # rings with less mean power, relative to the strongest ring of the object, are taken as empty


@dataclass(frozen=True)
class Resolution:
    """Agreement of one image with its object. Frequencies are in 1/nm; None: nothing can be compared."""

    pixels: tuple[int, int]  # number of pixels of the object that were compared, along y and x
    rms: float | None  # rms difference [unit of the image], without its mean if patches have an unknown constant
    half_bit: float | None  # frequency of the half-bit threshold, with the number of pixels reduced by the window
    seventh: float | None  # frequency of the threshold 1/2, which corresponds to 1/7 between noisy halves
    mean: float | None  # mean correlation of the rings that are used
    frequency: list[float]
    correlation: list[float]
    threshold: list[float]  # the half-bit threshold of each ring
    counts: list[bool]  # True for rings in which a correlation may end


def resolution(image: np.ndarray, truth: np.ndarray, sampling: float, free: str = "constant") -> Resolution:
    """Return the agreement of an image with its object, in a rectangle that the image fills, under a Hann window.

    Args:
        image: (y, x), laid over its object; NaN where it is unknown.
        truth: the object (y, x).
        sampling: pixel of both [nm].
        free: as in `Stitch`.
    """
    rows, columns = filled_rectangle(np.isfinite(image))
    compared, truth = image[rows, columns], truth[rows, columns]
    pixels = (compared.shape[0], compared.shape[1])
    if min(pixels) < 4:
        return Resolution(pixels, None, None, None, None, [], [], [], [])
    away = compared - truth
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in pixels))
    frequency, curves = ring_correlation((compared * window)[None], (truth * window)[None], window)
    used, limit = _ring_power(truth, window) > MIN_RING_POWER, half_bit_threshold(independent_counts(window))
    used[0] = False
    ends = (
        _end_frequency(frequency[used], curves[0][used], threshold) for threshold in (limit[used], RESOLUTION_THRESHOLD)
    )
    half, seventh = (None if end is None else end / sampling for end in ends)
    curve = np.nan_to_num(curves[0])  # a constant object gives NaN
    return Resolution(
        pixels,
        float((away - away.mean()).std() if free else np.sqrt((away**2).mean())),
        half,
        seventh,
        float(curve[used].mean()) if used.any() else None,
        (frequency / sampling).tolist(),
        curve.tolist(),
        limit.tolist(),
        used.tolist(),
    )


def _end_frequency(frequency: np.ndarray, curve: np.ndarray, threshold: np.ndarray | float) -> float | None:
    """Return the frequency [1/pixel] where a curve crosses a threshold; None if there is no curve.

    If the curve never crosses it, the frequency of its last ring is returned: no resolution is claimed beyond it.
    """
    end = crossing_frequency(frequency, curve, threshold)
    return min(end, float(frequency[-1])) if math.isfinite(end) else None


def lay_over_object(image: np.ndarray, first: tuple[int, int], shape: tuple[int, int], pixels: int) -> np.ndarray:
    """Lay a stitched image over its object, whose pixels are larger.

    Each pixel of the result is the mean of the image pixels in it, or NaN unless all of them are known.

    Args:
        image: (y, x).
        first: place of its first pixel on a grid whose pixel 0 begins where pixel 0 of the object begins.
        shape: shape of the object.
        pixels: image pixels per pixel of the object, along each side.
    """
    known = np.full(np.multiply(shape, pixels), np.nan, image.dtype)
    ends = [min(f + n, p) for f, n, p in zip(first, image.shape, known.shape, strict=True)]
    rows, columns = (slice(max(f, 0), max(end, 0)) for f, end in zip(first, ends, strict=True))
    y, x = (slice(part.start - f, part.stop - f) for part, f in zip((rows, columns), first, strict=True))
    known[rows, columns] = image[y, x]
    return known.reshape(shape[0], pixels, shape[1], pixels).mean(axis=(1, 3), dtype=float)


def _ring_power(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the mean power of an image in each ring, without its mean, relative to the strongest ring, (ring,)."""
    image, counts = (image - (image * window).sum() / window.sum()) * window, ring_counts(window.shape)
    radius = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, image.shape), indexing="ij"))
    ring = np.floor(min(image.shape) * radius + 0.5).astype(int).ravel()
    total = np.bincount(ring, (abs(np.fft.fft2(image)) ** 2).ravel())[1 : len(counts) + 1]
    mean = total / counts
    return np.asarray(mean / max(mean.max(), np.finfo(float).tiny))


def filled_rectangle(known: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of a large rectangle in which all pixels are known.

    It is found by moving sides inwards, the emptiest side first.

    Args:
        known: (y, x), True where a pixel is known.
    """
    known_places = [np.append(np.flatnonzero(known.any(axis=axis)), -1) for axis in (1, 0)]
    top, bottom, left, right = (int(end) for part in known_places for end in (max(part[0], 0), part.max() + 1))
    while top < bottom and left < right and not (inside := known[top:bottom, left:right]).all():
        empty = [1 - side.mean() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1])]
        worst = int(np.argmax(empty)) if max(empty) else 0
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(top, bottom), slice(left, right)

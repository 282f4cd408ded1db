"""How far a stitched image is the object: the ring correlation of the two, and where it ends.

Of a crystal, rings between the spots hold nothing that could correlate; they do not count where a correlation ends. Nor
does the first ring: Hann's window, two rings wide, lets the mean into it, which is taken from both images.
"""

import math
from dataclasses import dataclass

import numpy as np

from schemas.scores import RESOLVED, crossing, half_bit, independent_counts, ring_correlation, ring_counts

EMPTY = 1e-3  # of the mean power of the object in its strongest ring: less is nothing


@dataclass(frozen=True)
class Resolution:
    """Of one image. Frequencies in 1/nm; None where nothing can be compared."""

    pixels: tuple[int, int]  # of the object, y and x, that were compared
    rms: float | None  # of the difference, less its mean where a constant is free; in the unit of the image
    half_bit: float | None  # where the correlation falls below half a bit (`schemas.scores`), n reduced by the window
    seventh: float | None  # where it falls below 1/2, which with an exact image stands for 1/7 between noisy halves
    mean: float | None  # of the correlations in rings that count
    frequency: list[float]
    correlation: list[float]
    threshold: list[float]  # half a bit
    counts: list[bool]  # rings in which a correlation may end


def resolution(image: np.ndarray, truth: np.ndarray, sampling: float, free: str = "constant") -> Resolution:
    """Of an image (y, x) that is laid over its object, NaN where nothing is known. sampling: of both [nm].

    free: as in `Stitch`.

    Compared are the pixels of a rectangle that the image fills, under Hann's window.
    """
    rows, columns = filled(np.isfinite(image))
    found, truth = image[rows, columns], truth[rows, columns]
    pixels = (found.shape[0], found.shape[1])
    if min(pixels) < 4:
        return Resolution(pixels, None, None, None, None, [], [], [], [])
    away = found - truth
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in pixels))
    frequency, curves = ring_correlation((found * window)[None], (truth * window)[None], window)
    there, limit = _power(truth, window) > EMPTY, half_bit(independent_counts(window))
    there[0] = False
    ends = (_end(frequency[there], curves[0][there], one) for one in (limit[there], RESOLVED))
    half, seventh = (None if end is None else end / sampling for end in ends)
    curve = np.nan_to_num(curves[0])  # of a constant object
    return Resolution(
        pixels,
        float((away - away.mean()).std() if free else np.sqrt((away**2).mean())),
        half,
        seventh,
        float(curve[there].mean()) if there.any() else None,
        (frequency / sampling).tolist(),
        curve.tolist(),
        limit.tolist(),
        there.tolist(),
    )


def _end(frequency: np.ndarray, curve: np.ndarray, threshold: np.ndarray | float) -> float | None:
    """Where a curve crosses a threshold [1/pixel], its last ring if it never does; None if there is no curve.

    Beyond the last ring with power, nothing is known: no resolution is claimed there.
    """
    end = crossing(frequency, curve, threshold)
    return min(end, float(frequency[-1])) if math.isfinite(end) else None


def over(image: np.ndarray, first: tuple[int, int], shape: tuple[int, int], pixels: int) -> np.ndarray:
    """An image as an object of this shape would show it, whose pixels are `pixels` times as wide.

    first: of the image's first pixel; pixel 0 begins where pixel 0 of the object does. A pixel of the object is the
    mean of its own, NaN unless all of them are known.
    """
    known = np.full(np.multiply(shape, pixels), np.nan, image.dtype)
    ends = [min(f + n, p) for f, n, p in zip(first, image.shape, known.shape, strict=True)]
    rows, columns = (slice(max(f, 0), max(end, 0)) for f, end in zip(first, ends, strict=True))
    y, x = (slice(part.start - f, part.stop - f) for part, f in zip((rows, columns), first, strict=True))
    known[rows, columns] = image[y, x]
    return known.reshape(shape[0], pixels, shape[1], pixels).mean(axis=(1, 3), dtype=float)


def _power(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Mean power of an image in each ring (ring,), to that of the strongest one; its mean under the window is none."""
    image, counts = (image - (image * window).sum() / window.sum()) * window, ring_counts(window.shape)
    radius = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, image.shape), indexing="ij"))
    ring = np.floor(min(image.shape) * radius + 0.5).astype(int).ravel()
    total = np.bincount(ring, (abs(np.fft.fft2(image)) ** 2).ravel())[1 : len(counts) + 1]
    mean = total / counts
    return np.asarray(mean / max(mean.max(), np.finfo(float).tiny))


def filled(known: np.ndarray) -> tuple[slice, slice]:
    """A large rectangle in which all is known: sides give way, the emptiest first."""
    seen = [np.append(np.flatnonzero(known.any(axis=axis)), -1) for axis in (1, 0)]
    top, bottom, left, right = (int(end) for part in seen for end in (max(part[0], 0), part.max() + 1))
    while top < bottom and left < right and not (inside := known[top:bottom, left:right]).all():
        empty = [1 - side.mean() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1])]
        worst = int(np.argmax(empty)) if max(empty) else 0
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(top, bottom), slice(left, right)

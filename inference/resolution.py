"""How far a stitched image is the object: the ring correlation of the two, and where it ends.

Of a crystal, rings between the spots hold nothing that could correlate; they do not count where a correlation ends.
"""

from dataclasses import dataclass

import numpy as np

from schemas.scores import SEVENTH, crossing, half_bit, ring_correlation, ring_counts

EMPTY = 1e-3  # of the mean power of the object in its strongest ring: less is nothing


@dataclass(frozen=True)
class Resolution:
    """Of one image. Frequencies in 1/nm; None where nothing can be compared."""

    pixels: tuple[int, int]  # of the object, y and x, that were compared
    rms: float | None  # rad, of the difference less its mean
    half_bit: float | None  # where the correlation falls below that threshold (van Heel and Schatz 2005)
    seventh: float | None  # where it falls below 1/7
    frequency: list[float]
    correlation: list[float]


def resolution(
    image: np.ndarray, first: tuple[int, int], truth: np.ndarray, pixels: int, sampling: float
) -> Resolution:
    """Of an image (y, x), NaN where nothing is known, against an object whose pixels are `pixels` times as wide.

    first: of the image's first pixel; pixel 0 begins where pixel 0 of the object does. sampling: of the object [nm].
    Compared are the means over the object's pixels, in a rectangle that the image fills, under Hann's window.
    """
    found, start = _means(image, first, pixels)
    rows, columns = _filled(np.isfinite(found))
    found = found[rows, columns]
    truth = truth[rows.start + start[0] : rows.stop + start[0], columns.start + start[1] : columns.stop + start[1]]
    if min(found.shape) < 4 or found.shape != truth.shape:
        return Resolution((found.shape[0], found.shape[1]), None, None, None, [], [])
    away = found - truth
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in found.shape))
    frequency, curves = ring_correlation((found * window)[None], (truth * window)[None], window)
    counts = ring_counts(found.shape)
    there = _power(truth, window, counts) > EMPTY
    limits = half_bit(counts), np.full(len(counts), SEVENTH)
    ends = [crossing(frequency[there], curves[0][there], limit[there]) / sampling for limit in limits]
    return Resolution(
        (found.shape[0], found.shape[1]),
        float((away - away.mean()).std()),
        ends[0],
        ends[1],
        (frequency / sampling).tolist(),
        curves[0].tolist(),
    )


def _power(image: np.ndarray, window: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean power of an image in each ring (ring,), to that of the strongest one; its mean under the window is none."""
    image = (image - (image * window).sum() / window.sum()) * window
    radius = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, image.shape), indexing="ij"))
    ring = np.floor(min(image.shape) * radius + 0.5).astype(int).ravel()
    total = np.bincount(ring, (abs(np.fft.fft2(image)) ** 2).ravel())[1 : len(counts) + 1]
    mean = total / counts
    return np.asarray(mean / max(mean.max(), np.finfo(float).tiny))


def _means(image: np.ndarray, first: tuple[int, int], pixels: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Means over whole pixels of the object, NaN where one is not known throughout; and the first of them."""
    start = (-(-first[0] // pixels), -(-first[1] // pixels))
    skip = [s * pixels - f for s, f in zip(start, first, strict=True)]
    count = [(n - s) // pixels for n, s in zip(image.shape, skip, strict=True)]
    rows, columns = (slice(s, s + n * pixels) for s, n in zip(skip, count, strict=True))
    blocks = image[rows, columns].reshape(count[0], pixels, count[1], pixels)
    return blocks.mean(axis=(1, 3)), start


def _filled(known: np.ndarray) -> tuple[slice, slice]:
    """A large rectangle in which all is known: sides give way, the emptiest first."""
    top, bottom, left, right = 0, known.shape[0], 0, known.shape[1]
    while top < bottom and left < right and not (inside := known[top:bottom, left:right]).all():
        empty = [1 - side.mean() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1])]
        worst = int(np.argmax(empty)) if max(empty) else 0
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(top, bottom), slice(left, right)

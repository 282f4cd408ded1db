"""Fourier ring correlation of images, the resolution that it shows, and the threshold of half a bit.

Van Heel and Schatz, J. Struct. Biol. 151 (2005) 250; with an exact image: Rosenthal and Henderson, J. Mol. Biol. 333
(2003) 721.
"""

import math

import numpy as np
import scipy.fft
import scipy.ndimage

from physics.arrays import Real

RESOLUTION_THRESHOLD = 1 / 2  # of the correlation with an exact image; equivalent to 1/7 between two half data sets
EDGE_SHARE = 1 / 4  # width of the soft edge of `apodisation`, relative to the largest distance from the edge
NEGLECTED_SHARE = 1e-3  # share of the sum over offsets that `independent_counts` leaves out
ROUNDING_POWER = 1e-24  # part of an image's power that rounding in float64 leaves in empty rings


def ring_correlation(prediction: np.ndarray, truth: np.ndarray, window: np.ndarray | None = None) -> tuple[Real, Real]:
    """Fourier ring correlation of pairs of images (in 1D: line correlation, in 3D: shell correlation).

        FRC(f) = Re sum P T* / sqrt(sum |P|^2 sum |T|^2),   sums over the ring of radius f

    A filter that multiplies all frequencies of a ring alike leaves the correlation unchanged: a blurred image without
    noise correlates fully. The correlation shows up to which frequency an image has the structure of the truth, not how
    strong that structure is.

    Frequencies |f| are in cycles per pixel: 1/n, 2/n ... up to 0.5, where n is the length of the smallest axis longer
    than 1. Each ring is 1/n wide. The corners beyond the last ring are left out. Rings are round in cycles per pixel
    whatever the shape of the grid.

    The mean inside the window is subtracted first: m w with m = sum w x / sum w^2. A constant therefore leaves no step
    at the window's edge that would correlate. No further apodisation is applied, because fields are periodic or carry
    the dataset's own window, and another window would correlate neighbouring frequencies. A hard window does correlate
    them, and raises the correlation.

    Args:
        prediction: (sample, *spatial).
        truth: (sample, *spatial).
        window: (*spatial); None stands for 1.

    Returns:
        Frequencies (ring,) and correlations (sample, ring). A correlation is 0 in a ring without power, and NaN where
            the truth has no power at all.
    """
    ring, frequency = _ring_indices(truth.shape[1:])
    with np.errstate(all="ignore"):
        first, second = (_subtract_mean(np.asarray(x, float), window) for x in (prediction, truth))
        rows = [_correlate(*pair, ring, len(frequency)) for pair in zip(first, second, strict=True)]
    return frequency, np.array(rows).reshape(len(truth), len(frequency))


def apodisation(window: np.ndarray) -> Real:
    """Weights with a soft edge inside a window, by which images are multiplied before they are correlated.

        a = sin^2(pi min(d / w, 1) / 2),   w = max(d) / 4

    d is the distance of a pixel from the nearest pixel where the window is 0, or beyond the border of the image. At a
    hard edge, whatever is smooth in both images ends in the same step, whose spectrum correlates at all frequencies. A
    soft edge confines it to frequencies below about 1 / w.

    Args:
        window: (*spatial).

    Returns:
        Weights (*spatial) from 0 to 1; 1 everywhere if the window is 0 nowhere, because such images may be periodic.
    """
    inside = np.asarray(window) != 0
    if inside.all():
        return np.ones(inside.shape)
    distance = scipy.ndimage.distance_transform_edt(np.pad(inside, 1))[(slice(1, -1),) * inside.ndim]
    width = max(EDGE_SHARE * float(distance.max(initial=0)), 1)
    weights: Real = np.sin(np.pi / 2 * np.minimum(distance / width, 1)) ** 2
    return weights


def ring_counts(shape: tuple[int, ...]) -> Real:
    """Return the number (ring,) of pixels of the spectrum in each ring of `ring_correlation`.

    Args:
        shape: shape of the image.
    """
    ring, frequency = _ring_indices(shape)
    return np.bincount(ring.ravel(), minlength=len(frequency) + 1)[1 : len(frequency) + 1].astype(float)


def independent_counts(window: np.ndarray) -> Real:
    """Number (ring,) of independent pixels in each ring of `ring_correlation` under a window.

    The spectrum of a real image repeats each pixel f at -f as the conjugate. Both are counted here: the n pixels of a
    ring hold n independent real numbers, and white noise correlates with an exact image by 1 / sqrt(n) (rms). A window
    w correlates neighbouring pixels. With W = F w^2, noise w e correlates with an object w t by

        1 / sqrt(n_eff),   n_eff = n^2 W(0)^2 / sum_{f, g} |W(f - g)|^2,   sum over all pairs of pixels of the ring

    because the numerator sum P T* has the variance sum_{f, g} <P(f) P*(g)> <T*(f) T(g)>, both correlations are
    proportional to W(f - g), and sum |P|^2 and sum |T|^2 are n W(0) each. In a ring much wider than W this is n (sum
    w^2)^2 / (N sum w^4) for an image of N pixels; rings one pixel wide lose less. The formula holds for objects whose
    spectrum varies little over the width of W. It does not hold in rings that W reaches from 0, where the mean is
    subtracted.

    Args:
        window: (*spatial). The sum runs over the offsets f - g that hold all but `NEGLECTED_SHARE` of sum |W|^2.
    """
    ring, frequency = _ring_indices(window.shape)
    spread = abs(scipy.fft.fftn(np.asarray(window, float) ** 2)) ** 2
    descending = np.argsort(-spread, axis=None)
    cumulative = np.cumsum(spread.ravel()[descending])
    largest = descending[: np.searchsorted(cumulative, (1 - NEGLECTED_SHARE) * cumulative[-1]) + 1]
    pairs = np.zeros(len(frequency) + 1)
    for offset in zip(*np.unravel_index(largest, window.shape), strict=True):
        same_ring = ring[ring == np.roll(ring, offset, tuple(range(window.ndim)))]
        pairs += spread[offset] * np.bincount(same_ring, minlength=len(pairs))[: len(pairs)]
    counts: Real = ring_counts(window.shape) ** 2 * spread.flat[0] / pairs[1:]
    return counts


def half_bit_threshold(counts: Real) -> Real:
    """Correlation (ring,) with the exact image at which an image carries half a bit per pixel.

    Van Heel and Schatz (2005) state it for two halves of the data, each with the ratio S of signal to noise:

        F = (S + (2 sqrt(S) + 1) / sqrt(n)) / (S + 1 + 2 sqrt(S) / sqrt(n)),   log2(1 + 2 S) = 1/2
          = (0.2071 + 1.9102 / sqrt(n)) / (1.2071 + 0.9102 / sqrt(n))

    Halves that correlate by F = S' / (S' + 1) have a mean with the ratio 2 S' = 2 F / (1 - F). Its correlation with the
    exact image is sqrt(2 S' / (2 S' + 1)) = sqrt(2 F / (1 + F)) (Rosenthal and Henderson 2003). This value is returned:
    1 for a single pixel; 0.856, 0.804, 0.755 for n = 8, 16, 32; 0.541 in large rings.

    Args:
        counts: n (ring,) from `independent_counts`. Van Heel and Schatz count the voxels of a shell, and replace n by a
            smaller effective number where symmetry, or an object smaller than its box, makes voxels dependent. Here
            windows make pixels dependent.
    """
    signal, root = (2**0.5 - 1) / 2, np.sqrt(counts)
    noise = 2 * signal**0.5 / root
    halves = (signal + noise + 1 / root) / (signal + 1 + noise)
    threshold: Real = np.sqrt(2 * halves / (1 + halves))
    return threshold


def crossing_frequency(frequency: Real, correlation: Real, threshold: Real | float = RESOLUTION_THRESHOLD) -> float:
    """Frequency [cycles/pixel] where a ring correlation first falls below a threshold; 0.5 (Nyquist) if it never does.

    The curve is the polygon through (0, 1) and the rings. The threshold is a polygon, too, and level before the first
    ring. The result is NaN if a correlation is NaN.

    Args:
        frequency: (ring,), from `ring_correlation`.
        correlation: (ring,), of one image.
        threshold: (ring,), or one number for all rings.
    """
    f, c = np.r_[0, frequency], np.r_[1, correlation]
    if np.isnan(c).any() or len(c) == 1:
        return math.nan
    t = np.broadcast_to(threshold, np.shape(correlation))
    t = np.r_[t[0], t]
    if not (c < t).any():
        return 0.5
    i = int(np.argmax(c < t))
    return float(f[i - 1] + (f[i] - f[i - 1]) * (c[i - 1] - t[i - 1]) / (c[i - 1] - c[i] - (t[i - 1] - t[i])))


def _subtract_mean(images: Real, window: np.ndarray | None) -> Real:
    """Subtract the mean m w inside the window; the result is 0 outside, and 0 everywhere if an image is constant."""
    w = np.ones(images.shape[1:]) if window is None else np.asarray(window, float)
    images = np.where(w == 0, 0, images)
    centred = [x - (x * w).sum() / nan_if_zero(float((w**2).sum())) * w for x in images]
    rows = [0 * r if (r**2).sum() <= ROUNDING_POWER * (x**2).sum() else r for r, x in zip(centred, images, strict=True)]
    return np.array(rows).reshape(images.shape)


def _ring_indices(shape: tuple[int, ...]) -> tuple[np.ndarray, Real]:
    """Return the ring (*spatial) of each frequency and the frequencies of rings 1, 2 ...; ring 0 is half as wide."""
    n = min((size for size in shape if size > 1), default=1)
    grid = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij", sparse=True)
    radius = np.sqrt(sum((f**2 for f in grid), start=np.zeros(shape)))
    return np.floor(n * radius + 0.5).astype(int), np.arange(1, n // 2 + 1) / n


def _correlate(prediction: Real, truth: Real, ring: np.ndarray, rings: int) -> Real:
    """Return the correlation (ring,) of one pair of images without their means; NaN if they are not finite."""
    p, t = (scipy.fft.fftn(image, workers=1) for image in (prediction, truth))
    products = ((p * t.conj()).real, abs(p) ** 2, abs(t) ** 2)
    cross, power, true = (np.bincount(ring.ravel(), x.ravel(), rings + 1)[1 : rings + 1] for x in products)
    has_power = (power > ROUNDING_POWER * products[1].sum()) & (true > ROUNDING_POWER * products[2].sum())
    return np.where(
        has_power, cross / np.sqrt(power * true), 0 * products[1].sum() / nan_if_zero(float(products[2].sum()))
    )


def nan_if_zero(value: float) -> float:
    """Return NaN for 0, so that a quotient with this denominator is undefined."""
    return value if value > 0 else math.nan

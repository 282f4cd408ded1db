"""Axis of rotation of a sinogram: two independent estimates with their uncertainties, and a verdict.

The centre of rotation c is the position of the axis on the detector, in pixels counted from the middle of pixel 0.

- Opposite views. A ray is measured again after half a turn: p(t + pi, c - u) = p(t, c + u). Exact also if the object
  reaches beyond the detector, but it needs two opposite views. In a flat fan beam, with tan g = u / D, it reads
  p(t, c + u) = p(t + pi - 2 g, c - u).
- Consistency of all views, for any set of angles. The Fourier transform P(w, t) of the views about the axis contains
  only angular harmonics of orders below w R, if R is the radius of the object (the double wedge, on which the
  method of Vo et al., Opt. Express 22 (2014) 19078, is based); by the symmetry above, the even ones form its real part
  and the odd ones its imaginary part. The power outside of these harmonics,

      E(c) = sum_w a_w + b_w cos 2wc + d_w sin 2wc,

  is a closed form in c, because a shift only multiplies P by exp(iwc). Its lowest order is the condition that the
  centre of mass moves on a sinusoid (Helgason and Ludwig). It fails for truncated objects.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.interpolate import CubicSpline

from physics.tomography.geometry import is_whole_turn

OVERSAMPLING = 4  # E(c) has the period of half the padded width: 2 widths, so centres off the detector are seen
EXTRA_HARMONICS = 2  # angular harmonics beyond w R, where the Bessel functions have not yet vanished
MAX_HARMONICS = 0.7  # highest angular harmonic as a share of the number of views
MIN_VIEWS = 4  # fewest views from which an axis is estimated
MIN_PIXELS = 4  # fewest pixels of a detector on which an axis is looked for
MAX_STEPS = 1.5  # opposite views are extrapolated over at most this many steps between views
FAN_PASSES = 3  # the angles of a fan depend on its centre
MIN_OVERLAP = 0.05  # shortest overlap of opposite views, as a share of the detector
NOISE_SLOPE = 6.5  # 2 pi^2 / 3: mean square of the slope of noise, relative to that of a signal with the curvature 4
MIN_SHARE = 0.25  # smallest share of views with an opposite one, if the object reaches beyond the detector
MIN_CORRELATION = 0.9  # of opposite views, for a certain estimate
MIN_MARGIN = 0.02  # difference to the next best correlation at another place, for a certain estimate
MIN_RIVAL = 50.0  # excess of E(c) at other minima over the least, in units of its noise, for a certain estimate
LEAST_UNCERTAINTY = 0.01  # [pixel]; errors of angles and of the detector are rarely smaller
MAX_UNCERTAINTY = 0.5  # [pixel], for a certain estimate
MAX_DISAGREEMENT = 1.0  # between the two estimates [pixel], for a certain estimate
RIVAL_DISTANCE = 0.03  # minima nearer than this share of the detector's width belong together
TRUNCATED_LEVEL = 0.05  # mean line integral at an end of the detector, relative to the largest mean: truncated above


@dataclass(frozen=True)
class RotationAxis:
    """An estimate of the centre of rotation."""

    centre: float  # [pixel], from the middle of pixel 0
    uncertainty: float  # standard deviation [pixel]; not below what the difference of the two methods shows
    doubt: str = ""  # reason for which the estimate is not certain; empty: it is certain
    share: float = 1.0  # share of the views that have been used

    @property
    def certain(self) -> bool:
        """Return True if nothing speaks against the estimate."""
        return not self.doubt


def find_axis(sinogram: np.ndarray, angles: np.ndarray, source_distance: float = 0.0) -> RotationAxis:
    """Find the centre of rotation over the full width of the detector and beyond.

    Args:
        sinogram: (..., angle, detector), line integrals, 0 in air. All leading indices share the axis.
        angles: (angle,) [rad], in any order.
        source_distance: from the source to the axis, in detector pixels at the axis; 0: parallel beam.

    Returns:
        The best estimate. It has a `doubt` if the methods disagree, if the minimum is flat or not the only one, if the
        centre lies off the detector, or if the object is truncated and no opposite views confirm the estimate.

    Raises:
        ValueError: the number of angles does not fit, or a value is not finite.
    """
    views = np.asarray(sinogram, np.float64).reshape(-1, *sinogram.shape[-2:])
    if angles.shape != (views.shape[1],):
        raise ValueError(f"{len(angles)} angles for {views.shape[1]} views; give one angle per view")
    if not (np.isfinite(views).all() and np.isfinite(angles).all()):
        raise ValueError("the sinogram or its angles hold values that are not finite")
    middle = (views.shape[-1] - 1) / 2
    if len(angles) < MIN_VIEWS or views.shape[-1] < MIN_PIXELS or not views.std():
        shown = f"{len(angles)} views of {views.shape[-1]} pixels"
        return RotationAxis(middle, middle, f"{shown} without enough structure do not show the axis")
    cut = is_truncated(views)
    pairs = from_opposite_views(views, angles, source_distance)
    if not source_distance and not cut:
        return _judge(from_consistency(views, angles), pairs, views.shape[-1])
    if pairs is None:
        what = "a fan beam" if source_distance else "an object that reaches beyond the detector"
        return RotationAxis(middle, middle, f"{what}, and no opposite views that would show the axis")
    if cut and pairs.certain and pairs.share < MIN_SHARE:
        return replace(pairs, doubt="the object reaches beyond the detector, and few views have an opposite")
    return pairs


def is_truncated(sinogram: np.ndarray) -> bool:
    """Return True if the object reaches an end of the detector: its mean line integral there is not small.

    Args:
        sinogram: (..., angle, detector), line integrals, 0 in air.
    """
    profile = sinogram.reshape(-1, sinogram.shape[-1]).mean(axis=0)
    width = max(len(profile) // 50, 1)
    return bool(max(profile[:width].mean(), profile[-width:].mean()) > TRUNCATED_LEVEL * profile.max())


def _judge(estimate: RotationAxis, pairs: RotationAxis | None, width: int) -> RotationAxis:
    """Return the better of two estimates of an object that is not truncated, with a doubt if they disagree."""
    if pairs is None:
        best = replace(estimate, doubt=estimate.doubt or "no opposite views confirm the consistency of all views")
    elif not pairs.certain:
        best = estimate
    elif abs(pairs.centre - estimate.centre) <= max(MAX_DISAGREEMENT, 3 * estimate.uncertainty):
        first = pairs if pairs.uncertainty < estimate.uncertainty or not estimate.certain else estimate
        spread = abs(pairs.centre - estimate.centre) / 2**0.5  # standard deviation of one, if both err alike
        best = RotationAxis(first.centre, max(first.uncertainty, spread))
    else:
        text = f"opposite views show {pairs.centre:.2f}, the consistency of all views {estimate.centre:.2f}"
        best = RotationAxis(pairs.centre, abs(pairs.centre - estimate.centre) / 2, text)
    if best.certain and not 0 <= best.centre <= width - 1:
        return RotationAxis(
            best.centre, best.uncertainty, f"{best.centre:.1f} lies off the detector (0 to {width - 1})"
        )
    return best


def from_consistency(sinogram: np.ndarray, angles: np.ndarray) -> RotationAxis:
    """Find the centre of a parallel beam by the consistency of all views: the minimum of E(c).

    Rings, which are the same in all views, only change the mean of the views. Its share of E(c) is weighed by how well
    it agrees with the centre that the rest of E(c) shows. The uncertainty follows from the curvature of E(c) and its
    value at the minimum, as in least squares.

    Args:
        sinogram: (slice, angle, detector), line integrals of an object that is not truncated.
        angles: (angle,) [rad].
    """
    width = sinogram.shape[-1]
    frequency, whole, free = _consistency_terms(sinogram, angles)
    grid = np.arange(-width / 2, 3 * width / 2, 0.25)
    terms = _weigh_mean(whole, free, _minimum(grid, frequency, free)[0], frequency)
    values = terms.errors(grid, frequency)
    centre, curvature = _minimum(grid, frequency, terms)
    least = max(float(terms.errors(np.array([centre]), frequency)[0]), 0.0)
    away = abs(grid - centre) > max(RIVAL_DISTANCE * width, 2)
    spread = np.sqrt(2 * OVERSAMPLING * least / max(whole.freedom, 1) / curvature) if curvature > 0 else np.inf
    doubt = ""
    if spread > MAX_UNCERTAINTY:
        doubt = f"the views fix the axis to no better than {spread:.1f} pixels"
    elif float(values[away].min()) - least < MIN_RIVAL * OVERSAMPLING * least / max(whole.freedom, 1):
        doubt = f"an axis at {grid[away][values[away].argmin()]:.0f} fits nearly as well as one at {centre:.1f}"
    return RotationAxis(centre, max(float(spread), LEAST_UNCERTAINTY), doubt)


@dataclass(frozen=True)
class _Terms:
    """E(c), and the number of independent residuals in it."""

    a: np.ndarray  # (frequency,)
    b: np.ndarray
    d: np.ndarray
    freedom: float

    def plus(self, other: "_Terms", weight: float) -> "_Terms":
        """Return a weighted sum."""
        a, b, d = (self.a + weight * other.a, self.b + weight * other.b, self.d + weight * other.d)
        return _Terms(a, b, d, self.freedom + weight * other.freedom)

    def errors(self, centres: np.ndarray, frequency: np.ndarray) -> np.ndarray:
        """Return E(c)."""
        phase = 2 * np.multiply.outer(centres, frequency)
        return np.asarray(self.a.sum() + np.cos(phase) @ self.b + np.sin(phase) @ self.d)


def _weigh_mean(whole: _Terms, free: _Terms, centre: float, frequency: np.ndarray) -> _Terms:
    """Return E(c) with the share of the mean of the views as far as it is no less consistent than the rest."""
    mean = whole.plus(free, -1.0)
    noise, rings = (float(one.errors(np.array([centre]), frequency)[0]) / max(one.freedom, 1) for one in (free, mean))
    return free.plus(mean, min(max(noise, 0.0) / rings, 1.0) if rings > 0 else 1.0)


def _minimum(grid: np.ndarray, frequency: np.ndarray, terms: _Terms) -> tuple[float, float]:
    """Return the minimum of E(c), and the second derivative there."""
    return _newton(float(grid[terms.errors(grid, frequency).argmin()]), frequency, terms)


def _consistency_terms(sinogram: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, _Terms, _Terms]:
    """Return the frequencies w [rad/pixel], E(c), and that part of it that the mean of the views does not change."""
    slices, views, width = sinogram.shape
    padded = OVERSAMPLING * width
    most = int(MAX_HARMONICS * views)
    count = min(int((most - EXTRA_HARMONICS) * padded / (np.pi * width)), padded // 2)
    index = np.arange(1, max(count, 1) + 1)
    frequency = 2 * np.pi * index / padded
    limits = np.ceil(frequency * width / 2).astype(int) + EXTRA_HARMONICS
    spectrum = rfft(sinogram, padded, axis=-1)[..., index]
    parts = np.moveaxis(np.stack([spectrum.real, spectrum.imag]), 2, 0).reshape(views, 2, slices, -1)
    even, odd = (np.arange(parity, int(limits.max()) + 1, 2) for parity in (0, 1))
    (err, eri, eii), even_freedom = _residuals(parts, angles, even, limits)
    found = []
    for orders in (odd, np.insert(odd, 0, 0)):
        (orr, ori, oii), freedom = _residuals(parts, angles, orders, limits)
        sums = (err + eii + orr + oii) / 2, (err - eii - orr + oii) / 2, ori - eri
        found.append(_Terms(*sums, even_freedom + freedom))
    return frequency, found[0], found[1]


def _residuals(
    parts: np.ndarray, angles: np.ndarray, orders: np.ndarray, limits: np.ndarray
) -> tuple[list[np.ndarray], float]:
    """Return the power of real and imaginary parts outside of angular harmonics up to a limit, and their freedom."""
    basis, order = _harmonics(angles, orders)
    known = (basis.T @ parts.reshape(len(parts), -1)).reshape(-1, *parts.shape[1:])
    inside = order[:, None] <= limits
    powers = [
        np.einsum("vsw,vsw->w", parts[:, i], parts[:, j]) - np.einsum("osw,osw,ow->w", known[:, i], known[:, j], inside)
        for i, j in ((0, 0), (0, 1), (1, 1))
    ]
    return powers, float(parts.shape[2] * (len(parts) - inside.sum(axis=0)).clip(0).sum())


def _harmonics(angles: np.ndarray, orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an orthonormal basis of angular harmonics of some orders on these angles, and the order of each."""
    columns = [part(m * angles) for m in orders for part in ((np.cos, np.sin) if m else (np.cos,))]
    of_each = np.repeat(orders, [2 if m else 1 for m in orders])
    most = min(len(angles), len(columns))
    basis, _ = np.linalg.qr(np.stack(columns, axis=1)[:, :most])
    return basis, of_each[:most]


def _newton(start: float, frequency: np.ndarray, terms: _Terms) -> tuple[float, float]:
    """Return the minimum of E(c) near a grid point, by Newton's method, and the second derivative there."""
    centre = start
    for _ in range(8):
        cosine, sine = np.cos(2 * frequency * centre), np.sin(2 * frequency * centre)
        slope = float((2 * frequency * (terms.d * cosine - terms.b * sine)).sum())
        curvature = float((-4 * frequency**2 * (terms.b * cosine + terms.d * sine)).sum())
        if curvature <= 0:
            break
        centre = float(np.clip(centre - slope / curvature, start - 0.5, start + 0.5))
    return centre, curvature


def from_opposite_views(sinogram: np.ndarray, angles: np.ndarray, source_distance: float = 0.0) -> RotationAxis | None:
    """Find the centre by the correlation of views with their mirrored opposites, within their overlap.

    Args:
        sinogram: (slice, angle, detector).
        angles: (angle,) [rad].
        source_distance: [detector pixel]; 0: parallel beam.

    Returns:
        The estimate; None if no two views are opposite.
    """
    width = sinogram.shape[-1]
    if is_whole_turn(angles):  # opposite views have the same mean, so that rings can be left out with it
        sinogram = sinogram - sinogram.mean(axis=-2, keepdims=True)
    found = _from_pairs(sinogram, angles, np.zeros(width))
    for _ in range(FAN_PASSES if source_distance else 0):
        centre = (width - 1) / 2 if found is None else found.centre
        found = _from_pairs(sinogram, angles, np.arctan((np.arange(width) - centre) / source_distance))
    return found


def _from_pairs(sinogram: np.ndarray, angles: np.ndarray, fan: np.ndarray) -> RotationAxis | None:
    """Find the centre if the ray of each detector pixel makes a known angle with the central ray."""
    width = sinogram.shape[-1]
    opposite, found = _opposite(sinogram, angles, fan)
    if not found.any():
        return None
    correlation, count = _correlation(sinogram, opposite, found)
    places = np.arange(len(correlation)) / 2
    allowed = (places >= MIN_OVERLAP * width / 2) & (places <= width - 1 - MIN_OVERLAP * width / 2)
    best = int(np.where(allowed, correlation, -np.inf).argmax())
    centre, peak, curvature = _peak(places, correlation, best)
    away = abs(places - centre) > max(RIVAL_DISTANCE * width, 2)
    loss = max(1 - peak, 0.0)
    noise = 2 * loss / curvature * (1 + NOISE_SLOPE * loss / curvature) if curvature > 0 else np.inf
    spread = float(np.sqrt(2 * noise / count[best]))
    rivals = _local_maxima(correlation) & away & allowed
    doubt = ""
    if peak < MIN_CORRELATION or spread > MAX_UNCERTAINTY:
        doubt = f"opposite views agree by only {peak:.2f}"
    elif rivals.any() and (rival := float(correlation[rivals].max())) > peak - MIN_MARGIN:
        doubt = (
            f"opposite views agree nearly as well at {places[rivals][correlation[rivals].argmax()]:.0f} ({rival:.2f})"
        )
    return RotationAxis(centre, max(spread, LEAST_UNCERTAINTY), doubt, float(found.any(axis=1).mean()))


def _opposite(sinogram: np.ndarray, angles: np.ndarray, fan: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return p(t + pi + 2 g, v), linear between views or just beyond the last one, and True where it is known.

    The opposite of ray u of view t is ray v = -u, so that g(v) = -g(u).
    """
    order = np.argsort(angles % (2 * np.pi), kind="stable")
    known = (angles % (2 * np.pi))[order]
    step = float(np.median(np.diff(known))) if len(known) > 1 else np.inf
    ring = np.concatenate([known[-2:] - 2 * np.pi, known, known[:2] + 2 * np.pi])
    rows = np.concatenate([order[-2:], order, order[:2]])
    target = (angles[:, None] + np.pi + 2 * fan) % (2 * np.pi)
    after = np.clip(np.searchsorted(ring, target), 2, len(ring) - 2)
    gap = ring[after] - ring[after - 1] > 2 * MAX_STEPS * step
    early = gap & (target - ring[after - 1] < ring[after] - target)
    second = np.where(early, after - 1, np.where(gap, after + 1, after))
    first = second - 1
    length = ring[second] - ring[first]
    part = (target - ring[first]) / np.where(length > 0, length, 1)
    found = (length > 0) & (length < 2 * MAX_STEPS * step) & (part > -MAX_STEPS) & (part < 1 + MAX_STEPS)
    columns = np.arange(sinogram.shape[-1])
    values = (1 - part) * sinogram[:, rows[first], columns] + part * sinogram[:, rows[second], columns]
    return np.where(found, values, 0.0), found


def _correlation(views: np.ndarray, opposite: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Pearson's correlation of the overlap for all centres 0, 1/2, 1 ..., and the number of its points."""
    width = views.shape[-1]
    size = next_fast_len(2 * width - 1, real=True)

    def mirrored(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product = rfft(a, size, axis=-1) * rfft(b, size, axis=-1)
        return np.asarray(irfft(product.reshape(-1, product.shape[-1]).sum(axis=0), size)[: 2 * width - 1])

    known = np.broadcast_to(found, views.shape).astype(float)
    ones = np.ones_like(views)
    count = np.maximum(mirrored(ones, known), 1.0)
    mean_a, mean_b = mirrored(views, known) / count, mirrored(ones, opposite) / count
    both = mirrored(views, opposite) / count - mean_a * mean_b
    own = mirrored(views**2, known) / count - mean_a**2
    other = mirrored(ones, opposite**2) / count - mean_b**2
    floor = 1e-3 * float(views.var())
    return both / np.sqrt((own.clip(0) + floor) * (other.clip(0) + floor)), count


def _peak(places: np.ndarray, values: np.ndarray, best: int) -> tuple[float, float, float]:
    """Return the place and height of the maximum of a cubic spline near a value, and minus its curvature there."""
    near = slice(max(best - 4, 0), best + 5)
    spline = CubicSpline(places[near], values[near])
    turns = spline.derivative().roots(extrapolate=False)
    turns = turns[abs(turns - places[best]) <= 0.5]
    if not len(turns):
        return float(places[best]), float(values[best]), 0.0
    place = float(turns[spline(turns).argmax()])
    return place, float(spline(place)), -float(spline(place, 2))


def _local_maxima(values: np.ndarray) -> np.ndarray:
    beside = np.pad(values, 1, constant_values=-np.inf)
    return np.asarray((values >= beside[:-2]) & (values >= beside[2:]))

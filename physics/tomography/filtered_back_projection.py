"""Images from sinograms by filtered back projection.

Conventions are those of `physics.tomography.geometry`. For a parallel beam with views of weight dt_v (`view_weights`),

    f(x, y) = sum_v dt_v q_v(x cos t_v + y sin t_v),   q_v = ramp * p_v

and for a fan beam (Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988, section 3.4)

    f(x, y) = sum_v dt_v q_v(xi / U) / U^2,   q_v = ramp * (w p_v D / sqrt(D^2 + u^2))
    xi = x cos t + y sin t,   U = (D - x sin t + y cos t) / D

where w shares the weight of a line between the rays that measured it (`line_shares`; a parallel beam has it as well). q
is interpolated linearly. The ramp is the transform of the band-limited kernel of Kak and Slaney (eq. 61), which keeps
the mean, times a window that falls from 1 at frequency 0 towards the Nyquist frequency. Projections are padded with
zeros to at least twice their width.

A sum over the views of a limited range is no inversion: it misses the lines that were not measured.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil, pi

import numpy as np
from scipy import fft

from physics.arrays import Array, Real
from physics.compiled import compiled
from physics.tomography.geometry import Geometry
from physics.tomography.projection import in_lanes
from physics.tomography.view_weights import line_shares, view_weights

# Windows as functions of the frequency, relative to the Nyquist frequency (0 to 1).
WINDOWS: Mapping[str, Callable[[Real], Real]] = {
    "ramlak": np.ones_like,
    "shepplogan": lambda f: np.sinc(f / 2),
    "cosine": lambda f: np.cos(pi * f / 2),
    "hamming": lambda f: 0.54 + 0.46 * np.cos(pi * f),
    "hann": lambda f: (1 + np.cos(pi * f)) / 2,
}


def filtered_back_projection(
    sinogram: Array,
    geometry: Geometry,
    shape: tuple[int, int],
    *,
    window: str = "ramlak",
    cutoff: float = 1.0,
    measured: Array = None,
) -> Array:
    """Reconstruct images by filtered back projection.

    Args:
        sinogram: p (..., view, detector), float32 or float64.
        geometry: the rays.
        shape: (ny, nx) of the image.
        window: key of `WINDOWS`.
        cutoff: the frequency at which the window ends, relative to the Nyquist frequency; frequencies above are 0.
        measured: (..., view), not 0 for the views of each sinogram that were measured; None: all.

    Returns:
        f (..., y, x) [1/pixel], of the dtype of `sinogram`.
    """
    weights = weights_by_sample(geometry, measured).astype(sinogram.dtype)
    wide = _widened(geometry)
    filtered = filter_projections(_with_border(sinogram * weights, wide), geometry.pitch, window, cutoff)
    return in_lanes(filtered, shape, lambda p, found: _interpolate(p, *_interpolation(wide), found, False))


def filtered_back_projection_adjoint(
    image: Array, geometry: Geometry, *, window: str = "ramlak", cutoff: float = 1.0, measured: Array = None
) -> Array:
    """Apply the transpose of `filtered_back_projection`, through which networks are trained.

    Args:
        image: (..., y, x).
        geometry: the rays.
        window: as for `filtered_back_projection`.
        cutoff: as for `filtered_back_projection`.
        measured: as for `filtered_back_projection`.

    Returns:
        (..., view, detector), of the dtype of `image`.
    """
    wide = _widened(geometry)
    border = (wide.detectors - geometry.detectors) // 2
    spread = in_lanes(image, wide.shape, lambda f, found: _interpolate(found, *_interpolation(wide), f, True))
    filtered = filter_projections(spread, geometry.pitch, window, cutoff)[..., border : border + geometry.detectors]
    return filtered * weights_by_sample(geometry, measured).astype(image.dtype)


def _widened(geometry: Geometry) -> Geometry:
    """Return the rays of a detector that reaches as far from the axis on both sides.

    Filtered projections reach beyond the end of the detector, and where the rays from the other side measured the lines
    there, this part belongs to the sum.
    """
    return replace(geometry, detectors=geometry.detectors + 2 * ceil(2 * abs(geometry.axis_offset)))


def _with_border(sinogram: Array, wide: Geometry) -> Array:
    """Return sinograms (..., view, detector) with zeros on both sides, as wide as the rays ask for."""
    border = (wide.detectors - sinogram.shape[-1]) // 2
    return np.pad(sinogram, [(0, 0)] * (sinogram.ndim - 1) + [(border, border)]) if border else sinogram


def weights_by_sample(geometry: Geometry, measured: Array) -> Real:
    """Return the weights of rays among the views that each sample measured; 0 in other views.

    Args:
        geometry: the rays.
        measured: (..., view), not 0 for the measured views; None: all.

    Returns:
        (..., view, detector): dt w, for a fan beam times D / sqrt(D^2 + u^2).
    """
    if measured is None:
        return _ray_weights(geometry)
    known = np.asarray(measured) != 0
    masks, kinds = np.unique(known.reshape(-1, known.shape[-1]), axis=0, return_inverse=True)
    weights = np.zeros((*masks.shape, geometry.detectors))
    for found, mask in zip(weights, masks, strict=True):
        if mask.any():
            found[mask] = _ray_weights(geometry.views(mask))
    by_sample: Real = weights[kinds.ravel()].reshape(*known.shape, -1)
    return by_sample


def _ray_weights(geometry: Geometry) -> Real:
    """Return the weights of all rays (view, detector) where all views were measured."""
    weights: Real = view_weights(geometry)[:, None] * line_shares(geometry)
    return weights if geometry.is_parallel else weights / np.hypot(1, geometry.positions / geometry.source_distance)


def _interpolation(geometry: Geometry) -> tuple[Real, float, float, float]:
    """Return the arguments of `_interpolate` between sinogram and image."""
    nearness = 0.0 if geometry.is_parallel else 1 / geometry.source_distance
    return geometry.angles, 1 / geometry.pitch, (geometry.detectors - 1) / 2 + geometry.axis_offset, nearness


def filter_projections(sinogram: Array, pitch: float, window: str = "ramlak", cutoff: float = 1.0) -> Array:
    """Multiply the spectra of projections by the ramp and a window.

    Args:
        sinogram: (..., detector).
        pitch: width of a detector pixel at the axis [pixel].
        window: key of `WINDOWS`.
        cutoff: as for `filtered_back_projection`.

    Returns:
        Filtered projections (..., detector) [1/pixel], of the dtype of `sinogram`.

    Raises:
        ValueError: as for `windowed_ramp`.
    """
    detectors = sinogram.shape[-1]
    size = fft.next_fast_len(2 * detectors, real=True)
    factor = windowed_ramp(size, pitch, window, cutoff)
    spectrum = fft.rfft(sinogram, size, axis=-1) * factor.astype(sinogram.dtype)
    filtered: Array = fft.irfft(spectrum, size, axis=-1)[..., :detectors]
    return filtered


def windowed_ramp(size: int, pitch: float, window: str, cutoff: float) -> Real:
    """Return the spectrum of the ramp times a window, (size // 2 + 1,) [1/pixel].

    Args:
        size: length of the padded projections [detector pixel].
        pitch: width of a detector pixel at the axis [pixel].
        window: key of `WINDOWS`.
        cutoff: as for `filtered_back_projection`.

    Raises:
        ValueError: if the window is not known, or the cutoff is not above 0 and at most 1.
    """
    if window not in WINDOWS or not 0 < cutoff <= 1:
        raise ValueError(f"window {window}, cutoff {cutoff}: must be one of {', '.join(WINDOWS)}, and 0 to 1")
    frequency = np.arange(size // 2 + 1) / (size / 2) / cutoff
    factor: Real = ramp(size) / pitch * np.where(frequency <= 1, WINDOWS[window](np.minimum(frequency, 1)), 0)
    return factor


def ramp(size: int) -> Real:
    """Spectrum of the band-limited ramp for pixels of width 1, (size // 2 + 1,): near |f|, and above 0 at f = 0."""
    distance = np.minimum(np.arange(size), size - np.arange(size))
    odd = distance % 2 == 1
    kernel = np.where(odd, -1 / (pi * np.where(odd, distance, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    spectrum: Real = fft.rfft(kernel).real
    return spectrum


def ring_image(columns: Array, shape: tuple[int, int]) -> Real:
    """Filtered back projection of a sinogram whose views are all alike: rings about the middle of the image.

        f(r) = integral over t from 0 to 2 pi of q(r cos t) / 2,   q = ramp * c

    The views cover a whole turn. Over half a turn, columns on either side of the axis would leave half of their rings
    each. The sum over views is so fine that more of them change nothing.

    Args:
        columns: c (detector,), the same in each view; pixels of the detector are as wide as those of the
            image, and their middle sees the middle of the image.
        shape: (ny, nx) of the image.

    Returns:
        f (y, x) [1/pixel], float64.
    """
    filtered = filter_projections(np.asarray(columns, float), 1.0)
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    farthest = ceil(np.hypot(y[0], x[0]))
    radii, views = np.arange(4 * farthest + 1) / 4, 4 * farthest + 8
    positions = radii[:, None] * np.cos(pi * (np.arange(views) + 0.5) / views)
    middle = (len(columns) - 1) / 2
    profile = np.interp(positions + middle, np.arange(len(columns)), filtered, left=0, right=0).mean(axis=1) * pi
    rings: Real = np.interp(np.hypot(y[:, None], x), radii, profile)
    return rings


@compiled
def _interpolate(
    sinogram: Array, angles: Array, density: float, middle: float, nearness: float, image: Array, backwards: bool
) -> None:
    """Add filtered projections to the pixels of an image, in place, or backwards: the pixels to the projections.

    Args:
        sinogram: (view, detector, lane).
        angles: t of each view.
        density: detector pixels per pixel.
        middle: the detector pixel on which the axis falls.
        nearness: 1 / D; 0 for a parallel beam.
        image: (y, x, lane).
        backwards: true: the transpose.
    """
    ny, nx, lanes = image.shape
    last = sinogram.shape[1] - 1
    as_weight, one = image.dtype.type, np.uintp(1)
    for view in range(len(angles)):
        cosine, sine = np.cos(angles[view]), np.sin(angles[view])
        for row in range(ny):
            y = row - (ny - 1) / 2
            for column in range(nx):
                x = column - (nx - 1) / 2
                magnified = 1 / (1 + (y * cosine - x * sine) * nearness)
                position = (x * cosine + y * sine) * magnified * density + middle
                if 0 <= position <= last and magnified > 0:
                    left = min(np.uintp(position), np.uintp(max(last - 1, 0)))
                    right = min(left + one, np.uintp(last))
                    right_weight = as_weight((position - left) * magnified**2)
                    left_weight = as_weight(magnified**2) - right_weight
                    for lane in range(lanes):
                        if backwards:
                            sinogram[view, left, lane] += left_weight * image[row, column, lane]
                            sinogram[view, right, lane] += right_weight * image[row, column, lane]
                        else:
                            image[row, column, lane] += (
                                left_weight * sinogram[view, left, lane] + right_weight * sinogram[view, right, lane]
                            )

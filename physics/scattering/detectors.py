"""Detectors of diffraction patterns: what share of the electrons falls on each of them. Angles in rad.

A signal is sum_q D(q) |psi(q)|^2 / sum_q |psi_0(q)|^2, where psi_0 is the incident wave, so a detector of all angles
gives 1 where nothing is absorbed or lost. Patterns have zero frequency first here, as `physics.fourier` computes them.
"""

from math import pi

import numpy as np

from physics.arrays import Array, module, pair, pixel_sum
from physics.fourier import fft2, frequencies
from physics.multislice import highest_frequency
from physics.optics import intensity


def annulus(
    shape: tuple[int, int], sampling: float | tuple[float, float], wavelength: float, inner: float, outer: float
) -> np.ndarray:
    """Return the detector that collects from an inner to an outer angle.

    Args:
        shape: (qy, qx) of the pattern.
        sampling: of the wave [nm], as for `arrays.pair`.
        wavelength: lambda [nm].
        inner: [rad]; 0 for a disk.
        outer: [rad].

    Returns:
        D (1, qy, qx), 0 or 1, float32.

    Raises:
        ValueError: if the angles are not in order, or exceed the band limit of `physics.multislice`.
    """
    return segments(shape, sampling, wavelength, (inner, outer))


def segments(
    shape: tuple[int, int],
    sampling: float | tuple[float, float],
    wavelength: float,
    radii: tuple[float, ...],
    sectors: int = 1,
    start: float = 0.0,
) -> np.ndarray:
    """Return the segments of a detector of rings, each cut into equal sectors.

    Args:
        shape: (qy, qx) of the pattern.
        sampling: of the wave [nm], as for `arrays.pair`.
        wavelength: lambda [nm].
        radii: limits of the rings [rad], rising.
        sectors: number of sectors of each ring.
        start: where the first sector begins [rad], from qx towards qy.

    Returns:
        D (ring * sector, qy, qx), 0 or 1, float32; each pixel of the pattern within the rings belongs to one segment.

    Raises:
        ValueError: if the radii do not rise, exceed the band limit, or a segment holds no pixel.
    """
    limit = wavelength * highest_frequency(sampling)
    if len(radii) < 2 or radii[0] < 0 or not (np.diff(radii) > 0).all():
        given = ", ".join(f"{radius:g}" for radius in radii)
        raise ValueError(f"angles of a detector, {given} rad: must rise, from 0 or more; give at least two")
    if radii[-1] > limit * (1 + 1e-9):
        raise ValueError(
            f"a detector up to {radii[-1]:.4g} rad is beyond the band limit of {limit:.4g} rad, where no electron is "
            "simulated: take smaller pixels, or a smaller detector"
        )
    fy, fx = frequencies(shape, sampling, np)
    angle = wavelength * np.hypot(fy, fx)
    ring = np.searchsorted(np.asarray(radii), angle, side="right") - 1
    turn = (np.arctan2(fy, fx) - start) / (2 * pi) % 1.0
    segment = np.where((ring >= 0) & (ring < len(radii) - 1), ring * sectors + (turn * sectors).astype(int), -1)
    masks = np.stack([segment == k for k in range((len(radii) - 1) * sectors)])
    if not masks.any(axis=(1, 2)).all():
        pixel = wavelength * max(1 / (n * d) for n, d in zip(shape, pair(sampling), strict=True))
        raise ValueError(f"a segment of the detector holds no pixel of the pattern, each {pixel:.3g} rad: widen it")
    return masks.astype(np.float32)


def signals(wave: Array, detectors: Array, power: Array = 1.0) -> Array:
    """Return the share of the electrons on each detector.

    Args:
        wave: behind the specimen (..., y, x), complex.
        detectors: D (detector, qy, qx), zero frequency first.
        power: sum |psi_0|^2 over the pixels of the incident wave.

    Returns:
        Shares (..., detector), real, in the precision of the wave.
    """
    xp = module(wave)
    pattern = intensity(fft2(wave))
    shares = [pixel_sum(pattern * xp.asarray(one, dtype=pattern.dtype))[..., 0, 0] for one in detectors]
    return xp.stack(shares, axis=-1) / (pattern.shape[-2] * pattern.shape[-1] * power)

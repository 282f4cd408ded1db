"""PRISM: the waves of many probes from those of few plane waves.

A probe is a sum of plane waves k within the aperture, and multislice is linear in the wave:

    psi(r; r_0) = sum_k A(k) exp(-2 pi i k.r_0) S_k(r),    S_k = multislice of the plane wave exp(2 pi i k.r)

With interpolation f, only every f-th plane wave along each axis is computed. The sum is then periodic with 1/f of the
field of view. Around r_0, a window of that size is cut out, and what has left it is lost or aliased. f = 1 is
multislice itself.

Ophus, Adv. Struct. Chem. Imaging 3 (2017) 13.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from physics.arrays import Array, module, pair
from physics.fourier import fft2
from physics.optics import phasor_of_cycles
from physics.scattering.detectors import signals

STEPS = 16  # windows lie at multiples of 1/16 of their size, so that probes nearby share one


@dataclass(frozen=True)
class Beams:
    """The plane waves of which a probe consists."""

    orders: np.ndarray  # k [cycles per field of view] (beam, 2), (y, x), integers
    amplitudes: Array  # coefficient of each in the probe at the middle of the field (beam,), complex
    shape: tuple[int, int]  # (ny, nx) of the field of view
    interpolation: int  # f

    @property
    def window(self) -> tuple[int, int]:
        """Shape of the part of the field of view that is kept around each probe."""
        return self.shape[0] // self.interpolation, self.shape[1] // self.interpolation


def beams_of(probe: Array, interpolation: int = 1, threshold: float = 1e-6) -> Beams:
    """Return every f-th plane wave of a probe.

    Args:
        probe: P (ny, nx), complex, in the middle of the field of view.
        interpolation: f.
        threshold: amplitudes below it, relative to the largest, are left out.

    Raises:
        ValueError: if f does not divide both sizes.
    """
    if interpolation < 1 or any(n % interpolation for n in probe.shape):
        raise ValueError(f"interpolation {interpolation}: must divide the sizes {probe.shape[0]} and {probe.shape[1]}")
    xp = module(probe)
    spectrum = np.asarray(fft2(xp.fft.ifftshift(probe)))
    orders = [np.fft.fftfreq(n, 1 / n).round().astype(int) for n in probe.shape]
    ky, kx = np.meshgrid(*orders, indexing="ij")
    kept = (abs(spectrum) > threshold * abs(spectrum).max()) & (ky % interpolation == 0) & (kx % interpolation == 0)
    pixels = probe.shape[0] * probe.shape[1]
    return Beams(
        np.stack([ky[kept], kx[kept]], axis=1),
        xp.asarray(spectrum[kept] * (interpolation**2 / pixels)),
        (probe.shape[0], probe.shape[1]),
        interpolation,
    )


def plane_waves(orders: Array, shape: tuple[int, int], dtype: Array, xp: Array = np) -> Array:
    """Return plane waves exp(2 pi i k.r) (beam, ny, nx), with r = 0 at pixel N//2.

    Args:
        orders: k [cycles per field of view] (beam, 2).
        shape: (ny, nx).
        dtype: complex dtype of the result.
        xp: array module of the result.
    """
    along = [
        phasor_of_cycles(xp.asarray(orders)[:, axis, None] * ((xp.arange(n) - n // 2) / n), dtype)
        for axis, n in enumerate(shape)
    ]
    return along[0][:, :, None] * along[1][:, None, :]


def scanned_signals(
    beams: Beams,
    scattered: Array,
    positions: np.ndarray,
    sampling: float | tuple[float, float],
    detectors: Array,
    power: float,
) -> Array:
    """Return the share of the electrons on each detector, for each position of the probe.

    Args:
        beams: the plane waves of the probe.
        scattered: S (beam, ny, nx), these waves behind the specimen.
        positions: (position, 2), (y, x) [nm], from pixel N//2.
        sampling: [nm], as for `arrays.pair`.
        detectors: D (detector, qy, qx) of patterns of the size of `beams.window`, zero frequency first.
        power: sum |P|^2 of the probe.

    Returns:
        Shares (position, detector), real; 1 is the power of the probe.
    """
    xp = module(scattered)
    pixels = np.asarray(positions) / np.array(pair(sampling))
    cycles = -(pixels / np.array(beams.shape)) @ beams.orders.T
    weights = phasor_of_cycles(xp.asarray(cycles), scattered.dtype) * beams.amplitudes.astype(scattered.dtype)
    found, order = [], []
    for rows, window in _windows(beams, pixels):
        waves = weights[rows] @ _cut(scattered, window, beams.window).reshape(len(beams.orders), -1)
        found.append(signals(waves.reshape(-1, *beams.window), detectors, power))
        order.append(rows)
    return xp.concatenate(found)[np.argsort(np.concatenate(order))]


def _windows(beams: Beams, pixels: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Yield the positions that share a window, and the first pixel of that window."""
    size = np.array(beams.window)
    step = np.maximum(size // STEPS, 1)
    first = (np.round(pixels / step) * step).astype(int) + np.array(beams.shape) // 2 - size // 2
    kinds, place = np.unique(first, axis=0, return_inverse=True)
    for kind, corner in enumerate(kinds):
        yield np.flatnonzero(place.ravel() == kind), (int(corner[0]), int(corner[1]))


def _cut(scattered: Array, first: tuple[int, int], size: tuple[int, int]) -> Array:
    """Return a window (beam, y, x) of the periodic field of view."""
    rows, columns = (
        (np.arange(n) + start) % whole for n, start, whole in zip(size, first, scattered.shape[-2:], strict=True)
    )
    return scattered[:, rows][:, :, columns]

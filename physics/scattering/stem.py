"""Scanning transmission electron microscopy: a probe at each position, through the slices, onto detectors.

Positions are relative to the middle of the field of view [nm], whose pixel is N//2. The field is periodic: keep probes
away from its edges by more than their width and that of the scattered cone.
"""

import numpy as np

from physics.arrays import Array, module, pair
from physics.fourier import fft2, ifft2
from physics.multislice import Scan, exit_wave
from physics.optics import phasor_of_cycles
from physics.scattering.detectors import signals


def probes_at(probe: Array, positions: Array, sampling: float | tuple[float, float]) -> Array:
    """Shift a probe to some positions, by Fourier's shift theorem. The power is conserved.

    Args:
        probe: P (ny, nx), complex, in the middle of the field of view.
        positions: (position, 2), (y, x) [nm].
        sampling: [nm], as for `arrays.pair`.

    Returns:
        Probes (position, ny, nx), of the dtype of `probe`.
    """
    xp = module(probe)
    ky, kx = (
        phasor_of_cycles(-xp.asarray(positions)[:, axis, None] / d * xp.fft.fftfreq(n), probe.dtype)
        for axis, (n, d) in enumerate(zip(probe.shape, pair(sampling), strict=True))
    )
    return ifft2(fft2(probe) * ky[:, :, None] * kx[:, None, :])


def scanned_signals(
    probe: Array,
    positions: Array,
    transmissions: Array,
    wavelength: float,
    thickness: float | tuple[float, ...],
    sampling: float | tuple[float, float],
    detectors: Array,
    *,
    limit: Array | None = None,
    scan: Scan | None = None,
) -> Array:
    """Return the share of the electrons on each detector, for each position of the probe.

    All probes travel together, so the memory is that of all waves: give some positions at a time.

    Args:
        probe: P (ny, nx), complex, at the entrance surface.
        positions: (position, 2), (y, x) [nm].
        transmissions: t (slice, ny, nx), complex, as of `multislice.transmission`.
        wavelength: lambda [nm].
        thickness: of all slices [nm], or of each.
        sampling: [nm], as for `arrays.pair`.
        detectors: D (detector, ny, nx), zero frequency first, as of `detectors.segments`.
        limit: mask of `multislice.band_limit`.
        scan: as for `multislice.exit_wave`.

    Returns:
        Shares (position, detector), real; 1 is the power of the probe.
    """
    incident = probes_at(probe, positions, sampling)
    power = float(np.sum(np.abs(np.asarray(probe, dtype=complex)) ** 2))
    wave = exit_wave(
        transmissions, wavelength, thickness, sampling, incident=incident, exit_plane="surface", limit=limit, scan=scan
    )
    return signals(wave, detectors, power)

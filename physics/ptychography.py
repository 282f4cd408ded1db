"""Scanned diffraction (4D-STEM, ptychography): patterns of a scan, and the phase from their centres of mass.

    I_j(q) = sum_m | F[ P_m(r - R_j) O(r) ] |^2

    P_m   mutually incoherent modes of the probe (mode, y, x), origin at pixel N//2; a single mode may be (y, x)
    O     complex transmission of the object (y, x), its phase positive where it retards (`physics.optics`)
    R_j   positions (n, 2): the (row, column) of the object's pixel under the probe's origin, fractions allowed

A pattern has the pixels of the probe, zero frequency at N//2, and is not normalised: without absorption its sum is N
sum |P|^2, where N is its number of pixels (`diffraction.far_field`).

A position is split into a whole pixel, where the object is cut, and a rest within half a pixel, by which the probe is
shifted in Fourier space. The shift is exact for a probe whose spectrum ends below the Nyquist frequency. The shifted
probe wraps around, so it should be dark at the edge.

NumPy. Errors are ValueErrors of one line.
"""

from collections.abc import Iterator

import numpy as np

from physics.arrays import Array
from physics.diffraction import far_field
from physics.fourier import fft2, frequencies, ifft2
from physics.optics import intensity, phasor_of_cycles

MAX_BLOCK = 1 << 22  # complex numbers in memory at a time: 32 MB in complex64


def patterns(transmission: Array, probe: Array, positions: Array) -> Array:
    """Return the expected intensities of a scan, in the precision of the object.

    Besides the result, the function needs a fixed amount of memory.

    Args:
        transmission: O (y, x), complex.
        probe: (mode, y, x) or (y, x), in units of the square root of counts / N.
        positions: (n, 2) [pixel].

    Returns:
        I (n, qy, qx).

    Raises:
        ValueError: if a position puts the probe over the edge of the object.
    """
    probe = np.asarray(as_modes(probe), transmission.dtype)
    spectrum, (rows, columns), ramps = fft2(probe), *locate_windows(transmission.shape, probe.shape[-2:], positions)
    intensities = np.empty((len(positions), *probe.shape[-2:]), probe.real.dtype)
    for part in _position_blocks(len(positions), probe.size):
        ky, kx = (np.asarray(ramp[part], probe.dtype) for ramp in ramps)
        shifted = ifft2(spectrum * (ky[:, None, :, None] * kx[:, None, None, :]))
        patch = transmission[rows[part, :, None], columns[part, None, :]]
        intensities[part] = intensity(far_field(shifted * patch[:, None])).sum(axis=1)
    return intensities


def as_modes(probe: Array) -> Array:
    """Return the probe as (mode, y, x).

    Raises:
        ValueError: if the probe is neither (mode, y, x) nor (y, x).
    """
    if probe.ndim not in (2, 3):
        raise ValueError(f"a probe of shape {probe.shape} must be (y, x) or (mode, y, x)")
    return probe if probe.ndim == 3 else probe[None]


def locate_windows(
    shape: tuple[int, ...], window: tuple[int, ...], positions: Array
) -> tuple[tuple[Array, Array], ...]:
    """Return the pixels of the object under the probe at each position, and the ramps that shift the probe.

    Args:
        shape: shape of the object.
        window: (ny, nx) of the probe.
        positions: (n, 2) [pixel].

    Returns:
        (rows, columns), indices (n, ny) and (n, nx) of the object; (ramp_y, ramp_x), factors (n, ny) and (n, nx) of the
        probe's spectrum, zero frequency first: exp(-2 pi i f s) with the rest s in [-1/2, 1/2).

    Raises:
        ValueError: as for `round_positions`.
    """
    pixels = round_positions(shape, window, positions)
    remainder = positions - pixels
    starts = pixels - np.array(window) // 2
    indices = tuple(starts[:, i, None] + np.arange(n) for i, n in enumerate(window))
    ramps = tuple(phasor_of_cycles(-remainder[:, i, None] * np.fft.fftfreq(n)) for i, n in enumerate(window))
    return (indices[0], indices[1]), (ramps[0], ramps[1])


def round_positions(shape: tuple[int, ...], window: tuple[int, ...], positions: Array) -> Array:
    """Round the positions to whole pixels of the object.

    Args:
        shape: shape of the object.
        window: (ny, nx) of the probe.
        positions: (n, 2) [pixel].

    Returns:
        Whole pixels (n, 2), int64.

    Raises:
        ValueError: if a position is not finite, or puts the window over the edge of the object.
    """
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ValueError(f"positions of shape {positions.shape} must be (n, 2): (row, column) in pixels of the object")
    if not np.isfinite(positions).all():
        raise ValueError("a position is not finite: give (row, column) in pixels of the object")
    pixels = np.floor(positions + 0.5).astype(np.int64)
    half = np.array(window) // 2
    outside = ((pixels < half) | (pixels + np.array(window) - half > shape[-2:])).any(axis=1)
    if outside.any():
        j = int(np.argmax(outside))
        y, x = positions[j]
        raise ValueError(
            f"position {j} at ({y:.6g}, {x:.6g}) puts the {window[0]}x{window[1]} probe outside the object of "
            f"{shape[-2]}x{shape[-1]} pixels: shift the positions, or take a larger object"
        )
    return pixels


def illumination(shape: tuple[int, ...], probe: Array, positions: Array) -> Array:
    """Return the light that fell on each pixel of the object: sum_j sum_m |P_m(r - R_j)|^2, with R_j rounded to pixels.

    Args:
        shape: shape of the object.
        probe: (mode, y, x) or (y, x).
        positions: (n, 2) [pixel].

    Returns:
        The light (y, x).

    Raises:
        ValueError: as for `patterns`.
    """
    brightness = intensity(as_modes(probe)).sum(axis=0)
    ny, nx = brightness.shape
    light = np.zeros(shape, brightness.dtype)
    for row, column in round_positions(shape, (ny, nx), positions) - (ny // 2, nx // 2):
        light[row : row + ny, column : column + nx] += brightness
    return light


def _position_blocks(count: int, size: int) -> Iterator[slice]:
    """Yield ranges of consecutive positions that hold at most `MAX_BLOCK` numbers, but at least one position."""
    step = max(1, MAX_BLOCK // size)
    return (slice(start, start + step) for start in range(0, count, step))


def centre_of_mass(patterns: Array) -> Array:
    """Centre of mass (mean frequency) of each pattern, in cycles per pixel of the probe.

        c = sum q I / sum I

    Behind an object exp(i phi) it is that of the probe plus the mean gradient under the probe, sum |P|^2 grad phi / (2
    pi sum |P|^2), at any strength of the phase, if nothing is scattered beyond the detector.

    Args:
        patterns: I (n, qy, qx) >= 0, zero frequency at N//2.

    Returns:
        c (n, 2), (y, x) [cycles/pixel], float64; 0 for a pattern without counts.
    """
    total = patterns.sum(axis=(-2, -1), dtype=float)
    axes = [np.fft.fftshift(np.fft.fftfreq(n)) for n in patterns.shape[-2:]]
    moments = [patterns.sum(axis=other, dtype=float) @ q for other, q in zip((-1, -2), axes, strict=True)]
    return np.stack(moments, axis=-1) / np.where(total > 0, total, 1)[:, None]


def integrate(com: Array, step: Array, *, periodic: bool = False) -> Array:
    """Phase [rad] whose gradient on a raster is 2 pi com: integrated differential phase contrast.

        phi = F^-1 [ -i (f . F c) / f^2 ],   phi(0) = 0: the least-squares solution, with mean zero

    Subtract the centre of mass of the probe itself first (or the mean of c, and with it any ramp of the object): in a
    mirrored field it becomes a ramp. (A periodic field has no ramp, and ignores it.) Along an axis of even length, the
    Nyquist frequency is treated as zero slope.

    For a thin object the result is phi cross-correlated with |P|^2: a probe of standard deviation s damps the frequency
    f by exp(-2 pi^2 s^2 f^2).

    Args:
        com: c (row, column, 2), (y, x) [cycles/pixel] of `centre_of_mass`, on a raster along the axes.
        step: step of the raster [pixel], a number or (y, x).
        periodic: True if the raster is periodic. Otherwise the field is mirrored at its edges, which takes four times
            the memory.

    Returns:
        phi (row, column) [rad].

    Lazic, Bosch and Lazar, Ultramicroscopy 160 (2016) 265.
    """
    if not periodic:
        return integrate(_mirror_gradient(com), step, periodic=True)[: com.shape[0], : com.shape[1]]
    fy, fx = (_zero_nyquist(f) for f in frequencies(com.shape[:2], step, np))
    slope = fy * fft2(com[..., 0]) + fx * fft2(com[..., 1])
    square = fy**2 + fx**2
    return ifft2(-1j * slope / np.where(square == 0, np.inf, square)).real


def _zero_nyquist(frequency: Array) -> Array:
    """Return the frequencies of one axis, with 0 for Nyquist's: a wave +1, -1, +1 ... has no slope at its pixels."""
    n = frequency.size
    return frequency if n % 2 else np.where(np.arange(n).reshape(frequency.shape) == n // 2, 0, frequency)


def _mirror_gradient(com: Array) -> Array:
    """Mirror a gradient at its last row and column; the component across a mirror changes sign."""
    down = np.concatenate([com, com[::-1] * np.array([-1, 1])], axis=0)
    return np.concatenate([down, down[:, ::-1] * np.array([1, -1])], axis=1)

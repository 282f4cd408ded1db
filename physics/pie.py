"""Ptychographic iterative engines (ePIE, rPIE): object and probe from the patterns of a scan, position by position.

At position j, with p_m the modes of the probe shifted there and o the object under them:

    psi'_m = F^-1 [ sqrt(I_j) F psi_m / sqrt(sum_k |F psi_k|^2) ],   psi_m = p_m o,   d_m = psi'_m - psi_m
    o   += a sum_m conj(p_m) d_m / ((1 - u) S + u max S),         S = sum_m |p_m|^2
    p_m += b conj(o) d_m / ((1 - v) |o|^2 + v max |o|^2)

a and b are the steps of object and probe, u and v the floors of their weights. ePIE is u = v = 1 (Maiden and Rodenburg,
Ultramicroscopy 109 (2009) 1256), rPIE is a = b = 1 (Maiden, Johnson and Li, Optica 4 (2017) 736). Several modes are the
mixed state of Thibault and Menzel, Nature 494 (2013) 68. A sweep visits every position once, in the given order. For
conventions, shapes and positions see `physics.ptychography`.

Where the model is dark, below 1e-6 of its brightest pixel, rounding decides its phase, and it is not brightened
(`physics.moduli`). A reconstruction that starts from vacuum therefore ignores the dark field until the object, which
the bright field shapes, sends light there.

The patterns do not determine a constant phase. If the probe is unknown, they do not determine a factor between it and
the object, a phase ramp of the one against the other, or a common shift either. With several modes, any unitary mixture
of them gives the same patterns. Results have the factor, the constant phase and the modes fixed (`remove_ambiguities`,
`orthogonal_modes`).

NumPy, in the precision of the object. Errors are ValueErrors of one line.
"""

from dataclasses import dataclass

import numpy as np

from physics import pie_compiled
from physics.arrays import MIN_DIVISOR, Array, real_dtype
from physics.fourier import fft2, ifft2
from physics.moduli import DARK_LEVEL, replacement_factor
from physics.ptychography import as_modes, illumination, locate_windows

AXES = (-2, -1)
MAX_COMPILED_PROBE = 32  # pixels along the longer axis of a probe; compiled sweeps of larger probes would be slower


@dataclass(frozen=True)
class Reconstruction:
    """Object and probe found from a scan, and the error of each sweep."""

    transmission: Array  # O (y, x)
    probe: Array  # (mode, y, x)
    error: Array  # (sweep,), sum_j sum_q (sqrt I - sqrt I_model)^2 / sum I before the updates of each sweep


@dataclass(frozen=True)
class _Rule:
    """Sizes a, b of the steps and floors u, v of their weights; b = 0 leaves the probe unchanged."""

    step: float
    floor: float
    probe_step: float
    probe_floor: float


@dataclass(frozen=True)
class _Scan:
    """Input of the sweeps. Spectra and ramps have zero frequency at N//2, like the patterns, so nothing is shifted.

    (Such a spectrum is that of a wave times a carrier of modulus 1, which drops out of conj(p) d.)
    """

    intensity: Array  # (n, qy, qx)
    starts: Array  # (n, 2), the first row and column of the object at each position
    ramps: tuple[Array, Array]  # (n, qy), (n, qx)


def epie(
    intensity: Array,
    positions: Array,
    transmission: Array,
    probe: Array,
    orders: Array,
    *,
    alpha: float = 1.0,
    beta: float | None = None,
) -> Reconstruction:
    """Reconstruct object and probe by ePIE.

    The probe is used as given; `scale_to_dose` scales a probe of unknown power. `remove_ambiguities` fixes the factor
    and the constant phase of the results.

    Args:
        intensity: I (n, qy, qx) >= 0, counts.
        positions: (n, 2) [pixel].
        transmission: the first object O (y, x), complex.
        probe: the first probe (mode, y, x) or (y, x).
        orders: (sweep, n), the permutation of the positions in each sweep.
        alpha: a, the step of the object, up to 1 or a little more.
        beta: b, the step of the probe; None leaves the probe unchanged.

    Raises:
        ValueError: if the arrays do not fit together, an intensity is negative, or a step is not positive.
    """
    _check_steps(alpha, beta)
    rule = _Rule(alpha, 1.0, beta or 0.0, 1.0)
    return _reconstruct(intensity, positions, transmission, probe, orders, rule)


def rpie(
    intensity: Array,
    positions: Array,
    transmission: Array,
    probe: Array,
    orders: Array,
    *,
    alpha: float = 0.1,
    beta: float | None = None,
) -> Reconstruction:
    """Reconstruct object and probe by rPIE.

    Args:
        intensity: as for `epie`.
        positions: as for `epie`.
        transmission: as for `epie`.
        probe: as for `epie`.
        orders: as for `epie`.
        alpha: u in (0, 1]; 1 is ePIE, and small values update dim parts as much as bright ones.
        beta: v in (0, 1], the same for the probe; None leaves the probe unchanged.

    Raises:
        ValueError: as for `epie`, or if alpha or beta is above 1.
    """
    _check_steps(alpha, beta, maximum=1.0)
    rule = _Rule(1.0, alpha, 0.0 if beta is None else 1.0, 1.0 if beta is None else beta)
    return _reconstruct(intensity, positions, transmission, probe, orders, rule)


def scale_to_dose(probe: Array, intensity: Array) -> Array:
    """Scale the probe to the mean dose of the patterns.

        N sum |P|^2 = mean of sum I,   N the number of pixels of a pattern

    Args:
        probe: P (mode, y, x) or (y, x).
        intensity: I (n, qy, qx).
    """
    counts = intensity.sum(axis=AXES, dtype=float).mean()
    power = (abs(probe) ** 2).sum(dtype=float) * intensity[0].size
    return (probe * (counts / power) ** 0.5).astype(probe.dtype)


def orthogonal_modes(probe: Array) -> Array:
    """Return the same mixed state in orthogonal modes, the strongest first, with the brightest pixel of each real.

    Any unitary mixture of the modes makes the same patterns. This one is unique, up to modes of equal power.

    Args:
        probe: (mode, y, x) or (y, x).

    Returns:
        The modes (mode, y, x).
    """
    flat = as_modes(probe).reshape(len(as_modes(probe)), -1)
    mixture = np.linalg.eigh(flat @ flat.conj().T)[1][:, ::-1]
    flat = mixture.conj().T @ flat
    peak = np.take_along_axis(flat, abs(flat).argmax(axis=1)[:, None], axis=1)
    phase = peak / np.maximum(abs(peak), MIN_DIVISOR)
    return (flat * phase.conj()).reshape(as_modes(probe).shape)


def remove_ambiguities(transmission: Array, light: Array) -> tuple[Array, complex]:
    """Divide the object by the factor c that leaves mean phase 0 and rms modulus 1 in the illuminated area.

        O' = O / c,   c = sqrt(sum L |O|^2 / sum L) exp(i arg sum L O)

    The patterns stay the same if the probe is multiplied by c.

    Args:
        transmission: O (y, x).
        light: L (y, x) >= 0, the `ptychography.illumination`.

    Returns:
        (O', c).
    """
    mean, power = (light * transmission).sum(), (light * abs(transmission) ** 2).sum() / light.sum()
    c = complex(power**0.5 * np.exp(1j * np.angle(mean)))
    return transmission / c, c


def _reconstruct(
    intensity: Array, positions: Array, transmission: Array, probe: Array, orders: Array, rule: _Rule
) -> Reconstruction:
    """Check the arrays, run all sweeps by one rule, and fix the ambiguities of the result."""
    if not np.iscomplexobj(transmission):
        raise ValueError(
            f"the first object is {transmission.dtype}: it must be complex64 or complex128; give ones if it is unknown"
        )
    probe = np.asarray(as_modes(probe), transmission.dtype)
    _check_arrays(intensity, positions, probe, orders)
    scan = _prepare_scan(intensity, positions, transmission.shape, probe)
    transmission, spectrum = transmission.copy(), np.fft.fftshift(fft2(probe), AXES)
    counts = intensity.sum(dtype=float)
    sweep = _compiled_sweep if max(probe.shape[1:]) <= MAX_COMPILED_PROBE and probe.dtype == np.complex64 else _sweep
    error = [sweep(scan, order, transmission, spectrum, rule) / counts for order in orders]
    light = illumination(transmission.shape, probe, positions)
    transmission, factor = remove_ambiguities(transmission, light)
    if not rule.probe_step:  # a known probe keeps its power, so the object keeps its modulus
        return Reconstruction(transmission * abs(factor), probe, np.array(error))
    probe = ifft2(np.fft.ifftshift(spectrum, AXES))
    return Reconstruction(transmission, orthogonal_modes(probe * factor), np.array(error))


def _sweep(scan: _Scan, order: Array, transmission: Array, spectrum: Array, rule: _Rule) -> float:
    """Update transmission and spectrum in place by one sweep, and return sum_j sum_q (sqrt I - sqrt I_model)^2."""
    return sum(_update_at(scan, j, transmission, spectrum, rule) for j in order)


def _compiled_sweep(scan: _Scan, order: Array, transmission: Array, spectrum: Array, rule: _Rule) -> float:
    """Do the same as `_sweep` in machine code, for small probes in complex64."""
    numbers = np.array([rule.step, rule.floor, rule.probe_step, rule.probe_floor, DARK_LEVEL], scan.intensity.dtype)
    along = pie_compiled.matrices(spectrum.shape[-2:], spectrum.dtype)
    return pie_compiled.sweep(scan.intensity, scan.starts, *scan.ramps, order, transmission, spectrum, *along, numbers)


def _update_at(scan: _Scan, j: int, transmission: Array, spectrum: Array, rule: _Rule) -> float:
    """Update transmission and spectrum in place at position j, and return the squared error of its pattern."""
    (row, column), (ny, nx) = scan.starts[j], spectrum.shape[-2:]
    patch = transmission[row : row + ny, column : column + nx]
    ramp = scan.ramps[0][j][:, None] * scan.ramps[1][j]
    shifted = ifft2(spectrum * ramp)
    fields = fft2(shifted * patch)
    measured, model = np.sqrt(scan.intensity[j]), np.sqrt(_power(fields))
    change = ifft2(fields * (replacement_factor(measured, model) - 1))
    step = _weighted_step((shifted.conj() * change).sum(axis=0), _power(shifted), rule.step, rule.floor)
    if rule.probe_step:
        update = _weighted_step(patch.conj() * change, _power(patch[None]), rule.probe_step, rule.probe_floor)
        spectrum += fft2(update) * ramp.conj()
    patch += step
    return float(((measured - model) ** 2).sum())


def _weighted_step(gradient: Array, weight: Array, size: float, floor: float) -> Array:
    """Return size times gradient / ((1 - floor) weight + floor max weight)."""
    return gradient * (size / np.maximum((1 - floor) * weight + floor * weight.max(), MIN_DIVISOR))


def _power(waves: Array) -> Array:
    """Return the sum of |psi_m|^2 over the modes: (mode, y, x) -> (y, x)."""
    return (waves.real**2 + waves.imag**2).sum(axis=0)


def _prepare_scan(intensity: Array, positions: Array, shape: tuple[int, ...], probe: Array) -> _Scan:
    (rows, columns), ramps = locate_windows(shape, probe.shape[-2:], positions)
    starts = np.stack([rows[:, 0], columns[:, 0]], axis=1)
    ky, kx = (np.fft.fftshift(ramp, -1).astype(probe.dtype) for ramp in ramps)
    return _Scan(np.ascontiguousarray(intensity, real_dtype(probe.dtype)), starts, (ky, kx))


def _check_arrays(intensity: Array, positions: Array, probe: Array, orders: Array) -> None:
    """Refuse arrays that do not fit together, negative intensities, and orders that are no permutations."""
    n = len(positions)
    if intensity.ndim != 3 or intensity.shape[1:] != probe.shape[1:]:
        raise ValueError(
            f"patterns of shape {intensity.shape} and a probe of {probe.shape[1]}x{probe.shape[2]} pixels differ: "
            "cut, bin or pad one of them"
        )
    if len(intensity) != n:
        raise ValueError(f"{len(intensity)} patterns and {n} positions: give one position to each pattern")
    if not intensity.min() >= 0:
        raise ValueError(f"an intensity of {intensity.min()} must be 0 or more: subtract less background, or clip")
    if not 0 < intensity.sum(dtype=float) < np.inf:
        raise ValueError("the sum of all patterns is 0 or not finite: give patterns with counts")
    if orders.shape[1:] != (n,) or not (np.sort(orders, axis=-1) == np.arange(n)).all():
        raise ValueError(f"orders of shape {orders.shape} must be (sweep, {n}), each a permutation of the positions")


def _check_steps(alpha: float, beta: float | None, maximum: float = np.inf) -> None:
    for name, value in (("alpha", alpha), ("beta", beta)):
        if value is not None and not 0 < value <= maximum:
            limit = f" and at most {maximum:g}" if maximum < np.inf else ""
            raise ValueError(f"{name} {value} must be above 0{limit}" + (": None for a known probe" * (name == "beta")))

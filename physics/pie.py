"""Ptychographic iterative engines: object and probe from the patterns of a scan, position by position.

At position j, with p_m the modes of the probe shifted there and o the object under them:

    psi'_m = F^-1 [ sqrt(I_j) F psi_m / sqrt(sum_k |F psi_k|^2) ],   psi_m = p_m o,   d_m = psi'_m - psi_m
    o   += a sum_m conj(p_m) d_m / ((1 - u) S + u max S),         S = sum_m |p_m|^2
    p_m += b conj(o) d_m / ((1 - v) |o|^2 + v max |o|^2)

ePIE is u = v = 1 (Maiden and Rodenburg, Ultramicroscopy 109 (2009) 1256), rPIE a = b = 1 (Maiden, Johnson and Li,
Optica 4 (2017) 736); more than one mode is the mixed state of Thibault and Menzel, Nature 494 (2013) 68. A sweep visits
every position once, in the order given. Conventions, shapes and positions: `physics.ptychography`.

Where the model is dark, below 1e-6 of its brightest pixel, rounding decides its phase, and it is not brightened
(`physics.moduli`). So a reconstruction that begins in vacuum leaves the dark field alone until the object, which the
bright field draws, sends light there.

What no pattern tells: a constant phase; with the probe unknown, a factor between it and the object, a phase ramp of
the one against the other, and a common shift; with more modes, any unitary mixture of them. The first two, and the
modes, are fixed by `gauge`.

NumPy, in the precision of the object; errors are ValueErrors of one line.
"""

from dataclasses import dataclass

import numpy as np

from physics import pie_compiled
from physics.arrays import Array, real_dtype
from physics.fourier import fft2, ifft2
from physics.moduli import DARK, ratio
from physics.ptychography import illumination, locate, modes

AXES = (-2, -1)
FAINT = 1e-20  # of an amplitude: what is divided by
SMALL = 32  # pixels along the longer axis of the probe: beyond, compiled sweeps would be slower


@dataclass(frozen=True)
class Reconstruction:
    """transmission: O (y, x). probe: (mode, y, x). error: (sweep,), before the updates of each sweep.

    error = sum_j sum_q (sqrt I - sqrt I_model)^2 / sum I
    """

    transmission: Array
    probe: Array
    error: Array


@dataclass(frozen=True)
class _Rule:
    """Sizes a, b of the steps and floors u, v of their weights; b = 0 leaves the probe alone."""

    step: float
    floor: float
    probe_step: float
    probe_floor: float


@dataclass(frozen=True)
class _Scan:
    """What the sweeps read. Spectra and ramps have zero frequency at N//2, as the patterns: nothing is shifted there.

    (Such a spectrum is that of a wave times a carrier of modulus 1, which drops out of conj(p) d.)
    """

    intensity: Array  # (n, qy, qx)
    starts: Array  # (n, 2), the first row and column of each window
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
    """ePIE from a first object and probe.

    intensity: I (n, qy, qx) >= 0, counts. positions: (n, 2) [pixel]. transmission: O (y, x), complex. probe: (mode, y,
    x) or (y, x). orders: (sweep, n), the permutation of the positions in each sweep. alpha, beta: steps a, b of object
    and probe, up to 1 or a little more; None leaves the probe as it is.

    The probe is taken as it is: `dosed` scales one of unknown power. The results are in the gauge of `gauge`.
    """
    _positive(alpha, beta)
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
    """rPIE from a first object and probe. alpha, beta: u, v in (0, 1], 1 is ePIE; small ones update dim parts as much.

    The rest as for `epie`.
    """
    _positive(alpha, beta, most=1.0)
    rule = _Rule(1.0, alpha, 0.0 if beta is None else 1.0, 1.0 if beta is None else beta)
    return _reconstruct(intensity, positions, transmission, probe, orders, rule)


def dosed(probe: Array, intensity: Array) -> Array:
    """The probe scaled to the mean dose of the patterns: N sum |P|^2 = mean of sum I, N the pixels of a pattern."""
    counts = intensity.sum(axis=AXES, dtype=float).mean()
    power = (abs(probe) ** 2).sum(dtype=float) * intensity[0].size
    return (probe * (counts / power) ** 0.5).astype(probe.dtype)


def orthogonal(probe: Array) -> Array:
    """The same mixed state in orthogonal modes (mode, y, x), the strongest first, each brightest pixel real.

    Any unitary mixture of the modes makes the same patterns; this one is unique, up to modes of equal power.
    """
    flat = modes(probe).reshape(len(modes(probe)), -1)
    mixture = np.linalg.eigh(flat @ flat.conj().T)[1][:, ::-1]
    flat = mixture.conj().T @ flat
    peak = np.take_along_axis(flat, abs(flat).argmax(axis=1)[:, None], axis=1)
    phase = peak / np.maximum(abs(peak), FAINT)
    return (flat * phase.conj()).reshape(modes(probe).shape)


def gauge(transmission: Array, light: Array) -> tuple[Array, complex]:
    """The object with mean phase 0 and rms modulus 1 where the light fell, and the factor c taken off it.

        O' = O / c,   c = sqrt(sum L |O|^2 / sum L) exp(i arg sum L O)

    transmission: O (y, x). light: L (y, x) >= 0 of `ptychography.illumination`. Patterns stay if the probe takes c.
    """
    mean, power = (light * transmission).sum(), (light * abs(transmission) ** 2).sum() / light.sum()
    c = complex(power**0.5 * np.exp(1j * np.angle(mean)))
    return transmission / c, c


def _reconstruct(
    intensity: Array, positions: Array, transmission: Array, probe: Array, orders: Array, rule: _Rule
) -> Reconstruction:
    if not np.iscomplexobj(transmission):
        raise ValueError(f"the first object is {transmission.dtype}: give complex64 (or complex128), ones if unknown")
    probe = np.asarray(modes(probe), transmission.dtype)
    _check(intensity, positions, probe, orders)
    scan = _scan(intensity, positions, transmission.shape, probe)
    transmission, spectrum = transmission.copy(), np.fft.fftshift(fft2(probe), AXES)
    counts = intensity.sum(dtype=float)
    one = _compiled if max(probe.shape[1:]) <= SMALL and probe.dtype == np.complex64 else _sweep
    error = [one(scan, order, transmission, spectrum, rule) / counts for order in orders]
    light = illumination(transmission.shape, probe, positions)
    transmission, factor = gauge(transmission, light)
    if not rule.probe_step:  # a known probe keeps its power, and the object its modulus
        return Reconstruction(transmission * abs(factor), probe, np.array(error))
    probe = ifft2(np.fft.ifftshift(spectrum, AXES))
    return Reconstruction(transmission, orthogonal(probe * factor), np.array(error))


def _sweep(scan: _Scan, order: Array, transmission: Array, spectrum: Array, rule: _Rule) -> float:
    """One sweep: updates transmission and spectrum in place. Returns sum_j sum_q (sqrt I - sqrt I_model)^2."""
    return sum(_visit(scan, j, transmission, spectrum, rule) for j in order)


def _compiled(scan: _Scan, order: Array, transmission: Array, spectrum: Array, rule: _Rule) -> float:
    """`_sweep` as machine code, for small probes in complex64."""
    numbers = np.array([rule.step, rule.floor, rule.probe_step, rule.probe_floor, DARK], scan.intensity.dtype)
    along = pie_compiled.matrices(spectrum.shape[-2:], spectrum.dtype)
    return pie_compiled.sweep(scan.intensity, scan.starts, *scan.ramps, order, transmission, spectrum, *along, numbers)


def _visit(scan: _Scan, j: int, transmission: Array, spectrum: Array, rule: _Rule) -> float:
    """One position of a sweep."""
    (row, column), (ny, nx) = scan.starts[j], spectrum.shape[-2:]
    patch = transmission[row : row + ny, column : column + nx]
    ramp = scan.ramps[0][j][:, None] * scan.ramps[1][j]
    shifted = ifft2(spectrum * ramp)
    fields = fft2(shifted * patch)
    measured, model = np.sqrt(scan.intensity[j]), np.sqrt(_power(fields))
    change = ifft2(fields * (ratio(measured, model) - 1))
    step = _step((shifted.conj() * change).sum(axis=0), _power(shifted), rule.step, rule.floor)
    if rule.probe_step:
        update = _step(patch.conj() * change, _power(patch[None]), rule.probe_step, rule.probe_floor)
        spectrum += fft2(update) * ramp.conj()
    patch += step
    return float(((measured - model) ** 2).sum())


def _step(gradient: Array, weight: Array, size: float, floor: float) -> Array:
    """Size times gradient / ((1 - floor) weight + floor max weight)."""
    return gradient * (size / np.maximum((1 - floor) * weight + floor * weight.max(), FAINT))


def _power(waves: Array) -> Array:
    """Sum of |psi_m|^2 over the modes: (mode, y, x) -> (y, x)."""
    return (waves.real**2 + waves.imag**2).sum(axis=0)


def _scan(intensity: Array, positions: Array, shape: tuple[int, ...], probe: Array) -> _Scan:
    (rows, columns), ramps = locate(shape, probe.shape[-2:], positions)
    starts = np.stack([rows[:, 0], columns[:, 0]], axis=1)
    ky, kx = (np.fft.fftshift(ramp, -1).astype(probe.dtype) for ramp in ramps)
    return _Scan(np.ascontiguousarray(intensity, real_dtype(probe.dtype)), starts, (ky, kx))


def _check(intensity: Array, positions: Array, probe: Array, orders: Array) -> None:
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
        raise ValueError("the patterns must hold some counts, and finitely many")
    if orders.shape[1:] != (n,) or not (np.sort(orders, axis=-1) == np.arange(n)).all():
        raise ValueError(f"orders of shape {orders.shape} must be (sweep, {n}), each a permutation of the positions")


def _positive(alpha: float, beta: float | None, most: float = np.inf) -> None:
    for name, value in (("alpha", alpha), ("beta", beta)):
        if value is not None and not 0 < value <= most:
            end = f" and at most {most:g}" if most < np.inf else ""
            raise ValueError(f"{name} {value} must be above 0{end}" + (": None for a known probe" * (name == "beta")))

"""Focused electron probes. Lengths in nm, angles in rad; waves and signs as in `physics.optics`.

    P(r) = c F^-1 [ A(f) exp(-2 pi i W(f)) ],   sum |P|^2 = the requested power

The origin of r is pixel N//2, as in `physics.diffraction`, and the field is periodic. P is the wave in the plane of the
specimen. The defocus C1 is the position of that plane: C1 > 0 is downstream of the focus (the beam has crossed over
before it enters: overfocus), so that P(C1) is P(0) propagated by C1. Spherical aberration C3 > 0 moves the focus of the
outer rays upstream, as if C1 grew with the angle; Scherzer's C1 = -sqrt(1.5 C3 lambda) is negative here too.

The names are those of Uhlemann and Haider, Ultramicroscopy 72 (1998) 109. Krivanek's are C10 = C1, C12 = A1, C21 = 3
B2, C23 = A2, C30 = C3.
"""

from functools import cache
from math import pi

import numpy as np

from physics.arrays import Array, as_leading, module, pair
from physics.diffraction import disk, far_field
from physics.electron import wavelength as de_broglie
from physics.fourier import fft2, frequencies, ifft2
from physics.optics import aberration, intensity, phasor_of_cycles, pupil

AXES = (-2, -1)
MIN_NODES, MAX_NODES = 7, 25  # number of nodes along each axis of the quadrature over a source
MAX_QUADRATURE_ERROR = 1e-3  # for each frequency of the shift in the pattern


def probe(
    shape: tuple[int, int],
    sampling: Array,
    voltage: Array,
    semi_angle: Array,
    *,
    defocus: Array = 0.0,
    spherical: Array = 0.0,
    astigmatism: Array = 0.0,
    azimuth: Array = 0.0,
    coma: Array = 0.0,
    coma_azimuth: Array = 0.0,
    threefold: Array = 0.0,
    threefold_azimuth: Array = 0.0,
    power: Array = 1.0,
) -> Array:
    """Return the wave P of a probe in the plane of the specimen.

    Parameters are numbers, or arrays over the leading axes (...).

    Args:
        shape: (ny, nx).
        sampling: [nm], a number or (y, x).
        voltage: [V].
        semi_angle: alpha [rad], where the transmission of the aperture is 1/2. Its edge falls over one pixel of the
            pattern (the larger of the two axes').
        defocus: C1 [nm].
        spherical: C3 [nm].
        astigmatism: A1 [nm], as for `optics.aberration`.
        azimuth: phi_A [rad], as for `optics.aberration`.
        coma: B2 [nm], as for `third_order_aberration`.
        coma_azimuth: phi_B [rad].
        threefold: A2 [nm], as for `third_order_aberration`.
        threefold_azimuth: phi_A [rad].
        power: sum |P|^2. A pattern of `diffraction.far_field` then holds ny nx times as much.

    Returns:
        P (..., ny, nx), complex.

    Raises:
        ValueError: if the aperture exceeds the frequencies of the pixels, or is narrower than one pixel of the pattern.
    """
    lam = de_broglie(voltage)
    edge = _pixel_angle(shape, sampling, lam)
    _check_semi_angle(semi_angle, edge, sampling, lam)
    fy, fx = frequencies(shape, sampling, module(voltage, semi_angle, defocus))
    cycles = aberration(fy, fx, lam, defocus, spherical, astigmatism, azimuth)
    cycles = cycles + third_order_aberration(fy, fx, lam, coma, coma_azimuth, threefold, threefold_azimuth)
    return _wave_of_spectrum(pupil(fy, fx, lam, semi_angle, edge) * phasor_of_cycles(-cycles), power)


def third_order_aberration(
    fy: Array,
    fx: Array,
    wavelength: Array,
    coma: Array = 0.0,
    coma_azimuth: Array = 0.0,
    threefold: Array = 0.0,
    threefold_azimuth: Array = 0.0,
) -> Array:
    """Part of W [cycles] of third order in the angle, which `optics.aberration` leaves out.

        W = (1 / lambda) (B2 alpha^3 cos(phi - phi_B) + A2 alpha^3 cos 3(phi - phi_A) / 3)

    with alpha = lambda |f| and phi the azimuth of f, from x towards y.

    Args:
        fy: [1/nm].
        fx: [1/nm].
        wavelength: lambda [nm].
        coma: B2 [nm], axial coma.
        coma_azimuth: phi_B [rad], its direction.
        threefold: A2 [nm], threefold astigmatism.
        threefold_azimuth: phi_A [rad], its direction.
    """
    xp = module(fy, wavelength, coma, coma_azimuth, threefold, threefold_azimuth)
    lam, b2, phi_b, a2, phi_a = (
        as_leading(value, xp) for value in (wavelength, coma, coma_azimuth, threefold, threefold_azimuth)
    )
    along = (fx**2 + fy**2) * (fx * xp.cos(phi_b) + fy * xp.sin(phi_b))
    trefoil = (fx**2 - 3 * fy**2) * fx * xp.cos(3 * phi_a) + (3 * fx**2 - fy**2) * fy * xp.sin(3 * phi_a)
    return lam**2 * (b2 * along + a2 / 3 * trefoil)


def shift_wave(wave: Array, shift: Array) -> Array:
    """Shift a wave by Fourier's shift theorem: P(r - s). Boundaries are periodic, and the power is conserved.

    Args:
        wave: P (y, x).
        shift: s (shift, 2), (y, x) [pixel].

    Returns:
        The shifted waves (shift, y, x), complex128.
    """
    ky, kx = (
        phasor_of_cycles(-s[:, None] * np.fft.fftfreq(n)) for s, n in zip(np.asarray(shift).T, wave.shape, strict=True)
    )
    return ifft2(fft2(wave.astype(np.complex128)) * ky[:, :, None] * kx[:, None, :])


def source_modes(wave: Array, width: float) -> Array:
    """Return the probe of a Gaussian, incoherent source, as mutually incoherent modes.

        I = integral G(s) |F[P(r - s) O]|^2 ds  ~  sum_jk w_j w_k |F[P(r - a (x_j, x_k)) O]|^2,   a = sqrt(2) width

    x_j and w_j are nodes and weights (of sum 1) of Gauss-Hermite quadrature with m nodes along each axis. The mode of
    j, k is sqrt(w_j w_k) P(r - a (x_j, x_k)). The power is conserved. m is the smallest number, from `MIN_NODES` on,
    with an error of at most `MAX_QUADRATURE_ERROR` for each frequency of s in the pattern (`widest_source`).

    Args:
        wave: P (y, x).
        width: standard deviation of G along each axis [pixel], as seen in the plane of the specimen. 0 gives the wave
            as the only mode.

    Returns:
        The modes (mode, y, x), complex128.

    Raises:
        ValueError: if more than `MAX_NODES` nodes are needed.
    """
    if not width:
        return wave[None].astype(np.complex128)
    node, weight = np.polynomial.hermite.hermgauss(_count_nodes(wave, width))
    shifts = np.stack(np.meshgrid(node, node, indexing="ij"), axis=-1).reshape(-1, 2) * 2**0.5 * width
    share = np.outer(weight, weight).reshape(-1, 1, 1) / np.pi
    return share**0.5 * shift_wave(wave, shifts)


def widest_source(wave: Array) -> float:
    """Return the widest source [pixel, standard deviation] that `source_modes` can sum over, with `MAX_NODES` nodes.

    A pattern holds frequencies f of s up to the diameter k of the aperture [cycles/pixel], which is that of the bright
    disk in P's far field. The source leaves exp(-t^2 / 2), t = 2 pi f width, of a frequency, and the sum over nodes
    leaves sum_j w_j cos(sqrt(2) t x_j). 7 nodes suffice for t up to 2.2 (34.6 mrad, 80 kV, 0.02 nm: 2.1), 25 for t up
    to 6.6.
    """
    return _quadrature_limit(MAX_NODES) / _highest_frequency(wave)


def _count_nodes(wave: Array, width: float) -> int:
    """Return the number of nodes along each axis that a source of this width [pixel] needs."""
    t = width * _highest_frequency(wave)
    nodes = next((m for m in range(MIN_NODES, MAX_NODES + 1) if _quadrature_limit(m) >= t), None)
    if nodes is None:
        raise ValueError(
            f"a source of {width:.3g} pixels rms: it must be at most {widest_source(wave):.3g} for this aperture"
        )
    return nodes


def _highest_frequency(wave: Array) -> float:
    """Return 2 pi k [rad/pixel], k the diameter of the aperture."""
    ny, nx = wave.shape
    return 4 * pi * disk(intensity(far_field(wave)), (0.5,))[1] / max(int(ny), int(nx))


@cache
def _quadrature_limit(nodes: int) -> float:
    """Return the t up to which the error of the quadrature of exp(-t^2 / 2) is at most `MAX_QUADRATURE_ERROR`."""
    node, weight = np.polynomial.hermite.hermgauss(nodes)
    t = np.arange(0, 20, 0.01)
    damping = np.cos(2**0.5 * np.outer(t, node)) @ weight / np.pi**0.5
    return float(t[np.argmax(abs(damping - np.exp(-(t**2) / 2)) > MAX_QUADRATURE_ERROR)])


def illuminated(probe: Array, level: float = 0.16) -> Array:
    """Return the mask of the pixels where the probe is bright: |P|^2 > level max |P|^2.

    Args:
        probe: P (..., y, x).
        level: [1]; 0.16 is the value of deep-phase-imaging.

    Returns:
        The mask (..., y, x), bool.
    """
    brightness = intensity(probe)
    return brightness > level * brightness.max(axis=AXES, keepdims=True)


def _wave_of_spectrum(spectrum: Array, power: Array) -> Array:
    """Return the wave of a spectrum (zero frequency first), its origin at N//2, with the given sum of |P|^2."""
    xp = module(spectrum, power)
    wave = xp.fft.fftshift(ifft2(spectrum), AXES)
    return wave * (as_leading(power, xp) / intensity(wave).sum(axis=AXES, keepdims=True)) ** 0.5


def _pixel_angle(shape: tuple[int, int], sampling: Array, wavelength: Array) -> Array:
    """Return the angle [rad] of one pixel of the pattern, along the axis where it is larger."""
    dy, dx = pair(sampling)
    return wavelength * np.maximum(1 / (shape[0] * np.asarray(dy)), 1 / (shape[1] * np.asarray(dx)))


def _check_semi_angle(semi_angle: Array, edge: Array, sampling: Array, wavelength: Array) -> None:
    """Refuse a semi-angle that the pixels cannot hold, or that is below one pixel of the pattern."""
    dy, dx = pair(sampling)
    widest = wavelength / (2 * np.maximum(dy, dx)) - edge / 2
    if not np.all(semi_angle <= widest):
        raise ValueError(
            f"a semi-angle of {np.max(semi_angle):.4g} rad is beyond the {np.min(widest):.4g} rad that these pixels "
            "can hold: take smaller pixels"
        )
    if not np.all(semi_angle >= edge):
        raise ValueError(
            f"a semi-angle of {np.min(semi_angle):.4g} rad is below one pixel of the pattern, {np.max(edge):.4g} rad: "
            "take more or larger pixels"
        )

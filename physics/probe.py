"""Focused electron probes. Lengths in nm, angles in rad; waves and signs as in `physics.optics`.

    P(r) = c F^-1 [ A(f) exp(-2 pi i W(f)) ],   sum |P|^2 = the power asked for

The origin of r is pixel N//2, as in `physics.diffraction`; the field is periodic. P is the wave in the plane of the
specimen. The defocus C1 is where that plane lies: C1 > 0 is downstream of the focus (the beam has crossed over before
it enters: overfocus), so that P(C1) is P(0) propagated by C1. Spherical aberration C3 > 0 moves the focus of the outer
rays upstream, as if C1 grew with the angle; Scherzer's C1 = -sqrt(1.5 C3 lambda) is negative here too.

Names of Uhlemann and Haider, Ultramicroscopy 72 (1998) 109. Krivanek's are C10 = C1, C12 = A1, C21 = 3 B2, C23 = A2,
C30 = C3.
"""

from functools import cache
from math import pi

import numpy as np

from physics.arrays import Array, leading, module, pair
from physics.diffraction import disk, far_field
from physics.electron import wavelength as de_broglie
from physics.fourier import fft2, frequencies, ifft2
from physics.optics import aberration, intensity, pupil, turn

AXES = (-2, -1)
NODES, MOST = 7, 25  # of the quadrature over a source, along each axis: at least, at most
MISSED = 1e-3  # of a frequency of the shift, by that quadrature


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
    """The wave P, complex (..., *shape), in the plane of the specimen.

    shape: (ny, nx). sampling: [nm], a number or (y, x). voltage: [V]. semi_angle: alpha [rad], where the transmission
    of the aperture is 1/2; its edge falls over one pixel of the pattern (the larger of the two axes'). defocus,
    spherical, astigmatism: C1, C3, A1 [nm], azimuth: phi_A [rad], as for `optics.aberration`; coma, threefold and their
    azimuths as for `cubic`. power: sum |P|^2; a pattern of `diffraction.far_field` then holds ny nx times as much.
    Numbers, or arrays over the leading axes (...).

    ValueError if the aperture does not fit into the frequencies of the pixels, or is narrower than one of them.
    """
    lam = de_broglie(voltage)
    edge = _edge(shape, sampling, lam)
    _check(semi_angle, edge, sampling, lam)
    fy, fx = frequencies(shape, sampling, module(voltage, semi_angle, defocus))
    cycles = aberration(fy, fx, lam, defocus, spherical, astigmatism, azimuth)
    cycles = cycles + cubic(fy, fx, lam, coma, coma_azimuth, threefold, threefold_azimuth)
    return _centred(pupil(fy, fx, lam, semi_angle, edge) * turn(-cycles), power)


def cubic(
    fy: Array,
    fx: Array,
    wavelength: Array,
    coma: Array = 0.0,
    coma_azimuth: Array = 0.0,
    threefold: Array = 0.0,
    threefold_azimuth: Array = 0.0,
) -> Array:
    """The part of W [cycles] of third order in the angle, which `optics.aberration` leaves out.

        W = (1 / lambda) (B2 alpha^3 cos(phi - phi_B) + A2 alpha^3 cos 3(phi - phi_A) / 3)

    with alpha = lambda |f| and phi the azimuth of f, from x towards y.

    fy, fx: [1/nm]. wavelength: lambda [nm]. coma: B2 [nm], axial, along coma_azimuth: phi_B [rad]. threefold: A2 [nm],
    the threefold astigmatism, along threefold_azimuth: phi_A [rad].
    """
    xp = module(fy, wavelength, coma, coma_azimuth, threefold, threefold_azimuth)
    lam, b2, phi_b, a2, phi_a = (
        leading(value, xp) for value in (wavelength, coma, coma_azimuth, threefold, threefold_azimuth)
    )
    along = (fx**2 + fy**2) * (fx * xp.cos(phi_b) + fy * xp.sin(phi_b))
    trefoil = (fx**2 - 3 * fy**2) * fx * xp.cos(3 * phi_a) + (3 * fx**2 - fy**2) * fy * xp.sin(3 * phi_a)
    return lam**2 * (b2 * along + a2 / 3 * trefoil)


def moved(wave: Array, shift: Array) -> Array:
    """P(r - s) by Fourier's shift, in float64, complex128 (shift, y, x): what leaves on one side comes in on the other.

    wave: P (y, x). shift: s (shift, 2), (y, x) [pixel]. The power is conserved.
    """
    ky, kx = (turn(-s[:, None] * np.fft.fftfreq(n)) for s, n in zip(np.asarray(shift).T, wave.shape, strict=True))
    return ifft2(fft2(wave.astype(np.complex128)) * ky[:, :, None] * kx[:, None, :])


def of_source(wave: Array, width: float) -> Array:
    """The probe of a Gaussian, incoherent source: mutually incoherent modes (mode, y, x), complex128.

        I = integral G(s) |F[P(r - s) O]|^2 ds  ~  sum_jk w_j w_k |F[P(r - a (x_j, x_k)) O]|^2,   a = sqrt(2) width

    x_j, w_j: nodes and weights (to the sum 1) of Gauss and Hermite's quadrature with m nodes along each axis, the mode
    of j, k being sqrt(w_j w_k) P(r - a (x_j, x_k)). wave: P (y, x). width: standard deviation of G along each axis
    [pixel], as seen in the plane of the specimen. The power is conserved; width 0 gives the wave as the only mode.

    m is the least, of `NODES` and more, that misses at most `MISSED` of each frequency of s in the pattern (`widest`).
    ValueError beyond `MOST`.
    """
    if not width:
        return wave[None].astype(np.complex128)
    place, weight = np.polynomial.hermite.hermgauss(_nodes(wave, width))
    shifts = np.stack(np.meshgrid(place, place, indexing="ij"), axis=-1).reshape(-1, 2) * 2**0.5 * width
    share = np.outer(weight, weight).reshape(-1, 1, 1) / np.pi
    return share**0.5 * moved(wave, shifts)


def widest(wave: Array) -> float:
    """The widest source [pixel, standard deviation] that `of_source` can sum over, with `MOST` nodes.

    A pattern holds frequencies f of s up to the diameter k of the aperture [cycles/pixel], that of the bright disk of
    P's far field. exp(-t^2 / 2), t = 2 pi f width, is what the source leaves of one, and the sum of nodes leaves
    sum_j w_j cos(sqrt(2) t x_j): 7 nodes are for t up to 2.2 (34.6 mrad, 80 kV, 0.02 nm: 2.1), 25 up to 6.6.
    """
    return _steepest(MOST) / _fastest(wave)


def _nodes(wave: Array, width: float) -> int:
    t = width * _fastest(wave)
    found = next((m for m in range(NODES, MOST + 1) if _steepest(m) >= t), None)
    if found is None:
        raise ValueError(f"a source of {width:.3g} pixels rms: must be at most {widest(wave):.3g} for this aperture")
    return found


def _fastest(wave: Array) -> float:
    """2 pi k [rad/pixel]"""
    ny, nx = wave.shape
    return 4 * pi * disk(intensity(far_field(wave)), (0.5,))[1] / max(int(ny), int(nx))


@cache
def _steepest(nodes: int) -> float:
    """The t up to which the quadrature misses no more than `MISSED` of exp(-t^2 / 2)."""
    place, weight = np.polynomial.hermite.hermgauss(nodes)
    t = np.arange(0, 20, 0.01)
    left = np.cos(2**0.5 * np.outer(t, place)) @ weight / np.pi**0.5
    return float(t[np.argmax(abs(left - np.exp(-(t**2) / 2)) > MISSED)])


def illuminated(probe: Array, level: float = 0.16) -> Array:
    """Where the probe is bright, boolean (..., y, x): |P|^2 > level max |P|^2. 0.16 is that of deep-phase-imaging."""
    bright = intensity(probe)
    return bright > level * bright.max(axis=AXES, keepdims=True)


def _centred(spectrum: Array, power: Array) -> Array:
    """The wave of a spectrum (zero frequency first) with its origin at N//2 and the given sum of |P|^2."""
    xp = module(spectrum, power)
    wave = xp.fft.fftshift(ifft2(spectrum), AXES)
    return wave * (leading(power, xp) / intensity(wave).sum(axis=AXES, keepdims=True)) ** 0.5


def _edge(shape: tuple[int, int], sampling: Array, wavelength: Array) -> Array:
    """The angle [rad] of one pixel of the pattern, along the axis where it is larger."""
    dy, dx = pair(sampling)
    return wavelength * np.maximum(1 / (shape[0] * np.asarray(dy)), 1 / (shape[1] * np.asarray(dx)))


def _check(semi_angle: Array, edge: Array, sampling: Array, wavelength: Array) -> None:
    dy, dx = pair(sampling)
    widest = wavelength / (2 * np.maximum(dy, dx)) - edge / 2
    if not np.all(semi_angle <= widest):
        raise ValueError(
            f"a semi-angle of {np.max(semi_angle):.4g} rad is beyond the {np.min(widest):.4g} rad that these pixels "
            "can hold: take smaller ones"
        )
    if not np.all(semi_angle >= edge):
        raise ValueError(
            f"a semi-angle of {np.min(semi_angle):.4g} rad is below one pixel of the pattern, {np.max(edge):.4g} rad: "
            "take more, or larger, pixels"
        )

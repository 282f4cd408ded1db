"""Multislice: waves through thick specimens, slice by slice.

Lengths are in nm, phases in rad, potentials in V, and waves are as in `physics.optics`.

Slice k of thickness d_k multiplies the wave by t_k = exp(-sigma V' d_k) exp(i sigma V d_k), where V d_k is the
potential integrated over the slice. Free space P lies between the middles of neighbouring slices (Strang's splitting,
error O(d^2)):

    psi = P(last) t_{n-1} P((d_{n-2} + d_{n-1}) / 2) ... t_1 P((d_0 + d_1) / 2) t_0 P(d_0 / 2) psi_0

psi_0 is the wave at the entrance surface. The last factor refers the wave to a plane of choice, as if it had travelled
there in vacuum. In the middle plane, one slice is the projection approximation, and defocus has the same meaning in
both.

Products of detail beyond half the Nyquist frequency are aliased. A circular limit at 2/3 of the Nyquist frequency, for
transmissions and free space, keeps the alias out of what lies within it; what is scattered beyond is lost.

Cowley and Moodie, Acta Cryst. 10 (1957) 609; Kirkland, Advanced Computing in Electron Microscopy, ch. 6.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from physics.arrays import Array, module, pair
from physics.electron import interaction
from physics.fourier import fft2, frequencies, ifft2
from physics.optics import phasor, propagate

BAND = 2 / 3  # of the lower Nyquist frequency of the two axes: radius of the band limit

type Scan = Callable[[Callable[[Array, Any], tuple[Array, None]], Array, Any], tuple[Array, Any]]


def highest_frequency(sampling: Array) -> float:
    """Return the radius of the band limit [1/nm]: 2/3 of the Nyquist frequency of the larger pixels.

    Args:
        sampling: [nm], as for `arrays.pair`.
    """
    return BAND / (2 * max(map(float, pair(sampling))))


def band_limit(shape: tuple[int, ...], sampling: Array, xp: Array = np) -> Array:
    """Return the circular band limit of waves (..., y, x): 1 below `highest_frequency`, otherwise 0.

    Args:
        shape: shape of the waves.
        sampling: [nm], as for `arrays.pair`.
        xp: array module of the result.

    Returns:
        Mask (ny, nx), float32, zero frequency first.
    """
    fy, fx = frequencies(shape, sampling, np)
    below = highest_frequency(sampling) * (1 - 1e-9)  # pixels exactly at the limit are beyond it, whatever the rounding
    return xp.asarray(fy**2 + fx**2 < below**2, dtype=np.float32)


def transmission(potential: Array, voltage: float, limit: Array | None = None) -> Array:
    """Transmission of a slice, t = exp(i sigma V_z).

    Args:
        potential: V_z (..., y, x) [V nm], integrated over the slice; an imaginary part above 0 absorbs.
        voltage: accelerating voltage [V].
        limit: mask of `band_limit`; None for no limit.

    Returns:
        t (..., y, x), complex, in the precision of the potential.
    """
    sigma = interaction(voltage)
    t = phasor((sigma * potential.real).astype(potential.real.dtype))
    if module(potential).iscomplexobj(potential):
        t = t * module(potential).exp(-sigma * potential.imag).astype(potential.real.dtype)
    return t if limit is None else ifft2(fft2(t) * limit)


def exit_wave(
    transmissions: Iterable[Array],
    wavelength: Array,
    thickness: Array | Sequence[float],
    sampling: Array,
    *,
    incident: Array | None = None,
    exit_plane: str | float = "middle",
    limit: Array | None = None,
    scan: Scan | None = None,
) -> Array:
    """Return the wave psi behind a specimen.

    The intensity is conserved where |t| = 1 and nothing is scattered beyond the limit. Slices must be thin: pi lambda d
    f^2 << 1 and |d phi / dx| d lambda << 1 pixel.

    Args:
        transmissions: t_k (..., y, x), complex, in the order in which the beam meets them; one is held at a time.
        wavelength: lambda [nm], a number or an array over the leading axes.
        thickness: d [nm] of all slices, a number or an array over the leading axes; or a tuple or list of d_k.
        sampling: [nm], a number or an array over the leading axes, or a tuple (y, x).
        incident: psi_0 (..., y, x), complex, at the entrance surface; None for a plane wave of amplitude 1.
        exit_plane: where psi is given: in the `middle` of the specimen, at its exit `surface`, or at this distance
            downstream of the entrance surface [nm].
        limit: mask of `band_limit` for free space; None for no limit.
        scan: `jax.lax.scan`, with which a program for JAX holds one slice, not all. `transmissions` are then one array
            (slice, ..., y, x).

    Returns:
        psi (..., y, x), complex.
    """

    def travel(wave: Array, distance: Array) -> Array:
        return propagate(wave, wavelength, distance, sampling, limit)

    def step(wave: Array, slice_and_gap: tuple[Array, Array]) -> tuple[Array, None]:
        transmission, gap = slice_and_gap
        return transmission * travel(wave, gap), None

    slices = iter(transmissions)
    first = next(slices)
    wave = first if incident is None else first * travel(incident, _half(thickness, 0))
    if scan is None:
        passed = 1
        for transmission in slices:
            wave, _ = step(wave, (transmission, _gap(thickness, passed)))
            passed += 1
    else:
        passed = len(transmissions)  # type: ignore[arg-type]
        gaps = module(first).asarray([_gap(thickness, k) for k in range(1, passed)])
        wave, _ = scan(step, wave, (transmissions[1:], gaps))  # type: ignore[index]
    rest = _rest(thickness, passed, exit_plane)
    return wave if isinstance(rest, int | float) and rest == 0 else travel(wave, rest)


def _half(thickness: Any, index: int) -> Array:
    """Return half the thickness of a slice [nm]."""
    return (thickness[index] if isinstance(thickness, tuple | list) else thickness) / 2


def _gap(thickness: Any, index: int) -> Array:
    """Return the distance [nm] between the middles of the slice `index` and the one before."""
    if not isinstance(thickness, tuple | list):
        return thickness
    if index >= len(thickness):
        raise ValueError(f"thickness has {len(thickness)} entries, but there are more slices: give one for each")
    return _half(thickness, index - 1) + _half(thickness, index)


def _rest(thickness: Any, slices: int, exit_plane: Any) -> Array:
    """Return the distance [nm] from the middle of the last slice to the exit plane."""
    if isinstance(thickness, tuple | list):
        if len(thickness) != slices:
            raise ValueError(f"thickness has {len(thickness)} entries for {slices} slices: give one for each")
        total = sum(thickness)
        middle = total / 2 - (total - thickness[-1] / 2)
    else:
        total = slices * thickness
        middle = (1 - slices) / 2 * thickness
    if exit_plane == "middle":
        return middle
    if exit_plane == "surface":
        return _half(thickness, -1)
    if isinstance(exit_plane, str):
        raise ValueError(f"exit_plane {exit_plane!r}: must be middle, surface, or a distance from the entrance [nm]")
    return exit_plane - (total - _half(thickness, -1))

"""Waves aligned with other waves: o = modulus exp(i phase), of which a far field shows only |F o|.

No |F o| tells o from c o(x - s), |c| = 1, nor from its twin conj o(-x). The nearest of these to a truth t, exactly:

    min over c, s   sum_x |c p(x - s) - t(x)|^2 = |p|^2 + |t|^2 - 2 max_s |C(s)|,   C(s) = sum_x conj p(x - s) t(x)

with c = C / |C| at the best s; likewise for the twin of p, and the nearer of both. Shifts are whole pixels, cyclic;
the twin is index -> -index, so that index 0 stays. Arrays (sample, *spatial), NumPy or JAX.
"""

import math
from dataclasses import dataclass
from math import pi

import numpy as np

from physics.arrays import Array

EVEN = 1e-6  # of a pixel, or of a moment: rounding, which must not decide


@dataclass(frozen=True)
class Aligned:
    """A wave aligned with another."""

    modulus: Array  # (sample, *spatial)
    phase: Array  # [rad], beside the truth's: the error lies in [-pi, pi)
    beside: Array  # (sample, *spatial) [rad]: moved and with the constant added, but no cycles taken off
    twin: Array  # (sample,): whether it is the twin that is nearer


def align_wave(
    modulus: Array, phase: Array, exact_modulus: Array, exact_phase: Array, ambiguities: tuple[str, ...]
) -> Aligned:
    """The prediction (modulus, phase) aligned so that its wave is nearest to the exact one.

    ambiguities: some of constant, shift, twin. Where the modulus is 0 there is no phase: it stays as it is.
    """
    xp = modulus.__array_namespace__()
    truth = _wave(exact_modulus, exact_phase, xp)
    m, p, gain = _moved(modulus, phase, truth, ambiguities, xp)
    twin = xp.zeros(gain.shape, dtype=bool)
    if "twin" in ambiguities:
        other_m, other_p, other_gain = _moved(inverted(modulus, 1, xp), -inverted(phase, 1, xp), truth, ambiguities, xp)
        twin = other_gain > gain
        m, p = (xp.where(_spread(twin, m), new, old) for new, old in ((other_m, m), (other_p, p)))
    away = p - exact_phase
    near = xp.where(m == 0, p, exact_phase + away - 2 * pi * xp.floor(away / (2 * pi) + 0.5))
    return Aligned(m, near, p, twin)


def _wave(modulus: Array, phase: Array, xp: Array) -> Array:
    return modulus * (xp.cos(phase) + 1j * xp.sin(phase))


def inverted(values: Array, first: int, xp: Array) -> Array:
    """index -> -index along each axis from `first` on, cyclic, so that index 0 stays."""
    axes = tuple(range(first, values.ndim))
    return xp.roll(xp.flip(values, axes), (1,) * len(axes), axes)


def _moved(
    modulus: Array, phase: Array, truth: Array, ambiguities: tuple[str, ...], xp: Array
) -> tuple[Array, Array, Array]:
    """Modulus and phase at the best shift and constant, and |C| there, or its real part without a free constant."""
    axes = tuple(range(1, modulus.ndim))
    wave = _wave(modulus, phase, xp)
    if "shift" in ambiguities:
        products = xp.fft.ifftn(xp.fft.fftn(wave, axes=axes).conj() * xp.fft.fftn(truth, axes=axes), axes=axes)
        size = abs(products) if "constant" in ambiguities else products.real
        best = size.reshape(len(size), -1).argmax(axis=-1)
        modulus, phase = (shifted(values, best, 1, xp) for values in (modulus, phase))
        wave = _wave(modulus, phase, xp)
    # anew, in the pixels' own order: the same wave gives the same bits whatever the shift
    product = _sum(wave.conj() * truth)
    if "constant" not in ambiguities:
        return modulus, phase, product.real
    angle = xp.arctan2(product.imag, product.real)
    return modulus, xp.where(modulus == 0, phase, phase + _spread(angle, phase)), abs(product)


def shifted(values: Array, best: Array, first: int, xp: Array) -> Array:
    """Each sample moved, cyclic, along the axes from `first` on. best: its shift, as a position in their flat grid."""
    shape = values.shape[first:]
    for axis, (n, shift) in enumerate(zip(shape, xp.unravel_index(best, shape), strict=True), start=first):
        source = (xp.arange(n) - shift[:, None]) % n
        source = source.reshape(len(values), *[n if i == axis else 1 for i in range(1, values.ndim)])
        values = xp.take_along_axis(values, source, axis=axis)
    return values


def _spread(values: Array, like: Array) -> Array:
    return values.reshape(len(values), *[1] * (like.ndim - 1))


def counted(modulus: Array, phase: Array, ambiguities: tuple[str, ...]) -> Array:
    """The phase [rad], 0 where the modulus is 0; if a constant is free, it is the one with which sum o > 0.

    That is known to a turn: the mean of the phase, weighted with the modulus, then lies in [-pi, pi].
    """
    xp = modulus.__array_namespace__()
    if "constant" in ambiguities:
        total = _sum(_wave(modulus, phase, xp))
        phase = phase - _spread(xp.arctan2(total.imag, total.real), phase)
        size = _sum(modulus)
        turns = xp.round(_sum(modulus * phase) / xp.where(size > 0, 2 * pi * size, 1))
        phase = phase - 2 * pi * _spread(turns, phase)
    return xp.where(modulus == 0, 0, phase)


def _sum(values: Array) -> Array:
    """Sum of each sample, over one axis: NumPy's bits do not depend on the batch."""
    return values.reshape(len(values), -1).sum(axis=-1)


def canonical(modulus: Array, phase: Array) -> tuple[Array, Array]:
    """The one of all waves o that have this far field which is agreed upon: (modulus, phase), each (sample, y, x).

    Constant: sum o > 0. Twin: that with q > 0, dy and dx from the centroid of the modulus, r^2 = dy^2 + dx^2,

        q = Im sum o r^2 / sum |o| r^2 + Re sum o dy r^2 / sum |o| r^3

    for with that constant the twin has -q: the first term tells how the phase bends, the second how the shape leans.
    Centred: moved by whole pixels until the centroid is nearest to pixel N//2 (half a pixel: beyond it); if the object
    would then cross the border of the frame, as near as it can. The phase lies in -pi..pi, 0 where the modulus is.

    modulus: 0 outside an object that does not cross the border. NumPy, float64 or float32; sample by sample.
    """
    rows = [_canonical(m, p) for m, p in zip(modulus, phase, strict=True)]
    first, second = (np.array([row[k] for row in rows], like) for k, like in enumerate((modulus.dtype, phase.dtype)))
    return first.reshape(modulus.shape), second.reshape(phase.shape)


def _canonical(modulus: Array, phase: Array) -> tuple[Array, Array]:
    if not modulus.any():
        return modulus, np.zeros_like(phase)
    phase = phase.astype(float)
    wave = modulus * np.exp(1j * phase)
    constant = np.angle(wave.sum())
    phase = phase - constant
    if _leaning(modulus.astype(float), wave * np.exp(-1j * constant)) < 0:
        modulus, phase = modulus[::-1, ::-1], -phase[::-1, ::-1]
    phase = np.where(modulus > 0, phase - 2 * pi * np.rint(phase / (2 * pi)), 0)
    steps = tuple(_step(modulus, axis) for axis in (0, 1))
    return tuple(np.roll(values, steps, (0, 1)) for values in (modulus, phase))


def _step(modulus: Array, axis: int) -> int:
    """Pixels along an axis that bring the centroid to the middle, and nothing across the border."""
    line = modulus.sum(axis=1 - axis, dtype=float)
    held = np.flatnonzero(line)
    wanted = len(line) // 2 - math.floor(float((line * np.arange(len(line))).sum() / line.sum()) + 0.5 + EVEN)
    return int(np.clip(wanted, -held[0], len(line) - 1 - held[-1]))


def _leaning(modulus: Array, wave: Array) -> float:
    """q: 0 if both terms are so but for rounding."""
    y, x = (np.arange(n, dtype=float) for n in modulus.shape)
    total = modulus.sum()
    dy, dx = (y - (modulus.sum(axis=1) * y).sum() / total)[:, None], x - (modulus.sum(axis=0) * x).sum() / total
    square = dy**2 + dx**2
    bent, leant = (wave * square).sum().imag, (wave * dy * square).sum().real
    size, cubed = (modulus * square).sum(), (modulus * square**1.5).sum()
    found = float(bent / size + leant / cubed) if size > 0 else 0.0
    return found if abs(found) > EVEN else 0.0

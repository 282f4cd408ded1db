"""Alignment of waves o = modulus exp(i phase) with other waves. A far field shows only |F o|.

No |F o| distinguishes o from c o(x - s) with |c| = 1, nor from its twin conj o(-x). The one that is nearest to a truth
t is found exactly:

    min over c, s   sum_x |c p(x - s) - t(x)|^2 = |p|^2 + |t|^2 - 2 max_s |C(s)|,   C(s) = sum_x conj p(x - s) t(x)

with c = C / |C| at the best s. The same is done for the twin of p, and the nearer of both is taken. Shifts are whole
pixels, cyclic; the twin is index -> -index, so that index 0 stays. Arrays are (sample, *spatial), NumPy or JAX.
"""

import math
from dataclasses import dataclass
from math import pi

import numpy as np

from physics.arrays import Array

ROUNDING_TOLERANCE = 1e-6  # smaller parts of a pixel, or of q, are rounding errors and must not decide


@dataclass(frozen=True)
class AlignedWave:
    """A wave aligned with another one."""

    modulus: Array  # (sample, *spatial)
    phase: Array  # (sample, *spatial) [rad], with whole turns added so that the error lies in [-pi, pi)
    raw_phase: Array  # (sample, *spatial) [rad]: the phase before whole turns are added
    twin: Array  # (sample,): True where the twin is nearer


def align_wave(
    modulus: Array, phase: Array, exact_modulus: Array, exact_phase: Array, ambiguities: tuple[str, ...]
) -> AlignedWave:
    """Align a predicted wave so that it is as near as possible to the exact one.

    Where the modulus is 0, the phase is undefined and is not changed.

    Args:
        modulus: predicted modulus (sample, *spatial).
        phase: predicted phase [rad], of the same shape.
        exact_modulus: exact modulus.
        exact_phase: exact phase [rad].
        ambiguities: the allowed transformations, some of constant, shift, twin.
    """
    xp = modulus.__array_namespace__()
    truth = _wave(exact_modulus, exact_phase, xp)
    m, p, gain = _align_shift_and_constant(modulus, phase, truth, ambiguities, xp)
    twin = xp.zeros(gain.shape, dtype=bool)
    if "twin" in ambiguities:
        other_m, other_p, other_gain = _align_shift_and_constant(
            invert_indices(modulus, 1, xp), -invert_indices(phase, 1, xp), truth, ambiguities, xp
        )
        twin = other_gain > gain
        m, p = (xp.where(_expand_like(twin, m), new, old) for new, old in ((other_m, m), (other_p, p)))
    error = p - exact_phase
    nearest = xp.where(m == 0, p, exact_phase + error - 2 * pi * xp.floor(error / (2 * pi) + 0.5))
    return AlignedWave(m, nearest, p, twin)


def _wave(modulus: Array, phase: Array, xp: Array) -> Array:
    return modulus * (xp.cos(phase) + 1j * xp.sin(phase))


def invert_indices(values: Array, first: int, xp: Array) -> Array:
    """Map index to -index along each axis from `first` on, cyclic, so that index 0 stays."""
    axes = tuple(range(first, values.ndim))
    return xp.roll(xp.flip(values, axes), (1,) * len(axes), axes)


def _align_shift_and_constant(
    modulus: Array, phase: Array, truth: Array, ambiguities: tuple[str, ...], xp: Array
) -> tuple[Array, Array, Array]:
    """Return modulus and phase at the best shift and constant, and |C| there, or Re C if the constant is not free."""
    axes = tuple(range(1, modulus.ndim))
    wave = _wave(modulus, phase, xp)
    if "shift" in ambiguities:
        products = xp.fft.ifftn(xp.fft.fftn(wave, axes=axes).conj() * xp.fft.fftn(truth, axes=axes), axes=axes)
        size = abs(products) if "constant" in ambiguities else products.real
        best = size.reshape(len(size), -1).argmax(axis=-1)
        modulus, phase = (shift_cyclically(values, best, 1, xp) for values in (modulus, phase))
        wave = _wave(modulus, phase, xp)
    # Computed again in the order of the pixels, so that the same wave gives the same bits whatever the shift.
    product = _sum_per_sample(wave.conj() * truth)
    if "constant" not in ambiguities:
        return modulus, phase, product.real
    angle = xp.arctan2(product.imag, product.real)
    return modulus, xp.where(modulus == 0, phase, phase + _expand_like(angle, phase)), abs(product)


def shift_cyclically(values: Array, best: Array, first: int, xp: Array) -> Array:
    """Shift each sample cyclically along the axes from `first` on.

    Args:
        values: (sample, ...).
        best: (sample,), the shift of each sample as a flat index into the grid of these axes.
        first: the first axis that is shifted.
        xp: the module of the arrays, NumPy or jax.numpy.
    """
    shape = values.shape[first:]
    for axis, (n, shift) in enumerate(zip(shape, xp.unravel_index(best, shape), strict=True), start=first):
        source = (xp.arange(n) - shift[:, None]) % n
        source = source.reshape(len(values), *[n if i == axis else 1 for i in range(1, values.ndim)])
        values = xp.take_along_axis(values, source, axis=axis)
    return values


def _expand_like(values: Array, like: Array) -> Array:
    return values.reshape(len(values), *[1] * (like.ndim - 1))


def fix_constant(modulus: Array, phase: Array, ambiguities: tuple[str, ...]) -> Array:
    """Return the phase [rad] with a definite constant, and 0 where the modulus is 0.

    If a constant is free, it is chosen so that sum o > 0. This leaves whole turns undetermined; they are chosen so that
    the mean of the phase, weighted with the modulus, lies in [-pi, pi].

    Args:
        modulus: (sample, *spatial).
        phase: [rad], of the same shape.
        ambiguities: the allowed transformations.
    """
    xp = modulus.__array_namespace__()
    if "constant" in ambiguities:
        total = _sum_per_sample(_wave(modulus, phase, xp))
        phase = phase - _expand_like(xp.arctan2(total.imag, total.real), phase)
        size = _sum_per_sample(modulus)
        turns = xp.round(_sum_per_sample(modulus * phase) / xp.where(size > 0, 2 * pi * size, 1))
        phase = phase - 2 * pi * _expand_like(turns, phase)
    return xp.where(modulus == 0, 0, phase)


def _sum_per_sample(values: Array) -> Array:
    """Return the sum of each sample, over one axis, so that NumPy's bits do not depend on the batch."""
    return values.reshape(len(values), -1).sum(axis=-1)


def canonical_form(modulus: Array, phase: Array) -> tuple[Array, Array]:
    """Return the canonical one of all waves o that have the same far field: (modulus, phase), each (sample, y, x).

    The constant is chosen so that sum o > 0. Of the twins, the one with q > 0 is chosen. With dy and dx measured from
    the centroid of the modulus and r^2 = dy^2 + dx^2,

        q = Im sum o r^2 / sum |o| r^2 + Re sum o dy r^2 / sum |o| r^3

    because with this constant the twin has -q. The first term measures how the phase is curved, the second how the
    shape leans to one side. The object is then centred: it is shifted by whole pixels until the centroid is nearest to
    pixel N//2 (a centroid half-way between two pixels is rounded up). If the object would then cross the
    border of the frame, it is shifted only as far as it stays inside. The phase lies in -pi..pi, and is 0 where the
    modulus is 0.

    Args:
        modulus: (sample, y, x), 0 outside of an object that does not cross the border. NumPy, float64 or float32.
        phase: [rad], of the same shape.
    """
    rows = [_canonical_sample(m, p) for m, p in zip(modulus, phase, strict=True)]
    first, second = (np.array([row[k] for row in rows], like) for k, like in enumerate((modulus.dtype, phase.dtype)))
    return first.reshape(modulus.shape), second.reshape(phase.shape)


def _canonical_sample(modulus: Array, phase: Array) -> tuple[Array, Array]:
    """Return the canonical form of one sample."""
    if not modulus.any():
        return modulus, np.zeros_like(phase)
    phase = phase.astype(float)
    wave = modulus * np.exp(1j * phase)
    constant = np.angle(wave.sum())
    phase = phase - constant
    if _twin_asymmetry(modulus.astype(float), wave * np.exp(-1j * constant)) < 0:
        modulus, phase = modulus[::-1, ::-1], -phase[::-1, ::-1]
    phase = np.where(modulus > 0, phase - 2 * pi * np.rint(phase / (2 * pi)), 0)
    steps = tuple(_centring_shift(modulus, axis) for axis in (0, 1))
    return tuple(np.roll(values, steps, (0, 1)) for values in (modulus, phase))


def _centring_shift(modulus: Array, axis: int) -> int:
    """Return the shift in pixels along an axis that centres the centroid but moves nothing across the border."""
    profile = modulus.sum(axis=1 - axis, dtype=float)
    occupied = np.flatnonzero(profile)
    wanted = len(profile) // 2 - math.floor(
        float((profile * np.arange(len(profile))).sum() / profile.sum()) + 0.5 + ROUNDING_TOLERANCE
    )
    return int(np.clip(wanted, -occupied[0], len(profile) - 1 - occupied[-1]))


def _twin_asymmetry(modulus: Array, wave: Array) -> float:
    """Return q of `canonical_form`; 0 if it is 0 except for rounding errors."""
    y, x = (np.arange(n, dtype=float) for n in modulus.shape)
    total = modulus.sum()
    dy, dx = (y - (modulus.sum(axis=1) * y).sum() / total)[:, None], x - (modulus.sum(axis=0) * x).sum() / total
    square = dy**2 + dx**2
    curvature, lean = (wave * square).sum().imag, (wave * dy * square).sum().real
    size, cubic = (modulus * square).sum(), (modulus * square**1.5).sum()
    asymmetry = float(curvature / size + lean / cubic) if size > 0 else 0.0
    return asymmetry if abs(asymmetry) > ROUNDING_TOLERANCE else 0.0

"""Transmission of X-rays or neutrons: from ideal line integrals to counts, and back to measured line integrals.

    counts(i, j) = F(j) f(i) exp(-q(i, j)) + D,   q = p - h p^2
    measured     = -ln( max(counts - dark, c) / max(flat - dark, c) )

p is the line integral of the attenuation coefficient in view i and detector pixel j, h the hardening of the beam, f its
flux, F(j) the counts without object and D the offset. flat and dark are means of frames without object and without
beam. All of p, q and their measured values are dimensionless. Sinograms are (..., angle, detector).

The logarithm of a Poisson variable of mean m has a bias and more variance than 1/m, so that

    mean of -ln(n / m) = 1 / (2m) + 5 / (12 m^2) + ...,   variance = 1 / m + 3 / (2 m^2) + ...

Noise therefore belongs on the counts: noise that is added to p has neither. A point spread of the detector multiplies
the first order of the variance by mean(MTF^2), see `noise.modulation_transfer`.
"""

import numpy as np
from numpy.random import Generator

from physics.arrays import Array, Real, module

LOWEST_COUNT = 0.1  # photons in place of fewer, before the logarithm, as for LoDoPaB-CT (Sci. Data 8, 109 (2021))


def hardening(linear: float, quadratic: float) -> float:
    """Hardening h [1] of a beam, from its attenuation by a plate of the thickness L.

        p = a1 L - a2 L^2;   h = a2 / a1^2

    Args:
        linear: a1 > 0, for example [1/mm].
        quadratic: a2, for example [1/mm^2].
    """
    return quadratic / linear**2


def harden(paths: Array, hardening: float) -> Array:
    """Attenuation of a beam whose soft part is absorbed first.

        q = p - h p^2

    It grows with the path up to p = 1 / (2h).

    Args:
        paths: p, line integrals for a thin object.
        hardening: h >= 0; 0 returns `paths` itself.

    Returns:
        q, of the shape and dtype of `paths`.

    Raises:
        ValueError: if the attenuation falls with the path before the largest one, or h is negative or NaN.
    """
    if not hardening >= 0:
        raise ValueError(f"hardening {hardening} must be 0 or more")
    if not hardening:
        return paths
    largest = float(paths.max())
    if not 2 * hardening * largest < 1:
        raise ValueError(
            f"hardening {hardening:g} makes the attenuation fall beyond the path {1 / (2 * hardening):g}, and the "
            f"largest path is {largest:g}: it must be below {1 / (2 * largest):.4g}"
        )
    return paths - hardening * paths * paths


def unharden(attenuation: Array, hardening: float) -> Array:
    """Line integrals of a hardened beam, the inverse of `harden`.

        p = 2 q / (1 + (1 - 4 h q)^(1/2))

    Args:
        attenuation: q. Where noise lifts it above its maximum 1 / (4h), p is the 1 / (2h) of the maximum.
        hardening: h >= 0; 0 returns `attenuation` itself.

    Returns:
        p, of the shape and dtype of `attenuation`.
    """
    if not hardening:
        return attenuation
    q = module(attenuation).minimum(attenuation, 1 / (4 * hardening))
    return 2 * q / (1 + (1 - 4 * hardening * q) ** 0.5)


def beam_profile(pixels: int, fall: float) -> Real:
    """Intensity of the incident beam at each detector pixel, relative to that in the middle: a parabola.

    Args:
        pixels: number of detector pixels.
        fall: loss of intensity from the middle to both ends, from 0 to 1.

    Returns:
        (detector,), 1 in the middle.
    """
    return 1 - fall * np.linspace(-1, 1, pixels) ** 2 if pixels > 1 else np.ones(1)


def flux_drift(views: int, drift: float, rng: Generator) -> Real:
    """Logarithm of the flux in each view, relative to that of the flat field: a random walk.

    Args:
        views: number of views, at equal intervals of time. The flat field is measured one interval before the first.
        drift: standard deviation in the last view.
        rng: random numbers.

    Returns:
        ln f (angle,).
    """
    walk: Real = np.cumsum(rng.standard_normal(views)) * drift / np.sqrt(views)
    return walk


def zingers(shape: tuple[int, ...], rate: float, strength: float, rng: Generator) -> Real:
    """Counts of stray quanta that hit the detector directly, so that single values are far too high.

    Every value draws the same number of random numbers, so a higher rate adds zingers and keeps the others.

    Args:
        shape: shape of the measurement.
        rate: probability that a value is hit, from 0 to 1.
        strength: mean counts of a hit; they are exponentially distributed.
        rng: random numbers.

    Returns:
        counts, of this shape.
    """
    chance, counts = rng.random(shape), rng.exponential(strength, shape)
    return np.where(chance < rate, counts, 0.0)


def attenuation(counts: Array, flat: Array, dark: Array, lowest: float) -> Array:
    """Measured line integrals: -ln( max(counts - dark, c) / max(flat - dark, c) ).

    Args:
        counts: (..., angle, detector).
        flat: counts without object, (detector,) or as `counts`.
        dark: counts without beam, (detector,) or as `counts`.
        lowest: c > 0, the signal in place of all that are smaller, zero or negative. `LOWEST_COUNT` photons are usual.

    Returns:
        q of the shape of `counts`. A pixel that reads the same with and without object has q = 0.

    Raises:
        ValueError: if `lowest` is not positive.
    """
    if not lowest > 0:
        raise ValueError(f"the lowest signal {lowest} must be positive: zero counts have no logarithm")
    xp = module(counts)
    return xp.log(xp.maximum(flat - dark, lowest)) - xp.log(xp.maximum(counts - dark, lowest))

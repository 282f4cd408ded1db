"""Scattering power of single atoms: the signal of an annular detector, and the loss by thermal scattering.

Lengths in nm, frequencies q and g in 1/nm, angles in rad. The wave scattered by an atom at rest is that of the first
Born approximation, i sigma S f_e(q), with sigma S = gamma lambda. The atom vibrates alone (Einstein's model), with the
standard deviation u along each axis. A probe of intensity |P|^2 (integral 1) at r_0 then sends to the detector

    integral |P(r - r_0)|^2 O(r) d^2r,
    O(g) = (sigma S)^2 integral D(q) f_e(|q + g/2|) f_e(|q - g/2|) exp(-2 pi^2 u^2 g^2) d^2q

O(0) is the cross-section into the detector. q + g/2 and q - g/2 are the two scattering vectors by which two rays of the
probe, g apart, meet in one point of the detector; that point is q where the two lie evenly around the axis. D is the
share of the rays that reach the detector when they are scattered by q. Rays g apart lie in the overlap of two apertures
of semi-angle alpha, which is replaced by a cone of the same solid angle. This is exact for g = 0, and within some 2 %
of the image where the detector begins at twice alpha. Neglected are phases beyond the first Born approximation, and
interference with the unscattered beam.

Thermal scattering alone is the rest without the wave scattered by the average atom. Summed over all angles, it is the
loss of the elastic wave, and gives the absorptive potential of Hall and Hirsch, in the form of Bird and King:

    O_t(g): exp(-2 pi^2 u^2 g^2) - exp(-2 pi^2 u^2 (|q + g/2|^2 + |q - g/2|^2)) in place of exp(-2 pi^2 u^2 g^2)
    V'(g) = O_t(g) / (2 sigma),   V'_z(r) = (sigma / 2) (<V_z^2> - <V_z>^2)

So V'_z is never below 0, and 2 sigma times its integral is the cross-section of thermal scattering.

Hall and Hirsch, Proc. R. Soc. A 286 (1965) 158; Bird and King, Acta Cryst. A 46 (1990) 202;
Pennycook and Jesson, Ultramicroscopy 37 (1991) 14, for incoherent images.
"""

from math import inf, pi

import numpy as np

from physics.arrays import Array, Real, module
from physics.electron import interaction, wavelength
from physics.scattering.factors import STRENGTH, scattering_factor

SCALE = 4.0  # [1/nm], where scattering factors begin to fall: nodes are spread evenly over log(1 + q / SCALE)
FARTHEST = 1e5  # [1/nm], where "all angles" end: beyond it lies less than 1e-6 of the whole cross-section
NODES = 12  # of Gauss and Legendre for each unit of log(1 + q / SCALE), at least
AZIMUTHS = 16  # in one quadrant; the other three are equal


def scattering_power(
    element: str,
    g: Array,
    voltage: float,
    inner: float,
    outer: float,
    *,
    vibration: float = 0.0,
    semi_angle: float = 0.0,
    thermal: bool = False,
) -> Array:
    """Return the scattering power O(g) of an atom into an annular detector.

    The error of the quadrature is below 1e-5 of O(0) for g up to twice the smallest q that reaches the detector, and
    below 5e-3 beyond.

    Args:
        element: symbol of the atom.
        g: frequencies of the image (frequency,) [1/nm]; known numbers, not tracers.
        voltage: [V].
        inner: angle from which the detector collects [rad].
        outer: angle up to which it collects [rad]; infinity for all angles.
        vibration: u [nm], the standard deviation of the atom's position along one axis.
        semi_angle: alpha [rad], of the probe's aperture; 0 for rays along the axis.
        thermal: leave out the scattering by the average atom.

    Returns:
        O (frequency,) [nm^2]; O(0) is a cross-section.

    Raises:
        ValueError: if the angles are not in order.
    """
    if not 0 <= inner < outer or semi_angle < 0:
        raise ValueError(
            f"a detector from {inner:g} to {outer:g} rad, lit by a cone of {semi_angle:g} rad: the angles must be 0 or "
            "more, the outer one above the inner one"
        )
    xp, length = module(g), wavelength(voltage)
    q, weight = _ring(inner / length, outer / length, _cones(np.asarray(g), semi_angle / length))
    azimuth = (np.arange(AZIMUTHS) + 0.5) * (pi / 2 / AZIMUTHS)
    radius, weight = (xp.asarray(v)[:, :, None] for v in (q, weight / AZIMUTHS))
    half = xp.asarray(g)[:, None, None] / 2
    near, far = radius**2 + half**2, 2 * radius * half * xp.asarray(np.cos(azimuth))
    one, other = xp.sqrt(near + far), xp.sqrt(xp.maximum(near - far, 0))
    product = scattering_factor(element, one) * scattering_factor(element, other)
    blur = -2 * (pi * vibration) ** 2
    average = xp.exp(2 * blur * near) if thermal else 0.0
    factor = xp.exp(4 * blur * half**2) - average
    return (interaction(voltage) * STRENGTH) ** 2 * (product * factor * weight).sum(axis=(-2, -1))


def absorptive_potential(element: str, g: Array, voltage: float, vibration: float) -> Array:
    """Absorptive potential V'(g) of an atom: the loss of the elastic wave by thermal scattering to all angles.

    The potential of the average atom, blurred by the vibration, becomes V + i V'.

    Args:
        element: symbol of the atom.
        g: (frequency,) [1/nm].
        voltage: [V].
        vibration: u [nm], the standard deviation of the atom's position along one axis.

    Returns:
        V' (frequency,) [V nm^3], to be compared with S f_e.
    """
    return scattering_power(element, g, voltage, 0.0, inf, vibration=vibration, thermal=True) / (
        2 * interaction(voltage)
    )


def _cones(g: Real, aperture: float) -> Real:
    """Return radii (frequency,) [1/nm] of disks that have the area of the overlap of two apertures, g apart."""
    if not aperture:
        return np.zeros(1)
    half = np.arccos(np.clip(g / (2 * aperture), 0, 1))
    return aperture * np.sqrt((2 * half - np.sin(2 * half)) / pi)


def _ring(inner: float, outer: float, cones: Real) -> tuple[Real, Real]:
    """Return radii q [1/nm] and weights, both (frequency, node), of an integral of D x function over the plane."""
    edges = np.array([inner, inner, min(outer, FARTHEST), min(outer, FARTHEST)])
    limits = np.sort(abs(edges + np.outer(cones, [-1, 1, -1, 1])), axis=1)
    limits = np.concatenate([np.zeros((len(cones), 1)), limits], axis=1)
    panels = [_panel(limits[:, k], limits[:, k + 1]) for k in range(4)]
    nodes, weights = (np.concatenate(parts, axis=1) for parts in zip(*panels, strict=True))
    seen = _collected(nodes, outer, cones[:, None]) - _collected(nodes, inner, cones[:, None])
    kept = (seen * weights).any(axis=0)
    return nodes[:, kept], (2 * pi * nodes * weights * seen)[:, kept]


def _panel(start: Real, end: Real) -> tuple[Real, Real]:
    """Return nodes and weights (frequency, node) for q from start to end, spread evenly over log(1 + q / SCALE)."""
    low, high = np.log1p(start / SCALE)[:, None], np.log1p(end / SCALE)[:, None]
    node, weight = np.polynomial.legendre.leggauss(NODES * max(1, int(np.ceil((high - low).max() / 2))))
    t = (low + high) / 2 + node * (high - low) / 2
    return SCALE * np.expm1(t), weight * (high - low) / 2 * SCALE * np.exp(t)


def _collected(q: Real, edge: float, cone: Real) -> Real:
    """Return the share of a disk of radius `cone` around q that lies within a disk of radius `edge` around 0."""
    if edge == inf or not edge or not cone.any():
        return (q < edge).astype(float)
    cone = np.maximum(cone, 1e-9 * edge)
    touching = np.clip(q, abs(edge - cone), edge + cone)  # beyond, one disk is within the other, or outside
    alpha, beta = (
        np.arccos(np.clip((touching**2 + one**2 - other**2) / (2 * touching * one + 1e-300), -1, 1))
        for one, other in ((edge, cone), (cone, edge))
    )
    area = edge**2 * (alpha - np.sin(2 * alpha) / 2) + cone**2 * (beta - np.sin(2 * beta) / 2)
    return np.asarray(area / (pi * cone**2))

"""Scattering factors and potentials of free neutral atoms. Lengths in nm, frequencies g in 1/nm, potentials in V.

    f_e(g) = sum_i a_i (2 + b_i g^2) / (1 + b_i g^2)^2,     V(g) = S f_e(g),     S = h^2 / (2 pi m e) = 0.47878 V nm^2

g is the length of the scattering vector in cycles: g = 2 sin(theta) / lambda. f_e is that of an electron at rest;
relativity is in the interaction constant sigma of `physics.electron`. By Mott and Bethe,

    f_e(g) = (Z - f_x(g)) / (2 pi^2 a_0 g^2),     a_0 the radius of Bohr

where f_x is the form factor for X-rays. The parametrisation obeys this for g -> infinity, where f_x -> 0. Bonds are
left out: the mean inner potential of a solid is lower than that of its free atoms, by 10 to 15 % for silicon.

Lobato and Van Dyck, Acta Cryst. A 70 (2014) 636; Mott, Proc. R. Soc. A 127 (1930) 658.
"""

from collections.abc import Sequence
from math import pi

import numpy as np
from scipy.special import kv

from physics.arrays import Array
from physics.electron import CHARGE, MASS, PLANCK
from physics.scattering.lobato import COEFFICIENTS

STRENGTH = 1e18 * PLANCK**2 / (2 * pi * MASS * CHARGE)  # S [V nm^2]
BOHR = 0.0529177210544  # a_0 [nm], CODATA 2022
ELEMENTS = tuple(COEFFICIENTS)  # symbols in the order of the atomic number Z, from 1


def atomic_number(element: str) -> int:
    """Return the atomic number Z of an element.

    Args:
        element: its symbol, such as "Ni".

    Raises:
        ValueError: if there is no such element in the table.

    >>> atomic_number("Pt")
    78
    """
    if element not in COEFFICIENTS:
        raise ValueError(f"element {element!r}: must be the symbol of an element from H to Lr, such as Ni or Pt")
    return ELEMENTS.index(element) + 1


def scattering_factor(element: str, g: Array) -> Array:
    """Scattering factor f_e [nm] of a free atom for electrons.

    Args:
        element: its symbol.
        g: [1/nm], of any shape.

    Returns:
        f_e [nm], of the shape of `g`.

    Raises:
        ValueError: if there is no such element in the table.
    """
    terms = ((a, 1 + b * g**2) for a, b in _coefficients(element))
    return sum(a * (1 + term) / term**2 for a, term in terms)


def form_factor(element: str, g: Array) -> Array:
    """Form factor f_x of a free atom for X-rays, by the formula of Mott and Bethe.

    Args:
        element: its symbol.
        g: [1/nm], of any shape.

    Returns:
        f_x [electrons], of the shape of `g`.
    """
    return atomic_number(element) - 2 * pi**2 * BOHR * g**2 * scattering_factor(element, g)


def projected_potential(element: str, r: Array) -> Array:
    """Potential of a free atom, integrated along the beam.

        V_z(r) = S sum_i a_i (2 pi / b_i) (K_0(x_i) + x_i K_1(x_i) / 2),     x_i = 2 pi r / sqrt(b_i)

    It is the two-dimensional Fourier transform of S f_e, and grows without bound like -log r towards the nucleus.

    Args:
        element: its symbol.
        r: distance from the nucleus, across the beam [nm], above 0.

    Returns:
        V_z [V nm], of the shape of `r`.
    """
    terms = ((a, b, 2 * pi * np.asarray(r) / b**0.5) for a, b in _coefficients(element))
    return STRENGTH * sum(2 * pi * a / b * (kv(0, x) + x * kv(1, x) / 2) for a, b, x in terms)


def mean_inner_potential(elements: Sequence[str], volume: float) -> float:
    """Mean inner potential [V] of free atoms: S sum f_e(0) / volume.

    Args:
        elements: symbol of each atom in the volume.
        volume: [nm^3].

    Returns:
        The mean potential [V], 10 to 15 % above that of a solid.
    """
    return STRENGTH * sum(float(scattering_factor(element, 0.0)) for element in elements) / volume


def _coefficients(element: str) -> list[tuple[float, float]]:
    """Return (a_i [nm], b_i [nm^2]) of an element."""
    atomic_number(element)
    return [(a * 0.1, b * 0.01) for a, b in zip(*COEFFICIENTS[element], strict=True)]

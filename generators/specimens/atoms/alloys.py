"""Alloys of two fcc metals: lattice constants, and which atoms belong to the second element.

Vegard's law:  a = (1 - x) a_1 + x a_2, with x the share of the second element.

Chemical order is that of Bragg and Williams. The second element prefers some of the sites, a share v of all, and takes
the share p of them:

    S = (p - x) / (1 - v),     0 <= S <= min((1 - x) / (1 - v), x / v)

Preferred are every second layer (001) for L1_0, one or three of the four sublattices for L1_2, and the sites of the
greatest depth for a core of the first element in a shell of the second.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from generators.specimens.atoms.crystals import Sites
from physics.scattering.factors import atomic_number

# Lattice constants [nm] at room temperature: Ashcroft and Mermin, Solid State Physics (1976), to 0.001 nm; they are
# compared with those of ASE in the tests.
LATTICE_CONSTANTS = {
    "Al": 0.405,
    "Ni": 0.352,
    "Cu": 0.361,
    "Rh": 0.380,
    "Pd": 0.389,
    "Ag": 0.409,
    "Ir": 0.384,
    "Pt": 0.392,
    "Au": 0.408,
    "Pb": 0.495,
}

type Arrangement = Literal["random", "core-shell", "L1_0", "L1_2"]
type Mask = NDArray[np.bool_]


def check_element(symbol: str) -> str:
    """Check that a setting names an element whose scattering factor is known.

    Args:
        symbol: the symbol of the element

    Raises:
        ValueError: there is no such element
    """
    atomic_number(symbol)
    return symbol


def lattice_constant(elements: Sequence[str], share: float) -> float:
    """Return the lattice constant [nm] of fcc crystals of one or two elements, by Vegard's law.

    Args:
        elements: symbols
        share: share x of the second element; not used for one

    Raises:
        ValueError: the lattice constant of an element is not known
    """
    if unknown := [element for element in elements if element not in LATTICE_CONSTANTS]:
        raise ValueError(
            f"lattice constant of {unknown[0]} as an fcc crystal: is known for {', '.join(LATTICE_CONSTANTS)}; "
            "give the lattice constant of the particle, constant=0.385 [nm]"
        )
    first, last = (LATTICE_CONSTANTS[element] for element in (elements[0], elements[-1]))
    return (1 - share) * first + share * last


def choose_second(arrangement: Arrangement, sites: Sites, share: float, order: float, numbers: np.ndarray) -> Mask:
    """Return True for the atoms of the second element (site,). Their number is that of the composition, rounded.

    Args:
        arrangement: arrangement of the two elements
        sites: the sites
        share: share x of the second element
        order: order parameter S relative to the largest that the composition allows, 0 (random) to 1
        numbers: independent uniform random numbers (site, 2)
    """
    ties, numbers = numbers.T
    preferred = _preferred(arrangement, sites, share, ties)
    total, here = round(share * len(numbers)), int(preferred.sum())
    elsewhere = len(numbers) - here
    more = order * min((1 - share) * here, share * elsewhere)
    count = min(max(round(share * here + more), total - elsewhere), here, total)
    second: Mask = np.zeros(len(numbers), bool)
    second[lowest(numbers, count, preferred)] = True
    second[lowest(numbers, total - count, ~preferred)] = True
    return second


def lowest(numbers: np.ndarray, count: int, among: Mask) -> NDArray[np.int64]:
    """Return the indices of the lowest numbers.

    Args:
        numbers: the numbers
        count: how many
        among: the numbers that take part
    """
    candidates = np.flatnonzero(among)
    return candidates[np.argsort(numbers[candidates], kind="stable")[:count]]


def _preferred(arrangement: Arrangement, sites: Sites, share: float, ties: np.ndarray) -> Mask:
    """Return True for the sites that the second element prefers."""
    preferred: Mask = np.zeros(len(ties), bool)
    if arrangement == "L1_0":
        preferred = sites.sublattice >= 2
    elif arrangement == "L1_2":
        preferred = (sites.sublattice == 0) == (share < 0.5)
    elif arrangement == "core-shell":
        outwards = np.lexsort((ties, sites.depth))
        preferred[outwards[len(ties) - round(share * len(ties)) :]] = True
    return preferred

"""Scattering factors: the formula of Mott and Bethe, transforms in closed form, published values."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0

from physics.scattering.factors import (
    BOHR,
    ELEMENTS,
    STRENGTH,
    atomic_number,
    form_factor,
    mean_inner_potential,
    projected_potential,
    scattering_factor,
)


@pytest.mark.parametrize("element", ELEMENTS)
def test_far_out_the_nucleus_alone_scatters(element: str) -> None:
    """f_x -> 0, so f_e -> Z / (2 pi^2 a_0 g^2): a wrong digit in any row of the table is found."""
    g = 1e5
    expected = atomic_number(element) / (2 * np.pi**2 * BOHR * g**2)
    assert scattering_factor(element, g) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("element", ELEMENTS)
def test_form_factor_counts_the_electrons_and_falls(element: str) -> None:
    g = np.linspace(0, 60, 601)
    f = form_factor(element, g)
    assert f[0] == atomic_number(element)
    assert (np.diff(f[:200]) < 0).all()
    assert f.min() > -0.02 * f[0]


def test_hydrogen_is_that_of_the_ground_state() -> None:
    """f_x = 1 / (1 + (pi a_0 g)^2)^2, and f_e(0) = a_0."""
    g = np.linspace(0.1, 40, 100)
    assert form_factor("H", g) == pytest.approx(1 / (1 + (np.pi * BOHR * g) ** 2) ** 2, abs=2e-3)
    assert scattering_factor("H", 0.0) == pytest.approx(BOHR, rel=1e-4)


def test_carbon_is_that_of_the_international_tables() -> None:
    """Volume C, table 6.1.1.1, at sin(theta) / lambda = 0.1, 0.2, 0.3, 0.4, 0.5 1/angstrom: 2 1/nm of g each."""
    assert form_factor("C", np.array([2.0, 4, 6, 8, 10])) == pytest.approx(
        [5.126, 3.581, 2.502, 1.950, 1.685], rel=0.01
    )


@pytest.mark.parametrize("element", ["C", "Fe", "Au"])
def test_the_projected_potential_is_the_transform_of_the_scattering_factor(element: str) -> None:
    def integrand(r: float) -> float:
        return float(2 * np.pi * r * projected_potential(element, np.float64(r)) * j0(2 * np.pi * g * r))

    for g in (0.0, 2.0, 9.0):
        total = quad(integrand, 1e-9, 0.02, limit=300)[0] + quad(integrand, 0.02, 2.0, limit=300)[0]
        assert total == pytest.approx(STRENGTH * scattering_factor(element, g), rel=1e-5)


def test_mean_inner_potentials_are_those_of_free_atoms() -> None:
    """S is 47.88 V A^2; 13.9 V for the free atoms of silicon, of which bonds leave 12."""
    assert pytest.approx(0.47877647, rel=1e-6) == STRENGTH
    assert mean_inner_potential(["Si"] * 8, 0.5431**3) == pytest.approx(13.9, abs=0.1)


def test_unknown_elements_are_refused() -> None:
    with pytest.raises(ValueError, match="element 'Xx': must be the symbol"):
        scattering_factor("Xx", 0.0)

"""Wavelength and interaction constant: published values, the relation between them, limits, backends."""

import doctest
from math import pi
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
import pytest

from physics import electron
from physics.electron import CHARGE, LIGHT, MASS, PLANCK, interaction, wavelength

# kV, pm, mrad/(V A), from CODATA 2018; the mass of CODATA 2022 differs in its tenth digit only.
PUBLISHED = [
    (30, 6.97908, 1.543270),
    (60, 4.86606, 1.135691),
    (80, 4.17572, 1.008707),
    (100, 3.70144, 0.924396),
    (120, 3.34922, 0.863811),
    (200, 2.50793, 0.728840),
    (300, 1.96875, 0.652616),
]


@pytest.mark.parametrize(("kilovolts", "picometres", "sigma"), PUBLISHED)
def test_published_values(kilovolts: float, picometres: float, sigma: float) -> None:
    assert round(wavelength(kilovolts * 1e3) * 1e3, 5) == picometres
    assert round(interaction(kilovolts * 1e3) * 1e2, 6) == sigma


@pytest.mark.parametrize("voltage", [1e3, 80e3, 300e3, 1e6])
def test_interaction_is_the_change_of_wave_number_with_voltage(voltage: float) -> None:
    """Sigma = d(2 pi / lambda) / dU: a potential V inside the specimen adds V to the voltage."""
    step = 1e-3 * voltage
    slope = (2 * pi / wavelength(voltage + step) - 2 * pi / wavelength(voltage - step)) / (2 * step)
    assert interaction(voltage) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("voltage", [1e3, 80e3, 300e3, 1e6])
def test_definitions_in_si(voltage: float) -> None:
    """Lambda = h / p with p from the energy, sigma = 2 pi gamma m e lambda / h^2, both in SI."""
    gamma = 1 + CHARGE * voltage / (MASS * LIGHT**2)
    metres = PLANCK / (MASS * LIGHT * (gamma**2 - 1) ** 0.5)
    assert wavelength(voltage) == pytest.approx(metres * 1e9, rel=1e-12)
    assert interaction(voltage) == pytest.approx(2 * pi * gamma * MASS * CHARGE * metres / PLANCK**2 * 1e-9, rel=1e-12)


def test_slow_electrons_obey_newton() -> None:
    """lambda -> h / sqrt(2 m e U) with an error of first order in U."""

    def error(voltage: float) -> float:
        newton = PLANCK / (2 * MASS * CHARGE * voltage) ** 0.5 * 1e9
        return float(newton / wavelength(voltage) - 1)

    assert error(10.0) == pytest.approx(10.0 / (4 * electron.REST_VOLTAGE), rel=1e-3)
    assert error(20.0) / error(10.0) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("formula", [wavelength, interaction])
def test_one_definition_for_every_backend(formula: Any) -> None:
    volts = np.array([30e3, 80e3, 300e3])
    expected = [formula(float(v)) for v in volts]
    np.testing.assert_allclose(formula(volts), expected, rtol=1e-15)
    np.testing.assert_allclose(formula(volts.astype(np.float32)), expected, rtol=5e-7)
    assert formula(volts.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(formula(jnp.asarray(volts)), expected, rtol=5e-7)
    np.testing.assert_allclose(jax.jit(formula)(jnp.asarray(volts)), expected, rtol=5e-7)


def test_numba_compiles_the_same_definition() -> None:
    compiled: Any = numba.njit  # its stubs know only functions of objects
    assert compiled(wavelength)(300e3) == pytest.approx(wavelength(300e3), rel=1e-15)


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(electron) == (0, 2)

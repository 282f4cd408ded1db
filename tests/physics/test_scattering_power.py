"""Scattering powers of atoms: other integrals, the limit of Rutherford, sum rules, published prefactors."""

from math import inf

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from physics.electron import LIGHT, MASS, PLANCK, REST_VOLTAGE, interaction, wavelength
from physics.fourier import blurred
from physics.multislice import highest_frequency
from physics.scattering.atoms import Atoms, projected_potential
from physics.scattering.factors import BOHR, STRENGTH, atomic_number, scattering_factor
from physics.scattering.thermal import absorptive_potential, scattering_power

VOLTAGE = 200e3
LAMBDA, SIGMA = wavelength(VOLTAGE), interaction(VOLTAGE)
NONE = np.zeros(1)


def radial(element: str, inner: float, outer: float, u: float | None = None) -> float:
    """Cross-section [nm^2] by adaptive quadrature of one variable; of thermal scattering alone, if u is given."""

    def integrand(q: float) -> float:
        factor = 1.0 if u is None else -float(np.expm1(-4 * (np.pi * u * q) ** 2))
        return float(2 * np.pi * q * (SIGMA * STRENGTH * scattering_factor(element, q)) ** 2 * factor)

    return float(quad(integrand, inner / LAMBDA, outer / LAMBDA, epsrel=1e-9, epsabs=0, limit=400)[0])


@pytest.mark.parametrize("element", ["H", "C", "Cs", "Pt"])
@pytest.mark.parametrize(("inner", "outer"), [(0.0, 0.02), (0.03, 0.1), (0.06, inf)])
def test_the_power_at_zero_is_the_cross_section(element: str, inner: float, outer: float) -> None:
    expected = radial(element, inner, outer)
    for u in (0.0, 0.009):  # vibration moves electrons about, but not at g = 0
        found = scattering_power(element, NONE, VOLTAGE, inner, outer, vibration=u)
        assert found[0] == pytest.approx(expected, rel=1e-5)


def test_the_cross_section_is_that_of_the_textbook() -> None:
    """d sigma / d Omega = gamma^2 f_e^2, and d Omega = lambda^2 d^2q for small angles."""
    angle = np.linspace(0.02, 0.08, 4001)
    density = ((1 + VOLTAGE / REST_VOLTAGE) * scattering_factor("Ni", angle / LAMBDA)) ** 2 * 2 * np.pi * angle
    expected = np.trapezoid(density, angle)
    assert scattering_power("Ni", NONE, VOLTAGE, 0.02, 0.08)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("element", ["C", "Pt"])
def test_far_out_the_nucleus_alone_scatters(element: str) -> None:
    """Rutherford: 4 Z^2 / (a_0^2 k^4) per solid angle; electrons that screen take a share that falls with the angle."""

    def ratio(inner: float) -> float:
        bare = (SIGMA * STRENGTH * atomic_number(element) / (2 * np.pi**2 * BOHR)) ** 2 * np.pi * (LAMBDA / inner) ** 2
        return float(scattering_power(element, NONE, VOLTAGE, inner, inf)[0] / bare)

    assert ratio(0.02) < 0.9
    assert ratio(0.5) == pytest.approx(1, abs=0.03)


def plane_sum(element: str, g: float, inner: float, outer: float, u: float, cone: float) -> float:
    """O(g) by a sum over a square grid of q, and over the rays of a cone that have a partner g apart."""
    step = 0.4
    axis = np.arange(-outer / LAMBDA - 12, outer / LAMBDA + 12, step) + step / 3
    qy, qx = axis[:, None], axis
    product = scattering_factor(element, np.hypot(qy, qx + g / 2)) * scattering_factor(
        element, np.hypot(qy, qx - g / 2)
    )
    rays = np.linspace(-cone / LAMBDA, cone / LAMBDA, 11) if cone else np.zeros(1)
    inside = [(y, x) for y in rays for x in rays if not cone or np.hypot(y, abs(x) + g / 2) <= cone / LAMBDA + 1e-9]
    share = np.mean(
        [
            (abs(np.hypot(qy + y, qx + x) - (inner + outer) / 2 / LAMBDA) < (outer - inner) / 2 / LAMBDA)
            for y, x in inside
        ],
        axis=0,
    )
    blur = np.exp(-2 * (np.pi * u * g) ** 2)
    return float((SIGMA * STRENGTH) ** 2 * (product * share).sum() * step**2 * blur)


@pytest.mark.parametrize("cone", [0.0, 0.02])
@pytest.mark.parametrize("g", [0.0, 5.0, 12.0])
def test_the_power_is_a_sum_over_the_detector(g: float, cone: float) -> None:
    expected = plane_sum("Ni", g, 0.03, 0.06, 0.006, cone)
    found = scattering_power("Ni", np.array([g]), VOLTAGE, 0.03, 0.06, vibration=0.006, semi_angle=cone)
    assert found[0] == pytest.approx(expected, rel=0.03 if cone and g else 0.01)


def test_the_object_function_is_narrow_and_broadened_by_vibration() -> None:
    """O falls with g, always above 0; the wider the detector begins, the narrower the atom; u^2 adds to its width."""
    g = np.linspace(0, 16, 60)
    power = scattering_power("Pt", g, VOLTAGE, 0.06, 0.2)
    assert (np.diff(power) < 0).all()
    assert power[-1] > 0
    wide = scattering_power("Pt", g, VOLTAGE, 0.03, 0.2)
    assert (power[1:] / power[0] > wide[1:] / wide[0]).all()
    shaken = scattering_power("Pt", g, VOLTAGE, 0.06, 0.2, vibration=0.007)
    assert shaken == pytest.approx(power * np.exp(-2 * (np.pi * 0.007 * g) ** 2), rel=1e-12)


@pytest.mark.parametrize("u", [0.004, 0.009])
@pytest.mark.parametrize("element", ["C", "Ni", "Au"])
def test_the_loss_of_the_elastic_wave_is_the_thermal_scattering(element: str, u: float) -> None:
    """2 sigma integral V'_z d^2r = 2 sigma V'(0) is the cross-section of thermal scattering to all angles."""
    lost = 2 * SIGMA * absorptive_potential(element, NONE, VOLTAGE, u)[0]
    assert lost == pytest.approx(radial(element, 0, inf, u), rel=1e-5)
    assert absorptive_potential(element, np.linspace(0, 20, 5), VOLTAGE, 0.0) == pytest.approx(0.0, abs=1e-12)


def test_the_absorptive_potential_is_the_variance_of_the_phase() -> None:
    """<exp(i sigma V)> loses exp(-sigma V') in amplitude: V' = (sigma / 2) (<V^2> - <V>^2), to second order of V.

    The potential on a grid holds no detail beyond the band limit, so the waves scattered beyond it are missing.
    """
    shape, d, u = (120, 120), 0.0075, 0.01
    v = projected_potential(Atoms(("C",), np.array([0]), np.zeros((1, 3))), shape, d)
    variance = SIGMA / 2 * (blurred(v**2, u / d) - blurred(v, u / d) ** 2)
    spectrum = np.fft.fft2(np.fft.ifftshift(variance)).real[0, :7] * d**2
    g = np.arange(7) / (shape[1] * d)
    limit = LAMBDA * highest_frequency(d)
    found = scattering_power("C", g, VOLTAGE, 0.0, limit, vibration=u, thermal=True) / (2 * SIGMA)
    assert found == pytest.approx(spectrum, rel=0.01, abs=0.01 * spectrum[0])
    assert spectrum[6] < 0.7 * spectrum[0]
    whole = absorptive_potential("C", g, VOLTAGE, u)
    assert (whole > found).all()
    assert whole == pytest.approx(found, rel=0.2)


def test_the_prefactor_is_that_of_bird_and_king() -> None:
    """f' = (4 pi hbar / (m_0 v)) integral f(s/2 + s') f(s/2 - s') (...) d^2s', where s = g / 2, and V' = S f'."""
    gamma = 1 + VOLTAGE / REST_VOLTAGE
    velocity = LIGHT * (1 - 1 / gamma**2) ** 0.5
    prefactor = 1e9 * 2 * PLANCK / (MASS * velocity)  # nm
    u, s = 0.008, np.geomspace(1e-3, 1e5, 4001)
    b = 8 * (np.pi * u) ** 2
    integrand = 2 * np.pi * s * scattering_factor("Al", 2 * s) ** 2 * -np.expm1(-2 * b * s**2)
    expected = prefactor * np.trapezoid(integrand, s)
    found = absorptive_potential("Al", NONE, VOLTAGE, u)[0] / STRENGTH
    assert found == pytest.approx(expected, rel=1e-4)


def test_jax_computes_the_same() -> None:
    few = np.linspace(0, 12, 7)
    expected = scattering_power("Ni", few, VOLTAGE, 0.04, 0.1, vibration=0.007, semi_angle=0.02)
    found = scattering_power("Ni", jnp.asarray(few), VOLTAGE, 0.04, 0.1, vibration=0.007, semi_angle=0.02)
    assert np.asarray(found) == pytest.approx(expected, rel=2e-5)


def test_detectors_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a detector from 0.1 to 0.05 rad, lit by a cone of 0 rad: the angles must"):
        scattering_power("C", NONE, VOLTAGE, 0.1, 0.05)
    with pytest.raises(ValueError, match="element 'Q'"):
        scattering_power("Q", NONE, VOLTAGE, 0.1, 0.2)

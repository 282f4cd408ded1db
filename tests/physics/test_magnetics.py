"""The magnetic phase: a sphere, a Gaussian, the force of Lorentz, and a specimen turned over."""

from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physics.electron import CHARGE, PLANCK
from physics.magnetics import MAGNETIC_CONSTANT, PHASE_RATE, magnetisation, phase, separate_phases, uniform_phase

MAGNETITE = magnetisation(80.0, 5.18)  # A/m
RADIUS = 25.0  # nm
GRIDS = [((128, 128), 150 / 128), ((129, 150), (1.3, 0.9)), ((101, 77), (1.5, 2.0))]

type Grid = tuple[tuple[int, int], float | tuple[float, float]]


@pytest.fixture(params=GRIDS, ids=str)
def grid(request: pytest.FixtureRequest) -> Grid:
    found: Grid = request.param
    return found


def places(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) [nm], pixel N//2 at 0."""
    shape, sampling = grid
    steps = sampling if isinstance(sampling, tuple) else (sampling, sampling)
    y, x = ((np.arange(n) - n // 2) * d for n, d in zip(shape, steps, strict=True))
    return y[:, None] + 0 * x, 0 * y[:, None] + x


def sphere(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Thickness of a sphere [nm]."""
    out: np.ndarray = 2 * np.sqrt(np.maximum(RADIUS**2 - y**2 - x**2, 0))
    return out


def exact(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of a sphere magnetised along +x: -(e / hbar) mu_0 M (4/3 pi R^3) y f / (2 pi rho^2)."""
    square = np.maximum(y**2 + x**2, 1e-12)
    inside = 1 - np.maximum(1 - square / RADIUS**2, 0) ** 1.5
    out: np.ndarray = -PHASE_RATE * MAGNETITE * (4 / 3 * pi * RADIUS**3) * y / (2 * pi * square) * inside
    return out


def test_a_sphere_of_magnetite_turns_the_phase_by_a_third_of_a_radian(grid: Grid) -> None:
    """0.337 rad at R = 25 nm and 4.144e5 A/m. phase-ret-dl has 1.94 to 2.10: its k is in cycles."""
    y, x = places(grid)
    found = uniform_phase(sphere(y, x), 0.0, MAGNETITE, grid[1])
    assert found.max() == pytest.approx(0.337, rel=0.01)
    assert np.max(abs(found - exact(y, x))) < 0.025 * 0.337
    assert pytest.approx(4.144e5) == MAGNETITE


@pytest.mark.parametrize("along", ["y", "x"])
def test_a_gaussian_body_has_its_phase_with_an_error_of_the_second_order(along: str) -> None:
    """P = exp(-rho^2 / 2 s^2) along +x: phi = -(e mu_0 / hbar) s^2 y (1 - exp(-rho^2 / 2 s^2)) / rho^2."""
    width, errors = 9.0, []
    for factor in (1, 2, 4):
        grid: Grid = ((45 * factor, 60 * factor), (3.0 / factor, 2.4 / factor))
        y, x = places(grid)
        square = np.maximum(y**2 + x**2, 1e-12)
        body = 1e6 * np.exp(-square / (2 * width**2))
        lever = -y if along == "x" else x
        expected = PHASE_RATE * 1e6 * width**2 * lever / square * (1 - np.exp(-square / (2 * width**2)))
        found = phase(0 * body, body, grid[1]) if along == "x" else phase(body, 0 * body, grid[1])
        errors.append(np.max(abs(found - expected)) / np.max(abs(expected)))
    assert errors[0] < 0.03
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.25)


def test_electrons_are_deflected_as_lorentz_says() -> None:
    """F = -e v x B: with B along +x a beam along +z is pushed to -y, by hbar dphi/dy = -e int B_x dz = -e mu_0 M R."""
    grid: Grid = ((301, 301), 0.5)
    found = uniform_phase(sphere(*places(grid)), 0.0, MAGNETITE, 0.5)
    slope = (found[151, 150] - found[149, 150]) / 1.0
    assert slope == pytest.approx(-2 * pi * CHARGE / PLANCK * MAGNETIC_CONSTANT * MAGNETITE * RADIUS * 1e-18, rel=0.01)


def test_it_is_linear_and_blind_to_what_is_magnetised_along_the_beam(grid: Grid) -> None:
    body = sphere(*places(grid))
    both = phase(2e5 * body, -3e5 * body, grid[1])
    assert np.allclose(both, uniform_phase(body, 2e5, -3e5, grid[1]), atol=1e-12)
    assert np.allclose(both, 2 * phase(1e5 * body, 0 * body, grid[1]) - 3 * phase(0 * body, 1e5 * body, grid[1]))
    assert np.all(uniform_phase(body, 0.0, 0.0, grid[1]) == 0)


def test_a_turned_body_has_a_turned_phase() -> None:
    rng, sampling = np.random.default_rng(0), 1.7
    body = np.pad(rng.random((2, 24, 31)), ((0, 0), (9, 9), (9, 9)))
    found = phase(body[0], body[1], sampling)
    # a quarter turn about z, x to y: rows become columns, (P_y, P_x) becomes (P_x, -P_y)
    y, x = np.rot90(body[0], -1), np.rot90(body[1], -1)
    assert np.allclose(phase(x, -y, sampling), np.rot90(found, -1), atol=1e-12)


def test_bodies_do_not_come_in_again_on_the_other_side() -> None:
    """On a larger field the same pixels have the same phase: no lattice of bodies."""
    body = np.random.default_rng(1).random((20, 33))
    near, far = phase(body, 2 * body, 1.0), phase(np.pad(body, 40), 2 * np.pad(body, 40), 1.0)
    assert np.allclose(near, far[40:60, 40:73], atol=1e-12)


def test_leading_axes_dtypes_and_jax() -> None:
    body = np.random.default_rng(2).random((3, 2, 17, 20)).astype(np.float32)
    found = uniform_phase(body, 1e5, 2e5, 0.8)
    assert found.dtype == np.float32
    assert np.allclose(found[2, 1], uniform_phase(body[2, 1], 1e5, 2e5, 0.8), atol=1e-7)
    traced = jax.jit(lambda t: uniform_phase(t, 1e5, 2e5, 0.8))(jnp.asarray(body))
    assert np.allclose(traced, found, atol=1e-5 * abs(found).max())


def test_turning_the_specimen_over_separates_the_two() -> None:
    electrostatic, magnetic = np.random.default_rng(3).random((2, 5, 8, 9))
    found = separate_phases(electrostatic + magnetic, electrostatic - magnetic)
    assert np.allclose(found, (electrostatic, magnetic))

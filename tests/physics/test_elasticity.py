"""Displacements about defects: equilibrium, the Burgers circuit, and what is known of dilatations."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from physics.elasticity import edge_dislocation, inclusion, screw_dislocation

RNG = np.random.default_rng(0)
Y, X = RNG.uniform(-1, 1, 200), RNG.uniform(0.4, 1.5, 200)  # away from line and cut
NU = 0.31

type Floats = np.ndarray
type Displacement = Callable[[Floats, Floats], tuple[Floats, Floats]]


def edge(y: Floats, x: Floats) -> tuple[Floats, Floats]:
    return edge_dislocation(y, x, NU)


def slopes(u: Displacement, h: float) -> tuple[Floats, Floats, Floats, Floats]:
    """du_y/dy, du_y/dx, du_x/dy, du_x/dx, to the second order in h."""
    by_y = [(up - down) / (2 * h) for up, down in zip(u(Y + h, X), u(Y - h, X), strict=True)]
    by_x = [(up - down) / (2 * h) for up, down in zip(u(Y, X + h), u(Y, X - h), strict=True)]
    return by_y[0], by_x[0], by_y[1], by_x[1]


def residue(u: Displacement, nu: float, h: float) -> tuple[Floats, Floats]:
    """(1 - 2 nu) laplace(u) + grad(div u), (y, x), to the second order in h."""
    here, up, down, right, left = (
        np.array(u(Y + a * h, X + b * h)) for a, b in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    )
    corners = [a * b * np.array(u(Y + a * h, X + b * h)) for a in (-1, 1) for b in (-1, 1)]
    yy, xx, yx = up - 2 * here + down, right - 2 * here + left, np.sum(corners, axis=0) / 4
    div_y, div_x = yy[0] + yx[1], yx[0] + xx[1]
    laplace = (1 - 2 * nu) * (yy + xx)
    return (laplace[0] + div_y) / h**2, (laplace[1] + div_x) / h**2


@pytest.mark.parametrize("axis", [0, 1])
def test_an_edge_dislocation_is_in_equilibrium(axis: int) -> None:
    """The residue of finite differences falls as h^2; with another Poisson's ratio it does not."""
    error = [np.max(abs(residue(edge, NU, h)[axis])) for h in (0.02, 0.01)]
    assert error[0] / error[1] == pytest.approx(4, rel=0.05)
    assert error[1] < 0.01
    assert np.max(abs(residue(edge, NU + 0.1, 0.01)[axis])) > 0.1


def test_the_dilatation_about_an_edge_dislocation() -> None:
    """Of the sign of compression: on the side of the additional half plane, y > 0 for b along +x."""
    yy, _, _, xx = slopes(edge, 1e-4)
    expected = -(1 - 2 * NU) / (2 * np.pi * (1 - NU)) * Y / (Y**2 + X**2)
    assert yy + xx == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("radius", [0.01, 1.0, 30.0])
def test_burgers_circuits(radius: float) -> None:
    """Around the line, u_x and u_z rise by one Burgers vector, u_y by none; around nothing, by nothing."""
    angle = np.linspace(-np.pi, np.pi, 100001)[1:-1]
    y, x = radius * np.sin(angle), radius * np.cos(angle)
    u_y, u_x = edge(y, x)
    assert (u_y[-1] - u_y[0], u_x[-1] - u_x[0]) == pytest.approx((0, 1), abs=1e-4)
    u_z = screw_dislocation(y, x)
    assert u_z[-1] - u_z[0] == pytest.approx(1, abs=1e-4)
    assert np.max(abs(np.diff(u_z))) < 1e-4
    assert np.max(abs(np.diff(edge(y, x + 2 * radius)[1]))) < 1e-4


def test_a_core_leaves_the_displacement_far_away() -> None:
    assert np.isfinite(edge_dislocation(np.zeros(1), np.zeros(1), NU, 0.01)).all()
    for smooth, sharp in zip(edge_dislocation(Y, X, NU, 1e-3), edge(Y, X), strict=True):
        assert smooth == pytest.approx(sharp, abs=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_an_inclusion(dimensions: int) -> None:
    """Dilatation constant within and 0 outside, no curl, continuous; for the sphere with the slope along z: u_r / r."""
    radius = 0.8

    def u(y: Floats, x: Floats) -> tuple[Floats, Floats]:
        return inclusion(y, x, radius, dimensions)

    r = np.hypot(Y, X)
    smooth = abs(r - radius) > 1e-3
    yy, yx, xy, xx = slopes(u, 1e-4)
    assert (yx - xy)[smooth] == pytest.approx(0, abs=1e-6)
    along_z = (dimensions == 3) * np.hypot(*u(Y, X)) / r
    expected = np.where(r < radius, dimensions / radius, 0)
    assert (yy + xx + along_z)[smooth] == pytest.approx(expected[smooth], abs=1e-6)
    for change in (-1e-9, 1e-9):
        ring = u(radius * (1 + change) * np.sin(Y), radius * (1 + change) * np.cos(Y))
        assert ring[0] == pytest.approx(np.sin(Y), abs=1e-8)
        assert ring[1] == pytest.approx(np.cos(Y), abs=1e-8)


def test_jax_gives_the_same() -> None:
    y, x = (jnp.asarray(v, "float32") for v in (Y, X))
    pairs = [
        (edge_dislocation(y, x, NU), edge(Y, X)),
        (inclusion(y, x, 0.8, 3), inclusion(Y, X, 0.8, 3)),
        ([screw_dislocation(y, x)], [screw_dislocation(Y, X)]),
    ]
    for ours, theirs in pairs:
        assert np.array(ours) == pytest.approx(np.array(theirs), abs=1e-5)

"""How far a body must move to be clear of another: against chords of spheres and boxes, and linear programs."""

import numpy as np
import pytest

from generators.specimens.particles.contact import clearance
from generators.specimens.particles.mesh import displace, rotate, subdivide, translate
from generators.specimens.particles.solids import KINDS, cuboid, ellipsoid, solid

from .hulls import last_contact

X = np.array([0.0, 0.0, 1.0])


def test_boxes_along_an_axis() -> None:
    """Fixes sign, axis and side."""
    one, other = cuboid((1.0, 2.0, 3.0)), translate(cuboid((2.0, 1.0, 0.5)), (0.3, -0.4, -0.7))
    assert clearance(one, other, X) == pytest.approx(3 + 0.5 + 0.7, abs=1e-8)
    assert clearance(one, other, -X) == pytest.approx(3 + 0.5 - 0.7, abs=1e-8)
    assert clearance(one, other, np.array([0.0, 1.0, 0.0])) == pytest.approx(2 + 1 + 0.4, abs=1e-8)


@pytest.mark.parametrize("beside", [0.0, 1.0, 4.0, 5.5])
def test_spheres_that_pass_beside_one_another(beside: float) -> None:
    """t = sqrt((R + r)^2 - d^2), as far as spheres are made of triangles."""
    one, other = ellipsoid((4.0, 4.0, 4.0), 4), translate(ellipsoid((2.0, 2.0, 2.0), 4), (0.0, beside, -20.0))
    along = np.array([1.0, 0.0, 0.0])
    assert clearance(one, translate(other, (0.0, 0.0, 20.0)), along) == pytest.approx((36 - beside**2) ** 0.5, rel=0.02)
    assert clearance(one, other, along) < -1000  # 20 beside it: not in the way


@pytest.mark.parametrize("seed", range(12))
def test_linear_programming_finds_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(KINDS, 2)
    bodies = [rotate(solid(kind, rng.uniform(0.2, 2, 3)), rng.normal(size=4)) for kind in kinds]
    along = rng.normal(size=3)
    along /= np.linalg.norm(along)
    for shift in (np.zeros(3), rng.normal(size=3), 1.5 * rng.normal(size=3), 4 * rng.normal(size=3)):
        moving, expected = translate(bodies[1], shift), last_contact(bodies[0], translate(bodies[1], shift), along)
        if expected is None:
            assert clearance(bodies[0], moving, along) < -100
        else:
            assert clearance(bodies[0], moving, along) == pytest.approx(expected, abs=1e-6)


def test_bodies_of_many_triangles() -> None:
    rng = np.random.default_rng(0)
    wavy = [displace(subdivide(subdivide(cuboid(1.0))), 0.3, rng.normal(size=(4, 3)), rng.random(4)) for _ in "ab"]
    assert clearance(wavy[0], wavy[1], X) == pytest.approx(last_contact(wavy[0], wavy[1], X), abs=1e-6)

"""Displacements about defects in an isotropic elastic medium without ends. Lengths in any one unit.

Plane strain: nothing depends on z, the direction of dislocation lines. Outside of their cores and of inclusions, all
obey the equilibrium of Navier, (1 - 2 nu) laplace(u) + grad(div u) = 0.

J. P. Hirth and J. Lothe, Theory of Dislocations (2nd ed., Wiley 1982), chapter 3; J. D. Eshelby, Solid State Phys. 3
(1956) 79, for inclusions. Arrays of y and x broadcast; NumPy or JAX.
"""

from math import pi

from physics.arrays import Array, module


def edge_dislocation(y: Array, x: Array, poisson: Array, core: float = 0.0) -> tuple[Array, Array]:
    """Displacement (u_y, u_x) at (y, x) from a line at the origin, in units of its Burgers vector b, along +x.

        u_x = 1 / (2 pi) [theta + x y / (2 (1 - nu) r^2)],   theta = atan2(y, x)
        u_y = -1 / (2 pi) [(1 - 2 nu) ln r^2 + (x^2 - y^2) / r^2] / (4 (1 - nu))

    u_x rises by 1 around the line, in the sense of theta, and jumps back where x < 0 and y = 0. poisson: nu. core: a
    length within which elasticity ends; its square is added to r^2, so that nothing is infinite. Another unit of length
    adds a constant to u_y. Dilatation: div u = -(1 - 2 nu) / (2 pi (1 - nu)) y / r^2.
    """
    xp = module(y, x)
    square = y * y + x * x + core**2
    along = xp.arctan2(y, x) + x * y / (2 * (1 - poisson) * square)
    across = ((1 - 2 * poisson) * xp.log(square) + (x * x - y * y) / square) / (4 * (1 - poisson))
    return -across / (2 * pi), along / (2 * pi)


def screw_dislocation(y: Array, x: Array) -> Array:
    """Displacement u_z = theta / (2 pi) at (y, x) from a line at the origin, in units of its Burgers vector, along z.

    It rises by 1 around the line, and jumps back where x < 0 and y = 0; theta = atan2(y, x).
    """
    return module(y, x).arctan2(y, x) / (2 * pi)


def inclusion(y: Array, x: Array, radius: float, dimensions: int) -> tuple[Array, Array]:
    """Displacement (u_y, u_x) at (y, x) from the middle of an inclusion that is too large, relative to that at its rim.

        u = r / R within R,   (R / r)^dimensions r / R outside

    dimensions: 2, a cylinder along z; 3, a sphere, in the plane through its middle. The medium within is as stiff as
    that outside, the misfit the same along all axes. u is continuous and has no curl; div u is constant within, and
    outside it is 0 (for a sphere, with the part along z).
    """
    xp = module(y, x)
    square = xp.maximum((y * y + x * x) / radius**2, 1.0)
    fall = 1 / (radius * square ** (dimensions / 2))
    return y * fall, x * fall

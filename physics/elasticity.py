"""Displacements around defects in an isotropic elastic medium of infinite extent. Lengths may be in any one unit.

The state is plane strain: nothing depends on z, the direction of the dislocation lines. Outside of dislocation cores
and inclusions, all displacements obey Navier's equation of equilibrium, (1 - 2 nu) laplace(u) + grad(div u) = 0.

J. P. Hirth and J. Lothe, Theory of Dislocations (2nd ed., Wiley 1982), chapter 3; J. D. Eshelby, Solid State Phys. 3
(1956) 79, for inclusions. Arrays of y and x broadcast; NumPy or JAX.
"""

from math import pi

from physics.arrays import Array, module


def edge_dislocation(y: Array, x: Array, poisson: Array, core: float = 0.0) -> tuple[Array, Array]:
    """Displacement (u_y, u_x) around an edge dislocation at the origin, in units of its Burgers vector b along +x.

        u_x = 1 / (2 pi) [theta + x y / (2 (1 - nu) r^2)],   theta = atan2(y, x)
        u_y = -1 / (2 pi) [(1 - 2 nu) ln r^2 + (x^2 - y^2) / r^2] / (4 (1 - nu))

    u_x rises by 1 around the line, in the sense of theta, and jumps back where x < 0 and y = 0. A different unit of
    length adds a constant to u_y. Dilatation: div u = -(1 - 2 nu) / (2 pi (1 - nu)) y / r^2.

    Args:
        y: distance from the line along y.
        x: distance from the line along x.
        poisson: nu [1], Poisson's ratio.
        core: the length below which elasticity no longer holds. Its square is added to r^2, so that nothing is
            infinite.

    Returns:
        (u_y, u_x), each of the shape to which y and x broadcast.
    """
    xp = module(y, x)
    square = y * y + x * x + core**2
    along = xp.arctan2(y, x) + x * y / (2 * (1 - poisson) * square)
    across = ((1 - 2 * poisson) * xp.log(square) + (x * x - y * y) / square) / (4 * (1 - poisson))
    return -across / (2 * pi), along / (2 * pi)


def screw_dislocation(y: Array, x: Array) -> Array:
    """Displacement u_z = theta / (2 pi) around a screw dislocation at the origin.

    u_z is in units of the Burgers vector, along z. It rises by 1 around the line, and jumps back where x < 0 and y = 0;
    theta = atan2(y, x).
    """
    return module(y, x).arctan2(y, x) / (2 * pi)


def inclusion(y: Array, x: Array, radius: float, dimensions: int) -> tuple[Array, Array]:
    """Displacement (u_y, u_x) around an inclusion that is too large for its hole, relative to that at its rim.

        u = r / R within R,   (R / r)^dimensions r / R outside

    The inclusion is as stiff as the medium around it, and its misfit is the same along all axes. u is continuous and
    has no curl; div u is constant inside, and 0 outside (for a sphere, with the part along z).

    Args:
        y: distance from the middle of the inclusion along y.
        x: distance from the middle along x.
        radius: R.
        dimensions: 2 for a cylinder along z, 3 for a sphere, of which the plane through its middle is returned.

    Returns:
        (u_y, u_x), each of the shape to which y and x broadcast.
    """
    xp = module(y, x)
    square = xp.maximum((y * y + x * x) / radius**2, 1.0)
    decay = 1 / (radius * square ** (dimensions / 2))
    return y * decay, x * decay
